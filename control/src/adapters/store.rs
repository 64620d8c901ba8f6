//! Store on redb: one file, durable when `commit` returns. One table holds the values, two small
//! ones the epochs of leases and a bound of the revisions. What the small ones hold is also in
//! memory, so that a commit writes to the table of values alone.
//!
//! See decisions 0018, 0096 and 0136.
#![allow(clippy::disallowed_methods, reason = "an adapter: files are its trade")]

use std::collections::{BTreeMap, VecDeque};
use std::fs::OpenOptions;
use std::ops::Bound;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use super::data_store::{Trouble, guarded};
use crate::ports::store::{
    Batch, Changes, Fence, LeaseError, Refused, Revision, Shard, Snapshot, Store, StoreError,
    Versioned, Visit,
};

const TABLE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("holdfast");

/// Key that was changed, and the revision of the change.
type Logged = (Revision, Box<str>);

/// Newest epoch of each shard's lease. It survives a restore from a backup.
const LEASES: TableDefinition<'_, u8, u64> = TableDefinition::new("leases");

/// Revision that no batch has passed yet, under `revision`.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const REVISION: &str = "revision";

/// Number of revisions that are reserved at once. Only a batch that passes the reserve writes to
/// the table of the newest revision; each start of the process skips what is left of one.
const RESERVE: Revision = 65_536;

/// First byte of a stored value that begins with its revision, as 8 bytes.
const MARK: u8 = 0;

/// Most changes that the log of changes holds; about 1 MB.
const LOG: usize = 8_192;

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
    held: Mutex<Held>,
}

/// What the one process that has the file holds in memory of it.
#[derive(Debug, Default)]
struct Held {
    /// Revision of the last batch.
    revision: Revision,
    /// Revision on disk that no batch has passed.
    reserved: Revision,
    /// Newest epoch of each shard's lease.
    epochs: BTreeMap<Shard, u64>,
    log: Log,
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

fn create(path: &Path) -> Result<(Database, Held), redb::Error> {
    // The file holds keys: it is readable for its owner alone before anything is written to it.
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let database = Database::builder().set_cache_size(CACHE).create(path)?;
    let held = prepare(&database)?;
    Ok((database, held))
}

/// Opens an existing file. A file that is missing or empty was lost, and is never created here.
fn reopen(path: &Path) -> Result<(Database, Held), redb::Error> {
    let database = Database::builder().set_cache_size(CACHE).open(path)?;
    let held = prepare(&database)?;
    Ok((database, held))
}

/// Opens the tables and creates those that are missing: a store from before revisions has one.
fn prepare(database: &Database) -> Result<Held, redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(TABLE)?;
    let mut epochs = BTreeMap::new();
    for entry in transaction.open_table(LEASES)?.iter()? {
        let (shard, epoch) = entry?;
        epochs.insert(shard.value(), epoch.value());
    }
    let reserved = transaction.open_table(META)?.get(REVISION)?.map_or(0, |value| value.value());
    transaction.commit()?;
    Ok(Held { revision: reserved, reserved, epochs, log: Log::new(reserved) })
}

/// Divides a stored value into revision and value. A value from before revisions is JSON, which
/// never begins with the mark, and has revision 0.
fn divide(stored: &[u8]) -> (Revision, &[u8]) {
    let marked = stored.split_first_chunk::<{ 1 + size_of::<Revision>() }>();
    match marked {
        Some(([MARK, revision @ ..], value)) => (Revision::from_be_bytes(*revision), value),
        _ => (0, stored),
    }
}

fn versioned(stored: &[u8]) -> Versioned {
    let (revision, value) = divide(stored);
    Versioned { revision, value: value.to_vec() }
}

type Written = Vec<Result<Revision, Refused>>;
type Table<'a> = redb::Table<'a, &'static str, &'static [u8]>;

/// Writes of a group that were not refused. Batches of one group often write the same keys; only
/// the last value is written.
#[derive(Default)]
struct Group<'a> {
    revision: Revision,
    cleared: bool,
    last: BTreeMap<&'a str, (Revision, Option<&'a [u8]>)>,
}

impl<'a> Group<'a> {
    /// Revision of a key after the batches so far.
    fn revision_of(&self, table: &Table<'_>, key: &str) -> Result<Option<Revision>, redb::Error> {
        Ok(match self.last.get(key) {
            Some((revision, value)) => value.map(|_| *revision),
            None if self.cleared => None,
            None => table.get(key)?.map(|stored| divide(stored.value()).0),
        })
    }

    /// First key of the batch that is not as expected.
    fn conflict(&self, table: &Table<'_>, batch: &Batch) -> Result<Option<Refused>, redb::Error> {
        for (key, expected) in &batch.expect {
            let revision = self.revision_of(table, key)?;
            if revision != *expected {
                return Ok(Some(Refused::Conflict { key: key.clone(), revision }));
            }
        }
        Ok(None)
    }

