//! Who this device is: its key, made here and never sent, and what the control plane gave for
//! it. Kept in `identity.json`, replaced whole.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_base::ids::{DeviceId, Labels, Name, hex, unhex};
use holdfast_protocol::enrol::{
    ENROL_PATH, EnrolAnswer, EnrolRequest, EnrolToken, Enrolment, RENEW_PATH, RenewRequest,
    enrol_proof, renew_proof,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use super::clock::Time;
use super::files;
use super::https::{Api, HttpsError, Url};
use super::meter::Tap;
use super::tls::{self, Ca, ClientIdentity};
use crate::core::certificate::Life;

/// What stands before a P-256 point in a SubjectPublicKeyInfo.
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Why there is no identity, or no fresh certificate.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{path} is damaged: {why}; enrol again")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The key cannot be made or used.
    #[error("the device's key: {0}")]
    Key(String),
    /// The control plane did not give one.
    #[error(transparent)]
    Https(#[from] HttpsError),
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    /// Of the control plane's API.
    url: String,
    /// sha256 of the CA's certificate, hexadecimal.
    ca_sha256: String,
    /// The private key: PKCS#8, base64.
    key: String,
    /// The name it asked for or will have.
    #[serde(default)]
    name: Option<Name>,
    /// What the control plane gave; without, the device waits for approval.
    #[serde(default)]
    enrolment: Option<Enrolment>,
}

/// A device's identity.
#[derive(Debug, Clone)]
pub struct Identity {
    path: PathBuf,
    document: Document,
    url: Url,
    key: Vec<u8>,
    /// Why what is in memory is not in the file.
    unsaved: Option<String>,
    /// The file as it was read or written last.
    seen: Option<Stamp>,
}

/// Tells a file from what stood in its place before.
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
    /// Reads it. None: there is none yet.
    ///
    /// # Errors
    /// [`IdentityError::File`], [`IdentityError::Damaged`].
    pub fn load(data: &Path) -> Result<Option<Self>, IdentityError> {
        Self::read(data.join("identity.json"))
    }

    fn read(path: PathBuf) -> Result<Option<Self>, IdentityError> {
        // Before it is read: what replaces it meanwhile is seen as something else.
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
        let url = document.url.parse().map_err(damaged)?;
        Ok(Some(Self { path, document, url, key, unsaved: None, seen }))
    }

    /// A fresh key for a first enrolment, stored before it is used: whatever answer is lost, the
    /// device asks again with the same key and stays the same device.
    ///
    /// # Errors
    /// [`IdentityError::File`], [`IdentityError::Key`].
    pub fn prepare(data: &Path, url: &Url, token: &EnrolToken) -> Result<Self, IdentityError> {
        let ca_sha256 = hex(&token.ca_sha256);
        let known = match Self::load(data) {
            Err(IdentityError::Damaged { path, .. }) => {
                // Kept for whoever can still make something of it; a new key is made.
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

    /// What stands in the file by now, if it is another: `enroll` ran beside the agent. One that
    /// cannot be read counts for nothing: what is in memory is better.
    pub fn replaced(&self) -> Option<Self> {
        let now = Stamp::of(&self.path)?;
        if Some(now) == self.seen {
            return None;
        }
        let other = Self::read(self.path.clone()).ok().flatten()?;
        (other.document != self.document).then_some(other)
    }

    /// True when desired states for the one are not for the other: another device, or signed by
    /// another control plane.
    pub fn is_another(&self, other: &Self) -> bool {
        self.device() != other.device() || self.signing_key() != other.signing_key()
    }

    /// What the control plane gave. None: the device waits for approval.
    pub fn enrolment(&self) -> Option<&Enrolment> {
        self.document.enrolment.as_ref()
    }

    /// The device, once it is known.
    pub fn device(&self) -> Option<DeviceId> {
        let enrolment = self.enrolment()?;
        Some(DeviceId { tenant: enrolment.tenant.clone(), device: enrolment.device.clone() })
    }

    /// The name it waits with.
    pub fn name(&self) -> Option<&Name> {
        self.document.name.as_ref()
    }

    /// The life of its certificate.
    pub fn life(&self) -> Option<Life> {
        let enrolment = self.enrolment()?;
        Some(Life { not_before: enrolment.not_before, not_after: enrolment.not_after })
    }

    /// The key that desired states are signed with.
    pub fn signing_key(&self) -> Vec<u8> {
        let enrolment = self.enrolment();
        enrolment.and_then(|it| STANDARD.decode(&it.signing_key).ok()).unwrap_or_default()
    }

    /// Where the API is.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Host and port of each broker.
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

    /// TLS that trusts the control plane and shows no certificate: for renewal, which has to
    /// work with an expired one.
    fn anonymous(&self, time: &Time, tap: Tap) -> Result<Api, IdentityError> {
        let tls = tls::config(self.ca()?, None, time.clone())
            .map_err(|error| IdentityError::Key(error.to_string()))?;
        Ok(Api { url: self.url.clone(), tls, tap })
    }

    /// TLS that shows the device's certificate.
    ///
    /// # Errors
    /// [`IdentityError`], when there is no certificate or it does not suit the key.
    pub fn tls(&self, time: &Time) -> Result<Arc<ClientConfig>, IdentityError> {
        let enrolment = self.enrolment().ok_or_else(|| self.damaged(&"no certificate yet"))?;
        let chain = CertificateDer::pem_slice_iter(enrolment.certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| self.damaged(&error))?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.clone()));
        tls::config(self.ca()?, Some(ClientIdentity { chain, key }), time.clone())
            .map_err(|error| IdentityError::Key(error.to_string()))
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

    /// Enrols with a token. True: approved; false: it waits for a person.
    ///
    /// # Errors
    /// [`IdentityError`]; what was known before stays.
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
        let request = EnrolRequest {
            token: token.to_string(),
            name,
            labels,
            proof: self.sign(&enrol_proof(&token.id, &public_key))?,
            public_key,
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

    /// Asks for a fresh certificate, or whether the device has been approved. True: approved. What
    /// came serves even where it cannot be stored: see [`Identity::keep`].
    ///
    /// # Errors
    /// [`IdentityError`]; what was known before stays.
    pub async fn renew(&mut self, time: &Time, tap: Tap) -> Result<bool, IdentityError> {
        let public_key = self.public_key()?;
        let proof = self.sign(&renew_proof(&public_key))?;
        let request = RenewRequest { public_key, proof };
        let answer = self.anonymous(time, tap)?.post(RENEW_PATH, &request).await?;
        let before = self.document.clone();
        let approved = self.take(answer);
        if self.document != before {
            self.unsaved = Some("not tried yet".into());
        }
        self.keep();
        Ok(approved)
    }

    /// Stores what a renewal gave, if it is not stored yet. A disk that takes nothing costs no
    /// certificate: it is tried again later.
    pub fn keep(&mut self) {
        // An enrolment that was made meanwhile is newer than any renewal of the former one.
        if self.unsaved.is_some() && self.replaced().is_none() {
            self.unsaved = self.save().err().map(|error| error.to_string());
        }
    }

    /// Why what is in memory is not in the file, if it is not.
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
