//! Storing of a group of batches in one transaction: reads what the core's [`Group`] needs to know,
//! commits what it decides, and acknowledges after that.
//!
//! See decisions 0058, 0059 and 0080.
//! See decision 0153.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use holdfast_base::codec::CodecError;
use holdfast_base::ids::DeviceId;
use holdfast_records::Acked;

use super::super::Data;
use super::super::blocks::{ALL_SEGMENTS, compared, held, highest};
use super::super::queue::Arrival;
use super::outcome::{fail, failed};
use crate::core::ingest::group::{Group, acked};
use crate::core::ingest::pressure::HOLD_FAILED;
use crate::core::ingest::{self, BatchFault, Unfit};
use crate::core::streams::{Known, Machine, owner};
use crate::ports::bus::{Done, Stored};
use crate::ports::data_store::DataStore;
use crate::ports::store::StoreError;

/// Outcome of one batch.
#[derive(Debug)]
pub enum Took {
    /// The batch is acknowledged in this way once the group is durable.
    Told(Acked),
    /// The payload is no batch, and is not acknowledged.
    Malformed(CodecError),
}

/// Adds one batch of a machine to a group: reads from the store what the decision needs.
///
/// # Errors
/// Returns the error of the store; then the group cannot be used any more.
pub fn take_batch(
    store: &dyn DataStore,
    known: &Known,
    group: &mut Group,
    machine: &Machine,
    payload: &[u8],
) -> Result<Took, StoreError> {
    let refused = |stream, from, to, why: BatchFault| {
        Ok(Took::Told(Acked { refused: Some(why.to_string()), ..acked(stream, from, to) }))
    };
    let batch = match ingest::check(payload) {
        Ok(batch) => batch,
        Err(Unfit::Malformed(error)) => return Ok(Took::Malformed(error)),
        Err(Unfit::Batch { stream, from, to, why }) => return refused(stream, from, to, why),
    };
    let (stream, from, to) = (batch.stream.clone(), batch.from, batch.to);
    let mut open = match group.open(known, machine, &stream) {
        Ok(open) => open,
        Err(why) => return refused(stream, from, to, why),
    };
    while let Some(range) = open.wanted(&batch) {
        open.load(range, store.segments(open.row.id, range, ALL_SEGMENTS)?);
    }
    let held = held(store, &open.row, &open.doubtful(&batch), None)?;
    let repeated = open.repeated(&batch, &held);
    let compared = compared(store, &open.row, &batch, &repeated, group.pending())?;
    let put = group.put(&mut open, batch, &held, &compared);
    let told = match put {
        Err(why) => Acked { refused: Some(why.to_string()), ..acked(stream, from, to) },
        Ok(conflict) if conflict.is_empty() => acked(stream, from, to),
        Ok(conflict) => {
            let highest = highest(store, &open.row)?.max(to);
            let conflict = conflict.iter().collect();
            Acked { conflict, highest, ..acked(stream, from, to) }
        }
    };
    group.close(open);
    Ok(Took::Told(told))
}

/// Stores a group of batches in one transaction and acknowledges them, or asks all their devices to
/// send again.
pub(in crate::service) fn commit(data: &Data, arrivals: Vec<Arrival>) {
    let is_read_along = data.feeds.readers() > 0;
    let mut group = Group::new(&data.known(), data.documents.now(), is_read_along);
    let mut told: Vec<(Arrival, Acked)> = Vec::new();
    let mut arrivals = arrivals.into_iter();
    while let Some(arrival) = arrivals.next() {
        match take(data, &mut group, &arrival) {
            Ok(Some(acked)) => told.push((arrival, acked)),
            // No acknowledgement: dropping it tells the device's connection.
            Ok(None) => {}
            Err(error) => {
                failed(data, &error);
                let told = told.into_iter().map(|(arrival, _)| arrival);
                let all: Vec<_> = told.chain([arrival]).chain(arrivals).collect();
                return fail(data, &all, HOLD_FAILED);
            }
        }
    }
    match store(data, group) {
        Ok(()) => {
            let refused = told.iter().filter(|(_, acked)| acked.refused.is_some()).count();
            data.counters.batches_refused.fetch_add(refused as u64, Ordering::Relaxed);
            tell(data, told);
        }
        Err(error) => {
            failed(data, &error);
            let told: Vec<_> = told.into_iter().map(|(arrival, _)| arrival).collect();
            fail(data, &told, HOLD_FAILED);
        }
    }
}

/// Adds one batch to the group, and logs what is wrong with it. None: it is not acknowledged.
fn take(data: &Data, group: &mut Group, arrival: &Arrival) -> Result<Option<Acked>, StoreError> {
    let device = &arrival.device;
    let owner = {
        let model = data.documents.model(&device.tenant);
        model.devices.get(&device.device).map(|known| owner(&known.record.public_key))
    };
    let Some(owner) = owner else { return Ok(None) }; // The device was deleted meanwhile.
    let (store, machine) = (&*data.store, (device.clone(), owner));
    let took = take_batch(store, &data.known(), group, &machine, &arrival.payload)?;
    let acked = match took {
        Took::Told(acked) => acked,
        Took::Malformed(error) => {
            data.counters.malformed.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%device, channel = "data", %error, "refused");
            return Ok(None);
        }
    };
    let Acked { stream, from, to, highest, .. } = &acked;
    if let Some(why) = &acked.refused {
        tracing::warn!(%device, %stream, from, to, why, "a batch is refused");
    }
    if !acked.conflict.is_empty() {
        let count = acked.conflict.iter().fold(0_u64, |sum, range| sum.saturating_add(range.len()));
        tracing::warn!(%device, %stream, from, to, count, highest, "records came with numbers of other ones: the device was copied, or put back to an earlier state, and numbers them anew");
    }
    Ok(Some(acked))
}

/// Commits a group, and notes and publishes what is durable then.
fn store(data: &Data, group: Group) -> Result<(), StoreError> {
    let mut finished = group.finish();
    let batch = std::mem::take(&mut finished.batch);
    if !batch.is_empty() {
        data.commit_data(batch)?;
        data.counters.data_commits.fetch_add(1, Ordering::Relaxed);
    }
    finished.note(&mut data.known_mut());
    let counters = &data.counters;
    counters.records.fetch_add(finished.counts.records, Ordering::Relaxed);
    counters.records_repeated.fetch_add(finished.counts.repeated, Ordering::Relaxed);
    data.disk.failing.store(false, Ordering::Relaxed);
    for (((device, _), stream), records) in finished.records {
        let DeviceId { tenant, device } = device;
        data.feeds.publish(Stored { tenant, device, stream, records });
    }
    Ok(())
}

/// Acknowledges the batches of a group that is durable, one message for each device.
fn tell(data: &Data, told: Vec<(Arrival, Acked)>) {
    let mut by_device: BTreeMap<DeviceId, Vec<Acked>> = BTreeMap::new();
    let mut done = Vec::new();
    for (arrival, acked) in told {
        by_device.entry(arrival.device).or_default().push(acked);
        done.push(arrival.done);
    }
    for (device, acked) in by_device {
        let hold = data.queue.hold(&device.tenant);
        data.acknowledge(&device, acked, hold);
    }
    done.into_iter().for_each(Done::stored);
}
