//! Port of the data store: streams, the segments of their ledgers, and their records in blocks.
//!
//! Blocks are kept as devices shipped them. They are only added, and removed as wholes by retention
//! or with their device.
//!
//! One thread writes. It reads what a change touches, decides in `core/ingest.rs`, and writes one
//! transaction.
//!
//! See decisions 0058 and 0059.

use holdfast_base::ids::{DeviceId, Name};
use holdfast_records::{Range, StreamName};
use serde::{Deserialize, Serialize};

use crate::rows::{Disk, Piece, Rows, Segment, Tally};
use crate::store::StoreError;

/// Row of one stream of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamRow {
    /// Number of the stream in this store, from 1. It is never used again.
    pub id: u64,
    /// Name of the tenant that the device belongs to.
    pub tenant: Name,
    /// Name of the device.
    pub device: Name,
    /// Number made from the digest of the device's key. Another machine that gets the name of a
    /// deleted one has another, and begins anew.
    pub owner: u64,
    /// Name of the stream.
    pub stream: StreamName,
    /// True while the stream is being removed, step by step. It is hidden from everybody then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
    /// Counts of the stream's records and gaps.
    pub tally: Tally,
}

impl StreamRow {
    /// Returns the device's id and the number of its key.
    pub fn machine(&self) -> (DeviceId, u64) {
        let (tenant, device) = (self.tenant.clone(), self.device.clone());
        (DeviceId { tenant, device }, self.owner)
    }
}

/// Description of a block without its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Sequence number of the first record, which is the block's key within its stream.
    pub first: u64,
    /// Sequence number of the last record.
    pub last: u64,
    /// Number of records in the block.
    pub count: u64,
    /// Earliest time of a record, in milliseconds since 1970.
    pub min_time: u64,
    /// Latest time of a record, in milliseconds since 1970.
    pub max_time: u64,
    /// Time at which the block was stored, in seconds since 1970.
    pub stored: u64,
    /// Size of the block in bytes.
    pub bytes: u64,
}

impl Head {
    /// Returns the last sequence number, bounded by `span`, the most numbers that a block of the
    /// stream covers, so that a damaged head cannot hide other blocks.
    pub fn reach(&self, span: u64) -> u64 {
        self.last.clamp(self.first, self.first.saturating_add(span.max(1) - 1))
    }

    /// Returns whether the block holds every number from its first to its last.
    pub fn is_dense(&self) -> bool {
        self.last
            .checked_sub(self.first)
            .is_some_and(|more| more.checked_add(1) == Some(self.count))
    }

    /// Makes the head of a block that is stored now.
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

/// A block as read from the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// The block as it was written.
    Whole(Vec<u8>),
    /// The block or its head fails its checksum.
    Damaged,
}

/// Changes of one transaction.
#[derive(Debug, Default)]
pub struct DataBatch {
    /// Rows of new or changed streams.
    pub streams: Vec<StreamRow>,
    /// Segments that are new, changed or removed, by stream.
    pub segments: Vec<(u64, Rows)>,
    /// New blocks, by stream.
    pub blocks: Vec<(u64, Head, Vec<u8>)>,
    /// Blocks to remove, by stream and first sequence number.
    pub gone_blocks: Vec<(u64, u64)>,
    /// Damaged blocks, by stream and first sequence number: they are set aside for people to look
    /// at, and reads no longer find them.
    pub set_aside: Vec<(u64, u64)>,
    /// Streams to remove. Earlier transactions have removed their blocks and segments.
    pub gone_streams: Vec<u64>,
}

impl DataBatch {
    /// Returns whether the batch changes nothing.
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

/// Order in which heads are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// By rising sequence number.
    Up,
    /// By falling sequence number.
    Down,
}

/// A durable store of records. Its calls block.
pub trait DataStore: Send + Sync + 'static {
    /// Writes one durable transaction.
    ///
    /// # Errors
    /// [`StoreError`]; nothing of the batch is written then.
    fn commit(&self, batch: &DataBatch) -> Result<(), StoreError>;

    /// Returns the random id of this store. A store that was begun anew has another.
    ///
    /// # Errors
    /// [`StoreError`].
    fn id(&self) -> Result<u64, StoreError>;

    /// Returns the rows of all streams.
    ///
    /// # Errors
    /// [`StoreError`].
    fn streams(&self) -> Result<Vec<StreamRow>, StoreError>;

    /// Returns the segments of a stream that overlap `range`, in order, at most `most` of them.
    ///
    /// # Errors
    /// [`StoreError`].
    fn segments(&self, stream: u64, range: Range, most: usize) -> Result<Vec<Segment>, StoreError>;

    /// Returns the heads of a stream's blocks whose first number is in `range`, at most `most` of
    /// them.
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

    /// Reads a block. None: it was removed meanwhile.
    ///
    /// # Errors
    /// [`StoreError`].
    fn block(&self, stream: u64, first: u64) -> Result<Option<Block>, StoreError>;

    /// Returns the state of the file system that holds the store. None: it cannot be read.
    fn disk(&self) -> Option<Disk>;

    /// Returns the path of a damaged store that was set aside, while the file is still there. What
    /// was received before is not known any more.
    fn damaged(&self) -> Option<String>;
}
