//! Maintenance of stored data, in bounded steps between batches: retention, removal of deleted
//! devices' streams, summing up of long ledgers.
//!
//! See decisions 0056, 0058 and 0059.

use std::collections::BTreeMap;

use holdfast_records::{Range, StreamName};

use super::Service;
use super::ingest::{Machine, abandon, owner};
use crate::core::ingest::{self, SUM_UP_AT};
use crate::core::ledger::LoadedLedger;
use crate::ports::data_store::{DataBatch, Direction, Head, StreamRow};
use crate::ports::store::StoreError;

/// Maximum number of blocks that one step looks at or removes.
const BLOCKS: usize = 512;

/// Maximum number of segments that one step removes or sums up.
const SEGMENTS: usize = 50_000;

/// Maximum number of streams that one step looks at. Most of them need nothing.
const STREAMS: usize = 1_000;

/// Time from the beginning of one round over all streams to the beginning of the next, in seconds.
const ROUND: u64 = 30;

/// Time for which streams of an unknown device are kept, counted from when it was first seen to be
/// unknown, in seconds. A backup that is older than the device may have been restored by mistake.
const UNKNOWN: u64 = 86_400;

type Key = (Machine, StreamName);

/// Position of the round over all streams, and of the scan of one stream.
#[derive(Debug, Default)]
pub(super) struct Maintenance {
    /// Time at which the round began, in seconds since 1970.
    began: u64,
    /// Last stream that was looked at; `Some(None)` at the round's beginning, `None` when no round
    /// is under way.
    at: Option<Option<Key>>,
    scan: Option<Scan>,
    /// Time since when the owner of streams has been unknown, in seconds since 1970. Begins again
    /// with the process.
    unknown: BTreeMap<Machine, u64>,
}

/// Scan of one stream for blocks that are too old.
#[derive(Debug)]
struct Scan {
    key: Key,
    /// Id of the stream's row. The scan ends when the stream was removed meanwhile.
    id: u64,
    /// First sequence number of the next block to look at.
    next: u64,
    /// Time at which the oldest block that stays was stored, in seconds since 1970.
    oldest: u64,
}

impl Maintenance {
    /// Does one step: removes a part of a stream that is gone, goes on with a scan, or looks at the
    /// next streams.
    pub(super) fn step(&mut self, service: &Service) -> Result<(), StoreError> {
        let gone = service.ingest.known().gone.last().copied();
        if let Some(id) = gone {
            return remove(service, id);
        }
        if let Some(scan) = self.scan.take() {
            return self.scan(service, scan);
        }
        let now = service.now();
        if self.at.is_none() && now >= self.began.saturating_add(ROUND) {
            self.began = now;
            self.at = Some(None);
        }
        if let Some(after) = self.at.take() {
            self.look(service, after, now)?;
        }
        Ok(())
    }

    /// Looks at the next streams for one that needs a step: an unknown owner, a ledger that is too
    /// long, or too many or too old records.
    fn look(&mut self, service: &Service, after: Option<Key>, now: u64) -> Result<(), StoreError> {
        let (rows, more) = next_streams(service, after.as_ref());
        for row in &rows {
            let key = (row.machine(), row.stream.clone());
            self.at = Some(Some(key.clone()));
            let of = {
                let model = service.model(&row.tenant);
                let device = model.devices.get(&row.device);
                device
                    .filter(|device| owner(&device.record.public_key) == row.owner)
                    .map(|device| model.retention(&device.record.labels, &row.stream))
            };
            let Some(retention) = of else {
                let since = *self.unknown.entry(row.machine()).or_insert(now);
                if since.saturating_add(UNKNOWN) < now {
                    let (device, stream, records) = (&row.device, &row.stream, row.tally.kept);
                    tracing::warn!(%device, %stream, records, "its device has not been known for a day: its records go");
                    abandon(service, vec![row.clone()])?;
                }
                continue;
            };
            self.unknown.remove(&row.machine());
            if row.tally.segments > SUM_UP_AT {
                return sum_up(service, row);
            }
            if let Some(most) = retention.bytes
                && row.tally.bytes > most
            {
                // The same stream is looked at again, until it is small enough.
                self.at = Some(place_before(&rows, row, after));
                return shrink(service, row, row.tally.bytes - most);
            }
            if let Some(age) = retention.age
                && row.tally.kept > 0
                && row.tally.oldest_stored.saturating_add(age) < now
            {
                self.scan = Some(Scan { key, id: row.id, next: 0, oldest: u64::MAX });
                return Ok(());
            }
        }
        if !more {
            self.at = None;
        }
        Ok(())
    }

