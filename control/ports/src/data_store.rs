//! Port of the data store: streams, the segments of their ledgers, and their records in blocks.
//!
//! Blocks are kept as devices shipped them. They are only added, and removed as wholes by retention
//! or with their device.
//!
//! One thread writes. It reads what a change touches, decides in `core/ingest.rs`, and writes one
//! transaction. Several processes may have the store open; the fence of a batch excludes all but
//! the holder of the lease, which is given by [`crate::store::Store::lease`].
//!
//! See decisions 0058, 0059 and 0136.

use holdfast_records::Range;

pub use crate::rows::{DataBatch, Head, StreamRow};
use crate::rows::{Disk, Fence, Segment};
use crate::store::StoreError;

/// A block as read from the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// The block as it was written.
    Whole(Vec<u8>),
    /// The block or its head fails its checksum.
    Damaged,
}

/// Order in which heads are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// By rising sequence number.
    Up,
    /// By falling sequence number.
    Down,
}

/// Reason why a batch was not written. Nothing of it is.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DataError {
    /// The lease was taken over: its former holder must stop acting for the shard.
    #[error("the lease of shard {} was lost: another process writes for it", .0.shard)]
    Lost(Fence),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A durable store of records. Its calls block.
pub trait DataStore: Send + Sync + 'static {
    /// Excludes the holders of earlier leases of the fence's shard: once this call has returned,
    /// no batch of a lower epoch is written any more. A new holder calls it before it reads what it
    /// will change.
    ///
    /// # Errors
    /// [`DataError::Lost`] if a later lease has claimed the shard.
    fn claim(&self, fence: Fence) -> Result<(), DataError>;

    /// Writes one durable transaction. A fence that no claim came before is claimed by it.
    ///
    /// # Errors
    /// [`DataError`]; nothing of the batch is written then.
    fn commit(&self, batch: &DataBatch) -> Result<(), DataError>;

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
