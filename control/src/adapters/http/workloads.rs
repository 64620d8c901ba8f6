//! Routes of workloads: apply, read, delete, revisions, and explanations of why an object is not in
//! its desired state.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};

use super::app::App;
use super::extract::{LARGE, Params, Path, not_json, object};
use super::lists::ListQuery;
use crate::api::strict::{self, Unread};
use crate::api::{Applied, Apply, Explanation, List, Revision, Workload};
use crate::core::kinds::Shown;
use crate::core::rights::Actor;
use crate::service::Failure;

type JsonResult<T> = Result<Json<T>, Failure>;

/// Parameters of applying documents.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ApplyQuery {
    /// If true, the response says what would change, and nothing is changed.
    #[serde(default)]
    pub(super) dry_run: bool,
}

/// Applies documents, all or none of them.
#[utoipa::path(post, path = "/api/v1/apply", operation_id = "apply", tag = "workloads", params(ApplyQuery),
    request_body = Apply, security(("bearer" = [])),
    responses((status = 200, body = Applied), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn apply(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Params(query): Params<ApplyQuery>,
    body: Body,
) -> JsonResult<Applied> {
    let read = strict::apply(&object(body, LARGE).await?);
    let Apply { documents } = read.map_err(|why| match why {
        Unread::TooMany(what) => Failure::TooLarge(what.to_string()),
        Unread::Json(error) => not_json(&error),
    })?;
    app.service.workloads.apply(&actor, &documents, query.dry_run).await.map(Json)
}

/// Lists workloads in the order of their names.
#[utoipa::path(get, path = "/api/v1/workloads", operation_id = "listWorkloads", tag = "workloads", params(ListQuery),
    security(("bearer" = [])),
    responses((status = 200, body = List<Workload>), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn list(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Params(query): Params<ListQuery>,
) -> JsonResult<List<Shown>> {
    app.service.workloads.workloads(&actor, &query.query()?).map(Json)
}

/// Returns the workload with this name.
#[utoipa::path(get, path = "/api/v1/workloads/{name}", operation_id = "getWorkload", tag = "workloads",
    params(("name" = String, Path)), security(("bearer" = [])),
    responses((status = 200, body = Workload), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn get(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> JsonResult<Shown> {
    app.service.workloads.workload(&actor, &name).map(Json)
}

/// Parameters of deleting an object.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DeleteQuery {
    /// Resource version that the object must have. With another one the request is refused as a
    /// conflict.
    pub(super) resource_version: Option<u64>,
}

/// Deletes a workload.
///
/// Its devices stop it.
#[utoipa::path(delete, path = "/api/v1/workloads/{name}", operation_id = "deleteWorkload", tag = "workloads",
    params(("name" = String, Path), DeleteQuery), security(("bearer" = [])),
    responses((status = 204), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn delete(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    Params(query): Params<DeleteQuery>,
) -> Result<StatusCode, Failure> {
    app.service
        .workloads
        .delete_workload(&actor, &name, query.resource_version)
        .await
        .map(|()| StatusCode::NO_CONTENT)
}

/// Parameters of the list of revisions.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RevisionsQuery {
    /// Maximum number of items; default 500, at most 5000.
    limit: Option<usize>,
    /// `metadata.continue` of the previous page.
    #[serde(rename = "continue")]
    after: Option<String>,
    /// Only revisions with these labels: `key=value,key2!=value,key3,!key4,key5 in (a,b)`.
    label_selector: Option<String>,
    /// Only revisions of this workload.
    workload: Option<String>,
}

/// Lists stored revisions in the order of workload and number.
#[utoipa::path(get, path = "/api/v1/revisions", operation_id = "listRevisions", tag = "workloads", params(RevisionsQuery),
    security(("bearer" = [])),
    responses((status = 200, body = List<Revision>), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn revisions(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Params(query): Params<RevisionsQuery>,
) -> JsonResult<List<Revision>> {
    let workload = query.workload;
    let (limit, after, label_selector) = (query.limit, query.after, query.label_selector);
    let query = ListQuery { limit, after, label_selector }.query()?;
    app.service.workloads.revisions(&actor, &query, workload.as_deref()).map(Json)
}

/// Explains why a device, workload or policy is not in its desired state.
#[utoipa::path(get, path = "/api/v1/explain/{kind}/{name}", operation_id = "explain", tag = "workloads",
    params(("kind" = String, Path, description = "`device`, or the word of a kind of document, such as `workload`"), ("name" = String, Path)),
    security(("bearer" = [])),
    responses((status = 200, body = Explanation), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn explain(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path((kind, name)): Path<(String, String)>,
) -> JsonResult<Explanation> {
    app.service.workloads.explain(&actor, &kind, &name).map(Json)
}
