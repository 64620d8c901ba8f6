//! Route of a device's sign of life.
//!
//! See decision 0112.

use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json};

use super::app::App;
use super::extract::{Params, Path};
use crate::api::Ping;
use crate::core::answering::PATIENCE;
use crate::core::rights::Actor;
use crate::service::Failure;

/// Parameters of a ping.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Within {
    /// Time to wait for the device's sign of life, in seconds; default 15, at most 15. With 0 the
    /// device is asked, and the response says what is known already.
    within: Option<u64>,
}

/// Asks a connected device for a sign of life.
///
/// The device is not asked when it sent anything within the last 10 s. A device that sends nothing
/// for 15 s has the problem `not-answering` until it sends something, or its connection ends. A
/// question takes about half a kilobyte on the device's link, however many clients ask.
#[utoipa::path(get, path = "/api/v1/devices/{name}/ping", operation_id = "pingDevice", tag = "devices",
    params(("name" = String, Path), Within), security(("bearer" = [])),
    responses((status = 200, body = Ping), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn ping(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    Params(Within { within }): Params<Within>,
) -> Result<Json<Ping>, Failure> {
    let within = within.unwrap_or(PATIENCE);
    if within > PATIENCE {
        return Err(Failure::invalid(format!("within={within}: at most {PATIENCE} seconds")));
    }
    // Slightly longer than the patience, so that its end is seen.
    let within = Duration::from_millis(within.saturating_mul(1_000).saturating_add(200));
    app.service.calls.ping(&actor, &name, within).await.map(Json)
}
