//! Port of the keyring: values that lie in the store sealed, and nowhere in the clear.
//!
//! A value is sealed under a data key. Data keys lie in the store too, wrapped by the master key,
//! which lies elsewhere. Every sealed value names its data key, so that values of several data keys
//! are read side by side while a new one is taken into use.
//!
//! See decision NEW-keyring.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Reason why a value cannot be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
    /// Bytes that no keyring has sealed, or of a newer format.
    #[error(
        "a sealed value has a form that this version does not know: start the version of holdfast that wrote it, or a newer one"
    )]
    Form,
    /// The value is sealed under a data key that this keyring does not have.
    #[error(
        "a value is sealed under data key {0}, which this control plane does not have: it comes from another one, and only an encrypted backup of that one brings its data keys along"
    )]
    UnknownKey(String),
    /// The value was changed, or it is opened for another purpose than it was sealed for.
    #[error(
        "a sealed value was changed on the disk, or belongs to something else: restore a backup, or apply it again"
    )]
    Altered,
}

/// Seals values for the store and opens them.
pub trait Keyring: Send + Sync + 'static {
    /// Seals a value: AES-256-GCM under the newest data key. `context` says what the value is, such
    /// as `secret/acme/database/password`; it is authenticated and not part of the result, so that
    /// a value that was moved to another row does not open there. The result is 37 bytes longer
    /// than `plain`.
    ///
    /// # Errors
    /// [`KeyringError::Random`].
    fn seal(&self, context: &[u8], plain: &[u8]) -> Result<Vec<u8>, KeyringError>;

    /// Opens a value that was sealed with the same `context`, under whichever data key.
    ///
    /// # Errors
    /// [`KeyringError`]; nothing of the value is returned then.
    fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, KeyringError>;
}

/// Data key in the clear, as an encrypted backup carries it. Whoever has it can read what is sealed
/// under it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataKey {
    /// Id in every value that is sealed under the key: 16 hexadecimal digits.
    pub id: String,
    /// The key, 32 bytes in base64.
    pub key: String,
    /// Time at which it was made, in seconds since 1970.
    pub made_at: u64,
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// State of a keyring, without any key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyringStatus {
    /// Id of the master key: 16 hexadecimal digits of its digest.
    pub master: String,
    /// Place of the master key, in words, such as the path of its file.
    pub place: String,
    /// Ids of the data keys, the oldest first. The last one seals.
    pub data_keys: Vec<String>,
}

/// Change of a keyring. It is staged, stored as the keyring's row, and then adopted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyringChange {
    /// The data keys are wrapped by another master key.
    Master {
        /// File on this machine that holds it. None: one is made, in the place of the present one.
        file: Option<PathBuf>,
    },
    /// A new data key seals from now on; the others still open.
    NewDataKey {
        /// Present time, in seconds since 1970.
        now: u64,
    },
    /// The two newest data keys stay: nothing is sealed under the others any more. The second
    /// newest opens what was sealed just before the change to the newest, and stored just after.
    KeepTwo,
    /// Data keys of a backup take the place of all but the newest.
    Import(Vec<DataKey>),
}

/// Reason why a keyring cannot be changed. Its text is for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyringTrouble(pub String);

impl From<KeyringError> for KeyringTrouble {
    fn from(error: KeyringError) -> Self {
        Self(error.to_string())
    }
}

/// Management of a keyring. One change at a time is staged; until it is adopted, sealing and opening
/// go on as before.
pub trait ManagedKeyring: Keyring {
    /// Returns the state, without any key.
    fn status(&self) -> KeyringStatus;

    /// Returns the keyring's row as the store has it: data keys, wrapped by the master key.
    ///
    /// # Errors
    /// [`KeyringTrouble`] when there are no random numbers.
    fn row(&self) -> Result<Vec<u8>, KeyringTrouble>;

    /// Returns the data keys in the clear, for an encrypted backup and nothing else.
    fn export(&self) -> Vec<DataKey>;

    /// Returns the data keys that a keyring's row of a backup wraps, by the present master key.
    ///
    /// # Errors
    /// [`KeyringTrouble`] when they are wrapped by another master key.
    fn unwrap(&self, row: &[u8]) -> Result<Vec<DataKey>, KeyringTrouble>;

    /// Returns a keyring that opens what is sealed under these data keys, which come from a backup.
    ///
    /// # Errors
    /// [`KeyringTrouble`] when one of them is no data key, or there are none or too many.
    fn of_backup(&self, keys: &[DataKey]) -> Result<Box<dyn Keyring>, KeyringTrouble>;

    /// Prepares a change, in place of one that was staged before, and returns the row to store.
    /// What the change needs outside of the store, such as the file of a new master key, is durable
    /// then, and what the present row needs is still there.
    ///
    /// # Errors
    /// [`KeyringTrouble`]; nothing is staged then.
    fn stage(&self, change: KeyringChange) -> Result<Vec<u8>, KeyringTrouble>;

    /// Takes the staged change into use. Its row is stored.
    ///
    /// # Errors
    /// [`KeyringTrouble`] when the file of the former master key could not be replaced; the change
    /// is in use all the same.
    fn adopt(&self) -> Result<(), KeyringTrouble>;
}
