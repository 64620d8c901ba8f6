//! Durable state of the workloads in redb: one record for each, and the time floor.
//!
//! While the agent runs, memory holds the truth and this makes it durable. A store that cannot be
//! written (the disk is full or read-only) stops nothing: it is opened and written anew once it can
//! be. A store that cannot be read is set aside: processes are found again by their environment,
//! and the desired state is a signed file of its own.
//!
//! See decisions 0009 and 0014.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use holdfast_base::codec;
use holdfast_base::ids::Name;
use redb::backends::{FileBackend, InMemoryBackend};
use redb::{
    Database, ReadableDatabase as _, ReadableTable as _, StorageBackend as _, TableDefinition,
};

use crate::core::saved::SavedWorkload;

/// Table type of both tables, the same as the buffer's: redb's code is compiled once for each pair
/// of types.
type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;
const RECORDS: Table = TableDefinition::new("workloads");
const META: Table = TableDefinition::new("meta");
/// Key of the time floor: seconds since 1970, in eight bytes.
const FLOOR: &[u8] = b"floor";
/// Bytes of redb's cache; its default is 1 GiB. A device holds tens of small records.
const CACHE: usize = 128 * 1024;
/// Largest store that is copied into memory for reading, in bytes: ten times a large one.
const MAX_COPY: u64 = 32 * 1024 * 1024;

/// Reasons why the store was not written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed; it is opened anew before the next write.
    #[error("the store cannot be written: {0}")]
    Database(#[source] Box<redb::Error>),
    /// The saved state of a workload could not be encoded.
    #[error("the saved state of a workload cannot be encoded: {0}")]
    Encode(#[source] serde_cbor::Error),
}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

/// State that was read at the start.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Records, by workload.
    pub saved: BTreeMap<Name, SavedWorkload>,
    /// Time floor in seconds since 1970; 0 when none is stored.
    pub floor: u64,
    /// Notice for a person when the store was damaged.
    pub damage: Option<String>,
    /// True when the store could be read but not opened for writing: [`Store::rewrite`] is due.
    pub behind: bool,
}

/// Open store, or the path of one that is to be opened again.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    db: Option<Database>,
}

impl Store {
    /// Opens the store and reads everything. Never fails: at worst it begins empty.
    pub fn open(path: &Path) -> (Self, Loaded) {
        let mut store = Self { path: path.to_owned(), db: None };
        let first = store.reopen().and_then(|()| store.load());
        match first {
            Ok(loaded) => (store, loaded),
            Err(error) if !is_damage(&error) => {
                // Nothing is wrong with it but what is around it: no room, a disk that takes
                // nothing, too few descriptors. What it holds is read from a copy.
                tracing::error!(%error, "the store cannot be opened for writing");
                store.db = None;
                let loaded = read_copy(path).unwrap_or_else(|error| {
                    tracing::error!(%error, "nor can it be read");
                    Loaded::default()
                });
                (store, Loaded { behind: true, ..loaded })
            }
            Err(error) => {
                store.db = None;
                let aside = path.with_extension("damaged");
                let moved = std::fs::rename(path, &aside);
                let damage = format!(
                    "the store was damaged ({error}) and set aside as {}: {}",
                    aside.display(),
                    if moved.is_ok() { "begun anew" } else { "it could not even be moved" }
                );
                let _retried_at_the_next_write = store.reopen();
                (store, Loaded { damage: Some(damage), ..Loaded::default() })
            }
        }
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        if self.db.is_none() {
            let mut builder = Database::builder();
            let mut options = std::fs::OpenOptions::new();
            // Records hold whole revisions, with what their environments hold: root's alone.
            let file = options
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&self.path)
                .map_err(redb::Error::Io)?;
            self.db =
                Some(builder.set_cache_size(CACHE).create_with_backend(FileBackend::new(file)?)?);
        }
        Ok(())
    }

    fn load(&self) -> Result<Loaded, StoreError> {
        let Some(db) = &self.db else { return Ok(Loaded::default()) };
        load(db)
    }

    /// Writes records in one durable step; `None` removes a record.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written, and [`Store::rewrite`] is due.
    pub fn put(&mut self, changes: &[(Name, Option<SavedWorkload>)]) -> Result<(), StoreError> {
        self.transact(|write| {
            let mut table = write.open_table(RECORDS)?;
            for (name, saved) in changes {
                match saved {
                    Some(saved) => {
                        let bytes = serde_cbor::to_vec(saved).map_err(StoreError::Encode)?;
                        table.insert(name.as_str().as_bytes(), bytes.as_slice())?;
                    }
                    None => {
                        table.remove(name.as_str().as_bytes())?;
                    }
                }
            }
            Ok(())
        })
    }

    /// Writes the time floor, in seconds since 1970.
    ///
    /// # Errors
    /// As [`Store::put`].
    pub fn put_floor(&mut self, floor: u64) -> Result<(), StoreError> {
        self.transact(|write| {
            write.open_table(META)?.insert(FLOOR, floor.to_be_bytes().as_slice())?;
            Ok(())
        })
    }

    /// Replaces all records and the floor after a failed write.
    ///
    /// # Errors
    /// As [`Store::put`].
    pub fn rewrite<'a>(
        &mut self,
        states: impl Iterator<Item = (&'a Name, &'a SavedWorkload)>,
        floor: u64,
    ) -> Result<(), StoreError> {
        self.transact(|write| {
            let mut table = write.open_table(RECORDS)?;
            let mut former = Vec::new();
            for row in table.iter()? {
                former.push(row?.0.value().to_vec());
            }
            for name in former {
                table.remove(name.as_slice())?;
            }
            for (name, saved) in states {
                let bytes = serde_cbor::to_vec(saved).map_err(StoreError::Encode)?;
                table.insert(name.as_str().as_bytes(), bytes.as_slice())?;
            }
            write.open_table(META)?.insert(FLOOR, floor.to_be_bytes().as_slice())?;
            Ok(())
        })
    }

    fn transact(
        &mut self,
        change: impl FnOnce(&redb::WriteTransaction) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.reopen()?;
        let Some(db) = &self.db else { return Ok(()) };
        let done = (|| {
            let write = db.begin_write()?;
            change(&write)?;
            write.commit()?;
            Ok(())
        })();
        if done.is_err() {
            // After an I/O error redb refuses everything until it is opened anew.
            self.db = None;
        }
        done
    }
}

