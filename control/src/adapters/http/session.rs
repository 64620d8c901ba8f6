//! Routes of the pages' login: a cookie that stands for an access token.
//!
//! See decision 0029.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::app::App;
use super::auth::{self, PeerAddress};
use super::extract::{SMALL, json};
use crate::adapters::seats::Seat;
use crate::api::{Login, Session};
use crate::core::session::no_cookie;
use crate::service::{Client, Failure};

/// Returns true for a JSON request. A foreign site can send a form, but JSON only after the browser
/// has asked this server, which does not allow it. So no user is logged in under another token
/// without knowing.
fn is_json(headers: &HeaderMap) -> bool {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    given.is_some_and(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/json")
    })
}

/// Logs in, with an access token or with the name and password of a local user.
///
/// The response sets a cookie that stands for the login. A user with a second factor is asked for
/// its code by the error code `second-factor`.
#[utoipa::path(post, path = "/api/v1/session", operation_id = "login", tag = "access", request_body = Login,
    responses((status = 201, body = Session), (status = "4XX", body = super::error::ErrorBody),
        (status = 429, description = "too many logins failed: `Retry-After` says when", body = super::error::ErrorBody)))]
pub(super) async fn login(State(app): State<App>, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    if !is_json(&parts.headers) {
        return Err(Failure::invalid("Content-Type: it must be application/json"));
    }
    let from = parts.extensions.get::<PeerAddress>();
    let from = from.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0);
    let agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let from = Client { address: from, agent: agent.unwrap_or_default().into() };
    let login: Login = json(body, SMALL).await?;
    let (secret, session) = match &login.token {
        Some(token) => app.service.access.login(token.trim(), &from).await?,
        None => app.service.people.login(&login, &from).await?,
    };
    if let Some(seat) = parts.extensions.get::<Arc<Seat>>() {
        seat.known();
    }
    let cookie = [(header::SET_COOKIE, secret.cookie())];
    Ok((StatusCode::CREATED, cookie, Json(session)).into_response())
}

/// Returns the login of the request's cookie.
#[utoipa::path(get, path = "/api/v1/session", operation_id = "getSession", tag = "access",
    security(("session" = [])),
    responses((status = 200, body = Session), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn get(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Json<Session>, Failure> {
    app.service.access.session(&auth::secret(&headers)?).map(Json)
}

/// Logs out: ends the login of the request's cookie.
#[utoipa::path(delete, path = "/api/v1/session", operation_id = "logout", tag = "access",
    security(("session" = [])),
    params(("X-CSRF-Token" = String, Header, description = "`csrf` of the session")),
    responses((status = 204), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn logout(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<(StatusCode, [(HeaderName, String); 1]), Failure> {
    let secret = auth::secret(&headers)?;
    app.service.access.session(&secret)?;
    auth::meant(&secret, &headers)?;
    app.service.access.logout(&secret).await?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, no_cookie())]))
}
