//! Routes of the fleet's trend and of groups of devices.
//!
//! See decisions 0129 and 0130.

use axum::extract::State;
use axum::{Extension, Json};
use holdfast_base::ids::check_label_key;

use super::app::App;
use super::extract::Params;
use super::fleet::{JsonResult, WhichDevices, aside};
use crate::api::{DeviceGroups, Trend};
use crate::core::rights::Actor;
use crate::service::Failure;

/// Label by which devices are grouped.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct GroupBy {
    /// Key of the label whose values make the groups.
    by: String,
}

/// Groups devices by the values of a label, and counts the states of each group's devices.
#[utoipa::path(get, path = "/api/v1/groups", operation_id = "groupDevices", tag = "devices", params(GroupBy, WhichDevices),
    security(("bearer" = [])),
    responses((status = 200, body = DeviceGroups), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn groups(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Params(GroupBy { by }): Params<GroupBy>,
    Params(which): Params<WhichDevices>,
) -> JsonResult<DeviceGroups> {
    check_label_key(&by).map_err(|error| Failure::invalid(format!("by: {error}")))?;
    let filter = which.filter()?;
    aside(app, move |service| service.fleet.groups(&actor, by, &filter)).await?.map(Json)
}

/// Returns counts of devices over the last 24 hours, one point for each five minutes.
///
/// The points are in memory only: nothing is known of the time before the control plane started.
#[utoipa::path(get, path = "/api/v1/fleet/trend", operation_id = "getFleetTrend", tag = "devices",
    security(("bearer" = [])),
    responses((status = 200, body = Trend), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn trend(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
) -> JsonResult<Trend> {
    aside(app, move |service| service.fleet.trend(&actor)).await?.map(Json)
}
