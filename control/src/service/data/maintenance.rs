//! Maintenance of stored data, in bounded steps between batches: carries out what the core's
//! [`retention`](crate::core::retention) decides.
//!
//! See decisions 0056, 0058 and 0059.
//! See decision 0153.

use std::sync::atomic::Ordering;

use holdfast_records::Range;

use super::Data;
use super::ingest::abandon;
use crate::core::ingest::Retention;
use crate::core::retention::{self, BLOCKS, Dropped, Need, Round, SEGMENTS, STREAMS, Scan};
use crate::core::streams::owner;
use crate::ports::data_store::{Direction, StreamRow};
use crate::ports::store::StoreError;

/// Range of all sequence numbers.
const ALL: Range = Range { from: 0, to: u64::MAX };

/// Position of the round over all streams, and of the scan of one stream.
#[derive(Debug, Default)]
pub(super) struct Maintenance {
    round: Round,
    scan: Option<Scan>,
}

impl Maintenance {
    /// Does one step: removes a part of a stream that is gone, goes on with a scan, or looks at the
    /// next streams.
    pub(super) fn step(&mut self, data: &Data) -> Result<(), StoreError> {
        let gone = data.known().gone.last().copied();
        if let Some(id) = gone {
            return remove(data, id);
        }
        if let Some(scan) = self.scan.take() {
            return self.scan(data, scan);
        }
        self.look(data)
    }

    /// Looks at the next streams for those that need a step.
    fn look(&mut self, data: &Data) -> Result<(), StoreError> {
        let now = data.documents.now();
        let Some(place) = self.round.place(now) else { return Ok(()) };
        let (rows, more) = data.known().after(place.as_ref(), STREAMS);
        let found = self.round.look(&rows, more, now, |row| limits(data, row));
        for StreamRow { device, stream, tally, .. } in &found.removals {
            tracing::warn!(%device, %stream, records = tally.kept, "its device has not been known for a day: its records go");
        }
        abandon(data, &found.removals)?;
        match found.step {
            Some((row, Need::SummingUp)) => sum_up(data, row),
            Some((row, Need::Shrinking(excess))) => {
                let heads = data.store.heads(row.id, ALL, BLOCKS, Direction::Up)?;
                drop_blocks(data, retention::shrink(row, &heads, excess))
            }
            Some((row, Need::Aging(_))) => {
                self.scan = Some(Scan::of(&row));
                Ok(())
            }
            Some((_, Need::Nothing | Need::Removal)) | None => Ok(()),
        }
    }

    /// Removes blocks that are too old from one stream, as far as one step goes.
    fn scan(&mut self, data: &Data, mut scan: Scan) -> Result<(), StoreError> {
        let heads = data.store.heads(scan.id, scan.range(), BLOCKS, Direction::Up)?;
        let row = {
            let known = data.known();
            let (machine, stream) = &scan.key;
            known.stream(machine, stream).filter(|row| row.id == scan.id).cloned()
        };
        let Some(row) = row else { return Ok(()) };
        let Some(age) = limits(data, &row).and_then(|limits| limits.age) else { return Ok(()) };
        let (dropped, goes_on) = scan.page(row, &heads, age, data.documents.now());
        drop_blocks(data, dropped)?;
        self.scan = goes_on.then_some(scan);
        Ok(())
    }
}

/// Returns what is kept of a stream. None: its device is unknown.
fn limits(data: &Data, row: &StreamRow) -> Option<Retention> {
    let model = data.documents.model(&row.tenant);
    let device = model.devices.get(&row.device)?;
    let is_owner = owner(&device.record.public_key) == row.owner;
    is_owner.then(|| model.retention(&device.record.labels, &row.stream))
}

/// Removes blocks of a stream.
fn drop_blocks(data: &Data, dropped: Option<Dropped>) -> Result<(), StoreError> {
    let Some(Dropped { row, batch, bytes, records }) = dropped else { return Ok(()) };
    data.commit_data(batch)?;
    data.free_room().gave_back(bytes);
    data.counters.records_retired.fetch_add(records, Ordering::Relaxed);
    data.known_mut().replace(row);
    Ok(())
}

/// Sums up a part of a long ledger.
fn sum_up(data: &Data, row: StreamRow) -> Result<(), StoreError> {
    for from in retention::summing_starts(&row) {
        let Some(range) = retention::summing_range(&row, from) else { return Ok(()) };
        let segments = data.store.segments(row.id, range, SEGMENTS)?;
        let Some((row, batch)) = retention::sum_up(row.clone(), from, segments) else { continue };
        data.commit_data(batch)?;
        tracing::info!(device = %row.device, stream = %row.stream, below = row.tally.summed_below, "a long ledger is summed up");
        data.known_mut().replace(row);
        break;
    }
    Ok(())
}

/// Removes a part of a stream that is gone.
fn remove(data: &Data, id: u64) -> Result<(), StoreError> {
    let store = &data.store;
    let heads = store.heads(id, ALL, BLOCKS, Direction::Up)?;
    let segments = match heads.is_empty() {
        true => store.segments(id, ALL, SEGMENTS)?,
        false => Vec::new(),
    };
    let (batch, is_last) = retention::removal(id, &heads, &segments);
    data.commit_data(batch)?;
    data.free_room().gave_back(retention::bytes(&heads));
    if is_last {
        data.known_mut().removed(id);
    }
    Ok(())
}
