//! What is deleted of the data store, and in which order: streams of unknown machines, the oldest
//! blocks of streams that are too large, blocks that are too old, and long ledgers that are summed
//! up. Each step is bounded, so that batches of devices do not wait for it.
//!
//! See decisions 0056, 0058 and 0059.
//! See decision 0153.

use std::collections::BTreeMap;

use holdfast_control_rows::{DataBatch, Head, Segment, StreamRow};
use holdfast_records::Range;

use super::ingest::{self, Retention, SUM_UP_AT};
use super::ledger::LoadedLedger;
use super::streams::{Key, Machine, key_of};

/// Maximum number of blocks that one step looks at or removes.
pub const BLOCKS: usize = 512;

/// Maximum number of segments that one step removes or sums up.
pub const SEGMENTS: usize = 50_000;

/// Maximum number of streams that one step looks at. Most of them need nothing.
pub const STREAMS: usize = 1_000;

/// Time from the beginning of one round over all streams to the beginning of the next, in seconds.
const ROUND: u64 = 30;

/// Time for which streams of an unknown device are kept, counted from when it was first seen to be
/// unknown, in seconds. A backup that is older than the device may have been restored by mistake.
const UNKNOWN: u64 = 86_400;

/// What is known of a stream's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The device exists, and its streams are kept within these limits.
    Known(Retention),
    /// No device has this name and key, since this time in seconds since 1970.
    Unknown(u64),
}

/// What a stream needs first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing now.
    Nothing,
    /// To be removed: its device has not been known for a day.
    Removal,
    /// To be summed up: its ledger is too long, and batches will soon be refused.
    SummingUp,
    /// To lose blocks with the lowest numbers, of this many bytes.
    Shrinking(u64),
    /// To lose the blocks that were stored longer ago than this many seconds.
    Aging(u64),
}

/// Decides what a stream needs first. `now` is in seconds since 1970.
pub fn need(row: &StreamRow, owner: Owner, now: u64) -> Need {
    let tally = &row.tally;
    let Retention { age, bytes } = match owner {
        Owner::Known(retention) => retention,
        Owner::Unknown(since) if since.saturating_add(UNKNOWN) < now => return Need::Removal,
        Owner::Unknown(_) => return Need::Nothing,
    };
    if tally.segments > SUM_UP_AT {
        return Need::SummingUp;
    }
    match (bytes, age) {
        (Some(most), _) if tally.bytes > most => Need::Shrinking(tally.bytes - most),
        (_, Some(age)) if tally.kept > 0 && tally.oldest_stored.saturating_add(age) < now => {
            Need::Aging(age)
        }
        _ => Need::Nothing,
    }
}

/// Round over all streams, of which each step looks at some.
#[derive(Debug, Default)]
pub struct Round {
    /// Time at which the round began, in seconds since 1970.
    began: u64,
    /// Last stream that was looked at; `Some(None)` at the round's beginning, `None` when no round
    /// is under way.
    at: Option<Option<Key>>,
    /// Time since when the owner of streams has been unknown, in seconds since 1970. Begins again
    /// with the process.
    unknown: BTreeMap<Machine, u64>,
}

/// What one look at streams has found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Streams to remove.
    pub removals: Vec<StreamRow>,
    /// Stream that needs a step, and which.
    pub step: Option<(StreamRow, Need)>,
}

impl Round {
    /// Returns the place after which the next look begins. The outer None: none is due now.
    pub fn place(&mut self, now: u64) -> Option<Option<Key>> {
        if self.at.is_none() && now >= self.began.saturating_add(ROUND) {
            self.began = now;
            self.at = Some(None);
        }
        self.at.clone()
    }

    /// Looks at the streams after the place, up to the first that needs a step. `retention` tells
    /// the limits of a stream; None: its device is unknown. `more` says that streams follow.
    pub fn look(
        &mut self,
        rows: &[StreamRow],
        more: bool,
        now: u64,
        retention: impl Fn(&StreamRow) -> Option<Retention>,
    ) -> Found {
        let mut found = Found::default();
        for row in rows {
            let before = self.at.replace(Some(key_of(row)));
            let owner = match retention(row) {
                Some(retention) => {
                    self.unknown.remove(&row.machine());
                    Owner::Known(retention)
                }
                None => Owner::Unknown(*self.unknown.entry(row.machine()).or_insert(now)),
            };
            match need(row, owner, now) {
                Need::Nothing => {}
                Need::Removal => found.removals.push(row.clone()),
                step @ (Need::SummingUp | Need::Aging(_)) => {
                    found.step = Some((row.clone(), step));
                    return found;
                }
                step @ Need::Shrinking(_) => {
                    // The same stream is looked at again, until it is small enough.
                    self.at = before;
                    found.step = Some((row.clone(), step));
                    return found;
                }
            }
        }
        if !more {
            self.at = None;
        }
        found
    }
}

/// Blocks that go, with the change that removes them.
#[derive(Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Row of the stream afterwards.
    pub row: StreamRow,
    /// Change of the store.
    pub batch: DataBatch,
    /// Bytes that the store gets back.
    pub bytes: u64,
    /// Number of records that go.
    pub records: u64,
}

