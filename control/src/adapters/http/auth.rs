//! Who asks: an operator with an access token, or a device with a certificate.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use holdfast_protocol::ids::DeviceId;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::App;
use crate::service::{Failure, Service};

/// Id of the access token of whoever asks.
#[derive(Debug, Clone)]
pub(super) struct Operator(pub(super) Box<str>);

/// The device whose certificate the connection showed. TLS has checked it against the CA.
#[derive(Debug, Clone)]
pub(super) struct PeerDevice {
    pub(super) device: DeviceId,
    serial: Box<[u8]>,
    not_after: i64,
}

impl PeerDevice {
    /// Reads it from a certificate of our CA. None: it names no device.
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

    /// May it fetch now? TLS looked at the dates when the connection began.
    pub(super) fn check(&self, service: &Service) -> Result<(), Failure> {
        if i64::try_from(service.now()).unwrap_or(i64::MAX) > self.not_after {
            return Err(Failure::Refused("the certificate has expired: renew it".into()));
        }
        service.admit_device(&self.device, &self.serial)
    }
}

/// Whose bearer token the request carries.
pub(super) fn bearer(service: &Service, headers: &HeaderMap) -> Result<Operator, Failure> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (scheme, token) = given.and_then(|value| value.split_once(' ')).ok_or_else(|| {
        Failure::Unauthorized(
            "an access token is needed: Authorization: Bearer hfa1.<id>.<secret>".into(),
        )
    })?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Failure::Unauthorized("Authorization: only Bearer is served".into()));
    }
    service.authorize(token.trim()).map(Operator)
}

/// Lets operators through.
pub(super) async fn operators(
    State(app): State<App>,
    mut request: Request,
    next: Next,
) -> Response {
    match bearer(&app.service, request.headers()) {
        Ok(operator) => {
            request.extensions_mut().insert(operator);
            next.run(request).await
        }
        Err(failure) => failure.into_response(),
    }
}

/// Lets operators and approved devices through.
pub(super) async fn operators_and_devices(
    State(app): State<App>,
    mut request: Request,
    next: Next,
) -> Response {
    let device = request.extensions().get::<PeerDevice>().cloned();
    let allowed = match device {
        Some(device) if !request.headers().contains_key(header::AUTHORIZATION) => {
            device.check(&app.service)
        }
        _ => bearer(&app.service, request.headers()).map(|operator| {
            request.extensions_mut().insert(operator);
        }),
    };
    match allowed {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}
