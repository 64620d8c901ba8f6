//! Identity of this device: its private key, made here and never sent, and its enrolment with the
//! control plane. Kept in `identity.json`, which is replaced as a whole.
//!
//! See decisions 0003, 0009, 0040 and 0161.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_base::ids::{DeviceId, Labels, Name, hex, unhex};
use holdfast_protocol::enrol::{
    ENROL_PATH, EnrolAnswer, EnrolRequest, EnrolToken, Enrolment, NONCE_PATH, NonceAnswer,
    NonceRequest, RENEW_PATH, RenewRequest, enrol_proof, renew_proof, renew_proof_v0,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use super::clock::Time;
use super::files;
use super::https::{Api, HttpsError, NotAUrl, Url};
use super::meter::Tap;
use super::neighbours::peering::Peering;
use super::sealing;
use super::tls::{self, Ca, ClientIdentity};
use crate::core::certificate::Life;

/// DER bytes that precede a P-256 point in a SubjectPublicKeyInfo.
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Reasons why there is no identity, or no new certificate.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Error of the file system.
        source: io::Error,
    },
    /// The file is damaged.
    #[error("{path} is damaged: {why}; enrol again")]
    Damaged {
        /// Path of the file.
        path: PathBuf,
        /// Reason as text.
        why: String,
    },
    /// The key cannot be created or used.
    #[error("the device's key: {0}")]
    Key(String),
    /// The request to the control plane failed.
    #[error(transparent)]
    Https(#[from] HttpsError),
}

/// Content of `identity.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    /// Address of the control plane's API.
    url: String,
    /// SHA-256 of the CA certificate, hexadecimal.
    ca_sha256: String,
    /// Private key: PKCS#8, base64.
    key: String,
    /// Name that the device asked for or has.
    #[serde(default)]
    name: Option<Name>,
    /// Enrolment that the control plane gave; `None` while the device waits for approval.
    #[serde(default)]
    enrolment: Option<Enrolment>,
}

/// Identity of a device, as `identity.json` holds it.
#[derive(Debug, Clone)]
pub struct Identity {
    path: PathBuf,
    document: Document,
    url: Url,
    key: Vec<u8>,
    /// Reason why the content in memory is not in the file.
    unsaved: Option<String>,
    /// Version of the file when it was last read or written.
    seen: Option<Stamp>,
}

/// Version of a file: tells it from a file that was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let meta = std::fs::metadata(path).ok()?;
        let changed = (meta.ctime(), meta.ctime_nsec());
        Some(Self { inode: meta.ino(), length: meta.len(), changed })
    }
}

impl Identity {
    /// Reads the identity of a data folder. `None` when there is none yet.
    ///
    /// # Errors
    /// [`IdentityError::File`], [`IdentityError::Damaged`].
    pub fn load(data: &Path) -> Result<Option<Self>, IdentityError> {
        Self::read(data.join("identity.json"))
    }

