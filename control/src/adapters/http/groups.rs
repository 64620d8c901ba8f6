//! The fleet over the last day, and devices grouped by a label.
//! See decisions 0129 and 0130.

use axum::Json;
use axum::extract::State;
use holdfast_base::ids::check_label_key;

use super::App;
use super::extract::Params;
use super::fleet::{Answer, WhichDevices, aside};
use crate::api::{DeviceGroups, Trend};
use crate::service::{Failure, Service};

/// By which label.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct GroupBy {
    /// Key of the label.
    by: String,
}

/// Devices by the values of a label, with the states of those in each group counted.
#[utoipa::path(get, path = "/api/v1/groups", operation_id = "groupDevices", tag = "devices", params(GroupBy, WhichDevices),
    security(("bearer" = [])),
    responses((status = 200, body = DeviceGroups), (status = "4XX", body = super::error_schema::ErrorBody)))]
pub(super) async fn groups(
    State(app): State<App>,
    Params(GroupBy { by }): Params<GroupBy>,
    Params(which): Params<WhichDevices>,
) -> Answer<DeviceGroups> {
    check_label_key(&by).map_err(|error| Failure::invalid(format!("by: {error}")))?;
    let filter = which.filter()?;
    aside(app, move |service| service.groups(by, &filter)).await.map(Json)
}

/// Counts of devices over the last 24 hours, a point each five minutes. They are kept in memory:
/// what was before the control plane started is not known.
#[utoipa::path(get, path = "/api/v1/fleet/trend", operation_id = "getFleetTrend", tag = "devices",
    security(("bearer" = [])),
    responses((status = 200, body = Trend), (status = "4XX", body = super::error_schema::ErrorBody)))]
pub(super) async fn trend(State(app): State<App>) -> Answer<Trend> {
    aside(app, Service::trend).await.map(Json)
}
