//! Access tokens: who may use the API.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};

use super::auth::Operator;
use super::extract::{Params, Path, SMALL, json};
use super::{App, PageQuery};
use crate::api::{Access, CreatedAccess, List, NewAccess};
use crate::service::Failure;

/// Access tokens, by id, without their secrets.
#[utoipa::path(get, path = "/api/v1/access", operation_id = "listAccess", tag = "access", params(PageQuery),
    security(("bearer" = [])),
    responses((status = 200, body = List<Access>), (status = "4XX", body = super::error_schema::ErrorBody)))]
pub(super) async fn list(
    State(app): State<App>,
    Params(query): Params<PageQuery>,
) -> Result<Json<List<Access>>, Failure> {
    app.service.access_tokens(&query.query()).map(Json)
}

/// Makes an access token; its secret is in this answer alone.
#[utoipa::path(post, path = "/api/v1/access", operation_id = "createAccess", tag = "access", request_body = NewAccess,
    security(("bearer" = [])),
    responses((status = 201, body = CreatedAccess), (status = "4XX", body = super::error_schema::ErrorBody)))]
pub(super) async fn create(
    State(app): State<App>,
    Extension(Operator(by)): Extension<Operator>,
    body: Body,
) -> Result<(StatusCode, Json<CreatedAccess>), Failure> {
    let new: NewAccess = json(body, SMALL).await?;
    let created = app.service.create_access(new, &by).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// Ends an access token and the sessions begun with it; the last one stays.
#[utoipa::path(delete, path = "/api/v1/access/{id}", operation_id = "deleteAccess", tag = "access",
    params(("id" = String, Path)), security(("bearer" = [])),
    responses((status = 204), (status = "4XX", body = super::error_schema::ErrorBody)))]
pub(super) async fn delete(
    State(app): State<App>,
    Extension(Operator(by)): Extension<Operator>,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    app.service.delete_access(&id, &by).await.map(|()| StatusCode::NO_CONTENT)
}
