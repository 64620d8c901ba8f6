//! Routes of the API's access tokens.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;

use super::app::App;
use super::extract::{Params, Path, SMALL, json};
use super::lists::PageQuery;
use crate::api::{Access, CreatedAccess, Decision, List, NewAccess, RotateAccess, WhoAmI};
use crate::core::rights::Actor;
use crate::service::Failure;

/// Lists access tokens in the order of their ids, without their secrets.
#[utoipa::path(get, path = "/api/v1/access", operation_id = "listAccess", tag = "access", params(PageQuery),
    security(("bearer" = [])),
    responses((status = 200, body = List<Access>), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn list(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Params(query): Params<PageQuery>,
) -> Result<Json<List<Access>>, Failure> {
    app.service.access.access_tokens(&actor, &query.query()).map(Json)
}

/// Creates an access token.
///
/// The response contains the token's secret, which cannot be read again.
#[utoipa::path(post, path = "/api/v1/access", operation_id = "createAccess", tag = "access", request_body = NewAccess,
    security(("bearer" = [])),
    responses((status = 201, body = CreatedAccess), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn create(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    body: Body,
) -> Result<(StatusCode, Json<CreatedAccess>), Failure> {
    let new: NewAccess = json(body, SMALL).await?;
    let created = app.service.access.create_access(&actor, new).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// Gives an access token a new secret.
///
/// The response contains the new secret. The former one counts beside it for a while, so that no
/// program is locked out before it has the new one.
#[utoipa::path(post, path = "/api/v1/access/{id}/rotate", operation_id = "rotateAccess", tag = "access",
    params(("id" = String, Path)), request_body = RotateAccess, security(("bearer" = [])),
    responses((status = 200, body = CreatedAccess), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn rotate(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Json<CreatedAccess>, Failure> {
    let wanted: RotateAccess = json(body, SMALL).await?;
    app.service.access.rotate_access(&actor, &id, wanted).await.map(Json)
}

/// Describes the caller: its roles, and every action with what gives it or what is missing.
#[utoipa::path(get, path = "/api/v1/whoami", operation_id = "whoAmI", tag = "access", security(("bearer" = [])),
    responses((status = 200, body = WhoAmI), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn whoami(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
) -> Result<Json<WhoAmI>, Failure> {
    app.service.access.whoami(&actor).map(Json)
}

/// Query of `GET /api/v1/can`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CanQuery {
    /// Action, as in `x-holdfast-action` of the OpenAPI document.
    action: String,
    /// Name of the device, for an action about one. Absent: any.
    object: Option<String>,
}

/// Decides whether the caller may do an action to an object, and says why.
#[utoipa::path(get, path = "/api/v1/can", operation_id = "canI", tag = "access", params(CanQuery), security(("bearer" = [])),
    responses((status = 200, body = Decision), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn can(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Params(query): Params<CanQuery>,
) -> Result<Json<Decision>, Failure> {
    let object = query.object.as_deref().unwrap_or_default();
    app.service.access.can(&actor, &query.action, object).map(Json)
}

/// Deletes an access token and ends the logins that were begun with it.
///
/// The last token of the role `admin` without an end cannot be deleted.
#[utoipa::path(delete, path = "/api/v1/access/{id}", operation_id = "deleteAccess", tag = "access",
    params(("id" = String, Path)), security(("bearer" = [])),
    responses((status = 204), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn delete(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    app.service.access.delete_access(&actor, &id).await.map(|()| StatusCode::NO_CONTENT)
}
