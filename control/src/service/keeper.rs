//! Housekeeping of data, in bounded steps between batches: retention, streams of deleted devices,
//! ledgers that grow too long.
//! See decisions 0056, 0058 and 0059.

use std::collections::BTreeMap;

use holdfast_records::{Range, StreamName};

use super::Service;
use super::ingest::{Machine, abandon, owner};
use crate::core::ingest::{self, SUM_UP_AT};
use crate::core::ledger::Stretch;
use crate::data_store::{DataBatch, Direction, Head, StreamRow};
use crate::store::StoreError;

/// Blocks looked at, or removed, in one step.
const BLOCKS: usize = 512;

/// Segments removed, or summed up, in one step.
const SEGMENTS: usize = 50_000;

/// Streams looked at in one step; most need nothing.
const STREAMS: usize = 1_000;

/// From the beginning of one round over all streams to that of the next, in seconds.
const ROUND: u64 = 30;

/// Streams of a device that is not known are kept so long after that was first seen, in seconds: a
/// backup that is older than the device may have been restored by mistake.
const UNKNOWN: u64 = 86_400;

type Key = (Machine, StreamName);

/// Where the round stands.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    began: u64,
    /// The last stream that was looked at. None: the round is over.
    at: Option<Option<Key>>,
    scan: Option<Scan>,
    /// Since when the owners of streams are not known, in seconds since 1970. It begins anew with
    /// the process.
    unknown: BTreeMap<Machine, u64>,
}

/// A stream whose blocks are looked at for their age.
#[derive(Debug)]
struct Scan {
    key: Key,
    id: u64,
    next: u64,
    oldest: u64,
}

impl Keeper {
    /// One step.
    pub(super) fn turn(&mut self, service: &Service) -> Result<(), StoreError> {
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

    fn look(&mut self, service: &Service, after: Option<Key>, now: u64) -> Result<(), StoreError> {
        let (rows, more) = some(service, after.as_ref());
        for row in &rows {
            let key = (row.machine(), row.stream.clone());
            self.at = Some(Some(key.clone()));
            let of = {
                let model = service.model();
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
                // The same stream again, until it is small enough.
                self.at = Some(after_or(&rows, row, after));
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

    /// Removes blocks that are too old, as far as one step goes.
    fn scan(&mut self, service: &Service, mut scan: Scan) -> Result<(), StoreError> {
        let range = Range { from: scan.next, to: u64::MAX };
        let heads = service.ingest.store.heads(scan.id, range, BLOCKS, Direction::Up)?;
        let (row, age) = {
            let known = service.ingest.known();
            let (machine, stream) = &scan.key;
            let row = known.machines.get(machine).and_then(|streams| streams.get(stream));
            let Some(row) = row.filter(|row| row.id == scan.id).cloned() else { return Ok(()) };
            drop(known);
            let model = service.model();
            let device = model.devices.get(&machine.0);
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
        // A block may have come behind the scan meanwhile.
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

/// The place before this row.
fn after_or(rows: &[StreamRow], row: &StreamRow, after: Option<Key>) -> Option<Key> {
    let at = rows.iter().position(|other| other.id == row.id).unwrap_or(0);
    match at.checked_sub(1).and_then(|before| rows.get(before)) {
        Some(before) => Some((before.machine(), before.stream.clone())),
        None => after,
    }
}

/// The next streams, and whether more follow.
fn some(service: &Service, after: Option<&Key>) -> (Vec<StreamRow>, bool) {
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

/// Removes blocks of a stream; `oldest`: when the oldest of the others was stored.
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

/// Makes this known of a stream.
pub(super) fn replace(service: &Service, row: StreamRow) {
    let mut known = service.ingest.known_mut();
    let streams = known.machines.get_mut(&row.machine());
    if let Some(present) =
        streams.and_then(|streams: &mut BTreeMap<_, _>| streams.get_mut(&row.stream))
    {
        *present = row;
    }
}

/// Removes the blocks with the lowest numbers, `excess` bytes or as many as one step does.
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
        // The sum is wrong: it says what is there from now on.
        let mut row = row.clone();
        row.tally.bytes = 0;
        row.tally.kept = 0;
        return drop_blocks(service, row, &[], Some(u64::MAX));
    }
    drop_blocks(service, row.clone(), &heads, None)
}

/// Makes the oldest part of a long ledger one piece, as far as it was received.
fn sum_up(service: &Service, row: &StreamRow) -> Result<(), StoreError> {
    let mut row = row.clone();
    // From the beginning, for records that came late have cut up what was summed; where that gains
    // nothing, from where it ended.
    for from in [0, row.tally.summed_below] {
        if from > row.tally.highest {
            return Ok(());
        }
        let all = Range { from, to: row.tally.highest };
        let mut segments = service.ingest.store.segments(row.id, all, SEGMENTS)?;
        segments.retain(|segment| (from..=row.tally.highest).contains(&segment.to));
        let Some(last) = segments.last().map(|last| last.to) else { return Ok(()) };
        let mut ledger = Stretch::new();
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

/// Removes a part of a stream that is gone; its number goes last.
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
