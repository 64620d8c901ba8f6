//! Certificate authority for tests: good certificates and every kind of bad one.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use holdfast_control::adapters::gateway::ServerIdentity;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

pub const TRUST_DOMAIN: &str = "test.holdfast";

/// CA of a test, which also signs the bad certificates.
pub struct Pki {
    issuer: Issuer<'static, KeyPair>,
    pub ca_der: CertificateDer<'static>,
    pub ca_pem: String,
}

/// Certificate and key of a device.
#[derive(Clone)]
pub struct Credentials {
    pub name: String,
    pub cert_der: CertificateDer<'static>,
    pub cert_pem: String,
    pub key_pem: String,
    pub key_der: Vec<u8>,
}

/// Content of a device's certificate; changed to make bad ones.
pub struct Saying {
    pub common_name: String,
    pub sans: Vec<SanType>,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    pub serial: Option<u64>,
}

impl Saying {
    /// Returns the content of a good certificate.
    pub fn of(name: &str) -> Self {
        let (tenant, device) = name.split_once('_').unwrap();
        Self {
            common_name: name.into(),
            sans: vec![spiffe(tenant, device)],
            not_before: SystemTime::now() - Duration::from_secs(3_600),
            not_after: SystemTime::now() + Duration::from_secs(3_600),
            serial: None,
        }
    }
}

pub fn spiffe(tenant: &str, device: &str) -> SanType {
    uri(&format!("spiffe://{TRUST_DOMAIN}/{tenant}/{device}"))
}

pub fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

impl Pki {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Test CA");
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        Self { ca_der: cert.der().clone(), ca_pem: cert.pem(), issuer: Issuer::new(params, key) }
    }

    pub fn server(&self) -> ServerIdentity {
        let names = ["localhost", "127.0.0.1", holdfast_protocol::enrol::SERVER_NAME];
        let mut params = CertificateParams::new(names.map(String::from)).unwrap();
        params.distinguished_name.push(DnType::CommonName, "Test gateway");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        ServerIdentity {
            chain: vec![cert.der().clone()],
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        }
    }

    pub fn device(&self, name: &str) -> Credentials {
        self.certify(Saying::of(name))
    }

    pub fn certify(&self, saying: Saying) -> Credentials {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, saying.common_name.as_str());
        params.subject_alt_names = saying.sans;
        params.not_before = saying.not_before.into();
        params.not_after = saying.not_after.into();
        params.serial_number = saying.serial.map(SerialNumber::from);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Credentials {
            name: saying.common_name,
            cert_der: cert.der().clone(),
            cert_pem: cert.pem(),
            key_pem: key.serialize_pem(),
            key_der: key.serialize_der(),
        }
    }

    /// Returns the TLS configuration of a device that trusts this CA.
    pub fn client(&self, credentials: Option<&Credentials>) -> Arc<ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.ca_der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match credentials {
            None => builder.with_no_client_auth(),
            Some(device) => {
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(device.key_der.clone()));
                builder.with_client_auth_cert(vec![device.cert_der.clone()], key).unwrap()
            }
        })
    }
}
