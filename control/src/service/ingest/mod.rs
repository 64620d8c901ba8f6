//! Storing of data records. Batches wait in a bounded queue for the one thread that writes data,
//! which takes a group of them, decides, commits one transaction, and acknowledges after that. A
//! device whose batch does not fit into the queue sends it again; all devices are asked to hold
//! back before it comes to that.
//!
//! This file has the queue and the thread's turn; what a turn does beside it stands in `group.rs`,
//! `repair.rs`, `deletion.rs` and `diverged.rs`.
//!
//! See decisions 0058, 0059, 0064, 0080 and 0136.

mod deletion;
mod diverged;
mod group;
mod repair;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use bytes::Bytes;
use holdfast_base::WIRE_VERSION;
use holdfast_base::codec;
use holdfast_base::ids::{DeviceId, Name};
use holdfast_records::{Acked, Acknowledgement, StreamName};

use super::feeds::Feeds;
use super::maintenance::Maintenance;
use super::{DataFeed, Service};
use crate::core::ingest::group::{GROUP, GROUP_BYTES};
use crate::core::ingest::pressure::{HOLD_FAILED, HOLD_FULL, HOLD_LOW, QUEUE, fits, hold};
use crate::core::room::Room;
use crate::core::streams::{Known, Machine};
use crate::ports::bus::{Done, Inbox};
use crate::ports::data_store::{DataBatch, DataError, DataStore, StreamRow};
use crate::ports::store::StoreError;

pub(super) use deletion::abandon;
pub use group::{Took, take_batch};

/// Longest time without a turn for maintenance, also when batches never end.
const TURN: Duration = Duration::from_secs(1);

/// Maximum number of damaged blocks that wait for their repair. Others are found again later.
const DAMAGED: usize = 1_000;

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
struct Arrival {
    device: DeviceId,
    payload: Bytes,
    done: Done,
}

/// Entry of the queue.
enum Job {
    Arrival(Arrival),
    /// Wakes the thread when there is something else to do.
    Wake,
}

/// State of the ingest that the service and the thread share.
pub(super) struct Ingest {
    jobs: SyncSender<Job>,
    waiting: AtomicU64,
    waiting_bytes: AtomicU64,
    pub(super) store: Arc<dyn DataStore>,
    known: RwLock<Known>,
    pub(super) feeds: Feeds,
    /// Machines whose devices were deleted, for the thread to remove their streams.
    forgotten: Mutex<Vec<Machine>>,
    /// Devices whose history has diverged, with the history's number. The thread tells each which
    /// sequence numbers are known.
    diverged: Mutex<BTreeMap<DeviceId, u32>>,
    closing: AtomicBool,
    /// True when the store could not be read or written at the last attempt.
    failing: AtomicBool,
    room: Mutex<Room>,
    damaged: Mutex<BTreeSet<DamagedBlock>>,
}

/// Damaged block: its machine and stream, the stream's id, and the block's first sequence number.
type DamagedBlock = (Machine, StreamName, u64, u64);

/// Receiving end of the queue, for the thread.
pub(super) struct Queue(Receiver<Job>);

impl Ingest {
    /// Makes the shared state and the queue. For `reserve` see [`super::Settings::reserve`].
    pub(super) fn new(store: Arc<dyn DataStore>, reserve: Option<u64>) -> (Self, Queue) {
        let (jobs, queue) = sync_channel(QUEUE);
        let ingest = Self {
            jobs,
            waiting: AtomicU64::new(0),
            waiting_bytes: AtomicU64::new(0),
            store,
            known: RwLock::default(),
            feeds: Feeds::default(),
            forgotten: Mutex::default(),
            diverged: Mutex::default(),
            closing: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            room: Mutex::new(Room::new(reserve)),
            damaged: Mutex::default(),
        };
        (ingest, Queue(queue))
    }

