//! Secrets of a workload, sealed to the key of one device: environment values and files that only
//! the device itself can read, neither a broker nor who reads its disk without its key.
//!
//! HPKE (RFC 9180) in base mode, with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and
//! ChaCha20-Poly1305. What a sealed value is bound to is authenticated and does not travel.
//! [`seal`] is the control plane's side, [`SealingKey::open`] the device's.
//!
//! See decision 0162.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{
    Deserializable as _, Kem, OpModeR, OpModeS, Serializable as _, setup_receiver,
    setup_sender_with_rng,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use holdfast_base::codec;
use holdfast_base::ids::{DeviceId, Name};

/// Length in bytes of a sealing key (private or public), of the randomness of a seal, and of the
/// encapsulated key at the beginning of sealed bytes.
pub const KEY: usize = 32;
/// Purpose of the encryption, HPKE's `info`.
pub const INFO: &[u8] = b"holdfast/v1/sealed";
/// Largest content in bytes, as CBOR: certificates and keys of one workload fit many times, and a
/// desired state has room for others.
pub const MAX_CONTENT: usize = 256 * 1024;
/// Length in bytes of the authentication tag at the end of sealed bytes.
const TAG: usize = 16;
/// Longest relative path of a file in bytes.
const MAX_PATH: usize = 1_024;
/// Longest part of a path in bytes, as file systems have it.
const MAX_PART: usize = 255;
/// Beginning of the names of environment variables that only the agent sets.
const RESERVED: &str = "HOLDFAST_";

type Public = <X25519HkdfSha256 as Kem>::PublicKey;
type Private = <X25519HkdfSha256 as Kem>::PrivateKey;
type Encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey;

/// Secrets of a workload in a desired state, sealed to its device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Number that changes when the content changes though the revision did not, as after a
    /// rotation.
    pub version: u64,
    /// Action with which a running workload learns of another content.
    #[serde(default, skip_serializing_if = "OnChange::is_restart")]
    pub on_change: OnChange,
    /// Encapsulated key of [`KEY`] bytes, then the ciphertext of a [`SealedContent`] in CBOR.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

/// Action with which a running workload learns of another sealed content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnChange {
    /// Stopped and started again.
    #[default]
    Restart,
    /// Number of a signal, as on Linux: 1 is SIGHUP. It is sent to the main process after the files
    /// are replaced. A change of an environment value restarts all the same, since no signal brings
    /// it into a process that runs.
    Signal(u8),
}

impl OnChange {
    fn is_restart(&self) -> bool {
        *self == Self::Restart
    }
}

/// Secrets of a workload in the clear. Never stored, reported or logged.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedContent {
    /// Environment variables of the process, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Files in the workload's folder: relative path to content.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, ByteBuf>,
}

impl fmt::Debug for SealedContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (env, files) = (self.env.len(), self.files.len());
        write!(f, "SealedContent({env} values, {files} files, withheld)")
    }
}

/// Reason why a content cannot be given to a workload. It names keys and paths, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentFault {
    /// Name of an environment variable that no process can have, or that the agent sets.
    #[error(
        "{0:?} cannot be the name of an environment variable: it is empty, holds `=` or a zero byte, or begins with HOLDFAST_"
    )]
    Variable(String),
    /// Value of an environment variable that no process can have.
    #[error("the value of the environment variable {0} holds a zero byte: give it as a file")]
    Value(String),
    /// Path that does not lead into the workload's folder.
    #[error(
        "{0:?} is no path below the workload's folder: no part of it may be empty, `.` or `..`, nor be longer than 255 bytes"
    )]
    Path(String),
    /// Path of a file that is a folder of another file.
    #[error("{file:?} cannot be a file: {other:?} is below it")]
    Folder {
        /// Path of the file.
        file: String,
        /// Path of a file below it.
        other: String,
    },
}

impl SealedContent {
    /// Checks that a workload can be given this content.
    ///
    /// # Errors
    /// Returns the first [`ContentFault`].
    pub fn check(&self) -> Result<(), ContentFault> {
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) || name.starts_with(RESERVED) {
                return Err(ContentFault::Variable(name.clone()));
            }
            if value.contains('\0') {
                return Err(ContentFault::Value(name.clone()));
            }
        }
        for path in self.files.keys() {
            if !is_below(path) {
                return Err(ContentFault::Path(path.clone()));
            }
            let mut above = path.as_str();
            while let Some((folder, _)) = above.rsplit_once('/') {
                if self.files.contains_key(folder) {
                    let (file, other) = (folder.to_owned(), path.clone());
                    return Err(ContentFault::Folder { file, other });
                }
                above = folder;
            }
        }
        Ok(())
    }
}

/// True for a relative path that leads to a place below its folder.
fn is_below(path: &str) -> bool {
    let fits = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= MAX_PART;
    path.len() <= MAX_PATH && !path.contains('\0') && path.split('/').all(fits)
}

