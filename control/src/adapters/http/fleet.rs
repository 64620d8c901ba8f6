//! Routes of the fleet: its summary, the list of devices, and the differences of one device.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};

use super::app::App;
use super::extract::{Params, Path};
use crate::api::selector;
use crate::api::{Device, Differences, Fleet, LabelsInUse, List};
use crate::core::attention::Attention;
use crate::core::listing::{Filter, Order};
use crate::core::parameter::BadParameter;
use crate::core::rights::Actor;
use crate::service::{DevicesQuery, Failure, Query, Service};

pub(super) type JsonResult<T> = Result<Json<T>, Failure>;

/// Page and order of the list of devices.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListDevices {
    /// Maximum number of items; default 500, at most 5000.
    limit: Option<usize>,
    /// `metadata.continue` of the previous page; not with `sort` or `offset`.
    #[serde(rename = "continue")]
    after: Option<String>,
    /// Number of items to skip.
    offset: Option<usize>,
    /// Order: `name`, `connection`, `health` (the worst first), `heardAt`, `problems` (failing
    /// workloads and problems), `workloads` (failing ones, then desired ones), `certificate` or
    /// `createdAt`. A `-` before it reverses the order.
    sort: Option<String>,
}

/// Filter of devices. An absent parameter matches every device.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WhichDevices {
    /// Only devices with these labels: `key=value,key2!=value,key3,!key4,key5 in (a,b)`.
    label_selector: Option<String>,
    /// Only devices with this text in their name, label values, address, workloads, problem codes,
    /// connection or health, in upper or lower case.
    q: Option<String>,
    /// Only devices with one of these connections, separated by commas: `online`, `offline`,
    /// `never-seen`, `pending`, `revoked`.
    connection: Option<String>,
    /// Only devices with one of these states of health, separated by commas: `healthy`, `failing`,
    /// `problem`, `progressing`, `unknown`, `never-seen`, `pending`, `revoked`.
    health: Option<String>,
    /// Only devices that report a problem with this code.
    problem: Option<String>,
    /// Only devices that should run this workload, or report it.
    workload: Option<String>,
    /// Only devices whose label `site` has this value; empty for devices without the label.
    site: Option<String>,
    /// Only absent devices (offline or never seen) of these classes, separated by commas:
    /// `unexpected`, `expected` (by a `DevicePolicy`), `ignored`.
    absence: Option<String>,
    /// Only devices that need attention of this kind: `lost`, `never-seen`, `certificate`,
    /// `failing`, `problem` or `waiting`.
    attention: Option<String>,
}

/// Makes a failure about one parameter.
fn bad(what: &'static str) -> impl Fn(BadParameter) -> Failure {
    move |error| Failure::invalid(format!("{what}: {error}"))
}

impl WhichDevices {
    /// Parses the parameters into a filter.
    pub(super) fn filter(self) -> Result<Filter, Failure> {
        let attention = |word: String| {
            Attention::parse(&word).ok_or_else(|| {
                let words = Attention::ALL.map(Attention::as_str).join(", ");
                Failure::invalid(format!("attention: one of {words}"))
            })
        };
        Ok(Filter {
            selector: selector::parse(&self.label_selector.unwrap_or_default())
                .map_err(|error| Failure::invalid(format!("labelSelector: {error}")))?,
            text: Filter::text(&self.q.unwrap_or_default()).map_err(bad("q"))?,
            connections: Filter::connections(&self.connection.unwrap_or_default())
                .map_err(bad("connection"))?,
            health: Filter::health(&self.health.unwrap_or_default()).map_err(bad("health"))?,
            problem: self.problem.filter(|code| !code.is_empty()),
            workload: self.workload.filter(|name| !name.is_empty()),
            site: self.site,
            absences: Filter::absences(&self.absence.unwrap_or_default())
                .map_err(bad("absence"))?,
            attention: self.attention.filter(|word| !word.is_empty()).map(attention).transpose()?,
        })
    }
}

impl ListDevices {
    fn query(self, filter: Filter) -> Result<DevicesQuery, Failure> {
        let sort = self.sort.filter(|text| !text.is_empty());
        Ok(DevicesQuery {
            query: Query { limit: self.limit, after: self.after, ..Query::default() },
            filter,
            order: sort.map(|text| Order::parse(&text).map_err(bad("sort"))).transpose()?,
            offset: self.offset,
        })
    }
}

/// Runs a function that looks at every device, or at the disk, on a thread that may block.
pub(super) async fn aside<T: Send + 'static>(
    app: App,
    look: impl FnOnce(&Service) -> T + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(move || look(&app.service)).await.map_err(Failure::internal)
}

/// Lists devices, in the order of their names or as `sort` says.
#[utoipa::path(get, path = "/api/v1/devices", operation_id = "listDevices", tag = "devices", params(ListDevices, WhichDevices),
    security(("bearer" = [])),
    responses((status = 200, body = List<Device>), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn devices(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Params(query): Params<ListDevices>,
    Params(which): Params<WhichDevices>,
) -> Result<Response, Failure> {
    let query = query.query(which.filter()?)?;
    // A long list is also written as JSON on that thread.
    aside(app, move |service| {
        service.fleet.devices(&actor, &query).map(|list| Json(list).into_response())
    })
    .await?
}

/// Returns the fleet's summary: counts, what needs attention, and sites.
#[utoipa::path(get, path = "/api/v1/fleet", operation_id = "getFleet", tag = "devices",
    security(("bearer" = [])),
    responses((status = 200, body = Fleet), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn fleet(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
) -> JsonResult<Arc<Fleet>> {
    aside(app, move |service| service.fleet.summary(&actor)).await?.map(Json)
}

/// Lists the label keys and values of devices, for suggestions.
#[utoipa::path(get, path = "/api/v1/labels", operation_id = "listLabels", tag = "devices",
    security(("bearer" = [])),
    responses((status = 200, body = LabelsInUse), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn labels(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
) -> JsonResult<LabelsInUse> {
    aside(app, move |service| service.fleet.labels(&actor)).await?.map(Json)
}

/// Compares a device's desired and reported state, workload by workload.
#[utoipa::path(get, path = "/api/v1/devices/{name}/differences", operation_id = "getDeviceDifferences", tag = "devices",
    params(("name" = String, Path)), security(("bearer" = [])),
    responses((status = 200, body = Differences), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn differences(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> JsonResult<Differences> {
    app.service.fleet.differences(&actor, &name).map(Json)
}