    fn add(&mut self, batch: &'a Batch) -> Revision {
        if batch.clear || !batch.writes.is_empty() {
            self.revision += 1;
        }
        if batch.clear {
            self.last.clear();
            self.cleared = true;
        }
        let writes = batch.writes.iter();
        let revision = self.revision;
        self.last.extend(writes.map(|(key, value)| (key.as_str(), (revision, value.as_deref()))));
        revision
    }

    fn write(self, table: &mut Table<'_>) -> Result<(), redb::Error> {
        if self.cleared {
            table.retain(|_, _| false)?;
        }
        let mut stored = Vec::new();
        for (key, (revision, value)) in self.last {
            let Some(value) = value else {
                drop(table.remove(key)?);
                continue;
            };
            stored.clear();
            stored.push(MARK);
            stored.extend_from_slice(&revision.to_be_bytes());
            stored.extend_from_slice(value);
            drop(table.insert(key, stored.as_slice())?);
        }
        Ok(())
    }
}

/// Writes the batches that are not refused. Returns the outcome of each.
fn write(database: &Database, held: &mut Held, batches: &[Batch]) -> Result<Written, redb::Error> {
    let transaction = database.begin_write()?;
    let mut outcomes = Vec::with_capacity(batches.len());
    let mut group = Group { revision: held.revision, ..Group::default() };
    let revision = {
        let mut table = transaction.open_table(TABLE)?;
        for batch in batches {
            let holds = |fence: &Fence| held.epochs.get(&fence.shard) == Some(&fence.epoch);
            let refused = match batch.fence.filter(|fence| !holds(fence)) {
                Some(lost) => Some(Refused::Lost(lost)),
                None => group.conflict(&table, batch)?,
            };
            outcomes.push(match refused {
                Some(refused) => Err(refused),
                None => Ok(group.add(batch)),
            });
        }
        let revision = group.revision;
        group.write(&mut table)?;
        revision
    };
    let mut reserved = held.reserved;
    if revision > reserved {
        reserved = revision.saturating_add(RESERVE);
        transaction.open_table(META)?.insert(REVISION, reserved)?;
    }
    transaction.commit()?;
    (held.revision, held.reserved) = (revision, reserved);
    held.log.note(batches, &outcomes);
    Ok(outcomes)
}

/// Newest changes of this process, in memory: redb has no second process to tell.
#[derive(Debug, Default)]
struct Log {
    /// Revision after which the log knows every change.
    since: Revision,
    changes: VecDeque<(Revision, Box<str>)>,
}

impl Log {
    fn new(since: Revision) -> Self {
        Self { since, changes: VecDeque::new() }
    }

    fn note(&mut self, batches: &[Batch], outcomes: &Written) {
        for (batch, outcome) in batches.iter().zip(outcomes) {
            let Ok(revision) = *outcome else { continue };
            if batch.clear || batch.writes.len() > LOG {
                // Too much has changed to be told by keys.
                *self = Self::new(revision);
                continue;
            }
            let keys = batch.writes.iter().map(|(key, _)| (revision, key.as_str().into()));
            self.changes.extend(keys);
        }
        // A batch goes as a whole: what is left begins with the next revision.
        while self.changes.len() > LOG
            || self.changes.front().is_some_and(|(revision, _)| *revision <= self.since)
        {
            if let Some((revision, _)) = self.changes.pop_front() {
                self.since = revision;
            }
        }
    }

    /// Changes after `since` with whole batches, and whether there are more. None: trimmed.
    fn page(&self, since: Revision, most: usize) -> Option<(Vec<Logged>, bool)> {
        if since < self.since {
            return None;
        }
        let from = self.changes.partition_point(|(revision, _)| *revision <= since);
        let rest = self.changes.range(from..);
        let mut page: Vec<Logged> = Vec::new();
        for (revision, key) in rest {
            if page.len() >= most.max(1) && page.last().is_some_and(|(last, _)| last != revision) {
                return Some((page, true));
            }
            page.push((*revision, key.clone()));
        }
        Some((page, false))
    }
}

impl RedbStore {
    fn of(path: &Path, (database, held): (Database, Held)) -> Self {
        let (database, held) = (RwLock::new(Some(database)), Mutex::new(held));
        Self { path: path.to_owned(), database, held }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the file, or creates it.
    ///
    /// # Errors
    /// Returns an error when the file cannot be used.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let opened = create(path).map_err(failed("cannot open the store"))?;
        Ok(Self::of(path, opened))
    }