/// Binding of a sealed value: for anything else than this it cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound<'a> {
    /// Device that it is sealed for.
    pub device: &'a DeviceId,
    /// Workload on that device.
    pub workload: &'a Name,
    /// Revision of the workload, as in the desired state.
    pub revision: u64,
    /// Epoch of the desired state.
    pub epoch: u64,
    /// Version of the content, [`Sealed::version`].
    pub version: u64,
}

impl Bound<'_> {
    /// Returns the authenticated data of the encryption.
    pub fn aad(&self) -> Vec<u8> {
        let Self { device, workload, revision, epoch, version } = self;
        format!("{device}\n{workload}\n{revision}\n{epoch}\n{version}").into_bytes()
    }
}

/// Reason why a content cannot be sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The content has more than [`MAX_CONTENT`] bytes.
    #[error("the secrets of a workload may have {MAX_CONTENT} bytes together, these have {0}")]
    TooLarge(usize),
    /// The public key is no X25519 key that a secret can be sealed to.
    #[error("the device's sealing key is no usable X25519 key")]
    Key,
    /// The content cannot be encoded or encrypted.
    #[error("the secrets cannot be encoded")]
    Encoding,
}

/// Seals a content to the public key of a device. `random` must be fresh bytes of a secure source
/// for each call; equal bytes give equal results.
///
/// # Errors
/// Returns a [`SealError`], which never names a value.
pub fn seal(
    content: &SealedContent,
    public_key: &[u8],
    bound: &Bound<'_>,
    random: [u8; KEY],
) -> Result<Vec<u8>, SealError> {
    let plain = serde_cbor::to_vec(content).map_err(|_| SealError::Encoding)?;
    if plain.len() > MAX_CONTENT {
        return Err(SealError::TooLarge(plain.len()));
    }
    let public = Public::from_bytes(public_key).map_err(|_| SealError::Key)?;
    let (key, mut sender) =
        setup_sender_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &public,
            INFO,
            &mut Given(random),
        )
        .map_err(|_| SealError::Key)?;
    let sealed = sender.seal(&plain, &bound.aad()).map_err(|_| SealError::Encoding)?;
    let mut bytes = key.to_bytes().to_vec();
    bytes.extend(sealed);
    Ok(bytes)
}

/// Randomness that was drawn before: HPKE asks for [`KEY`] bytes once.
struct Given([u8; KEY]);

impl TryRng for Given {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), Infallible> {
        into.iter_mut().zip(self.0).for_each(|(into, byte)| *into = byte);
        Ok(())
    }
}

impl TryCryptoRng for Given {}

/// Reason why sealed bytes cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The bytes are shorter or longer than any sealed content.
    #[error("sealed bytes of this length ({0}) hold no content")]
    Length(usize),
    /// The bytes were sealed to another key or for another purpose, or are damaged.
    #[error(
        "it was sealed to another key than this device has, or for another device, workload, revision or version"
    )]
    Foreign,
    /// The bytes were opened, but hold something else.
    #[error("it was opened, but holds no content that this agent knows")]
    Malformed,
    /// The content cannot be given to a workload.
    #[error(transparent)]
    Content(#[from] ContentFault),
}

/// Private key of a device that secrets are sealed to (X25519).
#[derive(Clone)]
pub struct SealingKey(Private);

impl SealingKey {
    /// Makes the key of these bytes: fresh ones from a secure source, or those of
    /// [`SealingKey::to_bytes`].
    pub fn new(bytes: [u8; KEY]) -> Option<Self> {
        Private::from_bytes(&bytes).ok().map(Self)
    }

    /// Returns the private key's bytes, for the file that it is kept in.
    pub fn to_bytes(&self) -> [u8; KEY] {
        self.0.to_bytes().into()
    }

    /// Returns the public key, as the control plane gets it.
    pub fn public(&self) -> [u8; KEY] {
        X25519HkdfSha256::sk_to_pk(&self.0).to_bytes().into()
    }

    /// Opens sealed bytes, and checks what they hold.
    ///
    /// # Errors
    /// Returns an [`OpenError`], which never names a value; no input causes a panic.
    pub fn open(&self, bytes: &[u8], bound: &Bound<'_>) -> Result<SealedContent, OpenError> {
        let length = OpenError::Length(bytes.len());
        let (key, sealed) = bytes.split_at_checked(KEY).ok_or(length.clone())?;
        if !(TAG..=MAX_CONTENT + TAG).contains(&sealed.len()) {
            return Err(length);
        }
        let key = Encapsulated::from_bytes(key).map_err(|_| OpenError::Foreign)?;
        let mut receiver = setup_receiver::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &self.0,
            &key,
            INFO,
        )
        .map_err(|_| OpenError::Foreign)?;
        let plain = receiver.open(sealed, &bound.aad()).map_err(|_| OpenError::Foreign)?;
        let content: SealedContent = codec::from_slice(&plain).map_err(|_| OpenError::Malformed)?;
        content.check()?;
        Ok(content)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(withheld)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SealingKey {
        SealingKey::new([byte; KEY]).unwrap()
    }

