//! Store on redb: one file with one table, durable when `commit` returns.
//!
//! See decisions 0018 and 0096.
#![allow(clippy::disallowed_methods, reason = "an adapter: files are its trade")]

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::ops::Bound;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::{Database, ReadableDatabase as _, TableDefinition};

use super::data_store::{Trouble, guarded};
use crate::store::{Batch, Snapshot, Store, StoreError, Visit};

const TABLE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("holdfast");

/// Size of redb's cache, in bytes; its default is 1 GiB. Service reads from memory, so the cache
/// holds only the tree's upper pages and what a transaction writes.
const CACHE: usize = 8 * 1024 * 1024;

/// Store in a redb file.
#[derive(Debug)]
pub struct RedbStore {
    path: PathBuf,
    /// Open database; `None` when it was closed after an error and could not be opened again yet.
    /// redb refuses all work after an input or output error although the data on disk is intact, so
    /// it is opened again.
    database: RwLock<Option<Database>>,
}

fn failed(what: &'static str) -> impl Fn(redb::Error) -> StoreError {
    move |error| StoreError { what, cause: error.to_string() }
}

/// Reason why an existing store cannot be used.
#[derive(Debug)]
pub enum Unusable {
    /// The data on disk differs from what was written.
    Damaged(String),
    /// The system refuses it: no permission, no space, or open in another process.
    System(String),
}

fn create(path: &Path) -> Result<Database, redb::Error> {
    // The file holds keys: it is readable for its owner alone before anything is written to it.
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let database = Database::builder().set_cache_size(CACHE).create(path)?;
    // A write creates the table in a new file.
    write(&database, &[])?;
    Ok(database)
}

/// Opens an existing file. A file that is missing or empty was lost, and is never created here.
fn reopen(path: &Path) -> Result<Database, redb::Error> {
    let database = Database::builder().set_cache_size(CACHE).open(path)?;
    write(&database, &[])?;
    Ok(database)
}

