//! Data store on redb, in a file of its own, so that trouble with data records never touches
//! desired states. A file that cannot be read is set aside, and an empty one takes its place.
//!
//! See decisions 0056, 0058, 0059 and 0064.
#![allow(clippy::disallowed_methods, reason = "an adapter: files are its trade")]

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use holdfast_base::codec;
use holdfast_records::Range;
use holdfast_records::crc::crc;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, StorageError, TableDefinition};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::ports::data_store::{
    Block, DataBatch, DataError, DataStore, Direction, Head, StreamRow,
};
use crate::ports::rows::Disk;
use crate::ports::rows::{Answer, Segment};
use crate::ports::store::{Fence, Shard, StoreError};

/// Streams by their id: [`StreamRow`] as CBOR.
const STREAMS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("streams");

/// Segments by stream and first sequence number: last sequence number, and [`Answer::code`].
const SEGMENTS: TableDefinition<'_, (u64, u64), (u64, u8)> = TableDefinition::new("segments");

/// Row of a block's head: last sequence number, count, earliest and latest time, time of storing,
/// bytes, and the checksum of head and block.
type HeadRow = (u64, u64, u64, u64, u64, u64, u32);
type Key<'a> = redb::AccessGuard<'a, (u64, u64)>;
type HeadRowGuard<'a> = redb::AccessGuard<'a, HeadRow>;
/// Heads by stream and first sequence number.
const HEADS: TableDefinition<'_, (u64, u64), HeadRow> = TableDefinition::new("heads");

/// Blocks by stream and first sequence number, as devices sent them.
const BLOCKS: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("blocks");

/// Id of this store, under `id`.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const ID: &str = "id";
/// Blocks that were found damaged, by stream and first sequence number. Nothing reads them.
const ASIDE: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("damaged");

/// Size of redb's cache, in bytes; its default is 1 GiB. Data records are written once and seldom
/// read.
const CACHE: usize = 32 * 1024 * 1024;

/// Name under which a damaged file is set aside, replacing an earlier one.
const DAMAGED: &str = "data.damaged";

/// Data store in a redb file.
#[derive(Debug)]
pub struct RedbDataStore {
    path: PathBuf,
    /// Open database; `None` when it was closed after an error and could not be opened again yet.
    database: RwLock<Option<Database>>,
    /// Newest epoch of each shard's lease, in memory: one process has the file, so a holder that
    /// another one could exclude is in this process or has ended.
    claimed: Mutex<BTreeMap<Shard, u64>>,
}

/// Reason why an operation failed.
pub(super) enum Trouble {
    /// The system refused it (no space, no permission); the data on disk is intact.
    System(redb::Error),
    /// The data on disk differs from what was written.
    Damage(String),
}

impl Trouble {
    fn of(error: redb::Error) -> Self {
        match error {
            redb::Error::Corrupted(why) => Self::Damage(why),
            redb::Error::RepairAborted => Self::Damage(error.to_string()),
            redb::Error::Io(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof
                ) =>
            {
                Self::Damage(error.to_string())
            }
            error => Self::System(error),
        }
    }

    pub(super) fn words(self) -> String {
        match self {
            // Of another format is not damaged: it is kept, and nothing is begun in its place.
            Self::System(redb::Error::UpgradeRequired(format)) => format!(
                "the file has format {format} of another version: start the holdfast that wrote it"
            ),
            Self::System(error) => error.to_string(),
            Self::Damage(why) => format!("the file is damaged: {why}"),
        }
    }
}

/// Runs an operation and turns a panic into an error. redb reports some damage by an assertion,
/// which must end only this call.
pub(super) fn guarded<T>(act: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Trouble> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(result) => result.map_err(Trouble::of),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(Trouble::Damage(text.unwrap_or("it cannot be read").chars().take(200).collect()))
        }
    }
}

fn open(path: &Path) -> Result<Database, Trouble> {
    guarded(|| {
        // The file holds records of every device: readable for this user alone, whatever the umask.
        OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let database = Database::builder().set_cache_size(CACHE).create(path)?;
        write(&database, &DataBatch::default())?;
        identify(&database)?;
        Ok(database)
    })
}