    /// Opens the file, which must exist and be intact.
    ///
    /// # Errors
    /// Returns an [`Unusable`] that says why the file cannot be used.
    pub fn existing(path: &Path) -> Result<Self, Unusable> {
        let opened = guarded(|| reopen(path)).map_err(|trouble| match trouble {
            Trouble::Damage(why) => Unusable::Damaged(why),
            trouble @ Trouble::System(_) => Unusable::System(trouble.words()),
        })?;
        Ok(Self::of(path, opened))
    }

    /// Copies rows, revisions and epochs into a new file, without the row `without`: what that row
    /// held is not even in a page of the new file that is free.
    ///
    /// # Errors
    /// Returns an error when the new file cannot be written; this one is not changed.
    pub fn copy_without(&self, path: &Path, without: &str) -> Result<(), StoreError> {
        self.with("cannot copy the store", |database| {
            let (fresh, _) = create(path)?;
            let (from, to) = (database.begin_read()?, fresh.begin_write()?);
            let mut rows = to.open_table(TABLE)?;
            for entry in from.open_table(TABLE)?.iter()? {
                let (key, value) = entry?;
                if key.value() != without {
                    rows.insert(key.value(), value.value())?;
                }
            }
            let mut leases = to.open_table(LEASES)?;
            for entry in from.open_table(LEASES)?.iter()? {
                let (shard, epoch) = entry?;
                leases.insert(shard.value(), epoch.value())?;
            }
            let mut meta = to.open_table(META)?;
            for entry in from.open_table(META)?.iter()? {
                let (name, value) = entry?;
                meta.insert(name.value(), value.value())?;
            }
            drop((rows, leases, meta));
            Ok(to.commit()?)
        })
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
            Ok((opened, held)) => {
                // What a failed commit left on disk is not known.
                *self.held() = held;
                *database = Some(opened);
            }
            Err(error) => tracing::error!(%error, "the store cannot be opened again yet"),
        }
    }
}

impl Store for RedbStore {
    fn commit(&self, batches: &[Batch]) -> Result<Written, StoreError> {
        self.with("cannot write to the store", |database| {
            // Locked until the log has them, so that it is in the order of the commits.
            write(database, &mut self.held(), batches)
        })
    }

    fn changes(&self, since: Revision, most: usize) -> Result<Changes, StoreError> {
        self.with("cannot read the store", |database| {
            let Some((page, more)) = self.held().log.page(since, most) else {
                return Ok(Changes::Trimmed);
            };
            let upto = page.last().map_or(since, |(revision, _)| *revision);
            let table = database.begin_read()?.open_table(TABLE)?;
            let mut changed = Vec::with_capacity(page.len());
            for (_, key) in page {
                let value = table.get(&*key)?.map(|stored| versioned(stored.value()));
                changed.push((key.into_string(), value));
            }
            Ok(Changes::Page { changed, upto, more })
        })
    }

    fn lease(&self, shard: Shard, _: &str, _: Duration) -> Result<Fence, LeaseError> {
        Ok(self.with("cannot write to the store", |database| {
            let mut held = self.held();
            let transaction = database.begin_write()?;
            let epoch = {
                let mut leases = transaction.open_table(LEASES)?;
                let epoch = leases.get(shard)?.map_or(0, |epoch| epoch.value()) + 1;
                leases.insert(shard, epoch)?;
                epoch
            };
            transaction.commit()?;
            held.epochs.insert(shard, epoch);
            Ok(Fence { shard, epoch })
        })?)
    }

