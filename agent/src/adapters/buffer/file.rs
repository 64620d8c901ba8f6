//! The database `data.redb`: blocks of records, the index of segments, and the state of each
//! stream. What changes together becomes durable in one step: a small step goes to the journal, and
//! stays in memory with those before it until one transaction moves them all into the database. The
//! journal is cheaper, because redb writes its upper tree pages anew in each transaction.
//!
//! See decisions 0043 and 0067.

use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use holdfast_base::codec;
use holdfast_base::collect;
use holdfast_records::{Range, Record};
use redb::{
    Database, ReadOnlyTable, ReadableDatabase as _, ReadableTable as _, TableDefinition,
    WriteTransaction,
};

use super::block::{self, Head, KEY, Packed, ROW};
use super::change::{Change, Key};
use super::counted::Counted;
use super::journal::{Journal, LARGEST};
use crate::adapters::crash;
use crate::core::data::step::{Blocks, Found};
use crate::core::data::stream::Kept;

/// Path of the database in a data folder.
pub(super) fn path(data: &Path) -> PathBuf {
    data.join("data.redb")
}

/// Table type of all four tables. redb's code is compiled once for each pair of types, so keys and
/// values are plain bytes; keys are big-endian and sort by their meaning.
type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;
type Rows = ReadOnlyTable<&'static [u8], &'static [u8]>;
/// Rows of blocks, by stream (4 bytes), first sequence number (8) and part (2).
const BLOCKS: Table = TableDefinition::new("blocks");
/// Closed segments, by stream (4 bytes) and the sequence number they began with (8).
const SEGMENTS: Table = TableDefinition::new("segments");
/// State of each stream, by stream number (4 bytes).
const STREAMS: Table = TableDefinition::new("streams");
/// Single values ("store", "base", "ledger" and so on), by name.
const META: Table = TableDefinition::new("meta");
/// Key in [`META`] of the current journal generation; 0 means that there is no journal.
const GENERATION: &[u8] = b"journal";
/// Used journal pages from which it pays to empty the journal when the thread is idle.
const CHECKPOINT_FROM: usize = 16;
/// Bytes of redb's cache; its default is 1 GiB. A group commits a few hundred pages, which are
/// written when the cache is full; the tree above them is small.
const CACHE: usize = 256 * 1024;

/// Reasons why the database could not be opened, read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FileError {
    /// The content is damaged; the file is set aside.
    Damaged(String),
    /// The disk is full or read-only.
    Full(String),
    /// A failure outside the file, such as too few descriptors or a missing right.
    Other(String),
}

impl FileError {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Damaged(text) | Self::Full(text) | Self::Other(text) => text,
        }
    }
}

impl<E: Into<redb::Error>> From<E> for FileError {
    fn from(error: E) -> Self {
        use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        let error = error.into();
        let text = error.to_string();
        match &error {
            redb::Error::Io(error) => {
                let unreadable = Some(rustix::io::Errno::IO.raw_os_error());
                if crate::adapters::files::is_full(error)
                    || error.kind() == io::ErrorKind::ReadOnlyFilesystem
                {
                    Self::Full(text)
                } else if matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
                    || error.raw_os_error() == unreadable
                {
                    Self::Damaged(text)
                } else {
                    Self::Other(text)
                }
            }
            redb::Error::DatabaseAlreadyOpen
            | redb::Error::Unsupported
            | redb::Error::PreviousIo
            | redb::Error::DatabaseClosed
            // Of another format is not damaged: the file stays where it is.
            | redb::Error::UpgradeRequired(_)
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TypeDefinitionChanged { .. } => Self::Other(text),
            _ => Self::Damaged(text),
        }
    }
}

/// Open database, with its journal and the changes that only the journal holds.
#[derive(Debug)]
pub(super) struct File {
    db: Database,
    journal: Journal,
    /// Changes that are in the journal and not yet in the database.
    pending: Change,
    written: Arc<AtomicU64>,
}