    pub(super) fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a batch into the queue. Returns false when the queue is full: nothing is kept, and the
    /// device sends the batch again.
    fn offer(&self, arrival: Arrival) -> bool {
        let bytes = u64::try_from(arrival.payload.len()).unwrap_or(u64::MAX);
        let before = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        if fits(before, bytes) && self.jobs.try_send(Job::Arrival(arrival)).is_ok() {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        false
    }

    /// Time for which devices are asked to hold back now, in milliseconds; 0 when they need not.
    fn hold(&self) -> u32 {
        hold(self.waiting.load(Ordering::Relaxed), self.waiting_bytes.load(Ordering::Relaxed))
    }

    fn wake(&self) {
        // When the queue is full, the thread is awake.
        drop(self.jobs.try_send(Job::Wake));
    }

    /// Asks the thread to remove the streams of a deleted device.
    pub(super) fn forget(&self, device: DeviceId, owner: u64) {
        let mut forgotten = self.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        forgotten.push((device, owner));
        drop(forgotten);
        self.wake();
    }

    /// Asks the thread to tell a device, whose history has diverged, which sequence numbers are
    /// known. It does so once everything that was received before is stored.
    pub(super) fn diverged(&self, device: DeviceId, history: u32) {
        let mut diverged = self.diverged.lock().unwrap_or_else(PoisonError::into_inner);
        diverged.insert(device, history);
        drop(diverged);
        self.wake();
    }

    /// Asks the thread to store everything in the queue and end.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.wake();
    }

    /// Number of batches that wait.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    fn damaged(&self) -> MutexGuard<'_, BTreeSet<DamagedBlock>> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports a damaged block. The thread repairs the ledger.
    pub(super) fn is_damaged(&self, row: &StreamRow, first: u64) {
        let mut damaged = self.damaged();
        let new = damaged.len() < DAMAGED
            && damaged.insert((row.machine(), row.stream.clone(), row.id, first));
        drop(damaged);
        if new {
            self.wake();
        }
    }

