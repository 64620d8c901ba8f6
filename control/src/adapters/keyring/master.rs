//! Master key: where it lies, how it is read and how it is made. It wraps the data keys and nothing
//! else, and it is never in the store.
//!
//! See decision NEW-keyring.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_base::ids::hex;

use super::data_keys::random;
use crate::api::MASTER_KEY_PREFIX as PREFIX;
use crate::core::model::sha256;
use crate::ports::keyring::{KeyringError, KeyringTrouble};

/// Maximum size of a master key's file, in bytes.
const MAX_FILE: u64 = 4_096;

/// Name of the systemd credential that holds the master key.
pub const CREDENTIAL: &str = "holdfast-master-key";

/// Master key: 32 random bytes.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct MasterKey([u8; 32]);

impl MasterKey {
    /// Makes a new one.
    pub(super) fn make() -> Result<Self, KeyringError> {
        Ok(Self(random()?))
    }

    /// Bytes of the key.
    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Id of the key, which says nothing about it: 16 hexadecimal digits of its digest.
    pub(super) fn id(&self) -> String {
        let digest = sha256(&[&b"holdfast master key\n"[..], &self.0].concat());
        hex(digest.get(..8).unwrap_or_default())
    }

    fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    fn text(&self) -> String {
        format!("{PREFIX}{}\n", URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// Place of the master key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// File of this control plane, which it may make and replace.
    File(PathBuf),
    /// Credential from systemd: a file that the control plane can read and not replace.
    Credential(PathBuf),
}

impl Place {
    /// Finds the place: the file that was given, else the credential from systemd if there is one
    /// in `credentials` (`$CREDENTIALS_DIRECTORY`), else `usual`.
    pub fn find(given: Option<PathBuf>, credentials: Option<OsString>, usual: PathBuf) -> Self {
        if let Some(given) = given {
            return Self::File(given);
        }
        let credential = credentials.map(|folder| Path::new(&folder).join(CREDENTIAL));
        match credential.filter(|path| path.exists()) {
            Some(path) => Self::Credential(path),
            None => Self::File(usual),
        }
    }

    /// Path of the file.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Credential(path) => path,
        }
    }

    /// Place in words.
    pub(super) fn said(&self) -> String {
        match self {
            Self::File(path) => format!("the file {}", path.display()),
            Self::Credential(_) => format!("the systemd credential {CREDENTIAL}"),
        }
    }
}

/// Path of the file in which a new master key waits until the store has the row that it wraps.
pub(super) fn next(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

/// Reads the keys of a file: one a line, usually one. None: there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Vec<MasterKey>>, KeyringTrouble> {
    let failed = |error: io::Error| {
        KeyringTrouble(format!(
            "the master key {} cannot be read: {error}. Let the user of the control plane read it, and nobody else",
            path.display()
        ))
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let about = file.metadata().map_err(failed)?;
    if about.mode() & 0o077 != 0 {
        tracing::warn!(
            file = %path.display(),
            "other users can read the master key: set its mode to 0600"
        );
    }
    let unusable = || {
        KeyringTrouble(format!(
            "{} holds no master key (a line that begins with {PREFIX}): is it the right file, and whole?",
            path.display()
        ))
    };
    if about.len() > MAX_FILE {
        return Err(unusable());
    }
    let text = io::read_to_string(io::Read::take(file, MAX_FILE)).map_err(|_| unusable())?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let keys: Option<Vec<MasterKey>> = lines.map(MasterKey::parse).collect();
    keys.filter(|keys| !keys.is_empty()).map(Some).ok_or_else(unusable)
}

/// Writes a new file with this key, durably. A file that is there already is an error.
pub(super) fn create(path: &Path, key: &MasterKey) -> Result<(), KeyringTrouble> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let written = options.open(path).and_then(|mut file| {
        file.write_all(key.text().as_bytes())?;
        file.sync_all()?;
        sync_folder(path)
    });
    written.map_err(|error| {
        KeyringTrouble(format!(
            "the new master key {} cannot be written: {error}. Let the control plane write there, or give another file",
            path.display()
        ))
    })
}

/// Puts the key that waits beside `path` in its place, over the former one.
pub(super) fn replace(path: &Path) -> Result<(), KeyringTrouble> {
    let next = next(path);
    fs::rename(&next, path).and_then(|()| sync_folder(path)).map_err(|error| {
        KeyringTrouble(format!(
            "the new master key is in use, and it stays in {}, because it cannot replace {}: {error}. Move it there by hand, or leave both: the next start finds it",
            next.display(),
            path.display()
        ))
    })
}

/// Removes a key that waits beside `path` and wraps nothing.
pub(super) fn remove_next(path: &Path) -> Result<(), KeyringTrouble> {
    let next = next(path);
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(KeyringTrouble(format!(
            "{} is left from a rotation that was cut short and cannot be removed: {error}. Remove it by hand",
            next.display()
        ))),
        _ => Ok(()),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
