//! Enrolment tokens.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};

use super::auth::Operator;
use super::extract::{Params, Path, SMALL, json};
use super::{App, ListQuery};
use crate::api::{CreatedToken, List, NewToken, Token, TokenUse};
use crate::service::Failure;

type Answer<T> = Result<Json<T>, Failure>;

/// Enrolment tokens, by id, without their secrets.
#[utoipa::path(get, path = "/api/v1/tokens", operation_id = "listTokens", tag = "tokens", params(ListQuery),
    security(("bearer" = [])),
    responses((status = 200, body = List<Token>), (status = "4XX", body = super::error_schema::ErrorBody)))]
pub(super) async fn list(
    State(app): State<App>,
    Params(query): Params<ListQuery>,
) -> Answer<List<Token>> {
    app.service.tokens(&query.query()?).map(Json)
}

/// Makes an enrolment token; its secret is in this answer alone.
#[utoipa::path(post, path = "/api/v1/tokens", operation_id = "createToken", tag = "tokens", request_body = NewToken,
    security(("bearer" = [])),
    responses((status = 201, body = CreatedToken), (status = "4XX", body = super::error_schema::ErrorBody)))]
pub(super) async fn create(
    State(app): State<App>,
    Extension(Operator(by)): Extension<Operator>,
    body: Body,
) -> Result<(StatusCode, Json<CreatedToken>), Failure> {
    let new: NewToken = json(body, SMALL).await?;
    let created = app.service.create_token(new, &by).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// An enrolment token without its secret, with the devices that it let in.
#[utoipa::path(get, path = "/api/v1/tokens/{id}", operation_id = "getToken", tag = "tokens",
    params(("id" = String, Path)), security(("bearer" = [])),
    responses((status = 200, body = TokenUse), (status = "4XX", body = super::error_schema::ErrorBody)))]
pub(super) async fn read(State(app): State<App>, Path(id): Path<String>) -> Answer<TokenUse> {
    app.service.token(&id).map(Json)
}

/// Ends an enrolment token. Devices that enrolled with it stay.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", operation_id = "revokeToken", tag = "tokens",
    params(("id" = String, Path)), security(("bearer" = [])),
    responses((status = 204), (status = "4XX", body = super::error_schema::ErrorBody)))]
pub(super) async fn revoke(
    State(app): State<App>,
    Extension(Operator(by)): Extension<Operator>,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    app.service.revoke_token(&id, &by).await.map(|()| StatusCode::NO_CONTENT)
}
