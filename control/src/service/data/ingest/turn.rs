//! The thread's turn: takes a group of batches, has it stored, and does what else is due.
//!
//! See decisions 0059, 0064 and 0136.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::Duration;

use holdfast_base::ids::DeviceId;

use super::super::Data;
use super::super::maintenance::Maintenance;
use super::super::part::scarce;
use super::super::queue::Arrival;
use super::outcome::{fail, failed};
use super::{deletion, diverged, group, quota, repair};
use crate::core::ingest::group::{GROUP, GROUP_BYTES};
use crate::core::ingest::pressure::{HOLD_FAILED, HOLD_LOW};
use crate::core::streams::Known;
use crate::ports::data_store::DataBatch;
use crate::ports::store::StoreError;

/// Longest time without a turn for maintenance, also when batches never end.
const TURN: Duration = Duration::from_secs(1);

/// Runs the thread until it is told to end.
pub(in crate::service) fn run(data: &Data) {
    let _closes = Closing(data);
    let mut maintenance = Maintenance::default();
    loop {
        let group = gather(data);
        let any = !group.is_empty();
        let turn = AssertUnwindSafe(|| turn(data, group, &mut maintenance));
        if catch_unwind(turn).is_err() {
            tracing::error!(
                "a defect while data was stored: all streams are read from the store again"
            );
            data.known_mut().stale = true;
        }
        if data.queue.closing.load(Ordering::Acquire) && !any {
            return;
        }
    }
}

/// Ends the queue with the thread, however that ends.
struct Closing<'a>(&'a Data);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.queue.close();
    }
}

/// Waits for a batch and takes those that are there, of each tenant in turn, as one group.
fn gather(data: &Data) -> Vec<Arrival> {
    let closing = data.queue.closing.load(Ordering::Acquire);
    let wait = if closing { Duration::ZERO } else { TURN };
    let Some(first) = data.queue.wait(wait) else { return Vec::new() };
    let mut bytes = first.payload.len();
    let mut group = vec![first];
    while group.len() < GROUP && bytes < GROUP_BYTES {
        let Some(arrival) = data.queue.take() else { break };
        bytes += arrival.payload.len();
        group.push(arrival);
    }
    group
}

/// One turn of the thread: check the disk, read the streams again after a failure, store the group,
/// and do one step of maintenance.
fn turn(data: &Data, group: Vec<Arrival>, maintenance: &mut Maintenance) {
    look(data);
    let unread = {
        let known = data.known();
        known.stale || !known.loaded
    };
    if unread && load(data).is_err() {
        fail(data, &group, HOLD_FAILED);
        return;
    }
    deletion::forget(data);
    let group = quota::within(data, fitting(data, group));
    if !group.is_empty() {
        group::commit(data, group);
    }
    if let Err(error) = diverged::tell(data) {
        failed(data, &error);
    }
    quota::note(data);
    let kept = if data.disk.failing.load(Ordering::Relaxed) {
        probe(data)
    } else {
        repair::all(data).and_then(|()| maintenance.step(data))
    };
    if let Err(error) = kept {
        failed(data, &error);
    }
}

/// Checks the disk's free space, and logs when it becomes scarce or is enough again.
fn look(data: &Data) {
    let disk = data.store.disk();
    let mut room = data.free_room();
    match room.look(disk) {
        Some(true) => tracing::warn!("{}; devices keep their data", scarce(&room)),
        Some(false) => tracing::info!("the disk has room for data again"),
        None => {}
    }
}

/// Returns the part of a group for which there is room. The other devices are asked to hold back
/// and send again.
fn fitting(data: &Data, group: Vec<Arrival>) -> Vec<Arrival> {
    let (fitting, rest): (Vec<_>, Vec<_>) = {
        let mut room = data.free_room();
        group.into_iter().partition(|arrival| room.takes(arrival.payload.len() as u64))
    };
    fail(data, &rest, HOLD_LOW);
    fitting
}

/// Writes an empty transaction to test whether the store works again.
fn probe(data: &Data) -> Result<(), StoreError> {
    data.commit_data(DataBatch::default())?;
    data.disk.failing.store(false, Ordering::Relaxed);
    tracing::info!("data can be stored again");
    Ok(())
}

/// Reads all streams from the store.
fn load(data: &Data) -> Result<(), StoreError> {
    let failed = |error: &StoreError| failed(data, error);
    // Before the rows are read: a former holder of the lease adds none afterwards.
    data.data_outcome(data.store.claim(data.documents.lease().fence)).inspect_err(failed)?;
    let store_id = data.store.id().inspect_err(failed)?;
    let rows = data.store.streams().inspect_err(failed)?;
    let known = Known::read(store_id, rows, data.known().last_id);
    let former = std::mem::replace(&mut *data.known_mut(), known).store_id;
    if former != Some(store_id) {
        tell_store_id(data);
    }
    Ok(())
}

/// Tells every connected device the store's id. Other devices are told when they connect.
fn tell_store_id(data: &Data) {
    let Some(bytes) = data.store_notice() else { return };
    let connected: Vec<DeviceId> = {
        let tables = data.documents.tables();
        let all = tables.all().flat_map(|model| {
            let devices = model.devices.iter().filter(|(_, device)| device.live.connection != 0);
            devices.map(|(name, _)| model.id(name))
        });
        all.collect()
    };
    for device in connected {
        data.bus.ack(&device, bytes.clone());
    }
}