/// Gives a new store a random id.
fn identify(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        if meta.get(ID)?.is_none() {
            let mut bytes = [0; 8];
            SystemRandom::new()
                .fill(&mut bytes)
                .map_err(|_| redb::Error::Io(std::io::Error::other("no randomness")))?;
            meta.insert(ID, u64::from_be_bytes(bytes))?;
        }
    }
    transaction.commit()?;
    Ok(())
}

fn write(database: &Database, batch: &DataBatch) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut streams = transaction.open_table(STREAMS)?;
        let mut segments = transaction.open_table(SEGMENTS)?;
        let mut heads = transaction.open_table(HEADS)?;
        let mut blocks = transaction.open_table(BLOCKS)?;
        let mut aside = transaction.open_table(ASIDE)?;
        for row in &batch.streams {
            let bytes = serde_cbor::to_vec(row)
                .map_err(|error| redb::Error::Io(std::io::Error::other(error)))?;
            streams.insert(row.id, bytes.as_slice())?;
        }
        for (stream, rows) in &batch.segments {
            for (from, row) in rows {
                match row {
                    Some((to, answer)) => {
                        drop(segments.insert((*stream, *from), (*to, answer.code()))?);
                    }
                    None => drop(segments.remove((*stream, *from))?),
                }
            }
        }
        for (stream, head, block) in &batch.blocks {
            let Head { first, last, count, min_time, max_time, stored, bytes } = *head;
            let sum = sum(*stream, head, block);
            heads
                .insert((*stream, first), (last, count, min_time, max_time, stored, bytes, sum))?;
            blocks.insert((*stream, first), block.as_slice())?;
        }
        for key in &batch.set_aside {
            heads.remove(key)?;
            if let Some(block) = blocks.remove(key)? {
                aside.insert(key, block.value())?;
            }
        }
        for key in &batch.gone_blocks {
            heads.remove(key)?;
            blocks.remove(key)?;
        }
        for stream in &batch.gone_streams {
            streams.remove(stream)?;
            aside.retain_in((*stream, 0)..=(*stream, u64::MAX), |_, _| false)?;
        }
    }
    transaction.commit()?;
    Ok(())
}

fn head((first, row): (u64, HeadRow)) -> Head {
    let (last, count, min_time, max_time, stored, bytes, _sum) = row;
    Head { first, last, count, min_time, max_time, stored, bytes }
}

/// Checksum of a block with its head and key.
fn sum(stream: u64, head: &Head, block: &[u8]) -> u32 {
    let Head { first, last, count, min_time, max_time, stored, bytes } = *head;
    let numbers = [stream, first, last, count, min_time, max_time, stored, bytes];
    crc(&[numbers.map(u64::to_be_bytes).as_flattened(), block])
}

fn damage(what: impl std::fmt::Display) -> redb::Error {
    StorageError::Corrupted(what.to_string()).into()
}

impl RedbDataStore {
    /// Makes the store without opening its file. The file is opened, or created, by the first use:
    /// after a crash redb reads a large file through, and nothing else should wait for that. A
    /// damaged file is set aside; a file that cannot be opened is tried again with each use.
    pub fn new(path: &Path) -> Self {
        let (database, claimed) = (RwLock::new(None), Mutex::default());
        Self { path: path.to_owned(), database, claimed }
    }

