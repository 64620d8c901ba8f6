//! Rows of streams and of their blocks, and the changes of the data store that are made together.

use holdfast_base::ids::{DeviceId, Name};
use holdfast_records::StreamName;
use serde::{Deserialize, Serialize};

use crate::fence::Fence;
use crate::ledger::{Piece, Rows, Tally};

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

/// Changes of one transaction.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct DataBatch {
    /// Lease that must hold. None: none is needed.
    pub fence: Option<Fence>,
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
        let Self { fence: _, streams, segments, blocks, gone_blocks, set_aside, gone_streams } =
            self;
        streams.is_empty()
            && segments.is_empty()
            && blocks.is_empty()
            && gone_blocks.is_empty()
            && set_aside.is_empty()
            && gone_streams.is_empty()
    }
}