    fn read(path: PathBuf) -> Result<Option<Self>, IdentityError> {
        // Taken before reading: a file that is replaced meanwhile then counts as another version.
        let seen = Stamp::of(&path);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(IdentityError::File { path, source }),
        };
        let damaged = |why: String| IdentityError::Damaged { path: path.clone(), why };
        let document: Document =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        let key = STANDARD.decode(&document.key).map_err(|error| damaged(error.to_string()))?;
        let url = document.url.parse().map_err(|error: NotAUrl| damaged(error.to_string()))?;
        Ok(Some(Self { path, document, url, key, unsaved: None, seen }))
    }

    /// Creates a key for a first enrolment and stores it before it is used. Whichever response is
    /// lost, the device asks again with the same key and stays the same device.
    ///
    /// # Errors
    /// [`IdentityError::File`], [`IdentityError::Key`].
    pub fn prepare(data: &Path, url: &Url, token: &EnrolToken) -> Result<Self, IdentityError> {
        let ca_sha256 = hex(&token.ca_sha256);
        let known = match Self::load(data) {
            Err(IdentityError::Damaged { path, .. }) => {
                // Kept for a person who may recover something from it; a new key is made.
                std::fs::rename(&path, path.with_extension("damaged"))
                    .map_err(|source| IdentityError::File { path, source })?;
                None
            }
            known => known?,
        };
        let mut identity = match known {
            Some(identity) => identity,
            None => {
                let made = EcdsaKeyPair::generate_pkcs8(
                    &ECDSA_P256_SHA256_ASN1_SIGNING,
                    &SystemRandom::new(),
                );
                let key = made.map_err(|error| IdentityError::Key(error.to_string()))?;
                let key = key.as_ref().to_vec();
                let document = Document {
                    url: url.to_string(),
                    ca_sha256: ca_sha256.clone(),
                    key: STANDARD.encode(&key),
                    name: None,
                    enrolment: None,
                };
                let path = data.join("identity.json");
                Self { path, document, url: url.clone(), key, unsaved: None, seen: None }
            }
        };
        if identity.document.enrolment.is_none() {
            identity.document.url = url.to_string();
            identity.document.ca_sha256 = ca_sha256;
            identity.url = url.clone();
            identity.save()?;
        }
        Ok(identity)
    }

    fn save(&mut self) -> Result<(), IdentityError> {
        let path = self.path.clone();
        let damaged = |why: String| IdentityError::Damaged { path: path.clone(), why };
        let bytes = serde_json::to_vec_pretty(&self.document)
            .map_err(|error| damaged(error.to_string()))?;
        files::replace(&self.path, &bytes, 0o600)
            .map_err(|source| IdentityError::File { path: path.clone(), source })?;
        self.seen = Stamp::of(&self.path);
        Ok(())
    }

    /// Returns the identity in the file if it is another by now, because `enroll` ran beside the
    /// agent. A file that cannot be read is ignored: the identity in memory is better.
    pub fn replaced(&self) -> Option<Self> {
        let now = Stamp::of(&self.path)?;
        if Some(now) == self.seen {
            return None;
        }
        let other = Self::read(self.path.clone()).ok().flatten()?;
        (other.document != self.document).then_some(other)
    }

    /// True when desired states for one identity do not hold for the other: another device, or
    /// another control plane's signing key.
    pub fn is_another(&self, other: &Self) -> bool {
        self.device() != other.device() || self.signing_key() != other.signing_key()
    }

    /// Enrolment that the control plane gave. `None` while the device waits for approval.
    pub fn enrolment(&self) -> Option<&Enrolment> {
        self.document.enrolment.as_ref()
    }

    /// Id of the device, once it is enrolled.
    pub fn device(&self) -> Option<DeviceId> {
        let enrolment = self.enrolment()?;
        Some(DeviceId { tenant: enrolment.tenant.clone(), device: enrolment.device.clone() })
    }

    /// Name that the device asked for or has.
    pub fn name(&self) -> Option<&Name> {
        self.document.name.as_ref()
    }

    /// Period of validity of the device's certificate.
    pub fn life(&self) -> Option<Life> {
        let enrolment = self.enrolment()?;
        Some(Life { not_before: enrolment.not_before, not_after: enrolment.not_after })
    }

    /// Public key that desired states are signed with; empty before the enrolment.
    pub fn signing_key(&self) -> Vec<u8> {
        let enrolment = self.enrolment();
        enrolment.and_then(|it| STANDARD.decode(&it.signing_key).ok()).unwrap_or_default()
    }

    /// Address of the API.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Host and port of each broker. An entry without a host means the API's host.
    pub fn brokers(&self) -> Vec<(String, u16)> {
        let Some(enrolment) = self.enrolment() else { return Vec::new() };
        let parse = |text: &String| {
            let (host, port) = text.rsplit_once(':')?;
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let host = if host.is_empty() { &self.url.host } else { host };
            Some((host.to_owned(), port.parse().ok()?))
        };
        enrolment.mqtt.iter().filter_map(parse).collect()
    }

    fn ca(&self) -> Result<Ca, IdentityError> {
        match self.enrolment() {
            Some(enrolment) => CertificateDer::from_pem_slice(enrolment.ca.as_bytes())
                .map(Ca::Known)
                .map_err(|error| self.damaged(&error)),
            None => unhex::<32>(&self.document.ca_sha256)
                .map(Ca::Pinned)
                .ok_or_else(|| self.damaged(&"caSha256")),
        }
    }

    fn damaged(&self, why: &dyn std::fmt::Display) -> IdentityError {
        IdentityError::Damaged { path: self.path.clone(), why: why.to_string() }
    }

    /// Client that trusts the control plane and shows no certificate, for renewal, which has to
    /// work with an expired one.
    fn anonymous(&self, time: &Time, tap: Tap) -> Result<Api, IdentityError> {
        let tls = tls::config(self.ca()?, None, time.clone())
            .map_err(|error| IdentityError::Key(error.to_string()))?;
        Ok(Api { url: self.url.clone(), tls, tap })
    }

    /// TLS configuration that shows the device's certificate.
    ///
    /// # Errors
    /// [`IdentityError`], when there is no certificate or it does not match the key.
    pub fn tls(&self, time: &Time) -> Result<Arc<ClientConfig>, IdentityError> {
        let enrolment = self.enrolment().ok_or_else(|| self.damaged(&"no certificate yet"))?;
        let identity = self.client(enrolment)?;
        tls::config(self.ca()?, Some(identity), time.clone())
            .map_err(|error| IdentityError::Key(error.to_string()))
    }

    /// Identity towards neighbours.
    ///
    /// # Errors
    /// [`IdentityError`], as [`Identity::tls`].
    pub fn peering(&self, time: &Time) -> Result<Peering, IdentityError> {
        let none = || self.damaged(&"no certificate yet");
        let (enrolment, device) = self.enrolment().zip(self.device()).ok_or_else(none)?;
        let identity = self.client(enrolment)?;
        let Ca::Known(ca) = self.ca()? else { return Err(none()) };
        Peering::new(device, ca, &identity, time.clone())
            .map_err(|error| IdentityError::Key(error.to_string()))
    }

    fn client(&self, enrolment: &Enrolment) -> Result<ClientIdentity, IdentityError> {
        let chain = CertificateDer::pem_slice_iter(enrolment.certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| self.damaged(&error))?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.clone()));
        Ok(ClientIdentity { chain, key })
    }

    fn pair(&self) -> Result<EcdsaKeyPair, IdentityError> {
        let random = SystemRandom::new();
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &self.key, &random)
            .map_err(|error| IdentityError::Key(error.to_string()))
    }

    fn public_key(&self) -> Result<String, IdentityError> {
        let pair = self.pair()?;
        let mut spki = SPKI_PREFIX.to_vec();
        spki.extend(pair.public_key().as_ref());
        Ok(STANDARD.encode(spki))
    }

    fn sign(&self, message: &[u8]) -> Result<String, IdentityError> {
        let signature = self.pair()?.sign(&SystemRandom::new(), message);
        signature
            .map(|signature| STANDARD.encode(signature))
            .map_err(|error| IdentityError::Key(error.to_string()))
    }

    /// Enrols with a token. True when approved, false when a person has to approve it.
    ///
    /// # Errors
    /// [`IdentityError`]; the former enrolment stays.
    pub async fn enrol(
        &mut self,
        url: &Url,
        token: &EnrolToken,
        name: Option<Name>,
        labels: Labels,
        time: &Time,
    ) -> Result<bool, IdentityError> {
        let tls = tls::config(Ca::Pinned(token.ca_sha256), None, time.clone())
            .map_err(|error| IdentityError::Key(error.to_string()))?;
        let public_key = self.public_key()?;
        let sealing_key = self.sealing_key();
        let request = EnrolRequest {
            token: token.to_string(),
            name,
            labels,
            proof: self.sign(&enrol_proof(&token.id, &public_key, sealing_key.as_deref()))?,
            public_key,
            sealing_key,
        };
        let answer =
            Api { url: url.clone(), tls, tap: Tap::default() }.post(ENROL_PATH, &request).await?;
        self.document.url = url.to_string();
        self.document.ca_sha256 = hex(&token.ca_sha256);
        self.url = url.clone();
        let approved = self.take(answer);
        self.save()?;
        Ok(approved)
    }

    /// Public half of the key that secrets are sealed to. None: there is no such key.
    fn sealing_key(&self) -> Option<String> {
        self.path.parent().and_then(sealing::public_key)
    }

    /// True if the control plane does not know the key that this device opens secrets with.
    pub fn is_sealing_key_unknown(&self) -> bool {
        let known = self.enrolment().map(|enrolment| enrolment.sealing_key.as_deref());
        let own = self.sealing_key();
        known.is_some_and(|known| own.is_some() && known != own.as_deref())
    }

    /// Requests a new certificate, or asks whether the device has been approved. True when
    /// approved. The result is used even if it cannot be stored; see [`Identity::keep`].
    ///
    /// # Errors
    /// [`IdentityError`]; the former enrolment stays.
    pub async fn renew(&mut self, time: &Time, tap: Tap) -> Result<bool, IdentityError> {
        let api = self.anonymous(time, tap)?;
        let mut answer = self.ask_renewal(&api).await;
        if matches!(answer, Err(IdentityError::Https(HttpsError::Refused { status: 409, .. }))) {
            // The nonce was too old when it came, or the control plane has been restarted since.
            answer = self.ask_renewal(&api).await;
        }
        let answer = answer?;
        let before = self.document.clone();
        let approved = self.take(answer);
        if self.document != before {
            self.unsaved = Some("not tried yet".into());
        }
        self.keep();
        Ok(approved)
    }

    async fn ask_renewal(&self, api: &Api) -> Result<EnrolAnswer, IdentityError> {
        let public_key = self.public_key()?;
        let asked = NonceRequest { public_key: public_key.clone() };
        let given: Result<NonceAnswer, HttpsError> = api.post(NONCE_PATH, &asked).await;
        let request = match given {
            Ok(NonceAnswer { nonce }) => {
                let sealing_key = self.sealing_key();
                let message = renew_proof(&public_key, &nonce, sealing_key.as_deref());
                let (proof, nonce) = (self.sign(&message)?, Some(nonce));
                RenewRequest { public_key, nonce, sealing_key, proof }
            }
            // A control plane that knows no nonces, nor sealing keys.
            Err(HttpsError::Refused { status: 404, .. }) => {
                let proof = self.sign(&renew_proof_v0(&public_key))?;
                RenewRequest { public_key, nonce: None, sealing_key: None, proof }
            }
            Err(error) => return Err(error.into()),
        };
        Ok(api.post(RENEW_PATH, &request).await?)
    }

    /// Stores the result of a renewal, if it is not stored yet. Called again later if that fails,
    /// so that a full disk costs no certificate.
    pub fn keep(&mut self) {
        // An enrolment that was made meanwhile is newer than any renewal of the former one.
        if self.unsaved.is_some() && self.replaced().is_none() {
            self.unsaved = self.save().err().map(|error| error.to_string());
        }
    }

    /// Reason why the content in memory is not in the file; `None` when it is.
    pub fn unsaved(&self) -> Option<&str> {
        self.unsaved.as_deref()
    }

    fn take(&mut self, answer: EnrolAnswer) -> bool {
        match answer {
            EnrolAnswer::Approved(enrolment) => {
                self.document.name = Some(enrolment.device.clone());
                self.document.enrolment = Some(*enrolment);
                true
            }
            EnrolAnswer::Pending { device, .. } => {
                self.document.name = Some(device);
                false
            }
        }
    }
}