    /// Removes blocks that are too old from one stream, as far as one step goes.
    fn scan(&mut self, service: &Service, mut scan: Scan) -> Result<(), StoreError> {
        let range = Range { from: scan.next, to: u64::MAX };
        let heads = service.ingest.store.heads(scan.id, range, BLOCKS, Direction::Up)?;
        let (row, age) = {
            let known = service.ingest.known();
            let (machine, stream) = &scan.key;
            let row = known.machines.get(machine).and_then(|streams| streams.get(stream));
            let Some(row) = row.filter(|row| row.id == scan.id).cloned() else { return Ok(()) };
            drop(known);
            let model = service.model(&machine.0.tenant);
            let device = model.devices.get(&machine.0.device);
            let device = device.filter(|device| owner(&device.record.public_key) == machine.1);
            let Some(device) = device else { return Ok(()) };
            let retention = model.retention(&device.record.labels, stream);
            let Some(age) = retention.age else { return Ok(()) };
            (row, age)
        };
        let until = service.now().saturating_sub(age);
        let (old, rest): (Vec<Head>, Vec<Head>) =
            heads.iter().partition(|head| head.stored < until);
        scan.oldest =
            rest.iter().map(|head| head.stored).min().unwrap_or(u64::MAX).min(scan.oldest);
        let over = heads.len() < BLOCKS;
        // `now` is a bound: a block may have been stored behind the scan meanwhile, and is no older
        // than that.
        let oldest = over.then_some(scan.oldest.min(service.now()));
        if let Some(last) = heads.last() {
            scan.next = last.first.saturating_add(1);
        }
        drop_blocks(service, row, &old, oldest)?;
        if !over {
            self.scan = Some(scan);
        }
        Ok(())
    }
}

/// Position just before this row, so that the row is looked at again.
fn place_before(rows: &[StreamRow], row: &StreamRow, after: Option<Key>) -> Option<Key> {
    let at = rows.iter().position(|other| other.id == row.id).unwrap_or(0);
    match at.checked_sub(1).and_then(|before| rows.get(before)) {
        Some(before) => Some((before.machine(), before.stream.clone())),
        None => after,
    }
}

/// Returns the next streams after a position, and whether more follow.
fn next_streams(service: &Service, after: Option<&Key>) -> (Vec<StreamRow>, bool) {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let known = service.ingest.known();
    let first = after.map_or(Unbounded, |(machine, _)| Included(machine));
    let mut rows = Vec::new();
    for (machine, streams) in known.machines.range::<Machine, _>((first, Unbounded)) {
        let after = after.filter(|(last, _)| last == machine).map(|(_, stream)| stream);
        let from = after.map_or(Unbounded, Excluded);
        for row in streams.range::<StreamName, _>((from, Unbounded)).map(|(_, row)| row) {
            if rows.len() == STREAMS {
                return (rows, true);
            }
            rows.push(row.clone());
        }
    }
    (rows, false)
}

/// Removes blocks of a stream, and adjusts its sums. `oldest` is the time at which the oldest
/// remaining block was stored, when that is known.
fn drop_blocks(
    service: &Service,
    mut row: StreamRow,
    heads: &[Head],
    oldest: Option<u64>,
) -> Result<(), StoreError> {
    if heads.is_empty() && oldest.is_none() {
        return Ok(());
    }
    for head in heads {
        row.tally.kept = row.tally.kept.saturating_sub(head.count);
        row.tally.bytes = row.tally.bytes.saturating_sub(head.bytes);
    }
    if let Some(oldest) = oldest {
        row.tally.oldest_stored = oldest;
    }
    let batch = DataBatch {
        streams: vec![row.clone()],
        gone_blocks: heads.iter().map(|head| (row.id, head.first)).collect(),
        ..DataBatch::default()
    };
    service.ingest.store.commit(&batch)?;
    service.ingest.room().gave_back(bytes(heads));
    let records: u64 = heads.iter().map(|head| head.count).sum();
    service.counters.records_retired.fetch_add(records, std::sync::atomic::Ordering::Relaxed);
    replace(service, row);
    Ok(())
}

