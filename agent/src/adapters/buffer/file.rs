//! `data.redb`: blocks of records, the index of what follows each other, and what is known of
//! each stream. What is changed together is changed in one durable step.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use holdfast_protocol::codec;
use holdfast_protocol::data::{Range, Record};
use redb::{Database, ReadableDatabase as _, ReadableTable, TableDefinition, WriteTransaction};

use super::block::{Head, Packed, ROW};
use super::counted::Counted;
use crate::core::data::stream::{Kept, Segment, Stream};

type Key = (u32, u64, u16);
const BLOCKS: TableDefinition<'_, Key, &[u8]> = TableDefinition::new("blocks");
const SEGMENTS: TableDefinition<'_, (u32, u64), &[u8]> = TableDefinition::new("segments");
const STREAMS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("streams");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// redb's default is 1 GiB. A group commits a few hundred pages, which are written when the cache
/// is full; the tree above them is small.
const CACHE: usize = 256 * 1024;

/// Why the file did not serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// What it holds is no good.
    Damaged(String),
    /// The disk takes nothing.
    Full(String),
    /// Something around it: too few descriptors, no right.
    Other(String),
}

impl Trouble {
    pub(super) fn words(&self) -> &str {
        match self {
            Self::Damaged(words) | Self::Full(words) | Self::Other(words) => words,
        }
    }
}

impl<E: Into<redb::Error>> From<E> for Trouble {
    fn from(error: E) -> Self {
        use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        let error = error.into();
        let words = error.to_string();
        match &error {
            redb::Error::Io(error) => {
                let unreadable = Some(rustix::io::Errno::IO.raw_os_error());
                if crate::adapters::files::is_full(error)
                    || error.kind() == io::ErrorKind::ReadOnlyFilesystem
                {
                    Self::Full(words)
                } else if matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
                    || error.raw_os_error() == unreadable
                {
                    Self::Damaged(words)
                } else {
                    Self::Other(words)
                }
            }
            redb::Error::DatabaseAlreadyOpen
            | redb::Error::Unsupported
            | redb::Error::PreviousIo
            | redb::Error::DatabaseClosed => Self::Other(words),
            _ => Self::Damaged(words),
        }
    }
}

/// What is changed in one step.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Blocks that go: stream, first number, rows.
    pub(super) remove: Vec<(u32, u64, u16)>,
    /// Blocks that come.
    pub(super) add: Vec<(u32, Packed)>,
    /// Segments by stream and beginning; None: gone.
    pub(super) segments: BTreeMap<(u32, u64), Option<Segment>>,
    /// What is known of streams; None: nothing any more.
    pub(super) streams: BTreeMap<u32, Option<Kept>>,
    /// Figures, encoded.
    pub(super) meta: BTreeMap<&'static str, Vec<u8>>,
}

impl Change {
    /// Nothing is changed.
    pub(super) fn is_empty(&self) -> bool {
        self.remove.is_empty()
            && self.add.is_empty()
            && self.segments.is_empty()
            && self.streams.is_empty()
            && self.meta.is_empty()
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct File {
    db: Database,
    written: Arc<AtomicU64>,
}

/// What was found in it.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) streams: BTreeMap<u32, Stream>,
    /// The last step was not whole and was taken back: what it held was perhaps acknowledged.
    pub(super) rolled_back: bool,
    /// Segments that are closed and not stored.
    pub(super) closed: Vec<(u32, u64)>,
    /// Numbers of blocks that cannot be read.
    pub(super) damaged: Vec<(u32, Range)>,
}

impl File {
    /// Opens it, or makes it, and reads what it knows of its streams.
    pub(super) fn open(path: &Path) -> Result<(Self, Found), Trouble> {
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).map_err(redb::Error::Io)?;
        let written = Arc::new(AtomicU64::new(0));
        let rolled_back = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&rolled_back);
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE).set_repair_callback(move |session| {
            // 0 is said after every end that was not clean; 0.3 where the newest state was not whole.
            if (0.2..0.5).contains(&session.progress()) {
                seen.store(true, Ordering::Relaxed);
            }
        });
        let backend = Counted::new(file, Arc::clone(&written))?;
        #[cfg(test)]
        let backend = backend.failing(path);
        let db = builder.create_with_backend(backend)?;
        let file = Self { db, written };
        let mut found = file.load()?;
        found.rolled_back = rolled_back.load(Ordering::Relaxed);
        Ok((file, found))
    }

    fn load(&self) -> Result<Found, Trouble> {
        let read = self.db.begin_read()?;
        let mut found = Found::default();
        let Ok(streams) = read.open_table(STREAMS) else {
            // A first start.
            let write = self.db.begin_write()?;
            write.open_table(BLOCKS)?;
            write.open_table(SEGMENTS)?;
            write.open_table(STREAMS)?;
            write.open_table(META)?;
            write.commit()?;
            return Ok(found);
        };
        let (segments, blocks) = (read.open_table(SEGMENTS)?, read.open_table(BLOCKS)?);
        for row in streams.iter()? {
            let (id, bytes) = row?;
            let id = id.value();
            let kept: Kept = decode(bytes.value())?;
            let mut closed = BTreeMap::new();
            for row in segments.range((id, 0)..=(id, u64::MAX))? {
                let (key, bytes) = row?;
                closed.insert(key.value().1, decode(bytes.value())?);
            }
            let after = closed.values().map(|segment: &Segment| segment.last).max();
            let mut stream = Stream::load(kept, closed);
            let ends = after.map_or(0, |last| last + 1);
            let (heads, damaged) = heads(&blocks, id, ends, u64::MAX)?;
            for head in heads {
                let closed = stream.found(&head.block);
                found.closed.extend(closed.map(|start| (id, start)));
            }
            found.damaged.extend(damaged.into_iter().map(|range| (id, range)));
            found.streams.insert(id, stream);
        }
        Ok(found)
    }

    /// Bytes written to the file since it was opened.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// A figure that was stored.
    pub(super) fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, Trouble> {
        let read = self.db.begin_read()?;
        Ok(read.open_table(META)?.get(name)?.map(|it| it.value().to_vec()))
    }

    /// Changes everything or nothing, durably.
    pub(super) fn apply(&self, change: &Change) -> Result<(), Trouble> {
        let write = self.db.begin_write()?;
        change_all(&write, change)?;
        write.commit()?;
        Ok(())
    }

    /// What blocks say of themselves that hold numbers of `from..=to`; and the numbers of those
    /// that say nothing sensible.
    pub(super) fn heads(
        &self,
        stream: u32,
        from: u64,
        to: u64,
    ) -> Result<(Vec<Head>, Vec<Range>), Trouble> {
        let read = self.db.begin_read()?;
        heads(&read.open_table(BLOCKS)?, stream, from, to)
    }

    /// The records of a block. None: damaged.
    pub(super) fn records(&self, stream: u32, head: &Head) -> Result<Option<Vec<Record>>, Trouble> {
        let read = self.db.begin_read()?;
        let blocks = read.open_table(BLOCKS)?;
        let mut bytes = Vec::with_capacity(head.length);
        let first = head.block.first;
        for row in blocks.range((stream, first, 0)..=(stream, first, u16::MAX))? {
            bytes.extend_from_slice(row?.1.value());
            if bytes.len() > head.length {
                return Ok(None);
            }
        }
        Ok(head.records(stream, &bytes))
    }
}

