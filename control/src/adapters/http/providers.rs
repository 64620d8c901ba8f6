//! Routes of logins by an identity provider: what the login page lists, the way to the provider and
//! back, and the device flow of the command line.
//!
//! The provider sends the browser back by a navigation from another site. The ticket's cookie comes
//! along with that (`SameSite=Lax`); the session's cookie (`SameSite=Strict`) is set by the answer,
//! and first sent by the page's own requests, which come from this site.
//!
//! See decision 0165.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::app::App;
use super::auth::PeerAddress;
use super::extract::{Params, Path, SMALL, json};
use crate::adapters::seats::Seat;
use crate::api::{AskDeviceLogin, DeviceLogin, DeviceLoginState, LoginProviders, NewDeviceLogin};
use crate::core::oidc::{TICKET_COOKIE, Ticket};
use crate::service::{Callback, Client, Failure, origin};

/// Cookie in which the login page is told why a login failed: it is not in the address, so that no
/// link can put words into the page.
const SAID: &str = "__Host-holdfast-said";

/// Longest text in it, in characters.
const MAX_SAID: usize = 600;

/// Query of the list of providers.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantQuery {
    /// Tenant. Default: the one that the control plane began with.
    tenant: Option<String>,
}

/// Lists the identity providers that one can log in by: their names alone.
#[utoipa::path(get, path = "/api/v1/providers", operation_id = "listLoginProviders", tag = "access", params(TenantQuery),
    responses((status = 200, body = LoginProviders), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn list(
    State(app): State<App>,
    Params(query): Params<TenantQuery>,
) -> Result<Json<LoginProviders>, Failure> {
    app.service.documents.check_held()?;
    Ok(Json(app.service.people.login_providers(query.tenant.as_deref())))
}

/// Query of the beginning of a login.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct BeginQuery {
    /// Tenant of the provider. Default: the one that the control plane began with.
    tenant: Option<String>,
    /// Path of the page to come back to. Default: `/`.
    back: Option<String>,
}

/// Sends a browser to an identity provider.
///
/// The answer sets a cookie that ties the login to the browser. When the provider cannot be asked,
/// the browser is sent to the login page, which says why.
#[utoipa::path(get, path = "/api/v1/login/{provider}", operation_id = "beginProviderLogin", tag = "access",
    params(("provider" = String, Path), BeginQuery),
    responses((status = 303, description = "to the provider, or back to the login page"), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn begin(
    State(app): State<App>,
    Path(provider): Path<String>,
    Params(query): Params<BeginQuery>,
    request: Request,
) -> Response {
    let host = match host(&request) {
        Ok(host) => host,
        Err(failure) => return failure.into_response(),
    };
    let at = (query.tenant.as_deref(), query.back.as_deref());
    let begun = match app.service.documents.check_held() {
        Ok(()) => app.service.people.begin_login(&provider, at, &host).await,
        Err(failure) => Err(failure),
    };
    match begun {
        Ok(begun) => to(&begun.address, &[begun.cookie]),
        Err(failure) => to_login(&failure),
    }
}

/// Parameters that an identity provider sends a browser back with; others are ignored.
#[derive(Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CallbackQuery {
    /// Code that is exchanged for tokens.
    code: Option<String>,
    /// State of the login.
    state: Option<String>,
    /// Error, as a word.
    error: Option<String>,
    /// Error in words.
    error_description: Option<String>,
    /// Issuer that answers.
    iss: Option<String>,
}

/// Takes a browser back from an identity provider and logs the person in.
///
/// The answer sets the cookie of the session and leads to the page where the login was begun. When
/// the login does not count, it leads to the login page, which says why.
#[utoipa::path(get, path = "/api/v1/login/{provider}/callback", operation_id = "finishProviderLogin", tag = "access",
    params(("provider" = String, Path), CallbackQuery),
    responses((status = 303, description = "to the page, or to the login page"), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn finish(
    State(app): State<App>,
    Path(provider): Path<String>,
    Params(query): Params<CallbackQuery>,
    request: Request,
) -> Response {
    let host = match host(&request) {
        Ok(host) => host,
        Err(failure) => return failure.into_response(),
    };
    let (parts, _) = request.into_parts();
    let from = client(&parts);
    let cookies = parts.headers.get_all(header::COOKIE).iter();
    let ticket = cookies.filter_map(|value| value.to_str().ok()).find_map(Ticket::of_cookies);
    let CallbackQuery { code, state, error, error_description, iss } = query;
    let answer = Callback { code, state, error, error_description, iss };
    let finished = match app.service.documents.check_held() {
        Ok(()) => {
            let login = app.service.people.finish_login(&provider, (ticket, &answer), &host, &from);
            Box::pin(login).await
        }
        Err(failure) => Err(failure),
    };
    match finished {
        Ok(login) => {
            known(&parts);
            to(&login.back, &[login.secret.cookie(), no_ticket()])
        }
        Err(failure) => {
            if matches!(failure, Failure::Unauthorized(_) | Failure::TooMany { .. }) {
                origin::refuses(failure.to_string());
            }
            to_login(&failure)
        }
    }
}

/// Begins a login of the command line by an identity provider (device flow).
#[utoipa::path(post, path = "/api/v1/login/{provider}/device", operation_id = "beginDeviceLogin", tag = "access",
    params(("provider" = String, Path)), request_body = NewDeviceLogin,
    responses((status = 201, body = DeviceLogin), (status = "4XX", body = super::error::ErrorBody), (status = "5XX", body = super::error::ErrorBody)))]
