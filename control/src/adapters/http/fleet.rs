//! The fleet at a glance, the list of devices, and what of one differs.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use super::App;
use super::extract::{Params, Path};
use crate::api::selector;
use crate::api::{Device, Differences, Fleet, LabelsInUse, List};
use crate::core::attention::Attention;
use crate::core::listing::{Filter, Order};
use crate::service::{DevicesQuery, Failure, Query, Service};

pub(super) type Answer<T> = Result<Json<T>, Failure>;

/// Which part of the list, in which order.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListDevices {
    /// Most items; default 500, at most 5000.
    limit: Option<usize>,
    /// `metadata.continue` of the page before; not with `sort` or `offset`.
    #[serde(rename = "continue")]
    after: Option<String>,
    /// How many to leave out.
    offset: Option<usize>,
    /// `name`, `connection`, `health` (what needs a person first), `heardAt`, `problems` (workloads
    /// that fail and problems), `workloads` (by how many fail, then by how many are desired),
    /// `certificate` or `createdAt`; with `-` before it the greatest first.
    sort: Option<String>,
}

/// Which devices; what is not said chooses all.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WhichDevices {
    /// `key=value,key2!=value,key3,!key4,key5 in (a,b)`: only those with these labels.
    label_selector: Option<String>,
    /// Only those in whose name, label values, address, workloads, problem codes, connection or
    /// health this stands, whatever the case.
    q: Option<String>,
    /// `online,offline,never-seen,pending,revoked`: only those.
    connection: Option<String>,
    /// `healthy,failing,problem,progressing,unknown,never-seen,pending,revoked`: only those whose
    /// health is one of these.
    health: Option<String>,
    /// Only those that report a problem with this code.
    problem: Option<String>,
    /// Only those that should run this workload, or report it.
    workload: Option<String>,
    /// Only those whose label `site` is this; empty: that have none.
    site: Option<String>,
    /// `unexpected,expected,ignored`: only those that are offline or never seen, and for which that
    /// is against expectation, as a `DevicePolicy` expects, or ignored.
    absence: Option<String>,
    /// `lost`, `never-seen`, `certificate`, `failing`, `problem` or `waiting`: only those that need a person
    /// for this.
    attention: Option<String>,
}

/// A fault of a parameter, by its name.
fn bad(what: &'static str) -> impl Fn(String) -> Failure {
    move |error| Failure::invalid(format!("{what}: {error}"))
}

impl WhichDevices {
    /// The devices that it chooses.
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

/// Runs what looks at every device, or at the disk, where it holds nobody up.
pub(super) async fn aside<T: Send + 'static>(
    app: App,
    look: impl FnOnce(&Service) -> T + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(move || look(&app.service)).await.map_err(Failure::internal)
}

/// Devices, by name or as `sort` says.
#[utoipa::path(get, path = "/api/v1/devices", operation_id = "listDevices", tag = "devices", params(ListDevices, WhichDevices),
    security(("bearer" = [])),
    responses((status = 200, body = List<Device>), (status = "4XX", body = super::error_schema::ErrorBody)))]
pub(super) async fn devices(
    State(app): State<App>,
    Params(query): Params<ListDevices>,
    Params(which): Params<WhichDevices>,
) -> Result<Response, Failure> {
    let query = query.query(which.filter()?)?;
    // A long list is written as JSON there as well.
    aside(app, move |service| service.devices(&query).map(|list| Json(list).into_response()))
        .await?
}

/// The fleet at a glance: counts, what needs a person first, sites.
#[utoipa::path(get, path = "/api/v1/fleet", operation_id = "getFleet", tag = "devices",
    security(("bearer" = [])),
    responses((status = 200, body = Fleet), (status = "4XX", body = super::error_schema::ErrorBody)))]
pub(super) async fn fleet(State(app): State<App>) -> Answer<Arc<Fleet>> {
    aside(app, Service::summary).await.map(Json)
}

/// The labels of devices, for suggestions.
#[utoipa::path(get, path = "/api/v1/labels", operation_id = "listLabels", tag = "devices",
    security(("bearer" = [])),
    responses((status = 200, body = LabelsInUse), (status = "4XX", body = super::error_schema::ErrorBody)))]
pub(super) async fn labels(State(app): State<App>) -> Answer<LabelsInUse> {
    aside(app, Service::labels).await.map(Json)
}

/// What is desired of a device beside what it reports, workload by workload.
#[utoipa::path(get, path = "/api/v1/devices/{name}/differences", operation_id = "getDeviceDifferences", tag = "devices",
    params(("name" = String, Path)), security(("bearer" = [])),
    responses((status = 200, body = Differences), (status = "4XX", body = super::error_schema::ErrorBody)))]
pub(super) async fn differences(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Answer<Differences> {
    app.service.differences(&name).map(Json)
}
