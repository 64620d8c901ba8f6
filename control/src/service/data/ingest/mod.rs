//! Storing of data records. Batches wait in a bounded queue for the one thread that writes data,
//! which takes a group of them, decides, commits one transaction, and acknowledges after that. A
//! device whose batch does not fit into the queue sends it again; all devices are asked to hold
//! back before it comes to that.
//!
//! This file has the thread's turn; what a turn does beside it stands in `group.rs`, `repair.rs`,
//! `deletion.rs` and `diverged.rs`.
//!
//! See decisions 0058, 0059, 0064, 0080 and 0136.

mod deletion;
mod diverged;
mod group;
mod repair;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use bytes::Bytes;
use holdfast_base::WIRE_VERSION;
use holdfast_base::codec;
use holdfast_base::ids::DeviceId;
use holdfast_records::{Acked, Acknowledgement};

use super::maintenance::Maintenance;
use super::{Data, Queued};
use crate::core::ingest::group::{GROUP, GROUP_BYTES};
use crate::core::ingest::pressure::{HOLD_FAILED, HOLD_FULL, HOLD_LOW};
use crate::core::room::Room;
use crate::core::streams::Known;
use crate::ports::bus::Done;
use crate::ports::data_store::{DataBatch, DataError};
use crate::ports::store::StoreError;

pub(in crate::service) use deletion::abandon;
pub use group::{Took, take_batch};

/// Longest time without a turn for maintenance, also when batches never end.
const TURN: Duration = Duration::from_secs(1);

/// Acknowledgement without content, for building others.
const NOTHING: Acknowledgement = Acknowledgement {
    v: WIRE_VERSION,
    acked: Vec::new(),
    hold_ms: 0,
    store: None,
    diverged: None,
    more: false,
    given: Vec::new(),
};

/// Batch that waits to be stored.
pub(super) struct Arrival {
    pub(super) device: DeviceId,
    pub(super) payload: Bytes,
    done: Done,
}

/// Entry of the queue.
pub(super) enum Job {
    Arrival(Arrival),
    /// Wakes the thread when there is something else to do.
    Wake,
}

impl Data {
    /// Queues a batch that a device published.
    pub(in crate::service) fn batch(&self, device: &DeviceId, payload: Bytes, done: Done) {
        self.counters.batches.fetch_add(1, Ordering::Relaxed);
        if !self.queue.offer(Arrival { device: device.clone(), payload, done }) {
            self.counters.batches_not_taken.fetch_add(1, Ordering::Relaxed);
            self.acknowledge(device, Vec::new(), HOLD_FULL);
        }
    }

    fn acknowledge(&self, device: &DeviceId, acked: Vec<Acked>, hold_ms: u32) {
        if acked.is_empty() && hold_ms == 0 {
            return;
        }
        if let Some(bytes) = Self::acknowledgement(acked, hold_ms, None) {
            self.bus.ack(device, bytes);
        }
    }

    fn acknowledgement(acked: Vec<Acked>, hold_ms: u32, store: Option<u64>) -> Option<Bytes> {
        let acknowledgement = Acknowledgement { v: WIRE_VERSION, acked, hold_ms, store, ..NOTHING };
        codec::encode(&acknowledgement)
            .inspect_err(|error| tracing::error!(%error, "an acknowledgement cannot be written"))
            .ok()
            .map(Bytes::from)
    }

    /// Message that tells a device the store's id; `None` while it is not known.
    pub(in crate::service) fn store_notice(&self) -> Option<Bytes> {
        let store = self.known().store_id?;
        Self::acknowledgement(Vec::new(), 0, Some(store))
    }

    /// Writes a change of the data store under the lease of this process.
    pub(in crate::service) fn commit_data(&self, mut batch: DataBatch) -> Result<(), StoreError> {
        batch.fence = Some(self.documents.lease().fence);
        self.data_outcome(self.store.commit(&batch))
    }

    /// Turns the outcome of a call to the data store into one of a store. A lost lease is noted:
    /// this process then stops.
    fn data_outcome(&self, outcome: Result<(), DataError>) -> Result<(), StoreError> {
        outcome.map_err(|error| match error {
            DataError::Store(error) => error,
            lost @ DataError::Lost(_) => {
                self.documents.lease().lost();
                StoreError { what: "the data store refused a change", cause: lost.to_string() }
            }
        })
    }
}

/// Text that says how little space is left on the disk.
pub(super) fn scarce(room: &Room) -> String {
    let mib = |bytes: u64| bytes / (1024 * 1024);
    format!(
        "{} MiB are free on the disk of the data folder, and {} are kept free of data (--reserve): no more is taken than what retention gives back",
        mib(room.free().unwrap_or(0)),
        mib(room.reserve())
    )
}

/// Runs the thread until it is told to end.
pub(in crate::service) fn run(data: &Data, queue: Queued) {
    let Queued(jobs) = queue;
    let mut maintenance = Maintenance::default();
    loop {
        let (group, open) = gather(data, &jobs);
        let any = !group.is_empty();
        let turn = AssertUnwindSafe(|| turn(data, group, &mut maintenance));
        if catch_unwind(turn).is_err() {
            tracing::error!(
                "a defect while data was stored: all streams are read from the store again"
            );
            data.known_mut().stale = true;
        }
        if !open || (data.queue.closing.load(Ordering::Acquire) && !any) {
            return;
        }
    }
}

/// Waits for a job and takes those that are there, as one group. Returns the group, and false once
/// no more can come.
fn gather(data: &Data, jobs: &Receiver<Job>) -> (Vec<Arrival>, bool) {
    let mut group = Vec::new();
    let mut bytes = 0;
    let mut add = |job: Job| {
        if let Job::Arrival(arrival) = job {
            let size = arrival.payload.len();
            data.queue.waiting.fetch_sub(1, Ordering::Relaxed);
            data.queue.waiting_bytes.fetch_sub(size as u64, Ordering::Relaxed);
            bytes += size;
            group.push(arrival);
        }
        bytes < GROUP_BYTES
    };
    let wait = if data.queue.closing.load(Ordering::Acquire) { Duration::ZERO } else { TURN };
    match jobs.recv_timeout(wait) {
        Ok(job) => drop(add(job)),
        Err(RecvTimeoutError::Timeout) => return (group, true),
        Err(RecvTimeoutError::Disconnected) => return (group, false),
    }
    for _ in 1..GROUP {
        match jobs.try_recv() {
            Ok(job) => {
                if !add(job) {
                    break;
                }
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
        }
    }
    (group, true)
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
    let group = fitting(data, group);
    if !group.is_empty() {
        group::commit(data, group);
    }
    if let Err(error) = diverged::tell(data) {
        failed(data, &error);
    }
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

/// Notes that the store failed: all streams are read again before anything else is stored.
fn failed(data: &Data, error: &StoreError) {
    data.counters.data_commits_failed.fetch_add(1, Ordering::Relaxed);
    if !data.disk.failing.swap(true, Ordering::Relaxed) {
        tracing::error!(%error, "data cannot be stored: devices keep theirs and send again");
    }
    data.known_mut().stale = true;
}

/// Tells the devices of a group that was not stored to hold back; they send their batches again
/// later.
fn fail(data: &Data, group: &[Arrival], hold_ms: u32) {
    let devices: BTreeSet<&DeviceId> = group.iter().map(|arrival| &arrival.device).collect();
    for device in devices {
        data.acknowledge(device, Vec::new(), hold_ms);
    }
}