impl File {
    /// Opens the database, or creates it, and reads the state of its streams.
    pub(super) fn open(path: &Path) -> Result<(Self, Found), FileError> {
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).map_err(redb::Error::Io)?;
        let written = Arc::new(AtomicU64::new(0));
        let rolled_back = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&rolled_back);
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE).set_repair_callback(move |session| {
            // redb reports 0 after every unclean end, and 0.3 only if the newest commit was incomplete.
            if (0.2..0.5).contains(&session.progress()) {
                seen.store(true, Ordering::Relaxed);
            }
        });
        let backend = Counted::new(file, Arc::clone(&written))?;
        #[cfg(test)]
        let backend = backend.failing(path);
        let db = builder.create_with_backend(backend)?;
        let generation = generation(&db)?;
        let journal = Journal::open(&path.with_extension("journal"), generation);
        let (journal, contents) = journal.map_err(redb::Error::Io)?;
        let mut pending = Change::default();
        let mut torn = contents.torn;
        for entry in &contents.entries {
            match Change::decode(entry) {
                Some(change) => pending.merge(change),
                None => torn = true,
            }
        }
        let file = Self { db, journal, pending, written };
        let mut found = file.load()?;
        let taken_back = rolled_back.load(Ordering::Relaxed);
        found.rolled_back = torn || taken_back;
        // A database that took its last step back is older than its journal, too, but no copy.
        found.older = contents.later && !taken_back;
        Ok((file, found))
    }

    fn load(&self) -> Result<Found, FileError> {
        let read = self.db.begin_read()?;
        let mut found = Found::default();
        let segments = read.open_table(SEGMENTS)?;
        let mut streams = BTreeMap::new();
        for row in read.open_table(STREAMS)?.iter()? {
            let (id, bytes) = row?;
            streams.insert(stream_of(id.value())?, Some(decode(bytes.value())?));
        }
        streams.extend(self.pending.streams.iter().map(|(id, kept)| (*id, kept.clone())));
        for (id, kept) in streams {
            let Some(kept): Option<Kept> = kept else { continue };
            let mut closed = BTreeMap::new();
            let all = segment_key((id, 0))..=segment_key((id, u64::MAX));
            for row in segments.range(slices(&all))? {
                let (key, bytes) = row?;
                closed.insert(first_of(key.value())?, Some(decode(bytes.value())?));
            }
            let newer = self.pending.segments.range((id, 0)..=(id, u64::MAX));
            closed.extend(newer.map(|((_, start), segment)| (*start, *segment)));
            let closed = closed.into_iter().filter_map(|(start, it)| Some((start, it?)));
            let closed = collect::map(closed);
            found.add(self, id, kept, closed)?;
        }
        found.base = self.value("base")?;
        found.store = self.value("store")?;
        found.whole = self.meta("whole")?.is_some();
        Ok(found)
    }

    fn value(&self, name: &str) -> Result<Option<u64>, FileError> {
        Ok(self.meta(name)?.and_then(|bytes| codec::from_slice(&bytes).ok()))
    }

    /// Bytes written to the database and the journal since they were opened.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Reads a single value by its name, encoded as it was stored.
    pub(super) fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, FileError> {
        if let Some(newer) = self.pending.meta.get(name) {
            return Ok(Some(newer.clone()));
        }
        let read = self.db.begin_read()?;
        Ok(read.open_table(META)?.get(name.as_bytes())?.map(|it| it.value().to_vec()))
    }

    /// Applies a change durably, all of it or nothing. After an error the file has to be opened
    /// again.
    pub(super) fn apply(&mut self, change: Change) -> Result<(), FileError> {
        if change.size() <= LARGEST {
            let entry = change.encode().map_err(|error| FileError::Other(error.to_string()))?;
            if entry.len() <= LARGEST {
                match self.journal.append(&entry) {
                    Ok(None) => {}
                    Ok(Some(bytes)) => {
                        self.written.fetch_add(bytes, Ordering::Relaxed);
                        self.pending.merge(change);
                        return Ok(());
                    }
                    // The database may serve where the journal does not.
                    Err(error) => tracing::warn!(%error, "the journal is given up"),
                }
            }
        }
        self.pending.merge(change);
        self.checkpoint()
    }

    /// Moves the journal's changes into the database if that frees at least [`CHECKPOINT_FROM`] pages.
    pub(super) fn checkpoint_if_large(&mut self) -> Result<(), FileError> {
        if self.journal.used() < CHECKPOINT_FROM { Ok(()) } else { self.checkpoint() }
    }

    /// Moves the journal's changes into the database in one transaction.
    pub(super) fn checkpoint(&mut self) -> Result<(), FileError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        // The new generation is stored in the transaction that takes over the entries. Example:
        // entries 0..9 stand in the journal under generation 4. A crash before the commit leaves 4
        // in the database, and a restart reads the entries again; a crash after it leaves 5, and
        // the same pages are of a former generation and void. At no moment do they count twice or
        // not at all, and nothing has to be erased.
        let (generation, bytes) = self.journal.next();
        self.written.fetch_add(bytes, Ordering::Relaxed);
        let write = self.db.begin_write()?;
        write_change(&write, &self.pending)?;
        write.open_table(META)?.insert(GENERATION, encode(&generation)?.as_slice())?;
        write.commit()?;
        crash::point("journal-settled");
        self.journal.begin(generation);
        self.pending = Change::default();
        Ok(())
    }

    fn heads_in(
        &self,
        blocks: &Rows,
        stream: u32,
        from: u64,
        to: u64,
    ) -> Result<(Vec<Head>, Vec<Range>), FileError> {
        let (mut found, mut damaged) = (Vec::new(), Vec::new());
        // The block that holds `from` may begin before it.
        let mut at = self.last_until(blocks, (stream, from))?.unwrap_or(from);
        while at <= to {
            let Some((first, head)) = self.first_from(blocks, (stream, at))? else { break };
            if first > to {
                break;
            }
            let Some(next) = first.checked_add(1) else { break };
            match head {
                Some(head) => {
                    let Some(next) = head.block.last.checked_add(1) else { break };
                    if head.block.last >= from {
                        found.push(head);
                    }
                    at = next;
                }
                None => {
                    // Up to the next one: whatever it held.
                    let after = self.first_from(blocks, (stream, next))?;
                    let to = after.map_or(first, |(after, _)| after - 1);
                    damaged.push(Range { from: first, to });
                    at = next;
                }
            }
        }
        Ok((found, damaged))
    }

    /// True when a pending change removes or replaces the block that the database holds under this
    /// key.
    fn is_superseded(&self, key: Key) -> bool {
        self.pending.remove.contains_key(&key) || self.pending.add.contains_key(&key)
    }

    /// Returns the first sequence number of the last block of a stream that begins at `at` or
    /// before it.
    fn last_until(&self, blocks: &Rows, (stream, at): Key) -> Result<Option<u64>, FileError> {
        let newer = self.pending.add.range((stream, 0)..=(stream, at)).next_back();
        let mut last = newer.map(|((_, first), _)| *first);
        let all = row_key((stream, 0), 0)..=row_key((stream, at), u16::MAX);
        let mut rows = blocks.range(slices(&all))?;
        while let Some(row) = rows.next_back() {
            let first = first_of(row?.0.value())?;
            if !self.is_superseded((stream, first)) {
                last = last.max(Some(first));
                break;
            }
        }
        Ok(last)
    }

    /// Returns the first sequence number of the first block of a stream that begins at `at` or
    /// after it, and its head unless that is damaged.
    fn first_from(
        &self,
        blocks: &Rows,
        (stream, at): Key,
    ) -> Result<Option<(u64, Option<Head>)>, FileError> {
        let newer = self.pending.add.range((stream, at)..=(stream, u64::MAX)).next();
        let newer = newer.map(|((_, first), packed)| (*first, packed.head()));
        let to = newer.map_or(u64::MAX, |(first, _)| first);
        let all = row_key((stream, at), 0)..=row_key((stream, to), u16::MAX);
        for row in blocks.range(slices(&all))? {
            let (key, row) = row?;
            let (first, part) = (first_of(key.value())?, part_of(key.value()));
            if !self.is_superseded((stream, first)) {
                let sane = |head: &Head| part == 0 && row.value().len() == head.length.min(ROW);
                return Ok(Some((first, Head::read(first, row.value()).filter(sane))));
            }
        }
        Ok(newer)
    }

    fn records_in(
        &self,
        blocks: &Rows,
        stream: u32,
        head: &Head,
    ) -> Result<Option<Vec<Record>>, FileError> {
        let first = head.block.first;
        if let Some(packed) = self.pending.add.get(&(stream, first)) {
            return Ok(head.records(stream, packed.bytes()));
        }
        let mut bytes = Vec::with_capacity(head.length);
        let all = row_key((stream, first), 0)..=row_key((stream, first), u16::MAX);
        for row in blocks.range(slices(&all))? {
            bytes.extend_from_slice(row?.1.value());
            if bytes.len() > head.length {
                return Ok(None);
            }
        }
        Ok(head.records(stream, &bytes))
    }
}

