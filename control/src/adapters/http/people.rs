//! Routes of local users, of sessions, and of one's own account.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};

use super::app::App;
use super::extract::{Params, Path, SMALL, json};
use super::lists::PageQuery;
use crate::api::{
    ChangePassword, ChangeUser, Code, List, NewUser, OpenSession, SecondFactor, SetPassword, User,
    UserPassword, WithPassword,
};
use crate::core::rights::Actor;
use crate::service::Failure;

/// Lists local users in the order of their names.
#[utoipa::path(get, path = "/api/v1/users", operation_id = "listUsers", tag = "access", params(PageQuery),
    security(("bearer" = [])),
    responses((status = 200, body = List<User>), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn list(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Params(query): Params<PageQuery>,
) -> Result<Json<List<User>>, Failure> {
    app.service.people.users(&actor, &query.query()).map(Json)
}

/// Makes a local user.
///
/// Without a password one is made; the response is the only time that it is shown. The user is
/// asked to choose another at the first login. Roles come from `RoleBinding` documents.
#[utoipa::path(post, path = "/api/v1/users", operation_id = "createUser", tag = "access", request_body = NewUser,
    security(("bearer" = [])),
    responses((status = 201, body = UserPassword), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn create(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    body: Body,
) -> Result<(StatusCode, Json<UserPassword>), Failure> {
    let new: NewUser = json(body, SMALL).await?;
    let made = app.service.people.create_user(&actor, new).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Changes a local user. A disabled user cannot log in, and its sessions end.
#[utoipa::path(patch, path = "/api/v1/users/{name}", operation_id = "changeUser", tag = "access",
    params(("name" = String, Path)), request_body = ChangeUser, security(("bearer" = [])),
    responses((status = 200, body = User), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn change(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<User>, Failure> {
    let wanted: ChangeUser = json(body, SMALL).await?;
    app.service.people.change_user(&actor, &name, wanted).await.map(Json)
}

/// Deletes a local user and ends its sessions.
///
/// The last admin cannot be deleted.
#[utoipa::path(delete, path = "/api/v1/users/{name}", operation_id = "deleteUser", tag = "access",
    params(("name" = String, Path)), security(("bearer" = [])),
    responses((status = 204), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn delete(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> Result<StatusCode, Failure> {
    app.service.people.delete_user(&actor, &name).await.map(|()| StatusCode::NO_CONTENT)
}

/// Sets a user's password and ends the user's sessions.
///
/// Without a password one is made; the response is the only time that it is shown.
#[utoipa::path(post, path = "/api/v1/users/{name}/password", operation_id = "setPassword", tag = "access",
    params(("name" = String, Path)), request_body = SetPassword, security(("bearer" = [])),
    responses((status = 200, body = UserPassword), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn password(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<UserPassword>, Failure> {
    let wanted: SetPassword = json(body, SMALL).await?;
    app.service.people.set_password(&actor, &name, wanted).await.map(Json)
}

/// Takes a user's second factor away, for somebody who has lost it.
#[utoipa::path(delete, path = "/api/v1/users/{name}/second-factor", operation_id = "removeSecondFactor", tag = "access",
    params(("name" = String, Path)), security(("bearer" = [])),
    responses((status = 204), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn no_second_factor(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> Result<StatusCode, Failure> {
    app.service.people.remove_second_factor(&actor, &name).await.map(|()| StatusCode::NO_CONTENT)
}

/// Lists the open sessions of the tenant.
#[utoipa::path(get, path = "/api/v1/sessions", operation_id = "listSessions", tag = "access", params(PageQuery),
    security(("bearer" = [])),
    responses((status = 200, body = List<OpenSession>), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn sessions(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Params(query): Params<PageQuery>,
) -> Result<Json<List<OpenSession>>, Failure> {
    app.service.people.sessions(&actor, &query.query()).map(Json)
}

/// Ends a session.
#[utoipa::path(delete, path = "/api/v1/sessions/{id}", operation_id = "endSession", tag = "access",
    params(("id" = String, Path)), security(("bearer" = [])),
    responses((status = 204), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn end_session(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    app.service.people.end_session(&actor, &id).await.map(|()| StatusCode::NO_CONTENT)
}

/// Changes one's own password and ends one's other sessions.
#[utoipa::path(post, path = "/api/v1/me/password", operation_id = "changeOwnPassword", tag = "access",
    request_body = ChangePassword, security(("bearer" = [])),
    responses((status = 204), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn own_password(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    body: Body,
) -> Result<StatusCode, Failure> {
    let wanted: ChangePassword = json(body, SMALL).await?;
    app.service.people.change_password(&actor, wanted).await.map(|()| StatusCode::NO_CONTENT)
}

/// Makes a secret for one's authenticator program. It counts once a code of it was shown.
#[utoipa::path(post, path = "/api/v1/me/second-factor", operation_id = "beginSecondFactor", tag = "access",
    request_body = WithPassword, security(("bearer" = [])),
    responses((status = 200, body = SecondFactor), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn begin_second_factor(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    body: Body,
) -> Result<Json<SecondFactor>, Failure> {
    let proof: WithPassword = json(body, SMALL).await?;
    app.service.people.begin_second_factor(&actor, proof).await.map(Json)
}

/// Confirms one's second factor with a code of it. From now on each login needs one.
#[utoipa::path(post, path = "/api/v1/me/second-factor/confirm", operation_id = "confirmSecondFactor", tag = "access",
    request_body = Code, security(("bearer" = [])),
    responses((status = 204), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn confirm_second_factor(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    body: Body,
) -> Result<StatusCode, Failure> {
    let code: Code = json(body, SMALL).await?;
    app.service.people.confirm_second_factor(&actor, &code).await.map(|()| StatusCode::NO_CONTENT)
}

/// Takes one's own second factor away.
#[utoipa::path(post, path = "/api/v1/me/second-factor/end", operation_id = "endSecondFactor", tag = "access",
    request_body = WithPassword, security(("bearer" = [])),
    responses((status = 204), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn end_second_factor(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    body: Body,
) -> Result<StatusCode, Failure> {
    let proof: WithPassword = json(body, SMALL).await?;
    app.service.people.end_second_factor(&actor, proof).await.map(|()| StatusCode::NO_CONTENT)
}