    fn renew(&self, fence: Fence, _: Duration) -> Result<(), LeaseError> {
        let epoch = |_: &Database| Ok(self.held().epochs.get(&fence.shard).copied());
        let newest = self.with("cannot read the store", epoch)?;
        if newest == Some(fence.epoch) { Ok(()) } else { Err(LeaseError::Lost) }
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
                found.push((key.value().to_owned(), divide(value.value()).1.to_vec()));
            }
            Ok(found)
        })
    }

    fn pick(&self, keys: &[String]) -> Result<Vec<Option<Versioned>>, StoreError> {
        self.with("cannot read the store", |database| {
            let table = database.begin_read()?.open_table(TABLE)?;
            let mut found = Vec::with_capacity(keys.len());
            for key in keys {
                found.push(table.get(key.as_str())?.map(|stored| versioned(stored.value())));
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
                visit(key.value(), divide(value.value()).1)?;
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
        let batch = |writes| Batch { writes, ..Batch::default() };
        store.commit(&[batch(vec![put("a", b"1"), put("b", b"1")])]).unwrap();
        let before = store.snapshot().unwrap();
        store
            .commit(&[
                batch(vec![put("a", b"2"), put("c", b"2")]),
                batch(vec![put("a", b"3"), ("b".into(), None)]),
            ])
            .unwrap();
        assert_eq!(all(&store), [("a".into(), b"3".to_vec()), ("c".into(), b"2".to_vec())]);
        let cleared = Batch { clear: true, writes: vec![put("e", b"4")], ..Batch::default() };
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
        store.commit(&[Batch { writes, ..Batch::default() }]).unwrap();
        let read = |prefix: &str, most: usize| -> Vec<String> {
            store.read(prefix, most).unwrap().into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(read("history/b/", 9), ["history/b/1", "history/b/2"]);
        assert_eq!(read("history/b/", 1), ["history/b/1"]);
        assert_eq!(read("history/c/", 9), Vec::<String>::new());
        assert_eq!(read("zz", 9), Vec::<String>::new());
        assert_eq!(read("", 99), keys);
        let some = ["z/1".to_owned(), "none".to_owned(), "a".to_owned()];
        let one = || Some(Versioned { revision: 1, value: b"1".to_vec() });
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

    fn write_of(key: &str) -> Batch {
        let mut batch = Batch::default();
        batch.put(key.into(), b"1".to_vec());
        batch
    }

    #[test]
    fn fences_and_preconditions_refuse_a_batch_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = RedbStore::open(&path).unwrap();
        let ttl = Duration::from_secs(6);
        let old = store.lease(0, "a", ttl).unwrap();
        let fenced = |fence| Batch { fence: Some(fence), ..write_of("a") };
        assert_eq!(store.commit(&[fenced(old)]).unwrap(), [Ok(1)]);
        let expect =
            |key: &str, revision| Batch { expect: vec![(key.into(), revision)], ..write_of(key) };
        let refused = |key: &str, revision| Err(Refused::Conflict { key: key.into(), revision });
        let group =
            [expect("a", Some(1)), expect("a", Some(1)), expect("b", None), expect("b", Some(3))];
        let outcomes = [Ok(2), refused("a", Some(2)), Ok(3), Ok(4)];
        assert_eq!(store.commit(&group).unwrap(), outcomes);
        drop(store);
        let store = RedbStore::existing(&path).unwrap();
        let new = store.lease(0, "b", ttl).unwrap();
        assert!(new.epoch > old.epoch, "epochs survive a restart");
        assert!(matches!(store.renew(old, ttl), Err(LeaseError::Lost)));
        store.renew(new, ttl).unwrap();
        let outcomes = store.commit(&[fenced(old), fenced(new)]).unwrap();
        assert_eq!(outcomes[0], Err(Refused::Lost(old)));
        let Ok(revision) = outcomes[1] else { panic!("{outcomes:?}") };
        assert!(revision > 4, "revisions rise over a restart");
        let clear = Batch { clear: true, ..Batch::default() };
        let outcomes = [Ok(revision + 1), Ok(revision + 2)];
        assert_eq!(store.commit(&[clear, expect("a", None)]).unwrap(), outcomes);
        store.renew(new, ttl).unwrap();
    }

    #[test]
    fn changes_are_told_in_whole_batches_until_they_are_trimmed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = RedbStore::open(&path).unwrap();
        let mut two = write_of("a");
        two.put("b".into(), b"1".to_vec());
        let mut gone = Batch::default();
        gone.delete("a".into());
        store.commit(&[two, gone]).unwrap();
        let b = Versioned { revision: 1, value: b"1".to_vec() };
        let first = vec![("a".into(), None), ("b".into(), Some(b))];
        let page = Changes::Page { changed: first, upto: 1, more: true };
        assert_eq!(store.changes(0, 1).unwrap(), page);
        let page = Changes::Page { changed: vec![("a".into(), None)], upto: 2, more: false };
        assert_eq!(store.changes(1, 9).unwrap(), page);
        for _ in 0..=LOG {
            store.held().log.note(&[write_of("c")], &vec![Ok(3)]);
        }
        assert_eq!(store.changes(1, 9).unwrap(), Changes::Trimmed);
        drop(store);
        let store = RedbStore::existing(&path).unwrap();
        assert_eq!(store.changes(1, 9).unwrap(), Changes::Trimmed);
    }

    #[test]
    fn a_store_from_before_revisions_is_read_and_numbered_as_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let database = Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(TABLE).unwrap().insert("a", b"{\"long\":true}".as_slice()).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let store = RedbStore::existing(&path).unwrap();
        assert_eq!(all(&store), [("a".into(), b"{\"long\":true}".to_vec())]);
        assert_eq!(store.pick(&["a".into()]).unwrap()[0].as_ref().unwrap().revision, 0);
        let over = Batch { expect: vec![("a".into(), Some(0))], ..write_of("a") };
        assert_eq!(store.commit(&[over]).unwrap(), [Ok(1)]);
        assert_eq!(all(&store), [("a".into(), b"1".to_vec())]);
    }
}
