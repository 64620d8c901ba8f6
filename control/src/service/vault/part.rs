//! The vault's state: keyring and randomness, and how one value is sealed and opened.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_base::ids::{Name, hex};

use crate::core::records::PolicyKind;
use crate::core::secrets::generate::Rule;
use crate::core::secrets::value::{Plain, SealedValue};
use crate::ports::authority::Authority;
use crate::ports::keyring::Keyring;
use crate::service::Failure;
use crate::service::documents::Documents;

/// Length of the key of a value's digest, in bytes. It is sealed before the value.
const SALT: usize = 32;

/// Seals and opens secrets.
pub(in crate::service) struct Vault {
    pub(super) documents: Arc<Documents>,
    keyring: Arc<dyn Keyring>,
    pub(super) authority: Arc<dyn Authority>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").finish_non_exhaustive()
    }
}

/// Place of a sealed value, to which it is bound: moved to another one it does not open.
#[derive(Debug, Clone, Copy)]
pub(in crate::service) enum Bound<'a> {
    /// Value of a `Secret`: its name and the key.
    Secret(&'a Name, &'a str),
    /// Secret of a `Notification`: its name and the path below `spec.to`.
    Notification(&'a Name, &'a str),
    /// Secret of an `AuditSink`: its name and the path below `spec.to`.
    Sink(&'a Name, &'a str),
}

impl<'a> Bound<'a> {
    /// Place of a secret of a receiver: an `AuditSink` or a `Notification`.
    pub(super) fn receiver(kind: PolicyKind, name: &'a Name, path: &'a str) -> Self {
        match kind {
            PolicyKind::AuditSink => Self::Sink(name, path),
            _ => Self::Notification(name, path),
        }
    }

    pub(super) fn context(self, tenant: &Name) -> Vec<u8> {
        match self {
            Self::Secret(name, key) => format!("secret/{tenant}/{name}/{key}"),
            Self::Notification(name, path) => format!("notification/{tenant}/{name}/{path}"),
            Self::Sink(name, path) => format!("auditsink/{tenant}/{name}/{path}"),
        }
        .into_bytes()
    }

    /// Says what cannot be opened.
    fn words(self) -> String {
        match self {
            Self::Secret(name, key) => format!("key {key} of secret {name}"),
            Self::Notification(name, path) => format!("{path} of notification {name}"),
            Self::Sink(name, path) => format!("{path} of audit sink {name}"),
        }
    }
}

impl Vault {
    pub(in crate::service) fn new(
        documents: Arc<Documents>,
        keyring: Arc<dyn Keyring>,
        authority: Arc<dyn Authority>,
    ) -> Self {
        Self { documents, keyring, authority }
    }

    /// Generates a value.
    pub(super) fn generate(&self, rule: Rule) -> Result<Plain, Failure> {
        // Too few of the bytes are usable once in 10^12 times.
        for _ in 0..8 {
            let mut random = vec![0; rule.bytes()];
            self.authority.fill(&mut random).map_err(Failure::internal)?;
            if let Some(value) = rule.value(&random) {
                return Ok(Plain::new(value));
            }
        }
        Err(Failure::Internal("no value could be generated from the system's random bytes".into()))
    }

    /// Seals a value.
    pub(super) fn seal(
        &self,
        (tenant, bound): (&Name, Bound<'_>),
        plain: &Plain,
        rule: Option<Rule>,
        now: u64,
    ) -> Result<SealedValue, Failure> {
        let salt: [u8; SALT] = self.authority.random().map_err(Failure::internal)?;
        let salted = [salt.as_slice(), plain.bytes()].concat();
        let sealed = self.keyring.seal(&bound.context(tenant), &salted);
        let sealed = sealed.map_err(Failure::internal)?;
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &salt);
        let digest = ring::hmac::sign(&key, plain.bytes());
        Ok(SealedValue {
            sealed: STANDARD.encode(sealed).into(),
            digest: hex(digest.as_ref()).into(),
            length: u32::try_from(plain.bytes().len()).unwrap_or(u32::MAX),
            text: plain.is_text(),
            changed_at: now,
            rule,
        })
    }

    /// Opens a value.
    ///
    /// # Errors
    /// Returns a [`Failure`] that names the value, and never holds it.
    pub(super) fn open(
        &self,
        (tenant, bound): (&Name, Bound<'_>),
        value: &SealedValue,
    ) -> Result<Plain, Failure> {
        let failed =
            |why: String| Failure::Internal(format!("{} cannot be opened: {why}", bound.words()));
        let sealed = STANDARD.decode(value.sealed.as_bytes());
        let sealed = sealed.map_err(|_| failed("its row in the store is damaged".into()))?;
        let salted = self.keyring.open(&bound.context(tenant), &sealed);
        let salted = salted.map_err(|error| failed(error.to_string()))?;
        let (_, plain) = salted
            .split_at_checked(SALT)
            .ok_or_else(|| failed("its row in the store is too short".into()))?;
        Ok(Plain::new(plain))
    }
}
