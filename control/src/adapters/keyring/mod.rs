//! Keyring: data keys in a row of the store, wrapped by a master key in a file of its own or from
//! systemd credentials.
//!
//! A change of the master key never leaves the two apart: the new key's file is durable before the
//! row that it wraps is stored, and the former file is replaced after that. Whichever of the steps
//! a power cut comes between, a start finds the key that the row names.
//!
//! See decision NEW-keyring.
#![allow(clippy::disallowed_methods, reason = "an adapter: files are its trade")]

mod data_keys;
mod master;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::ports::keyring::{
    DataKey, Keyring, KeyringChange, KeyringError, KeyringStatus, KeyringTrouble, ManagedKeyring,
};
use data_keys::{DataKeys, Known, MOST, decrypt, encrypt};
use master::MasterKey;

pub use master::{CREDENTIAL, Place};

/// Row of the keyring in the store.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    /// Id of the master key that wraps the data keys.
    master: String,
    /// Data keys, the oldest first.
    keys: Vec<Wrapped>,
}

/// Data key as the row has it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wrapped {
    id: String,
    /// Key, encrypted under the master key, in base64.
    wrapped: String,
    made_at: u64,
}

fn aad(id: &str) -> Vec<u8> {
    format!("holdfast/data-key/{id}").into_bytes()
}

impl Row {
    fn wrap(master: &MasterKey, keys: &DataKeys) -> Result<Self, KeyringError> {
        let wrap = |key: &Known| -> Result<Wrapped, KeyringError> {
            let id = key.id();
            let wrapped = STANDARD.encode(encrypt(master.bytes(), &aad(&id), key.bytes())?);
            Ok(Wrapped { id, wrapped, made_at: key.made_at })
        };
        Ok(Self { master: master.id(), keys: keys.all().map(wrap).collect::<Result<_, _>>()? })
    }

    fn unwrap(&self, master: &MasterKey) -> Result<DataKeys, KeyringTrouble> {
        let damaged = |id: &str| {
            KeyringTrouble(format!(
                "data key {id} in the store is damaged: restore a backup (--restore FILE)"
            ))
        };
        let open = |key: &Wrapped| {
            let wrapped = STANDARD.decode(&key.wrapped).ok();
            let bytes = wrapped.and_then(|it| decrypt(master.bytes(), &aad(&key.id), &it).ok());
            let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
            bytes.and_then(|bytes| Known::of(&key.id, bytes, key.made_at))
        };
        let mut keys = Vec::with_capacity(self.keys.len());
        for key in &self.keys {
            keys.push(open(key).ok_or_else(|| damaged(&key.id))?);
        }
        let newest = keys.pop().ok_or_else(|| damaged("(none)"))?;
        Ok(DataKeys::new(keys, newest))
    }

    fn read(row: &[u8]) -> Result<Self, KeyringTrouble> {
        serde_json::from_slice(row).map_err(|error| {
            KeyringTrouble(format!(
                "the store's row of data keys cannot be read: {error}. Restore a backup (--restore FILE)"
            ))
        })
    }

    fn bytes(&self) -> Result<Vec<u8>, KeyringTrouble> {
        serde_json::to_vec(self).map_err(|error| KeyringTrouble(error.to_string()))
    }
}

/// What a keyring holds in memory.
#[derive(Clone)]
struct Held {
    master: MasterKey,
    place: Place,
    keys: DataKeys,
}

/// Change that waits until its row is stored.
struct Staged {
    held: Held,
    /// The new master key waits beside the present one's file.
    replaces: bool,
}

/// Keyring of this process.
pub struct LocalKeyring {
    held: RwLock<Held>,
    staged: Mutex<Option<Staged>>,
}

