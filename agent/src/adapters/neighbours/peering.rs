//! TLS between two devices: each shows its own certificate, and checks that the other one's is signed
//! by the same CA, and of a device of the same tenant. Both certificates are those by which devices
//! speak with the control plane, so a server's is checked as a client's is.
//!
//! See decision 0179.

use std::sync::Arc;

use holdfast_base::ids::{DeviceId, Name};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::adapters::clock::Time;
use crate::adapters::tls::ClientIdentity;
use crate::core::peer::device_of;

/// Identity of this device towards its neighbours, with TLS configurations for both directions.
#[derive(Debug)]
pub struct Peering {
    device: DeviceId,
    pub(super) client: Arc<ClientConfig>,
    pub(super) server: Arc<ServerConfig>,
}

impl Peering {
    /// Makes the configurations.
    ///
    /// # Errors
    /// When the key does not match the certificate, or the CA's certificate cannot be used.
    pub fn new(
        device: DeviceId,
        ca: CertificateDer<'static>,
        identity: &ClientIdentity,
        time: Time,
    ) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(ca)?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider))
                .build()
                .map_err(|error| Error::General(error.to_string()))?;
        let own = || (identity.chain.clone(), identity.key.clone_key());
        let time = Arc::new(time);
        let (chain, key) = own();
        let mut server = ServerConfig::builder_with_details(Arc::clone(&provider), time.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::clone(&verifier))
            .with_single_cert(chain, key)?;
        server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        let (chain, key) = own();
        let mut client = ClientConfig::builder_with_details(provider, time)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Peer { verifier }))
            .with_client_auth_cert(chain, key)?;
        client.resumption = rustls::client::Resumption::disabled();
        Ok(Self { device, client: Arc::new(client), server: Arc::new(server) })
    }

    /// This device.
    pub(super) fn device(&self) -> &DeviceId {
        &self.device
    }

    /// Name of the device on the other side, by its certificate, which TLS has checked. None: it is
    /// of another tenant, or this very device.
    pub(super) fn neighbour(&self, chain: Option<&[CertificateDer<'_>]>) -> Option<Name> {
        let other = device_of(chain?.first()?)?;
        let is_other = other.tenant == self.device.tenant && other.device != self.device.device;
        is_other.then_some(other.device)
    }
}

/// Verifier of the certificate of a device that serves.
#[derive(Debug)]
struct Peer {
    verifier: Arc<dyn ClientCertVerifier>,
}

impl ServerCertVerifier for Peer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verifier.verify_client_cert(end_entity, intermediates, now)?;
        if device_of(end_entity).is_none() {
            return Err(Error::InvalidCertificate(CertificateError::NotValidForName));
        }
        Ok(ServerCertVerified::assertion())
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
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