    /// Claims the shard for a fence. The claim stands for as long as the guard at least.
    fn claimed(
        &self,
        fence: Option<Fence>,
    ) -> Result<MutexGuard<'_, BTreeMap<Shard, u64>>, DataError> {
        let mut claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fence) = fence {
            let newest = claimed.entry(fence.shard).or_default();
            if fence.epoch < *newest {
                return Err(DataError::Lost(fence));
            }
            *newest = fence.epoch;
        }
        Ok(claimed)
    }

    fn damaged_path(&self) -> PathBuf {
        self.path.with_file_name(DAMAGED)
    }

    /// Runs an operation on the open database. After an error the database is opened again.
    fn with<T>(
        &self,
        what: &'static str,
        act: impl Fn(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        if self.database.read().unwrap_or_else(PoisonError::into_inner).is_none() {
            self.reopen(None);
        }
        let result = {
            let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
            let database = database
                .as_ref()
                .ok_or_else(|| StoreError { what, cause: "its file cannot be opened".into() })?;
            guarded(|| act(database))
        };
        result.map_err(|trouble| {
            let damage = match &trouble {
                Trouble::Damage(why) => Some(why.clone()),
                Trouble::System(_) => None,
            };
            self.reopen(damage);
            StoreError { what, cause: trouble.words() }
        })
    }

    /// Opens the database again, because redb refuses all work after an input or output error
    /// although the data on disk is intact. `damage` says that it is not, and why.
    fn reopen(&self, damage: Option<String>) {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        // A damaged database may also panic when it is dropped.
        let former = database.take();
        drop(catch_unwind(AssertUnwindSafe(|| drop(former))));
        let opened = match damage {
            Some(why) => Err(Trouble::Damage(why)),
            None => open(&self.path),
        };
        *database = match opened {
            Ok(opened) => Some(opened),
            Err(Trouble::System(error)) => {
                tracing::error!(%error, "the data store cannot be opened yet: devices keep their data");
                None
            }
            Err(Trouble::Damage(why)) => self.begin_anew(&why),
        };
    }

    /// Sets the damaged file aside and opens an empty one.
    fn begin_anew(&self, why: &str) -> Option<Database> {
        let aside = self.damaged_path();
        tracing::error!(
            why,
            aside = %aside.display(),
            "the data store is damaged and set aside: what was received before is not known any more, and streams go on from here"
        );
        if let Err(error) = std::fs::rename(&self.path, &aside) {
            tracing::error!(%error, "the damaged data store cannot be set aside: devices keep their data");
            return None;
        }
        open(&self.path)
            .map_err(|trouble| {
                tracing::error!(error = trouble.words(), "no new data store can be made yet");
            })
            .ok()
    }
}

impl DataStore for RedbDataStore {
    fn claim(&self, fence: Fence) -> Result<(), DataError> {
        self.claimed(Some(fence)).map(drop)
    }

    fn commit(&self, batch: &DataBatch) -> Result<(), DataError> {
        // Held until the batch is written: a claim waits for it.
        let _claimed = self.claimed(batch.fence)?;
        Ok(self.with("cannot write to the data store", |database| write(database, batch))?)
    }

    fn id(&self) -> Result<u64, StoreError> {
        self.with("cannot read the data store", |database| {
            let meta = database.begin_read()?.open_table(META)?;
            let id = meta.get(ID)?.ok_or_else(|| damage("it does not say which it is"))?;
            Ok(id.value())
        })
    }

    fn streams(&self) -> Result<Vec<StreamRow>, StoreError> {
        self.with("cannot read the data store", |database| {
            let table = database.begin_read()?.open_table(STREAMS)?;
            let mut found = Vec::new();
            for entry in table.iter()? {
                let (_, value) = entry?;
                found.push(codec::from_slice(value.value()).map_err(damage)?);
            }
            Ok(found)
        })
    }

    fn segments(&self, stream: u64, range: Range, most: usize) -> Result<Vec<Segment>, StoreError> {
        self.with("cannot read the data store", |database| {
            let table = database.begin_read()?.open_table(SEGMENTS)?;
            let mut found = Vec::new();
            let segment = |from: u64, (to, code): (u64, u8)| {
                let answer = Answer::of_code(code).filter(|_| from <= to);
                let answer = answer.ok_or_else(|| damage("a segment that cannot be"))?;
                Ok::<_, redb::Error>(Segment { from, to, answer })
            };
            if let Some(entry) = table.range((stream, 0)..(stream, range.from))?.next_back() {
                let (key, value) = entry?;
                let first = segment(key.value().1, value.value())?;
                if first.to >= range.from {
                    found.push(first);
                }
            }
            for entry in table.range((stream, range.from)..=(stream, range.to))? {
                if found.len() >= most {
                    break;
                }
                let (key, value) = entry?;
                found.push(segment(key.value().1, value.value())?);
            }
            Ok(found)
        })
    }

    fn heads(
        &self,
        stream: u64,
        range: Range,
        most: usize,
        direction: Direction,
    ) -> Result<Vec<Head>, StoreError> {
        if range.from > range.to {
            return Ok(Vec::new());
        }
        self.with("cannot read the data store", |database| {
            let table = database.begin_read()?.open_table(HEADS)?;
            let rows = table.range((stream, range.from)..=(stream, range.to))?;
            let row = |entry: Result<(Key<'_>, HeadRowGuard<'_>), StorageError>| {
                let (key, value) = entry?;
                Ok::<_, redb::Error>(head((key.value().1, value.value())))
            };
            match direction {
                Direction::Up => rows.take(most).map(row).collect(),
                Direction::Down => rows.rev().take(most).map(row).collect(),
            }
        })
    }

