//! Identity of a device, enrolled over the API as an agent does it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_base::ids::DeviceId;
use holdfast_protocol::enrol::{
    ENROL_PATH, EnrolAnswer, EnrolRequest, EnrolToken, Enrolment, RENEW_PATH, RenewRequest,
    enrol_proof, renew_proof_v0,
};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::harness::{Answer, Https};

/// Key of a device, with the enrolment that the control plane gave for it.
#[derive(Debug)]
pub struct Identity {
    key: KeyPair,
    /// Enrolment that the control plane gave.
    pub enrolment: Enrolment,
}

/// Returns a new device key.
pub fn new_key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a P-256 key can be made")
}

/// Returns the public key as the requests carry it.
pub fn public_key(key: &KeyPair) -> String {
    STANDARD.encode(key.subject_public_key_info())
}

/// Returns a signature as the requests carry it.
pub fn sign(key: &KeyPair, message: &[u8]) -> String {
    let random = SystemRandom::new();
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key.serialize_der(), &random)
            .expect("it is a P-256 key");
    STANDARD.encode(pair.sign(&random, message).expect("signing works"))
}

/// Returns the body of an enrolment request.
pub fn enrol_request(key: &KeyPair, token: &str, name: Option<&str>) -> EnrolRequest {
    let id = token.parse::<EnrolToken>().map_or_else(|_| String::new(), |token| token.id);
    let public_key = public_key(key);
    EnrolRequest {
        token: token.to_owned(),
        name: name.map(|name| name.parse().expect("a good name")),
        labels: [("sim".to_owned(), "yes".to_owned())].into(),
        proof: sign(key, &enrol_proof(&id, &public_key, None)),
        sealing_key: None,
        public_key,
    }
}

impl Identity {
    /// Enrols a key.
    ///
    /// # Errors
    /// Returns the control plane's response if it is anything but an approval, or None without one.
    pub fn enrol(
        https: &Https,
        key: KeyPair,
        token: &str,
        name: Option<&str>,
    ) -> Result<Self, Option<Answer>> {
        let body = serde_json::to_vec(&enrol_request(&key, token, name)).expect("it is JSON");
        Self::post(https, key, ENROL_PATH, &body)
    }

    /// Creates an identity from a key and its enrolment.
    pub fn of(key: KeyPair, enrolment: Enrolment) -> Self {
        Self { key, enrolment }
    }

    /// Requests a new certificate for a known key.
    ///
    /// # Errors
    /// Fails as [`Identity::enrol`] does.
    pub fn renew(https: &Https, key: KeyPair) -> Result<Self, Option<Answer>> {
        let public_key = public_key(&key);
        let proof = sign(&key, &renew_proof_v0(&public_key));
        let (nonce, sealing_key) = (None, None);
        let request = RenewRequest { public_key, nonce, sealing_key, proof };
        let body = serde_json::to_vec(&request).expect("it is JSON");
        Self::post(https, key, RENEW_PATH, &body)
    }

    fn post(https: &Https, key: KeyPair, path: &str, body: &[u8]) -> Result<Self, Option<Answer>> {
        let answer =
            https.send("POST", path, "application/json", body).map_err(|_unreachable| None)?;
        match serde_json::from_slice(&answer.body) {
            Ok(EnrolAnswer::Approved(enrolment)) => Ok(Self { key, enrolment: *enrolment }),
            _ => Err(Some(answer)),
        }
    }

    /// Returns a copy of the key.
    pub fn key(&self) -> KeyPair {
        KeyPair::from_pkcs8_der_and_sign_algo(
            &PrivatePkcs8KeyDer::from(self.key.serialize_der()),
            &PKCS_ECDSA_P256_SHA256,
        )
        .expect("it was a key a moment ago")
    }

    /// Returns `<tenant>_<device>`, which is also the MQTT client id.
    pub fn id(&self) -> String {
        let Enrolment { tenant, device, .. } = &self.enrolment;
        DeviceId { tenant: tenant.clone(), device: device.clone() }.to_string()
    }

    /// Returns the device's topic for a channel.
    pub fn topic(&self, channel: &str) -> String {
        format!("{}{channel}", self.enrolment.topic_prefix)
    }

    /// Returns the TLS configuration of this identity. It keeps tickets for `resumed` reconnects.
    pub fn tls(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        for ca in CertificateDer::pem_slice_iter(self.enrolment.ca.as_bytes()) {
            roots.add(ca.expect("the CA is PEM")).expect("the CA is a certificate");
        }
        let chain = CertificateDer::pem_slice_iter(self.enrolment.certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .expect("the certificate is PEM");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has the default versions")
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .expect("key and certificate belong together");
        Arc::new(config)
    }
}
