//! Certificate authority, and the key that signs what is sent to devices.
//!
//! A device's certificate is bound to the device's present key by its serial number, so that an old
//! certificate is of no use for a name that was given to another key.
//!
//! See decisions 0003 and 0017.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_base::ids::{DeviceId, hex};
use holdfast_protocol::enrol::SERVER_NAME;
use holdfast_protocol::signing::Signer;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::Ed25519KeyPair;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::gateway::ServerIdentity;
use crate::core::device_key;
use crate::core::model::sha256;
use crate::ports::authority::{Authority, AuthorityError, Certificate, Keys};

/// Life of the CA certificate, in years. It is pinned in every device, and replacing it means
/// visiting them.
const CA_YEARS: u64 = 20;

/// Life of a server certificate. It is renewed at every start and after two thirds of it.
pub const SERVER_TTL: Duration = Duration::from_secs(90 * 86_400);

/// Time by which a certificate is backdated, in seconds, because clocks differ.
const BACKDATE: u64 = 3_600;

/// Certificate authority in this process, with the signing key.
pub struct LocalAuthority {
    keys: Keys,
    ca_der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    signer: Signer,
    random: SystemRandom,
    trust_domain: String,
    /// Further names and addresses in certificates of the server.
    names: Vec<String>,
    /// End of the newest server certificate, in seconds since 1970; 0 when there is none yet.
    server_end: AtomicU64,
}

impl std::fmt::Debug for LocalAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalAuthority").field("ca", &self.ca_sha256()).finish_non_exhaustive()
    }
}

/// Makes a new CA and a new signing key.
///
/// # Errors
/// Returns an [`AuthorityError`] when there are no random numbers.
pub fn generate(now: u64) -> Result<Keys, AuthorityError> {
    let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.distinguished_name.push(DnType::CommonName, "Holdfast CA");
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = moment(now.saturating_sub(BACKDATE)).into();
    params.not_after = moment(now + CA_YEARS * 365 * 86_400).into();
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    let signing =
        Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| AuthorityError::Random)?;
    Ok(Keys {
        ca_pem: certificate.pem(),
        ca_key_pem: key.serialize_pem(),
        signing_key: STANDARD.encode(signing.as_ref()),
    })
}

/// Checks that an authority can be made from these keys.
///
/// # Errors
/// Returns [`AuthorityError::Unreadable`] for keys that cannot be read or do not fit each other.
pub fn check(keys: &Keys) -> Result<(), AuthorityError> {
    LocalAuthority::new(keys.clone(), "check").map(drop)
}

/// Turns an error of the library that makes certificates into one of the port.
fn failed(error: rcgen::Error) -> AuthorityError {
    AuthorityError::Certificate(error.to_string())
}

fn moment(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

impl LocalAuthority {
    /// Makes the authority from its stored keys.
    ///
    /// # Errors
    /// Returns [`AuthorityError::Unreadable`] for keys that cannot be read or do not fit each
    /// other.
    pub fn new(keys: Keys, trust_domain: &str) -> Result<Self, AuthorityError> {
        let unreadable = |what| move |_| AuthorityError::Unreadable(what);
        let ca_der = CertificateDer::from_pem_slice(keys.ca_pem.as_bytes())
            .map_err(|_| AuthorityError::Unreadable("CA certificate"))?;
        let pair = KeyPair::from_pkcs8_pem_and_sign_algo(&keys.ca_key_pem, &PKCS_ECDSA_P256_SHA256)
            .map_err(unreadable("CA key"))?;
        check_pair(&ca_der, &pair)?;
        let issuer =
            Issuer::from_ca_cert_der(&ca_der, pair).map_err(unreadable("CA certificate"))?;
        let signing = STANDARD
            .decode(&keys.signing_key)
            .map_err(|_| AuthorityError::Unreadable("signing key"))?;
        let signer =
            Signer::from_pkcs8(&signing).map_err(|_| AuthorityError::Unreadable("signing key"))?;
        let random = SystemRandom::new();
        let (trust_domain, server_end) = (trust_domain.to_owned(), AtomicU64::new(0));
        let names = Vec::new();
        Ok(Self { keys, ca_der, issuer, signer, random, trust_domain, names, server_end })
    }

    /// Adds further names and addresses to certificates of the server.
    #[must_use]
    pub fn with_names(self, names: &[String]) -> Self {
        Self { names: names.to_vec(), ..self }
    }

    /// CA certificate in DER.
    pub fn ca_der(&self) -> &CertificateDer<'static> {
        &self.ca_der
    }

    /// Makes a certificate and key for the server, with the CA certificate in the chain: a device
    /// that enrols knows nothing but the CA's digest.
    ///
    /// # Errors
    /// Returns an [`AuthorityError`] when the certificate cannot be made.
    pub fn server_identity(&self, now: u64) -> Result<ServerIdentity, AuthorityError> {
        let mut names = [SERVER_NAME, "localhost", "127.0.0.1", "::1"].map(String::from).to_vec();
        let more = self.names.iter().filter(|name| !names.contains(name));
        names.extend(more.cloned().collect::<Vec<String>>());
        let mut params = CertificateParams::new(names).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, SERVER_NAME);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.not_before = moment(now.saturating_sub(BACKDATE)).into();
        params.not_after = moment(now + SERVER_TTL.as_secs()).into();
        params.serial_number = Some(self.serial("")?);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        self.server_end.store(now + SERVER_TTL.as_secs(), Ordering::Relaxed);
        Ok(ServerIdentity {
            chain: vec![certificate.der().clone(), self.ca_der.clone()],
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        })
    }

    /// Makes a serial number for a certificate of this public key (base64).
    fn serial(&self, public_key: &str) -> Result<SerialNumber, AuthorityError> {
        let mut random = [0; 8];
        self.fill(&mut random)?;
        Ok(SerialNumber::from(device_key::serial(public_key, random).to_vec()))
    }
}

