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
use ring::signature::{ECDSA_P256_SHA256_ASN1, Ed25519KeyPair, UnparsedPublicKey};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use super::gateway::ServerIdentity;
use crate::core::model::sha256;

/// Keys of the authority, as they are in the store and in a backup. Whoever has them can act as the
/// control plane.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Keys {
    /// CA certificate in PEM.
    pub ca_pem: String,
    /// Private key of the CA, in PEM.
    pub ca_key_pem: String,
    /// Signing key: Ed25519, PKCS#8, in base64.
    pub signing_key: String,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(withheld)")
    }
}

/// Reason why the authority cannot work.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A certificate cannot be made.
    #[error("certificates cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A stored key or certificate cannot be read.
    #[error("the authority's {0} cannot be read")]
    Unreadable(&'static str),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// Life of the CA certificate, in years. It is pinned in every device, and replacing it means
/// visiting them.
const CA_YEARS: u64 = 20;

/// Life of a server certificate. It is renewed at every start and after two thirds of it.
pub const SERVER_TTL: Duration = Duration::from_secs(90 * 86_400);

/// Time by which a certificate is backdated, in seconds, because clocks differ.
const BACKDATE: u64 = 3_600;

/// Length of a device certificate's serial number, in bytes.
const SERIAL: usize = 16;

/// The certificate authority, with the signing key.
pub struct Authority {
    keys: Keys,
    ca_der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    /// Signer of desired states and calls.
    pub signer: Signer,
    random: SystemRandom,
    trust_domain: String,
    /// End of the newest server certificate, in seconds since 1970; 0 when there is none yet.
    server_end: AtomicU64,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("ca", &self.ca_sha256()).finish_non_exhaustive()
    }
}

/// Certificate of a device.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate in PEM.
    pub pem: String,
    /// Serial number in hexadecimal.
    pub serial: String,
    /// Begin of its validity, in seconds since 1970.
    pub not_before: u64,
    /// End of its validity, in seconds since 1970.
    pub not_after: u64,
}

impl Keys {
    /// Makes a new CA and a new signing key.
    ///
    /// # Errors
    /// Returns an [`AuthorityError`] when there are no random numbers.
    pub fn generate(now: u64) -> Result<Self, AuthorityError> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.distinguished_name.push(DnType::CommonName, "Holdfast CA");
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = moment(now.saturating_sub(BACKDATE)).into();
        params.not_after = moment(now + CA_YEARS * 365 * 86_400).into();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.self_signed(&key)?;
        let signing = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| AuthorityError::Random)?;
        Ok(Self {
            ca_pem: certificate.pem(),
            ca_key_pem: key.serialize_pem(),
            signing_key: STANDARD.encode(signing.as_ref()),
        })
    }
}

