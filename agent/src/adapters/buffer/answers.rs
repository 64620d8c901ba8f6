//! What is asked of the buffer and what it answers, as values.

use holdfast_records::{Range, Record};

use crate::core::data::step::StreamSummary;

/// Part of a stream, bounded by sequence numbers and by time; all bounds are inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Lowest sequence number, 1 for the whole stream.
    pub from: u64,
    /// Highest sequence number, `u64::MAX` for the whole stream.
    pub to: u64,
    /// Earliest time, in milliseconds since 1970.
    pub since: u64,
    /// Latest time, in milliseconds since 1970.
    pub until: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self { from: 1, to: u64::MAX, since: 0, until: u64::MAX }
    }
}

/// Records that one read of a stream returned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Records in the order of their sequence numbers.
    pub records: Vec<Record>,
    /// Sequence number at which the next page begins; `None` on the last page.
    pub next: Option<u64>,
    /// Sequence numbers whose blocks are damaged.
    pub damaged: Vec<Range>,
    /// True when the file could not be read: records may be missing.
    pub failed: bool,
}

/// Bytes written to flash since the buffer was made, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Bytes written to store records.
    pub records: u64,
    /// Bytes written to drop, thin or expire records.
    pub retention: u64,
    /// Bytes written for the database itself, ceilings, acknowledgements and totals.
    pub bookkeeping: u64,
    /// Bytes of the records' values as they were published.
    pub payload: u64,
    /// Time at which counting began, in seconds since 1970.
    pub since: u64,
}

impl Written {
    /// Bytes written for all causes; `payload` is no part of it.
    pub fn total(&self) -> u64 {
        self.records.saturating_add(self.retention).saturating_add(self.bookkeeping)
    }
}

/// State of the whole buffer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Streams, by name.
    pub streams: Vec<StreamSummary>,
    /// Bytes that records take on disk.
    pub used: u64,
    /// Bytes that records may take at present: the quota, or what the disk still has room for.
    pub quota: u64,
    /// True when the disk has less room than the quota.
    pub low: bool,
    /// Bytes written to flash, by cause.
    pub written: Written,
    /// Notice for a person about damage: the file was set aside, is gone or is an older copy.
    pub damage: Option<String>,
    /// Error of the last write, if it failed, as on a full disk.
    pub full: Option<String>,
}