fn change_all(write: &WriteTransaction, change: &Change) -> Result<(), Trouble> {
    let mut blocks = write.open_table(BLOCKS)?;
    for (stream, first, rows) in &change.remove {
        for part in 0..*rows {
            blocks.remove((*stream, *first, part))?;
        }
    }
    for (stream, packed) in &change.add {
        for (part, row) in packed.rows() {
            blocks.insert((*stream, packed.block.first, part), row)?;
        }
    }
    if !change.segments.is_empty() {
        let mut table = write.open_table(SEGMENTS)?;
        for (key, segment) in &change.segments {
            match segment {
                Some(segment) => table.insert(key, encode(segment)?.as_slice())?,
                None => table.remove(key)?,
            };
        }
    }
    if !change.streams.is_empty() {
        let mut table = write.open_table(STREAMS)?;
        for (id, kept) in &change.streams {
            match kept {
                Some(kept) => table.insert(id, encode(kept)?.as_slice())?,
                None => table.remove(id)?,
            };
        }
    }
    if !change.meta.is_empty() {
        let mut table = write.open_table(META)?;
        for (name, bytes) in &change.meta {
            table.insert(*name, bytes.as_slice())?;
        }
    }
    Ok(())
}

fn heads(
    blocks: &impl ReadableTable<Key, &'static [u8]>,
    stream: u32,
    from: u64,
    to: u64,
) -> Result<(Vec<Head>, Vec<Range>), Trouble> {
    let (mut found, mut damaged) = (Vec::new(), Vec::new());
    // The block that holds `from` may begin before it.
    let mut before = blocks.range((stream, 0, 0)..=(stream, from, u16::MAX))?;
    let mut at = before.next_back().transpose()?.map_or(from, |(key, _)| key.value().1);
    drop(before);
    while at <= to {
        let mut rows = blocks.range((stream, at, 0)..=(stream, u64::MAX, u16::MAX))?;
        let Some(row) = rows.next() else { break };
        let (key, row) = row?;
        let (_, first, part) = key.value();
        if first > to {
            break;
        }
        let head = Head::read(first, row.value());
        let sane = |head: &Head| part == 0 && (row.value().len() == head.length.min(ROW));
        let Some(next) = first.checked_add(1) else { break };
        match head.filter(sane) {
            Some(head) => {
                let Some(next) = head.block.last.checked_add(1) else { break };
                if head.block.last >= from {
                    found.push(head);
                }
                at = next;
            }
            None => {
                // Up to the next one: whatever it held.
                let after = blocks
                    .range((stream, next, 0)..=(stream, u64::MAX, u16::MAX))?
                    .next()
                    .transpose()?
                    .map(|(key, _)| key.value().1);
                damaged.push(Range { from: first, to: after.map_or(first, |after| after - 1) });
                at = next;
            }
        }
    }
    Ok((found, damaged))
}

fn encode<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, Trouble> {
    serde_cbor::to_vec(value).map_err(|error| Trouble::Other(error.to_string()))
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Trouble> {
    codec::from_slice(bytes).map_err(|error| Trouble::Damaged(error.to_string()))
}

/// How many rows a block has.
pub(super) fn rows(length: usize) -> u16 {
    u16::try_from(length.div_ceil(ROW)).unwrap_or(u16::MAX)
}