fn bytes(heads: &[Head]) -> u64 {
    heads.iter().map(|head| head.bytes).fold(0, u64::saturating_add)
}

/// Replaces a stream's row in memory, unless the stream was removed meanwhile.
pub(super) fn replace(service: &Service, row: StreamRow) {
    let mut known = service.ingest.known_mut();
    let streams = known.machines.get_mut(&row.machine());
    if let Some(present) =
        streams.and_then(|streams: &mut BTreeMap<_, _>| streams.get_mut(&row.stream))
    {
        *present = row;
    }
}

/// Removes the blocks with the lowest sequence numbers: `excess` bytes, or as many blocks as one
/// step does.
fn shrink(service: &Service, row: &StreamRow, excess: u64) -> Result<(), StoreError> {
    let all = Range { from: 0, to: u64::MAX };
    let mut heads = service.ingest.store.heads(row.id, all, BLOCKS, Direction::Up)?;
    let mut sum = 0_u64;
    let enough = heads.iter().position(|head| {
        sum = sum.saturating_add(head.bytes);
        sum >= excess
    });
    if let Some(enough) = enough {
        heads.truncate(enough + 1);
    }
    if heads.is_empty() {
        // No block is left although the sum says otherwise: the sum was wrong and begins again at
        // 0.
        let mut row = row.clone();
        row.tally.bytes = 0;
        row.tally.kept = 0;
        return drop_blocks(service, row, &[], Some(u64::MAX));
    }
    drop_blocks(service, row.clone(), &heads, None)
}

/// Sums up the oldest part of a long ledger: adjoining segments of received records become one.
fn sum_up(service: &Service, row: &StreamRow) -> Result<(), StoreError> {
    let mut row = row.clone();
    // First from the beginning, because records that came late may have cut up what was summed
    // before. When that gains nothing, from where the last summing ended.
    for from in [0, row.tally.summed_below] {
        if from > row.tally.highest {
            return Ok(());
        }
        let all = Range { from, to: row.tally.highest };
        let mut segments = service.ingest.store.segments(row.id, all, SEGMENTS)?;
        segments.retain(|segment| (from..=row.tally.highest).contains(&segment.to));
        let Some(last) = segments.last().map(|last| last.to) else { return Ok(()) };
        let mut ledger = LoadedLedger::new();
        ledger.load(Range { from, to: last }, segments);
        let before = row.tally.segments;
        ingest::sum_up(&mut ledger, &mut row.tally);
        if row.tally.segments == before && from == 0 && row.tally.summed_below > 0 {
            continue;
        }
        row.tally.summed_below = row.tally.summed_below.max(last.saturating_add(1));
        let batch = DataBatch {
            streams: vec![row.clone()],
            segments: vec![(row.id, ledger.rows())],
            ..DataBatch::default()
        };
        service.ingest.store.commit(&batch)?;
        tracing::info!(device = %row.device, stream = %row.stream, below = row.tally.summed_below, "a long ledger is summed up");
        break;
    }
    replace(service, row);
    Ok(())
}

/// Removes a part of a stream that is gone: its blocks first, then its ledger, its row last, so
/// that its id stays taken until then.
fn remove(service: &Service, id: u64) -> Result<(), StoreError> {
    let all = Range { from: 0, to: u64::MAX };
    let store = &service.ingest.store;
    let heads = store.heads(id, all, BLOCKS, Direction::Up)?;
    if !heads.is_empty() {
        let gone_blocks = heads.iter().map(|head| (id, head.first)).collect();
        store.commit(&DataBatch { gone_blocks, ..DataBatch::default() })?;
        service.ingest.room().gave_back(bytes(&heads));
        return Ok(());
    }
    let segments = store.segments(id, all, SEGMENTS)?;
    if !segments.is_empty() {
        let rows = segments.iter().map(|segment| (segment.from, None)).collect();
        return store.commit(&DataBatch { segments: vec![(id, rows)], ..DataBatch::default() });
    }
    store.commit(&DataBatch { gone_streams: vec![id], ..DataBatch::default() })?;
    service.ingest.known_mut().gone.retain(|other| *other != id);
    Ok(())
}