    pub(super) fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    /// Queues a batch that a device published.
    pub(super) fn batch(&self, device: &DeviceId, payload: Bytes, done: Done) {
        self.counters.batches.fetch_add(1, Ordering::Relaxed);
        if !self.ingest.offer(Arrival { device: device.clone(), payload, done }) {
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

    pub(super) fn acknowledgement(
        acked: Vec<Acked>,
        hold_ms: u32,
        store: Option<u64>,
    ) -> Option<Bytes> {
        let acknowledgement = Acknowledgement { v: WIRE_VERSION, acked, hold_ms, store, ..NOTHING };
        codec::encode(&acknowledgement)
            .inspect_err(|error| tracing::error!(%error, "an acknowledgement cannot be written"))
            .ok()
            .map(Bytes::from)
    }

    /// Writes a change of the data store under the lease of this process.
    pub(super) fn commit_data(&self, mut batch: DataBatch) -> Result<(), StoreError> {
        batch.fence = Some(self.lease.fence);
        self.data_outcome(self.ingest.store.commit(&batch))
    }

    /// Turns the outcome of a call to the data store into one of a store. A lost lease is noted:
    /// this process then stops.
    fn data_outcome(&self, outcome: Result<(), DataError>) -> Result<(), StoreError> {
        outcome.map_err(|error| match error {
            DataError::Store(error) => error,
            lost @ DataError::Lost(_) => {
                self.lease.lost();
                StoreError { what: "the data store refused a change", cause: lost.to_string() }
            }
        })
    }

    /// Subscribes to the records of a tenant's wanted streams once they are durable: each record
    /// once, and never again after a restart. A slow reader loses the oldest.
    pub fn read_along(
        &self,
        tenant: Name,
        wanted: impl Fn(&Name, &StreamName) -> bool + Send + Sync + 'static,
    ) -> DataFeed {
        self.ingest.feeds.subscribe(tenant, Box::new(wanted))
    }

    /// Number of readers of the live feeds.
    pub fn data_readers(&self) -> usize {
        self.ingest.feeds.readers()
    }

    /// Calls `visit` for every stream, in the order of devices and names; a row also has the
    /// stream's latest value, see [`Tally::latest`](crate::ports::rows::Tally::latest). No records are stored during the call.
    pub fn each_stream(&self, visit: impl FnMut(&StreamRow)) {
        let known = self.ingest.known();
        known.machines.values().flat_map(BTreeMap::values).for_each(visit);
    }

    /// Returns the number of a tenant's streams, of stored records, and of these records' bytes.
    pub fn data_sums(&self, tenant: &Name) -> (u64, u64, u64) {
        let mut sums = (0, 0, 0);
        self.each_stream(|row| {
            if row.tenant != *tenant {
                return;
            }
            sums = (sums.0 + 1, sums.1 + row.tally.kept, sums.2 + row.tally.bytes);
        });
        sums
    }

    /// Returns false while the data store is being read at the start.
    pub fn knows_streams(&self) -> bool {
        self.ingest.known().loaded
    }

    /// Number of batches that wait to be stored.
    pub fn batches_waiting(&self) -> u64 {
        self.ingest.waiting()
    }

    /// Free space and reserve on the disk of the data folder.
    pub fn room(&self) -> Room {
        *self.ingest.room()
    }

    /// Returns what is wrong with the data store, for a person; `None` when all is well. Devices
    /// keep what cannot be stored.
    pub fn data_trouble(&self) -> Option<String> {
        if self.ingest.is_failing() {
            return Some(
                "the data store cannot be written: see the log; devices keep their data".into(),
            );
        }
        let room = self.room();
        if room.is_low() {
            return Some(format!("{}: devices keep their data", scarce(&room)));
        }
        let aside = self.ingest.store.damaged()?;
        Some(format!(
            "the data store was damaged and began anew: what was received before is in {aside} and not known any more; remove that file once you have seen this"
        ))
    }
}

/// Text that says how little space is left on the disk.
fn scarce(room: &Room) -> String {
    let mib = |bytes: u64| bytes / (1024 * 1024);
    format!(
        "{} MiB are free on the disk of the data folder, and {} are kept free of data (--reserve): no more is taken than what retention gives back",
        mib(room.free().unwrap_or(0)),
        mib(room.reserve())
    )
}

/// Runs the thread until it is told to end.
pub(super) fn run(service: &Service, queue: Queue) {
    let Queue(jobs) = queue;
    let mut maintenance = Maintenance::default();
    loop {
        let (group, open) = gather(service, &jobs);
        let any = !group.is_empty();
        let turn = AssertUnwindSafe(|| turn(service, group, &mut maintenance));
        if catch_unwind(turn).is_err() {
            tracing::error!(
                "a defect while data was stored: all streams are read from the store again"
            );
            service.ingest.known_mut().stale = true;
        }
        if !open || (service.ingest.closing.load(Ordering::Acquire) && !any) {
            return;
        }
    }
}

/// Waits for a job and takes those that are there, as one group. Returns the group, and false once
/// no more can come.
fn gather(service: &Service, jobs: &Receiver<Job>) -> (Vec<Arrival>, bool) {
    let ingest = &service.ingest;
    let mut group = Vec::new();
    let mut bytes = 0;
    let mut add = |job: Job| {
        if let Job::Arrival(arrival) = job {
            let size = arrival.payload.len();
            ingest.waiting.fetch_sub(1, Ordering::Relaxed);
            ingest.waiting_bytes.fetch_sub(size as u64, Ordering::Relaxed);
            bytes += size;
            group.push(arrival);
        }
        bytes < GROUP_BYTES
    };
    let wait = if ingest.closing.load(Ordering::Acquire) { Duration::ZERO } else { TURN };
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
fn turn(service: &Service, group: Vec<Arrival>, maintenance: &mut Maintenance) {
    look(service);
    let unread = {
        let known = service.ingest.known();
        known.stale || !known.loaded
    };
    if unread && load(service).is_err() {
        fail(service, &group, HOLD_FAILED);
        return;
    }
    deletion::forget(service);
    let group = fitting(service, group);
    if !group.is_empty() {
        group::commit(service, group);
    }
    if let Err(error) = diverged::tell(service) {
        failed(service, &error);
    }
    let kept = if service.ingest.is_failing() {
        probe(service)
    } else {
        repair::all(service).and_then(|()| maintenance.step(service))
    };
    if let Err(error) = kept {
        failed(service, &error);
    }
}

/// Checks the disk's free space, and logs when it becomes scarce or is enough again.
fn look(service: &Service) {
    let disk = service.ingest.store.disk();
    let mut room = service.ingest.room();
    match room.look(disk) {
        Some(true) => tracing::warn!("{}; devices keep their data", scarce(&room)),
        Some(false) => tracing::info!("the disk has room for data again"),
        None => {}
    }
}

/// Returns the part of a group for which there is room. The other devices are asked to hold back
/// and send again.
fn fitting(service: &Service, group: Vec<Arrival>) -> Vec<Arrival> {
    let (fitting, rest): (Vec<_>, Vec<_>) = {
        let mut room = service.ingest.room();
        group.into_iter().partition(|arrival| room.takes(arrival.payload.len() as u64))
    };
    fail(service, &rest, HOLD_LOW);
    fitting
}

/// Writes an empty transaction to test whether the store works again.
fn probe(service: &Service) -> Result<(), StoreError> {
    service.commit_data(DataBatch::default())?;
    service.ingest.failing.store(false, Ordering::Relaxed);
    tracing::info!("data can be stored again");
    Ok(())
}

/// Reads all streams from the store.
fn load(service: &Service) -> Result<(), StoreError> {
    let ingest = &service.ingest;
    let failed = |error: &StoreError| failed(service, error);
    // Before the rows are read: a former holder of the lease adds none afterwards.
    service.data_outcome(ingest.store.claim(service.lease.fence)).inspect_err(failed)?;
    let store_id = ingest.store.id().inspect_err(failed)?;
    let rows = ingest.store.streams().inspect_err(failed)?;
    let known = Known::read(store_id, rows, ingest.known().last_id);
    let former = std::mem::replace(&mut *ingest.known_mut(), known).store_id;
    if former != Some(store_id) {
        tell_store_id(service);
    }
    Ok(())
}

/// Tells every connected device the store's id. Other devices are told when they connect.
fn tell_store_id(service: &Service) {
    let Some(bytes) = Inbox::store_notice(service) else { return };
    let connected: Vec<DeviceId> = {
        let tables = service.tables();
        let all = tables.all().flat_map(|model| {
            let devices = model.devices.iter().filter(|(_, device)| device.live.connection != 0);
            devices.map(|(name, _)| model.id(name))
        });
        all.collect()
    };
    for device in connected {
        service.bus.ack(&device, bytes.clone());
    }
}

/// Notes that the store failed: all streams are read again before anything else is stored.
fn failed(service: &Service, error: &StoreError) {
    service.counters.data_commits_failed.fetch_add(1, Ordering::Relaxed);
    if !service.ingest.failing.swap(true, Ordering::Relaxed) {
        tracing::error!(%error, "data cannot be stored: devices keep theirs and send again");
    }
    service.ingest.known_mut().stale = true;
}

/// Tells the devices of a group that was not stored to hold back; they send their batches again
/// later.
fn fail(service: &Service, group: &[Arrival], hold_ms: u32) {
    let devices: BTreeSet<&DeviceId> = group.iter().map(|arrival| &arrival.device).collect();
    for device in devices {
        service.acknowledge(device, Vec::new(), hold_ms);
    }
}