pub(super) async fn begin_device(
    State(app): State<App>,
    Path(provider): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<DeviceLogin>), Failure> {
    app.service.documents.check_held()?;
    let (parts, body) = request.into_parts();
    let new: NewDeviceLogin = json(body, SMALL).await?;
    let begun = app.service.people.begin_device_login(&provider, &new, &client(&parts)).await?;
    Ok((StatusCode::CREATED, Json(begun)))
}

/// Asks whether the person has logged in. The answer has the token then, once.
#[utoipa::path(post, path = "/api/v1/login/{provider}/device/ask", operation_id = "askDeviceLogin", tag = "access",
    params(("provider" = String, Path)), request_body = AskDeviceLogin,
    responses((status = 200, body = DeviceLoginState), (status = "4XX", body = super::error::ErrorBody), (status = "5XX", body = super::error::ErrorBody)))]
pub(super) async fn ask_device(
    State(app): State<App>,
    Path(provider): Path<String>,
    request: Request,
) -> Result<Json<DeviceLoginState>, Failure> {
    app.service.documents.check_held()?;
    let (parts, body) = request.into_parts();
    let asked: AskDeviceLogin = json(body, SMALL).await?;
    let people = &app.service.people;
    let from = client(&parts);
    let state = Box::pin(people.ask_device_login(&provider, &asked.handle, &from)).await?;
    if state.token.is_some() {
        known(&parts);
    }
    Ok(Json(state))
}

fn client(parts: &Parts) -> Client {
    let from = parts.extensions.get::<PeerAddress>();
    let address = from.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0);
    let agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    Client { address, agent: agent.unwrap_or_default().into() }
}

fn known(parts: &Parts) {
    if let Some(seat) = parts.extensions.get::<Arc<Seat>>() {
        seat.known();
    }
}

/// Host and port that the browser asked. The provider sends browsers to registered addresses alone,
/// so another name leads nowhere.
fn host(request: &Request) -> Result<String, Failure> {
    let named = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let given = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    let host = named.or_else(|| given.map(str::to_owned)).unwrap_or_default();
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    if host.is_empty() || host.len() > 300 || !host.chars().all(fine) {
        return Err(Failure::invalid("Host: the name of this control plane is needed"));
    }
    Ok(host)
}

/// Sends a browser elsewhere, with these cookies.
fn to(address: &str, cookies: &[String]) -> Response {
    let mut head = HeaderMap::new();
    let values = cookies.iter().filter_map(|cookie| HeaderValue::from_str(cookie).ok());
    for value in values {
        head.append(header::SET_COOKIE, value);
    }
    // The address of the callback has a code in it, which is nobody else's business.
    head.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    match HeaderValue::from_str(address) {
        Ok(address) => drop(head.insert(header::LOCATION, address)),
        Err(error) => return Failure::internal(error).into_response(),
    }
    (StatusCode::SEE_OTHER, head, Body::empty()).into_response()
}

/// Sends a browser to the login page, which says what went wrong.
fn to_login(failure: &Failure) -> Response {
    let said: String = failure.to_string().chars().take(MAX_SAID).collect();
    let said = URL_SAFE_NO_PAD.encode(said);
    let cookie = format!("{SAID}={said}; Path=/; Secure; SameSite=Strict; Max-Age=60");
    to("/", &[cookie, no_ticket()])
}

/// Value of `Set-Cookie` that deletes the ticket.
fn no_ticket() -> String {
    format!("{TICKET_COOKIE}=; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=0")
}
