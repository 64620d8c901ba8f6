//! Routes of the API's access tokens.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};

use super::app::App;
use super::extract::{Params, Path, SMALL, json};
use super::lists::PageQuery;
use crate::api::{Access, CreatedAccess, List, NewAccess};
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

/// Deletes an access token and ends the logins that were begun with it.
///
/// The last token of scope `admin` without an end cannot be deleted.
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
