//! Identity of a device, read from its verified certificate.

use holdfast_base::ids::DeviceId;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Parts of a device's certificate that the gateway uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) device: DeviceId,
    /// Serial number, big-endian, as in the certificate.
    pub(super) serial: Vec<u8>,
    /// Begin of the validity, in seconds since 1970.
    pub(super) not_before: i64,
    /// End of the validity, in seconds since 1970.
    pub(super) not_after: i64,
}

/// Reason why a certificate of our CA names no device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotADevice {
    #[error("the certificate cannot be read")]
    Unreadable,
    #[error("the certificate's common name is not <tenant>_<device>")]
    CommonName,
    #[error("the certificate has no one SAN spiffe://<trust domain>/<tenant>/<device>")]
    San,
    #[error("the certificate's common name and SAN name different devices")]
    Disagree,
}

/// Reads a certificate. Our CA writes common name and SAN alike; a certificate in which they differ
/// was not issued to a device.
pub(super) fn identify(der: &CertificateDer<'_>) -> Result<Identity, NotADevice> {
    let (rest, cert) = X509Certificate::from_der(der).map_err(|_| NotADevice::Unreadable)?;
    if !rest.is_empty() {
        return Err(NotADevice::Unreadable);
    }
    let mut names = cert.subject().iter_common_name();
    let (Some(name), None) = (names.next(), names.next()) else {
        return Err(NotADevice::CommonName);
    };
    let device: DeviceId =
        name.as_str().ok().and_then(|text| text.parse().ok()).ok_or(NotADevice::CommonName)?;
    let san = cert.subject_alternative_name().ok().flatten().ok_or(NotADevice::San)?;
    let mut uris = san.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix("spiffe://"),
        _ => None,
    });
    let (Some(uri), None) = (uris.next(), uris.next()) else {
        return Err(NotADevice::San);
    };
    let mut parts = uri.split('/');
    let (Some(trust_domain), Some(tenant), Some(name), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(NotADevice::San);
    };
    if trust_domain.is_empty() {
        return Err(NotADevice::San);
    }
    if device.tenant.as_str() != tenant || device.device.as_str() != name {
        return Err(NotADevice::Disagree);
    }
    Ok(Identity {
        device,
        serial: cert.raw_serial().to_vec(),
        not_before: cert.validity().not_before.timestamp(),
        not_after: cert.validity().not_after.timestamp(),
    })
}