fn moment(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

impl Authority {
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
        Ok(Self { keys, ca_der, issuer, signer, random, trust_domain, server_end })
    }

    /// Trust domain in the SPIFFE ids of certificates.
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// End of the CA certificate, in seconds since 1970.
    ///
    /// # Errors
    /// Returns [`AuthorityError::Unreadable`] when the certificate cannot be read.
    pub fn ca_end(&self) -> Result<u64, AuthorityError> {
        let unreadable = AuthorityError::Unreadable("CA certificate");
        match x509_parser::parse_x509_certificate(&self.ca_der) {
            Ok((_, parsed)) => {
                u64::try_from(parsed.validity().not_after.timestamp()).map_err(|_| unreadable)
            }
            Err(_) => Err(unreadable),
        }
    }

    /// End of the newest server certificate, in seconds since 1970; `None` when there is none yet.
    pub fn server_end(&self) -> Option<u64> {
        Some(self.server_end.load(Ordering::Relaxed)).filter(|end| *end > 0)
    }

    /// Keys of the authority, for the store and backups.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// CA certificate in DER.
    pub fn ca_der(&self) -> &CertificateDer<'static> {
        &self.ca_der
    }

    /// SHA-256 digest of the CA certificate.
    pub fn ca_sha256(&self) -> [u8; 32] {
        sha256(&self.ca_der)
    }

    /// Public key with which devices check signatures, in base64.
    pub fn signing_public(&self) -> String {
        STANDARD.encode(self.signer.public_key())
    }

    /// Returns random bytes.
    ///
    /// # Errors
    /// Returns [`AuthorityError::Random`] when the system gives none.
    pub fn random<const N: usize>(&self) -> Result<[u8; N], AuthorityError> {
        let mut bytes = [0; N];
        self.random.fill(&mut bytes).map_err(|_| AuthorityError::Random)?;
        Ok(bytes)
    }

    /// Makes a certificate and key for the server, with the CA certificate in the chain: a device
    /// that enrols knows nothing but the CA's digest.
    ///
    /// # Errors
    /// Returns an [`AuthorityError`] when the certificate cannot be made.
    pub fn server_identity(&self, now: u64) -> Result<ServerIdentity, AuthorityError> {
        let names = [SERVER_NAME, "localhost", "127.0.0.1", "::1"].map(String::from);
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, SERVER_NAME);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.not_before = moment(now.saturating_sub(BACKDATE)).into();
        params.not_after = moment(now + SERVER_TTL.as_secs()).into();
        params.serial_number = Some(SerialNumber::from(self.serial(&[0; 32])?.to_vec()));
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        self.server_end.store(now + SERVER_TTL.as_secs(), Ordering::Relaxed);
        Ok(ServerIdentity {
            chain: vec![certificate.der().clone(), self.ca_der.clone()],
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        })
    }

    /// Makes a serial number: a fixed byte 1 (so that the number is positive and always as long),
    /// the first 7 bytes of the key's digest, and 64 random bits.
    fn serial(&self, key_sha256: &[u8; 32]) -> Result<[u8; SERIAL], AuthorityError> {
        let mut serial = [1; SERIAL];
        let random: [u8; 8] = self.random()?;
        let tail = key_sha256.iter().take(7).chain(random.iter());
        serial.iter_mut().skip(1).zip(tail).for_each(|(to, from)| *to = *from);
        Ok(serial)
    }

    /// Makes a certificate for a device with this public key (its SPKI in base64). `ttl` is its
    /// life in seconds.
    ///
    /// # Errors
    /// Returns an [`AuthorityError`] for an unreadable public key.
    pub fn certify(
        &self,
        device: &DeviceId,
        public_key: &str,
        ttl: u64,
        now: u64,
    ) -> Result<Certificate, AuthorityError> {
        let spki = STANDARD
            .decode(public_key)
            .map_err(|_| AuthorityError::Unreadable("device's public key"))?;
        let spki = SubjectPublicKeyInfo::from_der(&spki)?;
        // A short-lived certificate must not begin long ago, because devices renew after two thirds
        // of its life.
        let not_before = now.saturating_sub(BACKDATE.min(ttl / 24));
        let not_after = now + ttl;
        let serial = self.serial(&sha256(public_key.as_bytes()))?;
        let uri = format!("spiffe://{}/{}/{}", self.trust_domain, device.tenant, device.device);
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, device.to_string());
        params.subject_alt_names = vec![SanType::URI(uri.as_str().try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.not_before = moment(not_before).into();
        params.not_after = moment(not_after).into();
        params.serial_number = Some(SerialNumber::from(serial.to_vec()));
        let certificate = params.signed_by(&spki, &self.issuer)?;
        Ok(Certificate { pem: certificate.pem(), serial: hex(&serial), not_before, not_after })
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

/// Returns true when a certificate with this serial number was made for this public key (base64).
pub fn serial_is_of(serial: &[u8], public_key: &str) -> bool {
    let digest = sha256(public_key.as_bytes());
    serial.len() == SERIAL && serial.iter().skip(1).take(7).eq(digest.iter().take(7))
}

/// First 26 bytes of a P-256 public key's SubjectPublicKeyInfo; the point's 65 bytes follow.
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Returns true when `proof` (base64) is a signature of `message` by the private key of
/// `public_key` (a P-256 SubjectPublicKeyInfo in base64).
pub fn proves(public_key: &str, message: &[u8], proof: &str) -> bool {
    let (Ok(spki), Ok(proof)) = (STANDARD.decode(public_key), STANDARD.decode(proof)) else {
        return false;
    };
    let Some(point) = spki.strip_prefix(&P256) else { return false };
    point.len() == 65
        && UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, &proof).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::PublicKeyData as _;

    #[test]
    fn a_devices_certificate_says_who_it_is_and_is_bound_to_its_key() {
        let now = 1_795_000_000;
        let authority = Authority::new(Keys::generate(now).unwrap(), "holdfast").unwrap();
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
        let one = Keys::generate(1_795_000_000).unwrap();
        let other = Keys::generate(1_795_000_000).unwrap();
        let mixed = Keys { ca_key_pem: other.ca_key_pem, ..one };
        assert!(Authority::new(mixed, "holdfast").is_err());
    }
}
