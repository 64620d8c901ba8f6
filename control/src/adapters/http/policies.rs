//! Routes of policies, the documents beside workloads, for each kind the same. They are applied with
//! `POST /api/v1/apply`.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};

use super::app::App;
use super::extract::{LARGE, Params, Path, json};
use super::lists::ListQuery;
use super::workloads::DeleteQuery;
use crate::api::{Applied, List, Policy, PolicyDevice, RotateSecret};
use crate::core::kinds::Shown;
use crate::core::records::PolicyKind;
use crate::core::rights::Actor;
use crate::service::Failure;

type JsonResult<T> = Result<Json<T>, Failure>;

fn kind(word: &str) -> Result<PolicyKind, Failure> {
    let kind = PolicyKind::parse(word).filter(|kind| kind.plural() == word);
    kind.ok_or_else(|| {
        let known: Vec<String> =
            PolicyKind::ALL.iter().map(|kind| format!("policies/{}", kind.plural())).collect();
        Failure::NotFound(format!("there are {}", known.join(", ")))
    })
}

/// Lists policies of one kind in the order of their names.
///
/// Secrets in them are shown as `(hidden)`, and the values of a `Secret` as the first digits of a
/// keyed digest, their length and the time of their last change.
#[utoipa::path(get, path = "/api/v1/policies/{kind}", operation_id = "listPolicies", tag = "data",
    params(("kind" = String, Path, description = "Plural word of the kind of document, such as `streams`; another word is answered with all of them"), ListQuery),
    security(("bearer" = [])),
    responses((status = 200, body = List<Policy>), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn list(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(word): Path<String>,
    Params(query): Params<ListQuery>,
) -> JsonResult<List<Shown>> {
    app.service.workloads.policies(&actor, kind(&word)?, &query.query()?).map(Json)
}

/// Returns a policy.
///
/// Secrets in it are shown as `(hidden)`, and the values of a `Secret` as the first digits of a
/// keyed digest, their length and the time of their last change.
#[utoipa::path(get, path = "/api/v1/policies/{kind}/{name}", operation_id = "getPolicy", tag = "data",
    params(("kind" = String, Path, description = "Plural word of the kind of document, such as `streams`; another word is answered with all of them"), ("name" = String, Path)),
    security(("bearer" = [])),
    responses((status = 200, body = Policy), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn get(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path((word, name)): Path<(String, String)>,
) -> JsonResult<Shown> {
    app.service.workloads.policy(&actor, kind(&word)?, &name).map(Json)
}

/// Lists the devices whose desired state holds a policy, in the order of their names.
///
/// An item says whether the policy is applied, and for a `Stream` which of the device's streams it
/// matches and which of those follow another one. For a `LinkBudget` it says how much of it is
/// used, for a `Secret` or `Config` which of its values the device has.
#[utoipa::path(get, path = "/api/v1/policies/{kind}/{name}/devices", operation_id = "listPolicyDevices", tag = "data",
    params(("kind" = String, Path, description = "Plural word of a kind that devices get something of: `streams`, `linkbudgets`, `secrets` or `configs`"), ("name" = String, Path), ListQuery),
    security(("bearer" = [])),
    responses((status = 200, body = List<PolicyDevice>), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn devices(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path((word, name)): Path<(String, String)>,
    Params(query): Params<ListQuery>,
) -> JsonResult<List<PolicyDevice>> {
    app.service.workloads.policy_devices(&actor, kind(&word)?, &name, &query.query()?).map(Json)
}

/// Gives a secret new values.
///
/// Devices that use them get them, and restart or signal their workloads as these ask for. No
/// response holds a value.
#[utoipa::path(post, path = "/api/v1/secrets/{name}/rotate", operation_id = "rotateSecret", tag = "data",
    params(("name" = String, Path)), request_body = RotateSecret, security(("bearer" = [])),
    responses((status = 200, body = Applied), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn rotate(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    body: Body,
) -> JsonResult<Applied> {
    let wanted: RotateSecret = json(body, LARGE).await?;
    app.service.workloads.rotate(&actor, &name, wanted).await.map(Json)
}

/// Deletes a policy.
///
/// Devices fall back to other policies or to their defaults.
#[utoipa::path(delete, path = "/api/v1/policies/{kind}/{name}", operation_id = "deletePolicy", tag = "data",
    params(("kind" = String, Path, description = "Plural word of the kind of document, such as `streams`; another word is answered with all of them"), ("name" = String, Path), DeleteQuery),
    security(("bearer" = [])),
    responses((status = 204), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn delete(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path((word, name)): Path<(String, String)>,
    Params(query): Params<DeleteQuery>,
) -> Result<StatusCode, Failure> {
    app.service
        .workloads
        .delete_policy(&actor, kind(&word)?, &name, query.resource_version)
        .await
        .map(|()| StatusCode::NO_CONTENT)
}
