//! TLS of the gateway: version 1.3 only, an optional client certificate of our CA, and tickets for
//! cheap reconnects. A client without a certificate is no device: readers prove themselves by a
//! token. A certificate that is shown and not valid ends the handshake. The identity behind a
//! resumed ticket is checked again at every CONNECT.
//!
//! See decision 0060.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Reason why the gateway cannot serve TLS.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The CA certificate cannot be used to verify devices.
    #[error("the CA certificate cannot verify devices: {0}")]
    Ca(String),
    /// The server's certificate or key cannot be used.
    #[error("the gateway's own certificate or key cannot be used")]
    Identity(#[source] rustls::Error),
    /// The listening socket cannot be used.
    #[error("the listening socket cannot be used")]
    Listener(#[source] std::io::Error),
    /// The gateway has been shut down.
    #[error("the gateway has been shut down")]
    Stopped,
}

/// Certificate chain of the server, with its private key.
#[derive(Debug)]
pub struct ServerIdentity {
    /// Server certificate first, then the certificates up to the CA.
    pub chain: Vec<CertificateDer<'static>>,
    /// Private key of the first certificate.
    pub key: PrivateKeyDer<'static>,
}

/// Parts of the TLS configuration that stay when the server certificate is replaced.
pub(super) struct TlsBase {
    verifier: Arc<dyn rustls::server::danger::ClientCertVerifier>,
    ticketer: Arc<dyn rustls::server::ProducesTickets>,
    provider: Arc<rustls::crypto::CryptoProvider>,
}

impl TlsBase {
    pub(super) fn new(ca: &CertificateDer<'_>) -> Result<Self, GatewayError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned()).map_err(|error| GatewayError::Ca(error.to_string()))?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .allow_unauthenticated()
                .build()
                .map_err(|error| GatewayError::Ca(error.to_string()))?;
        let ticketer = rustls::crypto::ring::Ticketer::new().map_err(GatewayError::Identity)?;
        Ok(Self { verifier, ticketer, provider })
    }

    /// Builds a configuration that presents `identity`.
    pub(super) fn config(&self, identity: ServerIdentity) -> Result<ServerConfig, GatewayError> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(GatewayError::Identity)?
            .with_client_cert_verifier(Arc::clone(&self.verifier))
            .with_single_cert(identity.chain, identity.key)
            .map_err(GatewayError::Identity)?;
        config.ticketer = Arc::clone(&self.ticketer);
        // A device has one connection and needs one ticket, which costs 1 KiB at each connect.
        config.send_tls13_tickets = 1;
        // Tickets carry the TLS session, so nothing is stored here for it.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        // Output waits in the session's bounded queue, not in rustls.
        Ok(config)
    }
}