fn write(database: &Database, batches: &[Batch]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(TABLE)?;
        // Batches of one group often write the same keys; only the last value is written.
        let mut last = BTreeMap::new();
        for batch in batches {
            if batch.clear {
                last.clear();
                table.retain(|_, _| false)?;
            }
            last.extend(batch.writes.iter().map(|(key, value)| (key.as_str(), value.as_deref())));
        }
        for (key, value) in last {
            match value {
                Some(value) => drop(table.insert(key, value)?),
                None => drop(table.remove(key)?),
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

impl RedbStore {
    /// Opens the file, or creates it.
    ///
    /// # Errors
    /// Returns an error when the file cannot be used.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let database = create(path).map_err(failed("cannot open the store"))?;
        Ok(Self { path: path.to_owned(), database: RwLock::new(Some(database)) })
    }

    /// Opens the file, which must exist and be intact.
    ///
    /// # Errors
    /// Returns an [`Unusable`] that says why the file cannot be used.
    pub fn existing(path: &Path) -> Result<Self, Unusable> {
        let database = guarded(|| reopen(path)).map_err(|trouble| match trouble {
            Trouble::Damage(why) => Unusable::Damaged(why),
            trouble @ Trouble::System(_) => Unusable::System(trouble.words()),
        })?;
        Ok(Self { path: path.to_owned(), database: RwLock::new(Some(database)) })
    }

    fn with<T>(
        &self,
        what: &'static str,
        act: impl Fn(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let fail = failed(what);
        let closed = || StoreError { what, cause: "its file cannot be opened".into() };
        if self.database.read().unwrap_or_else(PoisonError::into_inner).is_none() {
            self.reopen();
        }
        let result = {
            let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
            act(database.as_ref().ok_or_else(closed)?)
        };
        if result.is_err() {
            self.reopen();
        }
        result.map_err(fail)
    }

    fn reopen(&self) {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        *database = None;
        match reopen(&self.path) {
            Ok(opened) => *database = Some(opened),
            Err(error) => tracing::error!(%error, "the store cannot be opened again yet"),
        }
    }
}

impl Store for RedbStore {
    fn commit(&self, batches: &[Batch]) -> Result<(), StoreError> {
        self.with("cannot write to the store", |database| write(database, batches))
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.with("cannot read the store", |database| {
            let table = database.begin_read()?.open_table(TABLE)?;
            Ok(Box::new(Reading { table }) as Box<dyn Snapshot>)
        })
    }

    fn read(&self, prefix: &str, most: usize) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.with("cannot read the store", |database| {
            let table = database.begin_read()?.open_table(TABLE)?;
            let mut found = Vec::new();
            for entry in table.range(prefix..)?.take(most) {
                let (key, value) = entry?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                found.push((key.value().to_owned(), value.value().to_vec()));
            }
            Ok(found)
        })
    }

    fn pick(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.with("cannot read the store", |database| {
            let table = database.begin_read()?.open_table(TABLE)?;
            let mut found = Vec::with_capacity(keys.len());
            for key in keys {
                found.push(table.get(key.as_str())?.map(|value| value.value().to_vec()));
            }
            Ok(found)
        })
    }
}

struct Reading {
    table: redb::ReadOnlyTable<&'static str, &'static [u8]>,
}

impl Snapshot for Reading {
    fn visit(&self, without: &[&str], visit: &mut Visit<'_>) -> std::io::Result<()> {
        let other = |error: redb::StorageError| std::io::Error::other(error);
        let mut from = Bound::Unbounded;
        // Each round ends at the end of the table or at a key to leave out. The next round begins
        // after all keys with the same prefix.
        while let Some(next) = {
            let mut skip = None;
            let from = from.as_ref().map(String::as_str);
            for entry in self.table.range::<&str>((from, Bound::Unbounded)).map_err(other)? {
                let (key, value) = entry.map_err(other)?;
                skip = without.iter().find(|prefix| key.value().starts_with(**prefix));
                if skip.is_some() {
                    break;
                }
                visit(key.value(), value.value())?;
            }
            skip
        } {
            from = Bound::Included(format!("{next}{}", char::MAX));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(store: &RedbStore) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        store
            .snapshot()
            .unwrap()
            .visit(&[], &mut |key, value| {
                found.push((key.to_owned(), value.to_vec()));
                Ok(())
            })
            .unwrap();
        found
    }

    #[test]
    fn batches_count_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let store = RedbStore::open(&folder.path().join("store")).unwrap();
        let put = |key: &str, value: &[u8]| (key.to_owned(), Some(value.to_vec()));
        let batch = |writes| Batch { clear: false, writes };
        store.commit(&[batch(vec![put("a", b"1"), put("b", b"1")])]).unwrap();
        let before = store.snapshot().unwrap();
        store
            .commit(&[
                batch(vec![put("a", b"2"), put("c", b"2")]),
                batch(vec![put("a", b"3"), ("b".into(), None)]),
            ])
            .unwrap();
        assert_eq!(all(&store), [("a".into(), b"3".to_vec()), ("c".into(), b"2".to_vec())]);
        let cleared = Batch { clear: true, writes: vec![put("e", b"4")] };
        store.commit(&[batch(vec![put("d", b"4")]), cleared, batch(vec![put("f", b"5")])]).unwrap();
        assert_eq!(all(&store), [("e".into(), b"4".to_vec()), ("f".into(), b"5".to_vec())]);
        let mut seen = 0;
        before
            .visit(&[], &mut |_, value| {
                seen += 1;
                assert_eq!(value, b"1", "a snapshot stays as it was");
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, 2);
    }

    #[test]
    fn parts_are_read_alone_and_left_out_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = RedbStore::open(&folder.path().join("store")).unwrap();
        let keys = [
            "a",
            "history",
            "history/",
            "history/a/1",
            "history/b/1",
            "history/b/2",
            "history0",
            "z/1",
        ];
        let writes = keys.iter().map(|key| ((*key).to_owned(), Some(b"1".to_vec()))).collect();
        store.commit(&[Batch { clear: false, writes }]).unwrap();
        let read = |prefix: &str, most: usize| -> Vec<String> {
            store.read(prefix, most).unwrap().into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(read("history/b/", 9), ["history/b/1", "history/b/2"]);
        assert_eq!(read("history/b/", 1), ["history/b/1"]);
        assert_eq!(read("history/c/", 9), Vec::<String>::new());
        assert_eq!(read("zz", 9), Vec::<String>::new());
        assert_eq!(read("", 99), keys);
        let some = ["z/1".to_owned(), "none".to_owned(), "a".to_owned()];
        let one = || Some(b"1".to_vec());
        assert_eq!(store.pick(&some).unwrap(), [one(), None, one()]);
        for (without, expected) in [
            (&[][..], &keys[..]),
            (&["history/"][..], &["a", "history", "history0", "z/1"][..]),
            (&["z/", "history/", "none/"][..], &["a", "history", "history0"][..]),
            (&["a", "h", "z"][..], &[][..]),
        ] {
            let mut found = Vec::new();
            let mut visit = |key: &str, _: &[u8]| {
                found.push(key.to_owned());
                Ok(())
            };
            store.snapshot().unwrap().visit(without, &mut visit).unwrap();
            assert_eq!(found, expected, "without {without:?}");
        }
    }
}