    fn block(&self, stream: u64, first: u64) -> Result<Option<Block>, StoreError> {
        self.with("cannot read the data store", |database| {
            let reading = database.begin_read()?;
            let (heads, blocks) = (reading.open_table(HEADS)?, reading.open_table(BLOCKS)?);
            let (row, block) = (heads.get((stream, first))?, blocks.get((stream, first))?);
            let (Some(row), Some(block)) = (row, block) else { return Ok(None) };
            let (row, block) = (row.value(), block.value());
            let whole = sum(stream, &head((first, row)), block) == row.6;
            Ok(Some(if whole { Block::Whole(block.to_vec()) } else { Block::Damaged }))
        })
    }

    fn disk(&self) -> Option<Disk> {
        super::disk(self.path.parent()?)
    }

    fn damaged(&self) -> Option<String> {
        let aside = self.damaged_path();
        aside.exists().then(|| aside.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::rows::Tally;

    fn row(id: u64) -> StreamRow {
        let (device, stream) = ("d".parse().unwrap(), format!("s{id}").parse().unwrap());
        let tenant = "acme".parse().unwrap();
        StreamRow { id, tenant, device, owner: 7, stream, gone: false, tally: Tally::default() }
    }

    fn block(first: u64) -> (u64, Head, Vec<u8>) {
        let head = Head {
            first,
            last: first + 4,
            count: 5,
            min_time: 1,
            max_time: 2,
            stored: 3,
            bytes: 3,
        };
        (1, head, vec![1, 2, 3])
    }

    fn full(store: &RedbDataStore) {
        let segment = |to| Some((to, Answer::Received));
        let batch = DataBatch {
            streams: vec![row(1), row(2)],
            segments: vec![(1, vec![(1, segment(4)), (6, segment(9))]), (2, vec![(2, segment(2))])],
            blocks: vec![block(1), block(6), block(11)],
            ..DataBatch::default()
        };
        store.commit(&batch).unwrap();
    }

    #[test]
    fn what_is_written_is_read_by_ranges() {
        let folder = tempfile::tempdir().unwrap();
        let store = RedbDataStore::new(&folder.path().join("data.redb"));
        full(&store);
        assert_eq!(store.streams().unwrap(), [row(1), row(2)]);
        let found = |from, to, most| -> Vec<u64> {
            let all = store.segments(1, Range { from, to }, most).unwrap();
            all.into_iter().map(|segment| segment.from).collect()
        };
        assert_eq!(found(0, 100, 9), [1, 6]);
        assert_eq!(found(4, 6, 9), [1, 6]);
        assert_eq!(found(5, 5, 9), [0; 0]);
        assert_eq!(found(2, 100, 1), [1]);
        let heads = |from, to, direction| -> Vec<u64> {
            let all = store.heads(1, Range { from, to }, 2, direction).unwrap();
            all.into_iter().map(|head| head.first).collect()
        };
        assert_eq!(heads(0, 99, Direction::Up), [1, 6]);
        assert_eq!(heads(0, 99, Direction::Down), [11, 6]);
        assert_eq!(heads(2, 6, Direction::Down), [6]);
        assert_eq!(heads(7, 6, Direction::Down), [0; 0]);
        assert_eq!(store.block(1, 6).unwrap(), Some(Block::Whole(vec![1, 2, 3])));
        assert_eq!(store.block(2, 6).unwrap(), None);
        let gone = DataBatch {
            gone_blocks: vec![(1, 6)],
            segments: vec![(1, vec![(1, None)])],
            gone_streams: vec![2],
            ..DataBatch::default()
        };
        store.commit(&gone).unwrap();
        assert_eq!(heads(0, 99, Direction::Up), [1, 11]);
        assert_eq!(store.block(1, 6).unwrap(), None);
        assert_eq!(found(0, 100, 9), [6]);
        assert_eq!(store.streams().unwrap(), [row(1)]);
        assert_eq!(store.damaged(), None);
        let disk = store.disk().unwrap();
        assert!(disk.total > disk.free, "{disk:?}");
        let id = store.id().unwrap();
        drop(store);
        let path = folder.path().join("data.redb");
        assert_eq!(RedbDataStore::new(&path).id().unwrap(), id, "it stays");
        assert_ne!(RedbDataStore::new(&folder.path().join("other.redb")).id().unwrap(), id);
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_the_store_goes_on() {
        type Harm = fn(&mut Vec<u8>);
        let harms: [Harm; 4] = [
            |bytes| bytes.truncate(1_000),
            |bytes| bytes.truncate(bytes.len() / 2),
            |bytes| bytes.fill(0x5a),
            |bytes| bytes.splice(0..64, [0; 64]).for_each(drop),
        ];
        for (number, harm) in harms.iter().enumerate() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("data.redb");
            let store = RedbDataStore::new(&path);
            full(&store);
            let id = store.id().unwrap();
            drop(store);
            let mut bytes = std::fs::read(&path).unwrap();
            harm(&mut bytes);
            std::fs::write(&path, bytes).unwrap();
            let store = RedbDataStore::new(&path);
            // Some damage is found by the first use only: that use fails, and the next one works.
            let mut tries = 0;
            while store
                .commit(&DataBatch { streams: vec![row(3)], ..DataBatch::default() })
                .is_err()
                || store.streams().is_err()
            {
                tries += 1;
                assert!(tries < 5, "harm {number}");
            }
            assert_eq!(store.streams().unwrap().last(), Some(&row(3)), "harm {number}");
            assert!(store.damaged().is_some(), "harm {number}");
            assert_ne!(store.id().unwrap(), id, "harm {number}: another store");
        }
    }

    #[test]
    fn a_flipped_bit_of_a_block_or_its_head_is_noticed_and_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.redb");
        let store = RedbDataStore::new(&path);
        let bytes = b"what a device sent, as it came: longer than any key of a page".to_vec();
        let with = |(id, head, _): (u64, Head, Vec<u8>), min_time| {
            (id, Head { min_time, bytes: 61, ..head }, bytes.clone())
        };
        let time = 0x0123_4567_89ab_cdef_u64;
        let blocks = vec![with(block(1), 1), with(block(6), time), with(block(11), 1)];
        store.commit(&DataBatch { blocks, ..DataBatch::default() }).unwrap();
        drop(store);
        let found = |what: &[u8]| {
            let file = std::fs::read(&path).unwrap();
            let at = |at: usize| file[at..].starts_with(what);
            (0..file.len()).filter(|it| at(*it)).collect::<Vec<_>>()
        };
        let whole = std::fs::read(&path).unwrap();
        let firsts = [1, 6, 11];
        for (places, harmed) in [(found(&bytes), None), (found(&time.to_le_bytes()), Some(6))] {
            assert!(!places.is_empty());
            let mut hit = std::collections::BTreeSet::new();
            for place in places {
                for bit in [0, 7] {
                    let mut file = whole.clone();
                    file[place + 5] ^= 1 << bit;
                    std::fs::write(&path, file).unwrap();
                    let store = RedbDataStore::new(&path);
                    let read = |first: &u64| store.block(1, *first).unwrap().unwrap();
                    let (good, bad): (Vec<u64>, Vec<u64>) =
                        firsts.iter().partition(|first| read(first) == Block::Whole(bytes.clone()));
                    // A copy of an earlier transaction does no harm.
                    assert!(bad.len() <= 1 && good.len() + bad.len() == 3, "{bad:?}");
                    assert!(bad.iter().all(|first| read(first) == Block::Damaged));
                    hit.extend(bad);
                }
            }
            assert!(harmed.map_or(hit.len() == 3, |one| hit == [one].into()), "{hit:?}");
        }
        std::fs::write(&path, &whole).unwrap();
        let store = RedbDataStore::new(&path);
        store.commit(&DataBatch { set_aside: vec![(1, 6)], ..DataBatch::default() }).unwrap();
        assert_eq!(store.block(1, 6).unwrap(), None);
        let all = Range { from: 0, to: 99 };
        assert_eq!(store.heads(1, all, 9, Direction::Up).unwrap().len(), 2);
        store.commit(&DataBatch { gone_streams: vec![1], ..DataBatch::default() }).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_had_keeps_nobody_from_working() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none/data.redb");
        let store = RedbDataStore::new(&path);
        assert!(store.streams().is_err());
        std::fs::create_dir(folder.path().join("none")).unwrap();
        full(&store);
        assert_eq!(store.streams().unwrap().len(), 2);
    }
}