/// Removes blocks of a stream from its figures. `oldest` is the time at which the oldest remaining
/// block was stored, when that is known. None: nothing changes.
fn without(mut row: StreamRow, heads: &[Head], oldest: Option<u64>) -> Option<Dropped> {
    if heads.is_empty() && oldest.is_none() {
        return None;
    }
    let bytes = bytes(heads);
    let records = heads.iter().fold(0_u64, |sum, head| sum.saturating_add(head.count));
    row.tally.kept = row.tally.kept.saturating_sub(records);
    row.tally.bytes = row.tally.bytes.saturating_sub(bytes);
    if let Some(oldest) = oldest {
        row.tally.oldest_stored = oldest;
    }
    let batch = DataBatch {
        streams: vec![row.clone()],
        gone_blocks: heads.iter().map(|head| (row.id, head.first)).collect(),
        ..DataBatch::default()
    };
    Some(Dropped { row, batch, bytes, records })
}

/// Returns the bytes of blocks.
pub fn bytes(heads: &[Head]) -> u64 {
    heads.iter().fold(0, |sum, head| sum.saturating_add(head.bytes))
}

/// Removes the blocks with the lowest numbers: `excess` bytes, or all of `heads`, which are the
/// first [`BLOCKS`] of the stream.
pub fn shrink(row: StreamRow, heads: &[Head], excess: u64) -> Option<Dropped> {
    if heads.is_empty() {
        // No block is left although the sum says otherwise: the sum was wrong and begins again at
        // 0.
        let mut row = row;
        row.tally.bytes = 0;
        row.tally.kept = 0;
        return without(row, &[], Some(u64::MAX));
    }
    let mut sum = 0_u64;
    let enough = heads.iter().position(|head| {
        sum = sum.saturating_add(head.bytes);
        sum >= excess
    });
    let count = enough.map_or(heads.len(), |last| last + 1);
    without(row, heads.get(..count).unwrap_or(heads), None)
}

/// Scan of one stream for blocks that are too old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// Place of the stream.
    pub key: Key,
    /// Id of the stream's row. The scan ends when the stream was removed meanwhile.
    pub id: u64,
    /// First sequence number of the next block to look at.
    next: u64,
    /// Time at which the oldest block that stays was stored, in seconds since 1970.
    oldest: u64,
}

impl Scan {
    /// Begins a scan of a stream.
    pub fn of(row: &StreamRow) -> Self {
        Self { key: key_of(row), id: row.id, next: 0, oldest: u64::MAX }
    }

    /// Returns the range whose first [`BLOCKS`] blocks are looked at next.
    pub fn range(&self) -> Range {
        Range { from: self.next, to: u64::MAX }
    }

    /// Looks at the next blocks. Returns what goes, and whether the scan goes on. `age` is in
    /// seconds, `now` in seconds since 1970.
    pub fn page(
        &mut self,
        row: StreamRow,
        heads: &[Head],
        age: u64,
        now: u64,
    ) -> (Option<Dropped>, bool) {
        let until = now.saturating_sub(age);
        let (old, rest): (Vec<Head>, Vec<Head>) =
            heads.iter().partition(|head| head.stored < until);
        self.oldest = rest.iter().map(|head| head.stored).fold(self.oldest, u64::min);
        let goes_on = heads.len() >= BLOCKS;
        // `now` is a bound: a block may have been stored behind the scan meanwhile, and is no older
        // than that.
        let oldest = (!goes_on).then_some(self.oldest.min(now));
        if let Some(last) = heads.last() {
            self.next = last.first.saturating_add(1);
        }
        (without(row, &old, oldest), goes_on)
    }
}

/// Numbers from which a long ledger is summed up, one after the other until something is gained:
/// first from the beginning, because records that came late may have cut up what was summed before,
/// then from where the last summing ended.
pub fn summing_starts(row: &StreamRow) -> [u64; 2] {
    [0, row.tally.summed_below]
}

/// Range of numbers whose first [`SEGMENTS`] segments are summed up from `from` on. None: there is
/// nothing to sum up.
pub fn summing_range(row: &StreamRow, from: u64) -> Option<Range> {
    (from <= row.tally.highest).then_some(Range { from, to: row.tally.highest })
}

/// Sums up the segments of a ledger from `from` on: adjoining segments of received records become
/// one. None: nothing is gained from there.
pub fn sum_up(
    mut row: StreamRow,
    from: u64,
    mut segments: Vec<Segment>,
) -> Option<(StreamRow, DataBatch)> {
    segments.retain(|segment| (from..=row.tally.highest).contains(&segment.to));
    let last = segments.last().map(|last| last.to)?;
    let mut ledger = LoadedLedger::new();
    ledger.load(Range { from, to: last }, segments);
    let before = row.tally.segments;
    ingest::sum_up(&mut ledger, &mut row.tally);
    if row.tally.segments == before && from == 0 && row.tally.summed_below > 0 {
        return None;
    }
    row.tally.summed_below = row.tally.summed_below.max(last.saturating_add(1));
    let batch = DataBatch {
        streams: vec![row.clone()],
        segments: vec![(row.id, ledger.rows())],
        ..DataBatch::default()
    };
    Some((row, batch))
}

/// Returns the next step in the removal of a stream that is gone, and whether it is the last:
/// blocks first, then the ledger, the row last, so that its id stays taken until then. `segments`
/// need not be read while there are blocks.
pub fn removal(id: u64, heads: &[Head], segments: &[Segment]) -> (DataBatch, bool) {
    if !heads.is_empty() {
        let gone_blocks = heads.iter().map(|head| (id, head.first)).collect();
        return (DataBatch { gone_blocks, ..DataBatch::default() }, false);
    }
    if !segments.is_empty() {
        let rows = segments.iter().map(|segment| (segment.from, None)).collect();
        return (DataBatch { segments: vec![(id, rows)], ..DataBatch::default() }, false);
    }
    (DataBatch { gone_streams: vec![id], ..DataBatch::default() }, true)
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