impl Authority for LocalAuthority {
    fn certify(
        &self,
        device: &DeviceId,
        public_key: &str,
        ttl: u64,
        now: u64,
    ) -> Result<Certificate, AuthorityError> {
        let spki = STANDARD
            .decode(public_key)
            .map_err(|_| AuthorityError::Unreadable("device's public key"))?;
        let spki = SubjectPublicKeyInfo::from_der(&spki).map_err(failed)?;
        // A short-lived certificate must not begin long ago, because devices renew after two thirds
        // of its life.
        let not_before = now.saturating_sub(BACKDATE.min(ttl / 24));
        let not_after = now + ttl;
        let serial = self.serial(public_key)?;
        let uri = format!("spiffe://{}/{}/{}", self.trust_domain, device.tenant, device.device);
        let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, device.to_string());
        params.subject_alt_names = vec![SanType::URI(uri.as_str().try_into().map_err(failed)?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.not_before = moment(not_before).into();
        params.not_after = moment(not_after).into();
        let serial_hex = hex(serial.as_ref());
        params.serial_number = Some(serial);
        let certificate = params.signed_by(&spki, &self.issuer).map_err(failed)?;
        Ok(Certificate { pem: certificate.pem(), serial: serial_hex, not_before, not_after })
    }

    fn keys(&self) -> &Keys {
        &self.keys
    }

    fn signer(&self) -> &Signer {
        &self.signer
    }

    fn signing_public(&self) -> String {
        STANDARD.encode(self.signer.public_key())
    }

    fn ca_sha256(&self) -> [u8; 32] {
        sha256(&self.ca_der)
    }

    fn ca_end(&self) -> Result<u64, AuthorityError> {
        let unreadable = AuthorityError::Unreadable("CA certificate");
        match x509_parser::parse_x509_certificate(&self.ca_der) {
            Ok((_, parsed)) => {
                u64::try_from(parsed.validity().not_after.timestamp()).map_err(|_| unreadable)
            }
            Err(_) => Err(unreadable),
        }
    }

    fn server_end(&self) -> Option<u64> {
        Some(self.server_end.load(Ordering::Relaxed)).filter(|end| *end > 0)
    }

    fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    fn fill(&self, bytes: &mut [u8]) -> Result<(), AuthorityError> {
        self.random.fill(bytes).map_err(|_| AuthorityError::Random)
    }
}

/// Checks that the CA's private key belongs to its certificate. A backup with another key would
/// make a control plane that no device trusts.
fn check_pair(ca: &CertificateDer<'_>, pair: &KeyPair) -> Result<(), AuthorityError> {
    use rcgen::PublicKeyData as _;
    let (_, parsed) = x509_parser::parse_x509_certificate(ca)
        .map_err(|_| AuthorityError::Unreadable("CA certificate"))?;
    if parsed.public_key().raw == pair.subject_public_key_info() {
        Ok(())
    } else {
        Err(AuthorityError::Unreadable("CA key (it is not the certificate's)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::device_key::serial_is_of;
    use rcgen::PublicKeyData as _;

    #[test]
    fn a_devices_certificate_says_who_it_is_and_is_bound_to_its_key() {
        let now = 1_795_000_000;
        let authority = LocalAuthority::new(generate(now).unwrap(), "holdfast").unwrap();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let public = STANDARD.encode(key.subject_public_key_info());
        let id: DeviceId = "default_d-1".parse().unwrap();
        let made = authority.certify(&id, &public, 6, now).unwrap();
        assert_eq!((made.not_before, made.not_after), (now, now + 6));
        let der = CertificateDer::from_pem_slice(made.pem.as_bytes()).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert_eq!(hex(parsed.raw_serial()), made.serial);
        assert_eq!(parsed.public_key().raw, key.subject_public_key_info());
        assert!(serial_is_of(parsed.raw_serial(), &public));
        let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        assert!(!serial_is_of(
            parsed.raw_serial(),
            &STANDARD.encode(other.subject_public_key_info())
        ));
    }

    #[test]
    fn a_ca_with_another_ones_key_is_refused() {
        let one = generate(1_795_000_000).unwrap();
        let other = generate(1_795_000_000).unwrap();
        let one_whole = one.clone();
        let mixed = Keys { ca_key_pem: other.ca_key_pem, ..one };
        assert!(check(&mixed).is_err());
        check(&one_whole).unwrap();
    }
}
