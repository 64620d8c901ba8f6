//! TLS to a control plane whose CA is known by its SHA-256, whatever address is dialled.
//!
//! The server sends its chain with the CA in it. A chain whose CA has another digest is refused,
//! and so is a certificate that the CA did not sign for [`SERVER_NAME`]. Nothing is trusted on
//! first use, and the CAs of the system do not count.
//!
//! See decision 0017.

use std::fmt;
use std::sync::Arc;

use holdfast_protocol::enrol::SERVER_NAME;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// Returns a client's TLS configuration that trusts this CA alone.
pub(crate) fn config(ca_sha256: [u8; 32]) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let pinned = Pinned { ca_sha256, provider: Arc::clone(&provider) };
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pinned))
        .with_no_client_auth())
}

/// Returns the SHA-256 of a certificate in DER.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    let computed = ::ring::digest::digest(&::ring::digest::SHA256, bytes);
    for (to, from) in digest.iter_mut().zip(computed.as_ref()) {
        *to = *from;
    }
    digest
}

struct Pinned {
    ca_sha256: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pinned").finish()
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _dialled: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let known = |certificate: &&CertificateDer<'_>| sha256(certificate) == self.ca_sha256;
        let Some(ca) = intermediates.iter().find(known) else {
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        };
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(
            Arc::new(roots),
            Arc::clone(&self.provider),
        )
        .build()
        .map_err(|error| Error::General(error.to_string()))?;
        let name =
            ServerName::try_from(SERVER_NAME).map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, &name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let schemes = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, schemes)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let schemes = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, schemes)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    use super::*;

    struct Plane {
        ca: CertificateDer<'static>,
        issuer: CertifiedIssuer<'static, KeyPair>,
    }

    fn plane() -> Plane {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Plane { ca: issuer.der().clone(), issuer }
    }

    impl Plane {
        fn leaf(&self, name: &str) -> CertificateDer<'static> {
            let params = CertificateParams::new([name.to_owned()]).unwrap();
            let key = KeyPair::generate().unwrap();
            params.signed_by(&key, &self.issuer).unwrap().der().clone()
        }
    }

    fn judge(
        ca: &CertificateDer<'_>,
        leaf: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
    ) -> Result<(), Error> {
        let provider = Arc::new(ring::default_provider());
        let pinned = Pinned { ca_sha256: sha256(ca), provider };
        let dialled = ServerName::try_from("127.0.0.1").unwrap();
        pinned.verify_server_cert(leaf, sent, &dialled, &[], UnixTime::now()).map(drop)
    }

    #[test]
    fn only_what_the_known_ca_signed_for_the_known_name_is_believed() {
        let (ours, other) = (plane(), plane());
        let leaf = ours.leaf(SERVER_NAME);
        assert_eq!(judge(&ours.ca, &leaf, std::slice::from_ref(&ours.ca)), Ok(()));
        assert!(judge(&ours.ca, &leaf, &[]).is_err(), "no CA was sent");
        assert!(
            judge(&other.ca, &leaf, std::slice::from_ref(&ours.ca)).is_err(),
            "another CA is known"
        );
        let foreign = other.leaf(SERVER_NAME);
        let sent = [ours.ca.clone(), other.ca.clone()];
        assert!(judge(&ours.ca, &foreign, &sent).is_err(), "ours is there, but signed nothing");
        let device = ours.leaf("gw-1.devices.internal");
        assert!(
            judge(&ours.ca, &device, std::slice::from_ref(&ours.ca)).is_err(),
            "a device's certificate"
        );
    }
}
