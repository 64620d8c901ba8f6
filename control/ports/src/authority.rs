//! Port of the certificate authority and of the key that signs what is sent to devices.
//!
//! See decision 0135.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_base::ids::DeviceId;
use holdfast_protocol::signing::Signer;
use serde::{Deserialize, Serialize};

use crate::keyring::{Keyring, KeyringError};

/// Context under which the authority's keys are sealed.
const CONTEXT: &[u8] = b"authority";

/// Keys of the authority, as they are in memory and in an encrypted backup. Whoever has them can act
/// as the control plane.
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

impl Keys {
    /// Seals the keys for the store.
    ///
    /// # Errors
    /// Returns a [`KeyringError`] when there are no random numbers.
    pub fn seal(&self, keyring: &dyn Keyring) -> Result<SealedKeys, KeyringError> {
        let plain = serde_json::to_vec(self).map_err(|_| KeyringError::Form)?;
        Ok(SealedKeys { sealed: STANDARD.encode(keyring.seal(CONTEXT, &plain)?) })
    }
}

/// Keys of the authority as the store has them: sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SealedKeys {
    /// JSON of [`Keys`], sealed by the keyring, in base64.
    sealed: String,
}

impl SealedKeys {
    /// Opens the keys.
    ///
    /// # Errors
    /// Returns a [`KeyringError`] when another control plane has sealed them, or they were changed.
    pub fn open(&self, keyring: &dyn Keyring) -> Result<Keys, KeyringError> {
        let sealed = STANDARD.decode(&self.sealed).map_err(|_| KeyringError::Form)?;
        let plain = keyring.open(CONTEXT, &sealed)?;
        serde_json::from_slice(&plain).map_err(|_| KeyringError::Form)
    }
}

/// Reason why the authority cannot work.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A certificate cannot be made.
    #[error("certificates cannot be made: {0}")]
    Certificate(String),
    /// A stored key or certificate cannot be read.
    #[error("the authority's {0} cannot be read")]
    Unreadable(&'static str),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
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

/// Certificate authority with the signing key, and the source of random numbers.
pub trait Authority: Send + Sync + 'static {
    /// Makes a certificate for a device with this public key (its SPKI in base64). `ttl` is its
    /// life in seconds.
    ///
    /// # Errors
    /// Returns an [`AuthorityError`] for an unreadable public key.
    fn certify(
        &self,
        device: &DeviceId,
        public_key: &str,
        ttl: u64,
        now: u64,
    ) -> Result<Certificate, AuthorityError>;

    /// Returns the keys of the authority, for the store (sealed) and encrypted backups.
    fn keys(&self) -> &Keys;

    /// Returns the signer of desired states and calls.
    fn signer(&self) -> &Signer;

    /// Returns the public key with which devices check signatures, in base64.
    fn signing_public(&self) -> String;

    /// Returns the SHA-256 digest of the CA certificate.
    fn ca_sha256(&self) -> [u8; 32];

    /// Returns the end of the CA certificate, in seconds since 1970.
    ///
    /// # Errors
    /// Returns [`AuthorityError::Unreadable`] when the certificate cannot be read.
    fn ca_end(&self) -> Result<u64, AuthorityError>;

    /// Returns the end of the newest server certificate, in seconds since 1970. None: there is none
    /// yet.
    fn server_end(&self) -> Option<u64>;

    /// Returns the trust domain in the SPIFFE ids of certificates.
    fn trust_domain(&self) -> &str;

    /// Fills `bytes` with random ones.
    ///
    /// # Errors
    /// Returns [`AuthorityError::Random`] when the system gives none.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), AuthorityError>;
}

impl dyn Authority {
    /// Returns random bytes.
    ///
    /// # Errors
    /// Returns [`AuthorityError::Random`] when the system gives none.
    pub fn random<const N: usize>(&self) -> Result<[u8; N], AuthorityError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }
}
