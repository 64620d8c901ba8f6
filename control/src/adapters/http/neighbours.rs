//! Route by which a device learns of its neighbours.
//!
//! See decision 0179.

use axum::extract::State;
use axum::{Extension, Json};

use super::app::App;
use crate::api::NeighbourList;
use crate::core::rights::Actor;
use crate::service::Failure;

/// Lists the devices of the caller's site that share downloads with it.
///
/// A device asks, with its certificate. Nobody else has neighbours.
#[utoipa::path(get, path = "/api/v1/neighbours", operation_id = "listNeighbours", tag = "devices",
    security(("bearer" = []), ()),
    responses((status = 200, body = NeighbourList), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn list(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
) -> Result<Json<NeighbourList>, Failure> {
    app.service.fleet.neighbours(&actor).map(Json)
}
