//! Maintenance of stored data, in bounded steps between batches: carries out what the core's
//! [`retention`](crate::core::retention) decides.
//!
//! See decisions 0056, 0058 and 0059.
//! See decision 0153.

use std::sync::atomic::Ordering;

use holdfast_records::Range;

use super::Service;
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
    pub(super) fn step(&mut self, service: &Service) -> Result<(), StoreError> {
        let gone = service.ingest.known().gone.last().copied();
        if let Some(id) = gone {
            return remove(service, id);
        }
        if let Some(scan) = self.scan.take() {
            return self.scan(service, scan);
        }
        self.look(service)
    }

    /// Looks at the next streams for those that need a step.
    fn look(&mut self, service: &Service) -> Result<(), StoreError> {
        let now = service.now();
        let Some(place) = self.round.place(now) else { return Ok(()) };
        let (rows, more) = service.ingest.known().after(place.as_ref(), STREAMS);
        let found = self.round.look(&rows, more, now, |row| limits(service, row));
        for StreamRow { device, stream, tally, .. } in &found.removals {
            tracing::warn!(%device, %stream, records = tally.kept, "its device has not been known for a day: its records go");
        }
        abandon(service, &found.removals)?;
        match found.step {
            Some((row, Need::SummingUp)) => sum_up(service, row),
            Some((row, Need::Shrinking(excess))) => {
                let heads = service.ingest.store.heads(row.id, ALL, BLOCKS, Direction::Up)?;
                drop_blocks(service, retention::shrink(row, &heads, excess))
            }
            Some((row, Need::Aging(_))) => {
                self.scan = Some(Scan::of(&row));
                Ok(())
            }
            Some((_, Need::Nothing | Need::Removal)) | None => Ok(()),
        }
    }

    /// Removes blocks that are too old from one stream, as far as one step goes.
    fn scan(&mut self, service: &Service, mut scan: Scan) -> Result<(), StoreError> {
        let heads = service.ingest.store.heads(scan.id, scan.range(), BLOCKS, Direction::Up)?;
        let row = {
            let known = service.ingest.known();
            let (machine, stream) = &scan.key;
            known.stream(machine, stream).filter(|row| row.id == scan.id).cloned()
        };
        let Some(row) = row else { return Ok(()) };
        let Some(age) = limits(service, &row).and_then(|limits| limits.age) else { return Ok(()) };
        let (dropped, goes_on) = scan.page(row, &heads, age, service.now());
        drop_blocks(service, dropped)?;
        self.scan = goes_on.then_some(scan);
        Ok(())
    }
}

/// Returns what is kept of a stream. None: its device is unknown.
fn limits(service: &Service, row: &StreamRow) -> Option<Retention> {
    let model = service.model(&row.tenant);
    let device = model.devices.get(&row.device)?;
    let is_owner = owner(&device.record.public_key) == row.owner;
    is_owner.then(|| model.retention(&device.record.labels, &row.stream))
}

/// Removes blocks of a stream.
fn drop_blocks(service: &Service, dropped: Option<Dropped>) -> Result<(), StoreError> {
    let Some(Dropped { row, batch, bytes, records }) = dropped else { return Ok(()) };
    service.commit_data(batch)?;
    service.ingest.room().gave_back(bytes);
    service.counters.records_retired.fetch_add(records, Ordering::Relaxed);
    service.ingest.known_mut().replace(row);
    Ok(())
}

/// Sums up a part of a long ledger.
fn sum_up(service: &Service, row: StreamRow) -> Result<(), StoreError> {
    for from in retention::summing_starts(&row) {
        let Some(range) = retention::summing_range(&row, from) else { return Ok(()) };
        let segments = service.ingest.store.segments(row.id, range, SEGMENTS)?;
        let Some((row, batch)) = retention::sum_up(row.clone(), from, segments) else { continue };
        service.commit_data(batch)?;
        tracing::info!(device = %row.device, stream = %row.stream, below = row.tally.summed_below, "a long ledger is summed up");
        service.ingest.known_mut().replace(row);
        break;
    }
    Ok(())
}

/// Removes a part of a stream that is gone.
fn remove(service: &Service, id: u64) -> Result<(), StoreError> {
    let store = &service.ingest.store;
    let heads = store.heads(id, ALL, BLOCKS, Direction::Up)?;
    let segments = match heads.is_empty() {
        true => store.segments(id, ALL, SEGMENTS)?,
        false => Vec::new(),
    };
    let (batch, is_last) = retention::removal(id, &heads, &segments);
    service.commit_data(batch)?;
    service.ingest.room().gave_back(retention::bytes(&heads));
    if is_last {
        service.ingest.known_mut().removed(id);
    }
    Ok(())
}