impl Blocks for File {
    type Head = Head;
    type Packed = Packed;
    type Error = FileError;

    fn heads(&self, stream: u32, from: u64, to: u64) -> Result<(Vec<Head>, Vec<Range>), FileError> {
        let read = self.db.begin_read()?;
        self.heads_in(&read.open_table(BLOCKS)?, stream, from, to)
    }

    fn records(&self, stream: u32, head: &Head) -> Result<Option<Vec<Record>>, FileError> {
        let read = self.db.begin_read()?;
        self.records_in(&read.open_table(BLOCKS)?, stream, head)
    }

    fn pack(stream: u32, first: u64, last: u64, records: &[Record]) -> Packed {
        Packed::new(stream, first, last, records)
    }

    fn cut(records: &[Record]) -> Vec<&[Record]> {
        block::cut(records)
    }
}

/// Reads the journal's current generation; creates the tables at the first start.
fn generation(db: &Database) -> Result<u64, FileError> {
    let read = db.begin_read()?;
    if let Ok(meta) = read.open_table(META) {
        let stored = meta.get(GENERATION)?;
        return stored.map_or(Ok(0), |it| decode(it.value()));
    }
    let write = db.begin_write()?;
    write.open_table(BLOCKS)?;
    write.open_table(SEGMENTS)?;
    write.open_table(STREAMS)?;
    write.open_table(META)?;
    write.commit()?;
    Ok(0)
}