/// Reads a store through a copy in memory, where it cannot be opened in place: redb would write to
/// it.
fn read_copy(path: &Path) -> Result<Loaded, StoreError> {
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Loaded::default());
        }
        file => file.map_err(redb::Error::Io)?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_COPY).read_to_end(&mut bytes).map_err(redb::Error::Io)?;
    let copy = InMemoryBackend::new();
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    copy.set_len(length).and_then(|()| copy.write(0, &bytes)).map_err(redb::StorageError::from)?;
    drop(bytes);
    load(&Database::builder().set_cache_size(CACHE).create_with_backend(copy)?)
}

fn load(db: &Database) -> Result<Loaded, StoreError> {
    let read = match db.begin_read()? {
        read if read.open_table(META).is_ok() => read,
        // A first start: made here, so that reading never finds a table missing.
        _ => {
            let write = db.begin_write()?;
            write.open_table(RECORDS)?;
            write.open_table(META)?;
            write.commit()?;
            db.begin_read()?
        }
    };
    let mut loaded = Loaded::default();
    for entry in read.open_table(RECORDS)?.iter()? {
        let (name, bytes) = entry?;
        let saved = codec::from_slice(bytes.value());
        let name = String::from_utf8_lossy(name.value());
        if let (Ok(name), Ok(saved)) = (name.parse(), saved) {
            loaded.saved.insert(name, saved);
        } else {
            // Of another version, or damaged: its process is found by its environment.
            tracing::warn!(workload = %name, "the saved state of a workload cannot be read and is left out");
        }
    }
    let floor = read.open_table(META)?.get(FLOOR)?.map(|it| it.value().try_into());
    loaded.floor = floor.and_then(Result::ok).map_or(0, u64::from_be_bytes);
    Ok(loaded)
}

/// True when the file itself is damaged. All other errors pass with their cause.
fn is_damage(error: &StoreError) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    let StoreError::Database(error) = error else { return false };
    match &**error {
        redb::Error::Io(error) => {
            let unreadable = Some(rustix::io::Errno::IO.raw_os_error());
            matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
                || error.raw_os_error() == unreadable
        }
        redb::Error::DatabaseAlreadyOpen | redb::Error::Unsupported => false,
        // Of another format is not damaged: the file stays where it is.
        redb::Error::UpgradeRequired(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TypeDefinitionChanged { .. } => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_store_that_cannot_be_written_is_read_and_not_taken_for_a_damaged_one() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("store.redb");
        let (mut store, first) = Store::open(&path);
        assert!(first.saved.is_empty() && !first.behind && first.damage.is_none());
        store.put(&[("w".parse().unwrap(), Some(SavedWorkload::default()))]).unwrap();
        store.put_floor(42).unwrap();
        // As it stands after a crash.
        std::fs::copy(&path, scratch.path().join("crashed.redb")).unwrap();
        drop(store);
        for name in ["store.redb", "crashed.redb"] {
            let loaded = read_copy(&scratch.path().join(name)).unwrap();
            assert_eq!(loaded.saved.len(), 1, "{name}");
            assert_eq!(loaded.floor, 42, "{name}");
        }
        for kind in [
            std::io::ErrorKind::ReadOnlyFilesystem,
            std::io::ErrorKind::StorageFull,
            std::io::ErrorKind::PermissionDenied,
        ] {
            assert!(!is_damage(&redb::Error::Io(kind.into()).into()), "{kind}");
        }
        let none_left = std::io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
        assert!(!is_damage(&redb::Error::Io(none_left).into()));

        // What is no store is damage.
        std::fs::write(&path, vec![7; 8192]).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let (_, loaded) = Store::open(&path);
        assert!(loaded.damage.is_some() && !loaded.behind);
        assert!(scratch.path().join("store.damaged").exists());
    }
}
