//! Authentication: an operator with an access token or a login of the pages, or a device with a
//! certificate. A login's cookie counts only when no token is given.
//!
//! See decisions 0029 and 0097.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_base::ids::DeviceId;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::app::{App, RequestId};
use crate::adapters::seats::Seat;
use crate::core::rights::{Action, Actor, Origin};
use crate::core::session::Secret;
use crate::service::{Failure, Service, may, origin};

/// Address of the connection's client.
#[derive(Debug, Clone, Copy)]
pub(super) struct PeerAddress(pub(super) IpAddr);

/// Device whose certificate the connection showed. TLS has checked it against the CA.
#[derive(Debug, Clone)]
pub(super) struct PeerDevice {
    pub(super) device: DeviceId,
    serial: Box<[u8]>,
    not_after: i64,
}

impl PeerDevice {
    /// Reads the device from a certificate of our CA; `None` when it names no device.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let mut names = parsed.subject().iter_common_name();
        let (Some(name), None) = (names.next(), names.next()) else { return None };
        Some(Self {
            device: name.as_str().ok()?.parse().ok()?,
            serial: parsed.raw_serial().into(),
            not_after: parsed.validity().not_after.timestamp(),
        })
    }

    /// Checks that the device may fetch now. TLS checked the certificate's dates only when the
    /// connection began.
    pub(super) fn check(&self, service: &Service) -> Result<(), Failure> {
        service.documents.check_held()?;
        if i64::try_from(service.documents.now()).unwrap_or(i64::MAX) > self.not_after {
            return Err(Failure::Refused("the certificate has expired: renew it".into()));
        }
        service.directory.admit_device(&self.device, &self.serial)
    }
}

/// Header that proves that a change with a login's cookie was meant.
const CSRF: &str = "x-csrf-token";

/// Secret of the login whose cookie the request carries.
pub(super) fn secret(headers: &HeaderMap) -> Result<Secret, Failure> {
    let none = || Failure::Unauthorized("there is no session: log in".into());
    if headers.contains_key(header::AUTHORIZATION) {
        return Err(none());
    }
    let mut given = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    given.find_map(Secret::of_cookies).ok_or_else(none)
}

/// Checks that a change with a login's cookie carries the CSRF token, so that the user meant it.
pub(super) fn meant(secret: &Secret, headers: &HeaderMap) -> Result<(), Failure> {
    let given = headers.get(CSRF).and_then(|value| value.to_str().ok());
    match given {
        Some(given) if secret.meant(given) => Ok(()),
        _ => Err(Failure::Csrf(
            "X-CSRF-Token: a change in a session must carry the session's csrf, see GET /api/v1/session".into(),
        )),
    }
}

/// Authenticates an operator's request and checks that the operator may do what the route is for,
/// before anything of the request is read. The service asks again, with the object.
fn operator(service: &Service, request: &Request) -> Result<Actor, Failure> {
    service.documents.check_held()?;
    let (method, headers) = (request.method(), request.headers());
    let actor = match secret(headers) {
        Err(_) => bearer(service, headers)?,
        Ok(secret) => {
            let actor = service.access.authorize_session(&secret)?;
            if !matches!(*method, Method::GET | Method::HEAD) {
                meant(&secret, headers)?;
            }
            actor
        }
    };
    allowed(service, request, actor)
}

/// Authenticates a request of a registry's client: an access token as a bearer token, or as the
/// password of Basic authentication with any user name.
pub(super) fn puller(service: &Service, request: &Request) -> Result<Actor, Failure> {
    service.documents.check_held()?;
    let headers = request.headers();
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let basic = given.and_then(|value| value.split_once(' '));
    let actor = match basic {
        Some((scheme, text)) if scheme.eq_ignore_ascii_case("basic") => {
            let none =
                || Failure::Unauthorized("Authorization: this is no user and password".into());
            let text = STANDARD.decode(text.trim()).map_err(|_| none())?;
            let text = String::from_utf8(text).map_err(|_| none())?;
            let (_user, password) = text.split_once(':').ok_or_else(none)?;
            service.access.authorize(password)?
        }
        _ => bearer(service, headers)?,
    };
    allowed(service, request, actor)
}

/// Checks that an authenticated actor may do what the request's route is for.
fn allowed(service: &Service, request: &Request, actor: Actor) -> Result<Actor, Failure> {
    let method = request.method();
    origin::acts(&actor);
    known(request);
    service.documents.take_request(&actor.tenant)?;
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let action = Action::of_route(method.as_str(), route).ok_or_else(|| {
        Failure::Refused(format!("{method} {route} has no action: nobody may use it"))
    })?;
    may(&actor, action, "")?;
    Ok(Actor { origin: came(request), ..actor })
}

/// Place that a request came from.
fn came(request: &Request) -> Origin {
    let address = request.extensions().get::<PeerAddress>().map(|peer| peer.0);
    let id = request.extensions().get::<RequestId>().map(|id| id.0.clone());
    Origin { address, request: id.unwrap_or_default() }
}

/// Actor of the request's bearer token.
fn bearer(service: &Service, headers: &HeaderMap) -> Result<Actor, Failure> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (scheme, token) = given.and_then(|value| value.split_once(' ')).ok_or_else(|| {
        Failure::Unauthorized(
            "an access token is needed: Authorization: Bearer hfa1.<id>.<secret>".into(),
        )
    })?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Failure::Unauthorized("Authorization: only Bearer is served".into()));
    }
    match Secret::of_bearer(token.trim()) {
        // The command line's token of a login by an identity provider.
        Some(secret) => service.access.authorize_session(&secret),
        None => service.access.authorize(token.trim()),
    }
}

/// Marks the request's connection as authenticated, so that it no longer counts as a stranger's.
pub(super) fn known(request: &Request) {
    if let Some(seat) = request.extensions().get::<Arc<Seat>>() {
        seat.known();
    }
}

/// Middleware that admits operators.
pub(super) async fn operators(
    State(app): State<App>,
    mut request: Request,
    next: Next,
) -> Response {
    match operator(&app.service, &request) {
        Ok(actor) => {
            request.extensions_mut().insert(actor);
            next.run(request).await
        }
        Err(failure) => failure.into_response(),
    }
}

/// Middleware that admits requests with the cookie of a valid login.
pub(super) async fn sessions(State(app): State<App>, request: Request, next: Next) -> Response {
    let held = app.service.documents.check_held();
    match held
        .and_then(|()| secret(request.headers()))
        .and_then(|secret| app.service.access.session(&secret))
    {
        Ok(_session) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}

/// Middleware that admits operators and approved devices.
pub(super) async fn operators_and_devices(
    State(app): State<App>,
    mut request: Request,
    next: Next,
) -> Response {
    let device = request.extensions().get::<PeerDevice>().cloned();
    let allowed = match device {
        Some(device) if !request.headers().contains_key(header::AUTHORIZATION) => {
            let checked = device.check(&app.service);
            let DeviceId { tenant, device } = device.device;
            let actor = Actor { origin: came(&request), ..Actor::device(tenant, device) };
            origin::acts(&actor);
            checked.and_then(|()| app.service.documents.take_request(&actor.tenant)).map(|()| actor)
        }
        _ => operator(&app.service, &request),
    };
    match allowed {
        Ok(actor) => {
            request.extensions_mut().insert(actor);
            next.run(request).await
        }
        Err(failure) => failure.into_response(),
    }
}
