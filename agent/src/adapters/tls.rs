//! TLS towards the control plane. Its CA is private and known before the first contact, the
//! server's name is fixed, and a clock that stands at 1970 stops nothing.
//!
//! See decisions 0013 and 0017.

use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::clock::Time;

/// The agent's knowledge of the control plane's CA.
#[derive(Debug, Clone)]
pub enum Ca {
    /// SHA-256 of the CA certificate, from the enrolment token. The certificate itself comes with
    /// the server's chain.
    Pinned([u8; 32]),
    /// CA certificate, as the enrolment gave it.
    Known(CertificateDer<'static>),
}

/// Certificate and key by which the agent identifies itself.
#[derive(Debug)]
pub struct ClientIdentity {
    /// Certificate chain, the device's own first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Private key of the certificate.
    pub key: PrivateKeyDer<'static>,
}

/// Builds a configuration for connections to the control plane. Reconnects with the same
/// configuration resume the TLS session, which saves bytes.
///
/// # Errors
/// When the key does not match the certificate.
pub fn config(
    ca: Ca,
    identity: Option<ClientIdentity>,
    time: Time,
) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Verifier { ca, provider: Arc::clone(&provider) });
    let builder = ClientConfig::builder_with_details(provider, Arc::new(time))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        Some(identity) => builder.with_client_auth_cert(identity.chain, identity.key)?,
        None => builder.with_no_client_auth(),
    };
    // One server: more remembered sessions are of no use.
    config.resumption = rustls::client::Resumption::in_memory_sessions(2);
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Verifier {
    ca: Ca,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn root(&self, sent: &[CertificateDer<'_>]) -> Result<CertificateDer<'static>, Error> {
        match &self.ca {
            Ca::Known(ca) => Ok(ca.clone()),
            Ca::Pinned(sha256) => sent
                .iter()
                .find(|certificate| digest(&SHA256, certificate).as_ref() == sha256)
                .map(|certificate| certificate.clone().into_owned())
                // Not of the CA that the token names: another control plane, or somebody in between.
                .ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root(intermediates)?)?;
        let verifier = WebPkiServerVerifier::builder_with_provider(
            Arc::new(roots),
            Arc::clone(&self.provider),
        )
        .build()
        .map_err(|error| Error::General(error.to_string()))?;
        let check = |now| verifier.verify_server_cert(end_entity, intermediates, name, ocsp, now);
        match check(now) {
            // The certificate is younger than the device's clock. The private CA signs nothing that
            // begins in the future, so the clock is behind: the check runs with the certificate's
            // own beginning.
            Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
                not_before,
                ..
            })) => check(not_before),
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