    fn content() -> SealedContent {
        SealedContent {
            env: [("PASSWORD".to_owned(), "correct horse".to_owned())].into(),
            files: [("tls/key.pem".to_owned(), ByteBuf::from(vec![0, 159, 146, 150]))].into(),
        }
    }

    fn with<T>(run: impl FnOnce(Bound<'_>) -> T) -> T {
        let (device, workload) = ("acme_dev-1".parse().unwrap(), "web".parse().unwrap());
        let (device, workload) = (&device, &workload);
        run(Bound { device, workload, revision: 3, epoch: 1, version: 2 })
    }

    #[test]
    fn what_was_sealed_is_opened_by_its_device_alone_and_for_its_purpose_alone() {
        with(|bound| {
            let sealed = seal(&content(), &key(7).public(), &bound, [9; KEY]).unwrap();
            assert_eq!(sealed.len(), KEY + serde_cbor::to_vec(&content()).unwrap().len() + TAG);
            assert!(!sealed.windows(7).any(|part| part == b"correct"));
            assert_eq!(key(7).open(&sealed, &bound), Ok(content()));
            assert_eq!(key(8).open(&sealed, &bound), Err(OpenError::Foreign));
            let (other, name) = ("acme_dev-2".parse().unwrap(), "db".parse().unwrap());
            for wrong in [
                Bound { device: &other, ..bound },
                Bound { workload: &name, ..bound },
                Bound { revision: 4, ..bound },
                Bound { epoch: 2, ..bound },
                Bound { version: 1, ..bound },
            ] {
                assert_eq!(key(7).open(&sealed, &wrong), Err(OpenError::Foreign), "{wrong:?}");
            }
            for at in 0..sealed.len() {
                let mut damaged = sealed.clone();
                damaged[at] ^= 1;
                assert_eq!(key(7).open(&damaged, &bound), Err(OpenError::Foreign), "{at}");
            }
            for length in 0..sealed.len() {
                assert!(key(7).open(&sealed[..length], &bound).is_err(), "{length}");
            }
        });
    }

    #[test]
    fn a_key_reads_back_and_a_weak_one_is_refused() {
        let made = key(7);
        assert_eq!(SealingKey::new(made.to_bytes()).unwrap().public(), made.public());
        with(|bound| {
            for weak in [&[0; KEY][..], &[1; KEY - 1], &[]] {
                assert_eq!(seal(&content(), weak, &bound, [9; KEY]), Err(SealError::Key));
            }
            let large = SealedContent {
                files: [("a".to_owned(), ByteBuf::from(vec![0; MAX_CONTENT]))].into(),
                ..SealedContent::default()
            };
            let refused = seal(&large, &made.public(), &bound, [9; KEY]);
            assert!(matches!(refused, Err(SealError::TooLarge(_))), "{refused:?}");
        });
    }

    #[test]
    fn what_no_process_can_be_given_is_refused_after_opening() {
        let env = |key: &str, value: &str| SealedContent {
            env: [(key.to_owned(), value.to_owned())].into(),
            ..SealedContent::default()
        };
        let file = |paths: &[&str]| SealedContent {
            files: paths.iter().map(|&path| (path.to_owned(), ByteBuf::new())).collect(),
            ..SealedContent::default()
        };
        with(|bound| {
            let opened = |content: &SealedContent| {
                let sealed = seal(content, &key(7).public(), &bound, [9; KEY]).unwrap();
                key(7).open(&sealed, &bound)
            };
            let long = "a".repeat(MAX_PART + 1);
            let paths = ["", "/etc/x", "../x", "a/../b", "a//b", "a/", "./a", "a\0b", &long];
            let mut bad: Vec<SealedContent> = paths.iter().map(|path| file(&[path])).collect();
            bad.extend([env("", "x"), env("A=B", "x"), env("HOLDFAST_WORKLOAD", "x")]);
            bad.extend([env("A\0", "x"), env("A", "secret\0"), file(&["a", "a/b/c"])]);
            for content in bad {
                let refused = opened(&content).unwrap_err();
                assert!(matches!(refused, OpenError::Content(_)), "{refused:?}");
                assert!(!refused.to_string().contains("secret"));
            }
            for good in [file(&["a/b", "a/c", "a.b"]), env("a", ""), SealedContent::default()] {
                assert_eq!(opened(&good), Ok(good));
            }
        });
    }

    #[test]
    fn nothing_secret_is_shown() {
        let shown = format!("{:?} {:?}", content(), key(7));
        assert!(
            !shown.contains("horse") && !shown.contains("159") && !shown.contains('7'),
            "{shown}"
        );
    }
}
