//! Rows of a stream's ledger, the stream's figures, its blocks, and the space on disk.

use std::collections::BTreeMap;

use holdfast_records::{Format, GapReason, Record};
use serde::{Deserialize, Serialize};

/// Status of a sequence number in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// A record with this number was received.
    Received,
    /// The device reported that no record with this number will come, and why.
    Gap(GapReason),
    /// The number was received or stands in a gap; only the stored blocks tell which, see
    /// `LoadedLedger::sum_up` of the core. A record that arrives late replaces this status if no block holds its
    /// number.
    Summed,
}

impl Answer {
    /// Every status that a segment can have.
    pub const ALL: [Self; 9] = [
        Self::Received,
        Self::Gap(GapReason::Expired),
        Self::Gap(GapReason::Quota),
        Self::Gap(GapReason::Thinned),
        Self::Gap(GapReason::Reduced),
        Self::Gap(GapReason::Withheld),
        Self::Gap(GapReason::Damaged),
        Self::Gap(GapReason::DiskFull),
        Self::Summed,
    ];

    /// Returns the byte that stands for the status in the data store.
    pub fn code(self) -> u8 {
        match self {
            Self::Received => 0,
            Self::Gap(GapReason::Expired) => 1,
            Self::Gap(GapReason::Quota) => 2,
            Self::Gap(GapReason::Thinned) => 3,
            Self::Gap(GapReason::Reduced) => 4,
            Self::Gap(GapReason::Withheld) => 5,
            Self::Gap(GapReason::Damaged) => 6,
            Self::Gap(GapReason::DiskFull) => 7,
            Self::Summed => 255,
        }
    }

    /// Returns the status for a byte that [`Answer::code`] wrote; None for any other byte.
    pub fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.code() == code)
    }
}

/// Consecutive sequence numbers with the same status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// First sequence number of the segment.
    pub from: u64,
    /// Last sequence number of the segment, inclusive.
    pub to: u64,
    /// Status that all numbers of the segment have.
    pub answer: Answer,
}

/// Rows that a change of the ledger replaces in the store, keyed by a segment's first number:
/// Some((last, status)) writes the segment, None deletes it.
pub type Rows = Vec<(u64, Option<(u64, Answer)>)>;

/// True if numbers with this reason were left on the device because a policy says so. Such records
/// are not lost: they can be fetched or queried. Every other number without a record counts as
/// missing; no other function decides this.
pub fn is_by_policy(reason: GapReason) -> bool {
    matches!(reason, GapReason::Reduced | GapReason::Withheld)
}

/// Figures of a stream that are stored beside its ledger and its records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Records received, each counted once.
    pub received: u64,
    /// Copies of records that had been received before.
    pub duplicates: u64,
    /// Records refused because their number stands for another record: the device was copied, or
    /// put back to an earlier state. They come again under numbers of their own.
    #[serde(default)]
    pub conflicts: u64,
    /// Records that came after one with a higher number.
    pub late: u64,
    /// Highest number received. 0: none.
    pub highest: u64,
    /// Numbers that stand in gaps, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gaps: BTreeMap<GapReason, u64>,
    /// Numbers in gaps above `highest`; they are included in `gaps`.
    #[serde(default)]
    pub gaps_above: u64,
    /// Segments of the ledger, which are rows of the store.
    pub segments: u64,
    /// Number below which the ledger has been summed up. 0: nothing has been.
    #[serde(default)]
    pub summed_below: u64,
    /// Numbers in gaps that have been summed up, by reason; they are included in `gaps`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub summed: BTreeMap<GapReason, u64>,
    /// Records in the store.
    pub kept: u64,
    /// Bytes of the blocks in the store.
    pub bytes: u64,
    /// Largest range of numbers that one block in the store spans. Bounds the search for the block
    /// of a number.
    #[serde(default)]
    pub span: u64,
    /// Lower bound of the time at which the oldest block in the store was stored, in seconds since
    /// 1970.
    #[serde(default)]
    pub oldest_stored: u64,
    /// Arrival of the last record, in seconds since 1970.
    pub last_stored: u64,
    /// Record with the highest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<Latest>,
}

/// Newest record of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latest {
    /// Sequence number of the record.
    pub seq: u64,
    /// Time at which the agent accepted the record, in milliseconds since 1970.
    pub time: u64,
    /// True if the value is CBOR.
    pub cbor: bool,
    /// Value of the record. `None` if it is longer than 1,024 bytes.
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Option::is_none")]
    pub value: Option<Vec<u8>>,
}

impl Latest {
    /// Returns the record, if its value is held.
    pub fn record(&self) -> Option<Record> {
        let format = if self.cbor { Format::Cbor } else { Format::Plain };
        let value = self.value.clone()?;
        Some(Record { seq: self.seq, time: self.time, format, value })
    }
}

impl Tally {
    /// Returns how many numbers below the highest are neither received nor in a gap.
    pub fn unknown(&self) -> u64 {
        let gaps: u64 = self.gaps.values().sum();
        let answered = self.received.saturating_add(gaps.saturating_sub(self.gaps_above));
        self.highest.saturating_sub(answered)
    }

    /// Returns how many numbers have no record: those in gaps, and the unknown ones below the
    /// highest.
    pub fn missing(&self) -> u64 {
        self.gaps.values().fold(self.unknown(), |sum, count| sum.saturating_add(*count))
    }

    /// Returns how many of [`Tally::missing`] a policy left on the device on purpose.
    pub fn by_policy(&self) -> u64 {
        let asked = self.gaps.iter().filter(|(reason, _)| is_by_policy(**reason));
        asked.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Returns how many of [`Tally::missing`] were not left on the device by a policy. People call
    /// these missing.
    pub fn lost(&self) -> u64 {
        self.missing().saturating_sub(self.by_policy())
    }
}

/// Block of records as a row of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Number of the first record.
    pub first: u64,
    /// Number of the last record.
    pub last: u64,
    /// Number of records in the block.
    pub count: u64,
    /// Earliest time of a record, in milliseconds since 1970.
    pub min_time: u64,
    /// Latest time of a record, in milliseconds since 1970.
    pub max_time: u64,
    /// Packed records, see [`holdfast_records::block`].
    pub block: Vec<u8>,
}

/// File system of the data folder, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Size of the file system.
    pub total: u64,
    /// Bytes that can still be written.
    pub free: u64,
}
