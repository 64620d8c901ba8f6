//! The gateway's TLS: version 1.3 alone, a client certificate of our CA asked for, tickets for
//! cheap reconnects. Who shows none is no device: readers prove themselves by a token, and a
//! certificate that is shown and does not hold ends the handshake. What a ticket resumes is checked again by `identity` at every connect.
//! See decision 0060.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Why the gateway cannot serve TLS.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The CA certificate cannot be used to verify devices.
    #[error("the CA certificate cannot verify devices: {0}")]
    Ca(String),
    /// The server's own certificate or key cannot be used.
    #[error("the gateway's own certificate or key cannot be used")]
    Identity(#[source] rustls::Error),
    /// The listener cannot be used.
    #[error("the listening socket cannot be used")]
    Listener(#[source] std::io::Error),
    /// The gateway has been shut down, or already listens.
    #[error("the gateway has been shut down")]
    Stopped,
}

/// The certificate that the gateway shows, with its key.
#[derive(Debug)]
pub struct ServerIdentity {
    /// Its certificate first, then what leads to the CA.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key of the first.
    pub key: PrivateKeyDer<'static>,
}

/// What stays the same when the server's certificate is replaced.
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

    /// A configuration that shows `identity`.
    pub(super) fn config(&self, identity: ServerIdentity) -> Result<ServerConfig, GatewayError> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(GatewayError::Identity)?
            .with_client_cert_verifier(Arc::clone(&self.verifier))
            .with_single_cert(identity.chain, identity.key)
            .map_err(GatewayError::Identity)?;
        config.ticketer = Arc::clone(&self.ticketer);
        // A device has one connection: one ticket, whose 1 KiB is paid at each connect.
        config.send_tls13_tickets = 1;
        // Stateless tickets carry the session; nothing is kept here for it.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        // Data waits in the session's bounded queue, not in rustls.
        Ok(config)
    }
}
