//! Routes of enrolment tokens.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};

use super::app::App;
use super::extract::{Params, Path, SMALL, json};
use super::lists::ListQuery;
use crate::api::{CreatedToken, List, NewToken, Token, TokenUse};
use crate::core::rights::Actor;
use crate::service::Failure;

type JsonResult<T> = Result<Json<T>, Failure>;

/// Lists enrolment tokens in the order of their ids, without their secrets.
#[utoipa::path(get, path = "/api/v1/tokens", operation_id = "listTokens", tag = "tokens", params(ListQuery),
    security(("bearer" = [])),
    responses((status = 200, body = List<Token>), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn list(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Params(query): Params<ListQuery>,
) -> JsonResult<List<Token>> {
    app.service.enrolment.tokens(&actor, &query.query()?).map(Json)
}

/// Creates an enrolment token.
///
/// The response contains the token's secret, which cannot be read again.
#[utoipa::path(post, path = "/api/v1/tokens", operation_id = "createToken", tag = "tokens", request_body = NewToken,
    security(("bearer" = [])),
    responses((status = 201, body = CreatedToken), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn create(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    body: Body,
) -> Result<(StatusCode, Json<CreatedToken>), Failure> {
    let new: NewToken = json(body, SMALL).await?;
    let created = app.service.enrolment.create_token(&actor, new).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// Returns an enrolment token without its secret, with the devices that enrolled with it.
#[utoipa::path(get, path = "/api/v1/tokens/{id}", operation_id = "getToken", tag = "tokens",
    params(("id" = String, Path)), security(("bearer" = [])),
    responses((status = 200, body = TokenUse), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn read(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> JsonResult<TokenUse> {
    app.service.enrolment.token(&actor, &id).map(Json)
}

/// Revokes an enrolment token.
///
/// Devices that enrolled with it stay.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", operation_id = "revokeToken", tag = "tokens",
    params(("id" = String, Path)), security(("bearer" = [])),
    responses((status = 204), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn revoke(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    app.service.enrolment.revoke_token(&actor, &id).await.map(|()| StatusCode::NO_CONTENT)
}
