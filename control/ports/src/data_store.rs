//! The data store's port: streams, the segments of their ledgers, and their records in blocks as
//! they came. Blocks are only added, and go as wholes by retention or with their device.
//!
//! One thread writes. It reads what a change touches, decides in `core/ingest.rs`, and writes one
//! transaction.

use holdfast_base::ids::Name;
use holdfast_records::{Range, StreamName};
use serde::{Deserialize, Serialize};

use crate::rows::{Disk, Piece, Rows, Segment, Tally};
use crate::store::StoreError;

/// A stream of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamRow {
    /// Its number here, from 1; never given twice.
    pub id: u64,
    /// Whose it is.
    pub device: Name,
    /// From the digest of the device's key: another machine that gets the name of a deleted one
    /// begins anew.
    pub owner: u64,
    /// Its name.
    pub stream: StreamName,
    /// It is being removed, step by step; nobody sees it any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
    /// What is known of it.
    pub tally: Tally,
}

impl StreamRow {
    /// Whose it is: name and key.
    pub fn machine(&self) -> (Name, u64) {
        (self.device.clone(), self.owner)
    }
}

/// A block, but for its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of its first record: its key within its stream.
    pub first: u64,
    /// Number of its last.
    pub last: u64,
    /// How many records.
    pub count: u64,
    /// The earliest time, in milliseconds since 1970.
    pub min_time: u64,
    /// The latest.
    pub max_time: u64,
    /// When it was stored, in seconds since 1970.
    pub stored: u64,
    /// Bytes of the block.
    pub bytes: u64,
}

impl Head {
    /// Its last number, also where the head itself is damaged: no block spans more.
    pub fn reach(&self, span: u64) -> u64 {
        self.last.clamp(self.first, self.first.saturating_add(span.max(1) - 1))
    }

    /// It holds every number between its first and its last.
    pub fn is_dense(&self) -> bool {
        self.last
            .checked_sub(self.first)
            .is_some_and(|more| more.checked_add(1) == Some(self.count))
    }

    /// Of records that are stored now.
    pub fn of(piece: &Piece, now: u64) -> Self {
        Self {
            first: piece.first,
            last: piece.last,
            count: piece.count,
            min_time: piece.min_time,
            max_time: piece.max_time,
            stored: now,
            bytes: u64::try_from(piece.block.len()).unwrap_or(u64::MAX),
        }
    }
}

/// A block as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// As it was written.
    Whole(Vec<u8>),
    /// The disk has changed it, or its head.
    Damaged,
}

/// What one transaction does.
#[derive(Debug, Default)]
pub struct DataBatch {
    /// Streams that are new or changed.
    pub streams: Vec<StreamRow>,
    /// Segments that are new, changed or gone, by stream.
    pub segments: Vec<(u64, Rows)>,
    /// New blocks, by stream.
    pub blocks: Vec<(u64, Head, Vec<u8>)>,
    /// Blocks that go, by stream and first number.
    pub gone_blocks: Vec<(u64, u64)>,
    /// Blocks that are damaged, by stream and first number: they are kept aside for people, and are
    /// no longer found.
    pub set_aside: Vec<(u64, u64)>,
    /// Streams that go; their blocks and segments have gone before.
    pub gone_streams: Vec<u64>,
}

impl DataBatch {
    /// True when it does nothing.
    pub fn is_empty(&self) -> bool {
        let Self { streams, segments, blocks, gone_blocks, set_aside, gone_streams } = self;
        streams.is_empty()
            && segments.is_empty()
            && blocks.is_empty()
            && gone_blocks.is_empty()
            && set_aside.is_empty()
            && gone_streams.is_empty()
    }
}

/// In which order heads are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// By rising number.
    Up,
    /// By falling number.
    Down,
}

/// A durable store of data. Its calls block.
pub trait DataStore: Send + Sync + 'static {
    /// Writes one durable transaction.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing of it is there.
    fn commit(&self, batch: &DataBatch) -> Result<(), StoreError>;

    /// Which store this is: another number whenever one was begun anew.
    ///
    /// # Errors
    /// [`StoreError`].
    fn id(&self) -> Result<u64, StoreError>;

    /// Every stream.
    ///
    /// # Errors
    /// [`StoreError`].
    fn streams(&self) -> Result<Vec<StreamRow>, StoreError>;

    /// Segments of a stream that hold one of these numbers, in their order, `most` at most.
    ///
    /// # Errors
    /// [`StoreError`].
    fn segments(&self, stream: u64, range: Range, most: usize) -> Result<Vec<Segment>, StoreError>;

    /// Heads of a stream's blocks whose first number is in `range`, `most` at most.
    ///
    /// # Errors
    /// [`StoreError`].
    fn heads(
        &self,
        stream: u64,
        range: Range,
        most: usize,
        direction: Direction,
    ) -> Result<Vec<Head>, StoreError>;

    /// A block. None: it has gone meanwhile.
    ///
    /// # Errors
    /// [`StoreError`].
    fn block(&self, stream: u64, first: u64) -> Result<Option<Block>, StoreError>;

    /// The file system that it is on. None: it cannot be looked at.
    fn disk(&self) -> Option<Disk>;

    /// The damaged file that was set aside, if it is still there: what was received before is not
    /// known any more.
    fn damaged(&self) -> Option<String>;
}