fn write_change(write: &WriteTransaction, change: &Change) -> Result<(), FileError> {
    let mut blocks = write.open_table(BLOCKS)?;
    for (key, rows) in &change.remove {
        for part in 0..*rows {
            blocks.remove(row_key(*key, part).as_slice())?;
        }
    }
    for (key, packed) in &change.add {
        for (part, row) in packed.rows() {
            blocks.insert(row_key(*key, part).as_slice(), row)?;
        }
    }
    if !change.segments.is_empty() {
        let mut table = write.open_table(SEGMENTS)?;
        for (key, segment) in &change.segments {
            let key = segment_key(*key);
            match segment {
                Some(segment) => table.insert(key.as_slice(), encode(segment)?.as_slice())?,
                None => table.remove(key.as_slice())?,
            };
        }
    }
    if !change.streams.is_empty() {
        let mut table = write.open_table(STREAMS)?;
        for (id, kept) in &change.streams {
            let id = id.to_be_bytes();
            match kept {
                Some(kept) => table.insert(id.as_slice(), encode(kept)?.as_slice())?,
                None => table.remove(id.as_slice())?,
            };
        }
    }
    if !change.meta.is_empty() {
        let mut table = write.open_table(META)?;
        for (name, bytes) in &change.meta {
            table.insert(name.as_bytes(), bytes.as_slice())?;
        }
    }
    Ok(())
}

fn row_key(key: Key, part: u16) -> [u8; KEY] {
    let mut bytes = [0; KEY];
    bytes[..12].copy_from_slice(&segment_key(key));
    bytes[12..].copy_from_slice(&part.to_be_bytes());
    bytes
}

fn segment_key((stream, first): Key) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&stream.to_be_bytes());
    bytes[4..].copy_from_slice(&first.to_be_bytes());
    bytes
}

fn slices<const N: usize>(keys: &RangeInclusive<[u8; N]>) -> RangeInclusive<&[u8]> {
    keys.start().as_slice()..=keys.end().as_slice()
}

/// Cuts `N` bytes out of a key, from `at` on. A key that is too short was not written by this code:
/// the file is damaged.
fn within<const N: usize>(key: &[u8], at: usize) -> Result<[u8; N], FileError> {
    let bytes = key.get(at..at + N).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| FileError::Damaged("a key is too short".into()))
}

fn stream_of(key: &[u8]) -> Result<u32, FileError> {
    within(key, 0).map(u32::from_be_bytes)
}

/// First sequence number of the block or segment that a key belongs to.
fn first_of(key: &[u8]) -> Result<u64, FileError> {
    within(key, 4).map(u64::from_be_bytes)
}

/// Index of a row within its block; `u16::MAX` for a key that has none.
fn part_of(key: &[u8]) -> u16 {
    within(key, 12).map_or(u16::MAX, u16::from_be_bytes)
}