impl std::fmt::Debug for LocalKeyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalKeyring").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl LocalKeyring {
    /// Opens the keyring of a store that has this row.
    ///
    /// # Errors
    /// A [`KeyringTrouble`] that says what to do, when the master key is missing or another one.
    /// Nothing is changed then.
    pub fn open(place: Place, row: &[u8]) -> Result<Self, KeyringTrouble> {
        let row = Row::read(row)?;
        let fits = |keys: Vec<MasterKey>| keys.into_iter().find(|key| key.id() == row.master);
        let found = master::read(place.path())?;
        let there = found.is_some();
        if let Some(master) = found.and_then(fits) {
            let keys = row.unwrap(&master)?;
            return Ok(Self::of(Held { master, place, keys }));
        }
        // A rotation that was cut short after its row was stored.
        let next = master::next(place.path());
        if let Some(master) = master::read(&next).unwrap_or_default().and_then(fits) {
            let keys = row.unwrap(&master)?;
            master::replace(place.path())?;
            return Ok(Self::of(Held { master, place, keys }));
        }
        let (id, said) = (&row.master, place.said());
        let what = if there { "holds another one" } else { "is not there" };
        Err(KeyringTrouble(format!(
            "what is secret in the store is under master key {id}, and {said} {what}.\n\
             Is the disk with it mounted? Give the file that holds the key: --master-key FILE\n\
             Without it the CA's key and all secrets are lost; an encrypted backup brings its own keys: \
             set store.redb aside and start with --restore BACKUP.age"
        )))
    }

    /// Makes the keyring of a new store, or of one from before there were keyrings, with one new
    /// data key. A master key that is there already is used; else one is made, durably.
    ///
    /// # Errors
    /// A [`KeyringTrouble`] when the master key can be neither read nor made.
    pub fn begin(place: Place, now: u64) -> Result<Self, KeyringTrouble> {
        let there = master::read(place.path())?.and_then(|keys| keys.into_iter().next());
        let master = match there {
            Some(master) => master,
            None => {
                let master = MasterKey::make()?;
                master::create(place.path(), &master)?;
                tracing::warn!(
                    master_key = %place.path().display(),
                    "a master key was made: keep a copy of it apart from the data folder and its backups"
                );
                master
            }
        };
        let keys = DataKeys::new(Vec::new(), Known::make(now)?);
        Ok(Self::of(Held { master, place, keys }))
    }

    /// Makes a keyring for tests, whose keys are in memory alone.
    ///
    /// # Errors
    /// [`KeyringError::Random`].
    pub fn in_memory() -> Result<Self, KeyringError> {
        let keys = DataKeys::new(Vec::new(), Known::make(0)?);
        let place = Place::Credential("memory".into());
        Ok(Self::of(Held { master: MasterKey::make()?, place, keys }))
    }

    fn of(held: Held) -> Self {
        Self { held: RwLock::new(held), staged: Mutex::new(None) }
    }

    fn held<T>(&self, with: impl FnOnce(&Held) -> T) -> T {
        with(&self.held.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn staged(&self) -> MutexGuard<'_, Option<Staged>> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Prepares another master key for what is held.
fn other_master(held: &Held, file: Option<&Path>) -> Result<Staged, KeyringTrouble> {
    let keys = held.keys.clone();
    let Some(file) = file else {
        let Place::File(path) = &held.place else {
            return Err(KeyringTrouble(format!(
                "the master key comes from {}, which the control plane cannot replace: put a new key into a file that it can read, and name it with --file",
                held.place.said()
            )));
        };
        let master = MasterKey::make()?;
        master::remove_next(path)?;
        master::create(&master::next(path), &master)?;
        let held = Held { master, place: held.place.clone(), keys };
        return Ok(Staged { held, replaces: true });
    };
    let there = master::read(file)?.and_then(|keys| keys.into_iter().next());
    let master = there.ok_or_else(|| {
        KeyringTrouble(format!(
            "there is no file {} on the control plane's machine: make one with the command line (master-key generate)",
            file.display()
        ))
    })?;
    let held = Held { master, place: Place::File(file.to_owned()), keys };
    Ok(Staged { held, replaces: false })
}

/// Prepares other data keys.
fn other_keys(held: &Held, older: Vec<Known>, newest: Known) -> Result<Staged, KeyringTrouble> {
    if older.len() >= MOST {
        return Err(KeyringTrouble(format!("a keyring holds {MOST} data keys at most")));
    }
    let keys = DataKeys::new(older, newest);
    Ok(Staged { held: Held { keys, ..held.clone() }, replaces: false })
}

fn imported(keys: &[DataKey]) -> Result<Vec<Known>, KeyringTrouble> {
    let read = |key: &DataKey| {
        let said = || KeyringTrouble(format!("data key {:?} of the backup is none", key.id));
        Known::import(key).ok_or_else(said)
    };
    keys.iter().map(read).collect()
}

impl Keyring for DataKeys {
    fn seal(&self, context: &[u8], plain: &[u8]) -> Result<Vec<u8>, KeyringError> {
        self.seal_under_newest(context, plain)
    }

    fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, KeyringError> {
        self.open_under_any(context, sealed)
    }
}

impl Keyring for LocalKeyring {
    fn seal(&self, context: &[u8], plain: &[u8]) -> Result<Vec<u8>, KeyringError> {
        self.held(|held| held.keys.seal_under_newest(context, plain))
    }

    fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, KeyringError> {
        self.held(|held| held.keys.open_under_any(context, sealed))
    }
}

impl ManagedKeyring for LocalKeyring {
    fn status(&self) -> KeyringStatus {
        self.held(|held| KeyringStatus {
            master: held.master.id(),
            place: held.place.said(),
            data_keys: held.keys.all().map(Known::id).collect(),
        })
    }

    fn row(&self) -> Result<Vec<u8>, KeyringTrouble> {
        self.held(|held| Row::wrap(&held.master, &held.keys)?.bytes())
    }

    fn export(&self) -> Vec<DataKey> {
        self.held(|held| held.keys.all().map(Known::export).collect())
    }

    fn unwrap(&self, row: &[u8]) -> Result<Vec<DataKey>, KeyringTrouble> {
        let row = Row::read(row)?;
        self.held(|held| {
            if row.master != held.master.id() {
                return Err(KeyringTrouble(format!(
                    "it is not encrypted, so what is secret in it lies under master key {}, and this control plane has master key {}: restore it with that one, in an empty data folder (--restore FILE --master-key KEY)",
                    row.master,
                    held.master.id()
                )));
            }
            Ok(row.unwrap(&held.master)?.all().map(Known::export).collect())
        })
    }

    fn of_backup(&self, keys: &[DataKey]) -> Result<Box<dyn Keyring>, KeyringTrouble> {
        let mut known = imported(keys)?;
        let newest = known.pop().filter(|_| known.len() < MOST);
        let newest = newest.ok_or_else(|| {
            KeyringTrouble(format!("the backup has no data keys, or more than {MOST}"))
        })?;
        Ok(Box::new(DataKeys::new(known, newest)))
    }

    fn stage(&self, change: KeyringChange) -> Result<Vec<u8>, KeyringTrouble> {
        let mut staged = self.staged();
        *staged = None;
        let held = self.held(Held::clone);
        let newest = held.keys.newest().clone();
        let next = match change {
            KeyringChange::Master { file } => other_master(&held, file.as_deref())?,
            KeyringChange::NewDataKey { now } => {
                other_keys(&held, held.keys.all().cloned().collect(), Known::make(now)?)?
            }
            KeyringChange::KeepTwo => {
                let older: Vec<Known> = held.keys.all().cloned().collect();
                let second = older.into_iter().rev().skip(1).take(1).collect();
                other_keys(&held, second, newest)?
            }
            KeyringChange::Import(keys) => {
                let mut older = imported(&keys)?;
                older.retain(|key| key.id() != newest.id());
                other_keys(&held, older, newest)?
            }
        };
        let row = Row::wrap(&next.held.master, &next.held.keys)?.bytes()?;
        *staged = Some(next);
        Ok(row)
    }

    fn adopt(&self) -> Result<(), KeyringTrouble> {
        let Some(Staged { held, replaces }) = self.staged().take() else { return Ok(()) };
        let path = held.place.path().to_owned();
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = held;
        if replaces { master::replace(&path) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
