//! Whether a device answers: somebody looks at it.
//! See decision 0112.

use std::time::Duration;

use axum::Json;
use axum::extract::State;

use super::App;
use super::extract::{Params, Path};
use crate::api::Ping;
use crate::core::answering::PATIENCE;
use crate::service::Failure;

/// How long to wait.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Within {
    /// Seconds to wait for the device's sign of life, at most 15; default 15. 0: it is asked, and
    /// what is known by then is answered.
    within: Option<u64>,
}

/// Asks a connected device for a sign of life, unless it said anything within the last 10 s. One
/// that says nothing for 15 s has the problem `not-answering` until it says something, or its
/// connection ends. Costs about half a kilobyte on the device's link, however many ask.
#[utoipa::path(get, path = "/api/v1/devices/{name}/ping", operation_id = "pingDevice", tag = "devices",
    params(("name" = String, Path), Within), security(("bearer" = [])),
    responses((status = 200, body = Ping), (status = "4XX", body = super::error_schema::ErrorBody)))]
pub(super) async fn ping(
    State(app): State<App>,
    Path(name): Path<String>,
    Params(Within { within }): Params<Within>,
) -> Result<Json<Ping>, Failure> {
    let within = within.unwrap_or(PATIENCE);
    if within > PATIENCE {
        return Err(Failure::invalid(format!("within={within}: at most {PATIENCE} seconds")));
    }
    // A little more than the patience, so that its end is waited for.
    let within = Duration::from_millis(within.saturating_mul(1_000).saturating_add(200));
    app.service.ping(&name, within).await.map(Json)
}