fn encode<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, FileError> {
    serde_cbor::to_vec(value).map_err(|error| FileError::Other(error.to_string()))
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, FileError> {
    codec::from_slice(bytes).map_err(|error| FileError::Damaged(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use holdfast_records::Format;

    use super::*;
    use crate::core::backoff::Entropy;

    fn packed(stream: u32, first: u64, last: u64, size: usize) -> Packed {
        let records: Vec<Record> = (first..=last)
            .map(|seq| {
                let value = (0..size).map(|at| (seq as usize * 31 + at * at) as u8).collect();
                Record { seq, time: seq, format: Format::Plain, value }
            })
            .collect();
        Packed::new(stream, first, last, &records)
    }

    /// Expected blocks of a test: last sequence number and record size, by key.
    type Model = BTreeMap<Key, (u64, usize)>;

    fn check(file: &File, model: &Model, what: &str) {
        for stream in 0..3 {
            let (heads, damaged) = file.heads(stream, 1, u64::MAX).unwrap();
            assert!(damaged.is_empty(), "{what}: {damaged:?}");
            let of_stream = || model.range((stream, 0)..=(stream, u64::MAX));
            let firsts: Vec<u64> = heads.iter().map(|head| head.block.first).collect();
            assert_eq!(
                firsts,
                of_stream().map(|((_, first), _)| *first).collect::<Vec<_>>(),
                "{what}"
            );
            for (head, ((_, first), (last, size))) in heads.iter().zip(of_stream()) {
                let records = file.records(stream, head).unwrap().expect("whole");
                assert_eq!((records.len() as u64, head.block.last), (last - first + 1, *last));
                assert!(records.iter().all(|record| record.value.len() == *size), "{what}");
            }
            // A window that begins within a block finds it.
            if let Some(((_, first), (last, _))) = of_stream().last() {
                let (heads, _) = file.heads(stream, *last, u64::MAX).unwrap();
                assert_eq!(heads.first().map(|head| head.block.first), Some(*first), "{what}");
            }
        }
    }

    #[test]
    fn what_is_in_the_journal_and_what_is_in_the_database_are_one() {
        let scratch = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let path = scratch.path().join("data.redb");
        let mut entropy = Entropy::new(11);
        let mut draw = |most: u64| entropy.draw() % most;
        let (mut model, mut next) = (Model::new(), [1_u64; 3]);
        let mut figure = None;
        let (mut file, _) = File::open(&path).unwrap();
        let (mut settled, mut journaled) = (0, 0);
        for round in 0..200_u64 {
            let what = format!("round {round}");
            let mut change = Change::default();
            for _ in 0..draw(4) {
                let stream = draw(3);
                let at = &mut next[stream as usize];
                // Some are larger than a row, a few larger than the journal takes.
                let most = if draw(20) == 0 { 9_000 } else { 600 };
                let (count, size) = (1 + draw(20), 1 + draw(most));
                let key = (stream as u32, *at);
                let last = *at + count - 1;
                change.add.insert(key, packed(key.0, key.1, last, size as usize));
                model.insert(key, (last, size as usize));
                *at = last + 1;
            }
            for _ in 0..draw(3) {
                let old: Vec<_> =
                    model.keys().filter(|key| !change.add.contains_key(key)).copied().collect();
                if old.is_empty() {
                    continue;
                }
                let key = old[draw(old.len() as u64) as usize];
                let (last, size) = model.remove(&key).unwrap();
                let rows = block::rows(packed(key.0, key.1, last, size).bytes().len());
                change.remove.insert(key, rows);
                // Thinned: another block, a smaller one, in its place.
                if draw(2) == 0 {
                    change.add.insert(key, packed(key.0, key.1, last, 3));
                    model.insert(key, (last, 3));
                }
            }
            if draw(3) == 0 {
                figure = Some(vec![round as u8; 5]);
                change.meta.insert("ledger".into(), vec![round as u8; 5]);
            }
            file.apply(change).unwrap();
            if file.pending.is_empty() {
                settled += 1
            } else {
                journaled += 1
            }
            let killed = draw(20) == 0;
            if killed {
                // Nothing is said to it.
                drop(file);
                let (again, found) = File::open(&path).unwrap();
                assert!(!found.rolled_back, "{what}");
                file = again;
            }
            if killed || round % 8 == 0 {
                check(&file, &model, &what);
                assert_eq!(file.meta("ledger").unwrap(), figure, "{what}");
            }
        }
        assert!(settled > 10 && journaled > 100, "{settled} {journaled}");
        file.checkpoint().unwrap();
        std::fs::remove_file(path.with_extension("journal")).unwrap();
        drop(file);
        let (file, found) = File::open(&path).unwrap();
        assert!(found.rolled_back, "a journal that is gone is no empty one");
        check(&file, &model, "the database alone");
    }
}
