//! Storing of data records. Batches wait in a bounded queue for the one thread that writes data,
//! which takes a group of them, decides, commits one transaction, and acknowledges after that. A
//! device whose batch does not fit into the queue sends it again; all devices are asked to hold
//! back before it comes to that.
//!
//! See decisions 0058, 0059, 0064 and 0080.

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
use holdfast_records::message::MAX_GIVEN;
use holdfast_records::{Acked, Acknowledgement, Given, Range, RangeSet, Record, StreamName};

use super::feeds::Feeds;
use super::maintenance::{Maintenance, replace};
use super::records::BlockRead;
use super::{DataFeed, Service};
use crate::core::ingest::{self, BatchFault, Checked, MAX_STREAMS, Unfit};
use crate::core::ledger::{LoadedLedger, MAX_SEQUENCE};
use crate::core::model::sha256;
use crate::core::room::Room;
use crate::ports::bus::{Done, Inbox, Stored};
use crate::ports::data_store::{DataBatch, DataStore, Direction, Head, StreamRow};
use crate::ports::store::StoreError;

/// Maximum number of batches in the queue, about what one or two seconds of work take.
const QUEUE: usize = 1_024;

/// Maximum number of bytes in the queue, as they were received.
const QUEUE_BYTES: u64 = 64 * 1024 * 1024;

/// Maximum number of batches in one transaction. It bounds how long the first of them waits for the
/// others.
const GROUP: usize = 256;

/// Size in bytes after which a group takes no further batch.
const GROUP_BYTES: usize = 8 * 1024 * 1024;

/// Longest time without a turn for maintenance, also when batches never end.
const TURN: Duration = Duration::from_secs(1);

/// Time for which devices hold back when the store cannot be written, in milliseconds.
const HOLD_FAILED: u32 = 5_000;

/// Time for which devices hold back when the disk has no room for data, in milliseconds.
const HOLD_LOW: u32 = 15_000;

/// Time for which a device holds back whose batch did not fit into the queue, in milliseconds.
const HOLD_FULL: u32 = 2_000;

/// Time for which devices hold back when the queue is half full, in milliseconds.
const HOLD_BUSY: u32 = 300;

/// Maximum number of damaged blocks that wait for their repair. Others are found again later.
const DAMAGED: usize = 1_000;

/// Limit of the segments of one ledger that are read at once. No ledger has more.
const ALL_SEGMENTS: usize = 1_000_000;

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

/// Machine that owns streams: a device's name, and a number from the digest of its key. After a
/// backup was restored the name may belong to another machine; each keeps its own streams.
pub(super) type Machine = (Name, u64);

/// Streams of one machine, by their names.
pub(super) type Streams = BTreeMap<StreamName, StreamRow>;

/// All streams, in memory.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// True once the store was read: a stream that is missing here does not exist.
    pub(super) loaded: bool,
    /// Id of the store that was read.
    pub(super) store_id: Option<u64>,
    /// True when the store must be read again before anything is stored, after a failure.
    pub(super) stale: bool,
    pub(super) machines: BTreeMap<Machine, Streams>,
    /// Ids of streams that are being removed.
    pub(super) gone: Vec<u64>,
    /// Highest id given to a stream.
    pub(super) last_id: u64,
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
    diverged: Mutex<BTreeMap<Name, u32>>,
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

/// Number of the machine that owns a device's streams: the first 8 bytes of the digest of its key.
pub(super) fn owner(public_key: &str) -> u64 {
    let digest = sha256(public_key.as_bytes());
    digest.into_iter().take(8).fold(0, |number, byte| number << 8 | u64::from(byte))
}

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
        let fits = before.saturating_add(bytes) <= QUEUE_BYTES;
        if fits && self.jobs.try_send(Job::Arrival(arrival)).is_ok() {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        false
    }

    /// Time for which devices are asked to hold back now, in milliseconds; 0 when they need not.
    fn hold(&self) -> u32 {
        let waiting = self.waiting.load(Ordering::Relaxed);
        let bytes = self.waiting_bytes.load(Ordering::Relaxed);
        let busy = waiting > QUEUE as u64 / 2 || bytes > QUEUE_BYTES / 2;
        if busy { HOLD_BUSY } else { 0 }
    }

    fn wake(&self) {
        // When the queue is full, the thread is awake.
        drop(self.jobs.try_send(Job::Wake));
    }

    /// Asks the thread to remove the streams of a deleted device.
    pub(super) fn forget(&self, device: Name, owner: u64) {
        let mut forgotten = self.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        forgotten.push((device, owner));
        drop(forgotten);
        self.wake();
    }

    /// Asks the thread to tell a device, whose history has diverged, which sequence numbers are
    /// known. It does so once everything that was received before is stored.
    pub(super) fn diverged(&self, device: Name, history: u32) {
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

    /// Subscribes to the records of the wanted streams once they are durable: each record once, and
    /// never again after a restart. A slow reader loses the oldest.
    pub fn read_along(
        &self,
        wanted: impl Fn(&Name, &StreamName) -> bool + Send + Sync + 'static,
    ) -> DataFeed {
        self.ingest.feeds.subscribe(Box::new(wanted))
    }

    /// Number of readers of the live feeds.
    pub fn data_readers(&self) -> usize {
        self.ingest.feeds.readers()
    }

    /// Calls `visit` for every stream, in the order of devices and names; a row also has the
    /// stream's latest value, see [`ingest::Tally::latest`]. No records are stored during the call.
    pub fn each_stream(&self, visit: impl FnMut(&StreamRow)) {
        let known = self.ingest.known();
        known.machines.values().flat_map(BTreeMap::values).for_each(visit);
    }

    /// Returns the number of streams, of stored records, and of these records' bytes.
    pub fn data_sums(&self) -> (u64, u64, u64) {
        let mut sums = (0, 0, 0);
        self.each_stream(|row| {
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
    forget(service);
    let group = fitting(service, group);
    if !group.is_empty() {
        commit_group(service, group);
    }
    if let Err(error) = tell_diverged(service) {
        failed(service, &error);
    }
    let kept = if service.ingest.is_failing() {
        probe(service)
    } else {
        tell_damage(service).and_then(|()| maintenance.step(service))
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
    service.ingest.store.commit(&DataBatch::default())?;
    service.ingest.failing.store(false, Ordering::Relaxed);
    tracing::info!("data can be stored again");
    Ok(())
}

/// Reads all streams from the store.
fn load(service: &Service) -> Result<(), StoreError> {
    let ingest = &service.ingest;
    let failed = |error: &StoreError| failed(service, error);
    let store_id = Some(ingest.store.id().inspect_err(failed)?);
    let rows = ingest.store.streams().inspect_err(failed)?;
    let mut known = Known { loaded: true, store_id, ..Known::default() };
    for row in rows {
        known.last_id = known.last_id.max(row.id);
        if row.gone {
            known.gone.push(row.id);
        } else {
            let streams = known.machines.entry(row.machine()).or_default();
            streams.insert(row.stream.clone(), row);
        }
    }
    // A stream's id is not given again while records under it may still be in the store.
    known.last_id = known.last_id.max(ingest.known().last_id);
    let former = std::mem::replace(&mut *ingest.known_mut(), known).store_id;
    if former != store_id {
        tell_store_id(service);
    }
    Ok(())
}

/// Tells every connected device the store's id. Other devices are told when they connect.
fn tell_store_id(service: &Service) {
    let Some(bytes) = Inbox::store_notice(service) else { return };
    let connected: Vec<DeviceId> = {
        let model = service.model();
        let devices = model.devices.iter().filter(|(_, device)| device.live.connection != 0);
        devices.map(|(name, _)| model.id(name)).collect()
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

/// Repairs the ledgers of streams whose blocks were found damaged: the block's records are marked
/// as missing.
fn tell_damage(service: &Service) -> Result<(), StoreError> {
    loop {
        let Some(block) = service.ingest.damaged().first().cloned() else { return Ok(()) };
        let (machine, stream, id, first) = &block;
        let known = service.ingest.known();
        let row = known.machines.get(machine).and_then(|streams| streams.get(stream));
        let row = row.filter(|row| row.id == *id).cloned();
        drop(known);
        if let Some(row) = row {
            set_aside(service, row, *first)?;
        }
        service.ingest.damaged().remove(&block);
    }
}

/// Sets one damaged block aside, and marks its records as missing unless another block has them
/// too.
fn set_aside(service: &Service, mut row: StreamRow, first: u64) -> Result<(), StoreError> {
    let store = &service.ingest.store;
    let only = Range { from: first, to: first };
    let Some(head) = store.heads(row.id, only, 1, Direction::Up)?.pop() else { return Ok(()) };
    if !matches!(service.read_block(&row, &head)?, BlockRead::Damaged) {
        return Ok(());
    }
    let last = head.reach(row.tally.span);
    let mut numbers = RangeSet::new();
    numbers.insert(first, last);
    // Blocks of a stream may interleave: a number of this block may be stored in another one too.
    let others = service.held(&row, &numbers, Some(first))?;
    numbers.subtract(&others);
    let mut ledger = LoadedLedger::new();
    for wanted in ledger.wanted(first, last).iter() {
        ledger.load(wanted, store.segments(row.id, wanted, ALL_SEGMENTS)?);
    }
    let missing = ingest::damage(&mut ledger, &mut row.tally, &numbers, head.is_dense());
    row.tally.kept = row.tally.kept.saturating_sub(head.count);
    row.tally.bytes = row.tally.bytes.saturating_sub(head.bytes);
    store.commit(&DataBatch {
        streams: vec![row.clone()],
        segments: vec![(row.id, ledger.rows())],
        set_aside: vec![(row.id, first)],
        ..DataBatch::default()
    })?;
    service.counters.blocks_damaged.fetch_add(1, Ordering::Relaxed);
    let (device, stream) = (&row.device, &row.stream);
    tracing::error!(%device, %stream, from = first, to = last, missing, "the disk has changed a block of records: it is set aside, and what was in it stands in the ledger as damaged");
    replace(service, row);
    Ok(())
}

/// Tells devices whose history has diverged which sequence numbers are known. A message that is
/// lost on the way is sent again after the device's next connect.
fn tell_diverged(service: &Service) -> Result<(), StoreError> {
    let diverged = {
        let mut diverged = service.ingest.diverged.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *diverged)
    };
    for (name, history) in diverged {
        let rows: Vec<StreamRow> =
            service.of_device(&name, |streams| streams.values().cloned().collect());
        let mut given = Vec::with_capacity(rows.len());
        for row in rows {
            given.push(Given { highest: service.highest(&row)?, stream: row.stream });
        }
        let device = service.model().id(&name);
        let parts = given.chunks(MAX_GIVEN).map(<[_]>::to_vec);
        let mut parts: Vec<Vec<Given>> = parts.collect();
        let last = parts.pop().unwrap_or_default();
        let more = parts.into_iter().map(|part| (part, true));
        for (given, more) in more.chain([(last, false)]) {
            let told = Acknowledgement { diverged: Some(history), more, given, ..NOTHING };
            if let Ok(bytes) = codec::encode(&told) {
                service.bus.ack(&device, bytes.into());
            }
        }
    }
    Ok(())
}

/// Marks the streams of deleted devices for removal.
fn forget(service: &Service) {
    let forgotten = {
        let mut forgotten = service.ingest.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *forgotten)
    };
    for machine in forgotten {
        let known = service.ingest.known();
        let streams = known.machines.get(&machine).into_iter().flat_map(BTreeMap::values);
        let rows: Vec<_> = streams.cloned().collect();
        drop(known);
        if let Err(error) = abandon(service, rows) {
            failed(service, &error);
        }
    }
}

/// Marks streams as gone; maintenance removes them step by step.
pub(super) fn abandon(service: &Service, rows: Vec<StreamRow>) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let gone = rows.iter().cloned().map(|row| StreamRow { gone: true, ..row }).collect();
    let batch = DataBatch { streams: gone, ..DataBatch::default() };
    service.ingest.store.commit(&batch)?;
    let mut known = service.ingest.known_mut();
    for row in rows {
        let machine = row.machine();
        if let Some(streams) = known.machines.get_mut(&machine) {
            streams.remove(&row.stream);
            if streams.is_empty() {
                known.machines.remove(&machine);
            }
        }
        known.gone.push(row.id);
    }
    Ok(())
}

/// Stream that a group changes: its row, the loaded part of its ledger, and new records for the
/// live feeds.
struct OpenStream {
    row: StreamRow,
    ledger: LoadedLedger,
    records: Vec<Record>,
}

/// Changes of a group of batches, before they are committed.
struct Group<'a> {
    service: &'a Service,
    now: u64,
    last_id: u64,
    open: BTreeMap<(Machine, StreamName), OpenStream>,
    batch: DataBatch,
    counts: Counts,
}

/// Numbers of records and batches of a group, for the counters.
#[derive(Default)]
struct Counts {
    records: u64,
    repeated: u64,
    refused: u64,
}

/// Outcome of one batch.
enum Outcome {
    /// The device is acknowledged once the group is durable.
    Told(Arrival, Acked),
    /// No acknowledgement is sent: the message was not a batch, or the device is unknown.
    Dropped,
}

/// Stores a group of batches in one transaction and acknowledges them, or asks all their devices to
/// send again.
fn commit_group(service: &Service, arrivals: Vec<Arrival>) {
    let mut group = Group {
        service,
        now: service.now(),
        last_id: service.ingest.known().last_id,
        open: BTreeMap::new(),
        batch: DataBatch::default(),
        counts: Counts::default(),
    };
    let mut outcomes = Vec::new();
    let mut arrivals = arrivals.into_iter();
    while let Some(arrival) = arrivals.next() {
        match group.take(arrival) {
            Ok(outcome) => outcomes.push(outcome),
            Err((arrival, error)) => {
                failed(service, &error);
                let told = outcomes.into_iter().filter_map(|outcome| match outcome {
                    Outcome::Told(arrival, _) => Some(arrival),
                    Outcome::Dropped => None,
                });
                let all: Vec<_> = told.chain([arrival]).chain(arrivals).collect();
                return fail(service, &all, HOLD_FAILED);
            }
        }
    }
    match group.commit() {
        Ok(()) => tell(service, outcomes),
        Err(error) => {
            failed(service, &error);
            let told = outcomes.into_iter().filter_map(|outcome| match outcome {
                Outcome::Told(arrival, _) => Some(arrival),
                Outcome::Dropped => None,
            });
            fail(service, &told.collect::<Vec<_>>(), HOLD_FAILED);
        }
    }
}

impl Service {
    /// Highest sequence number of a stream whose fate is known (received or reported missing), as
    /// far as it is committed.
    fn highest(&self, row: &StreamRow) -> Result<u64, StoreError> {
        let highest = row.tally.highest;
        if row.tally.gaps_above == 0 {
            return Ok(highest);
        }
        let above = Range { from: highest.saturating_add(1), to: MAX_SEQUENCE };
        let segments = self.ingest.store.segments(row.id, above, ALL_SEGMENTS)?;
        Ok(segments.last().map_or(highest, |last| last.to.max(highest)))
    }
}

/// Acknowledges the batches of a group that is durable, one message for each device.
fn tell(service: &Service, outcomes: Vec<Outcome>) {
    let hold = service.ingest.hold();
    let mut by_device: BTreeMap<DeviceId, Vec<Acked>> = BTreeMap::new();
    let mut done = Vec::new();
    for outcome in outcomes {
        if let Outcome::Told(arrival, acked) = outcome {
            by_device.entry(arrival.device).or_default().push(acked);
            done.push(arrival.done);
        }
    }
    for (device, acked) in by_device {
        service.acknowledge(&device, acked, hold);
    }
    done.into_iter().for_each(Done::stored);
}

/// Makes an acknowledgement of a range that was stored.
fn acked(stream: StreamName, from: u64, to: u64) -> Acked {
    Acked { stream, from, to, refused: None, conflict: Vec::new(), highest: 0 }
}

/// Part of an acknowledgement that tells of conflicts.
#[derive(Default)]
struct Conflicts {
    /// Ranges that conflict, see [`Acked::conflict`].
    conflict: Vec<Range>,
    /// Highest known number, see [`Acked::highest`].
    highest: u64,
}

impl Group<'_> {
    /// Adds one batch to the group. An error of the store returns the batch, so that its device can
    /// be told to send again.
    fn take(&mut self, arrival: Arrival) -> Result<Outcome, (Arrival, StoreError)> {
        let device = arrival.device.device.clone();
        let key =
            self.service.model().devices.get(&device).map(|known| known.record.public_key.clone());
        let Some(owner) = key.map(|key| owner(&key)) else {
            return Ok(Outcome::Dropped); // The device was deleted meanwhile.
        };
        let checked = match ingest::check(&arrival.payload) {
            Ok(checked) => checked,
            Err(Unfit::Malformed(error)) => {
                self.service.counters.malformed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(device = %arrival.device, channel = "data", %error, "refused");
                return Ok(Outcome::Dropped);
            }
            Err(Unfit::Batch { stream, from, to, why }) => {
                return Ok(self.refuse(arrival, (stream, from, to), &why));
            }
        };
        let batch = (checked.stream.clone(), checked.from, checked.to);
        match self.add((device, owner), checked) {
            Ok(Ok(Conflicts { conflict, highest })) => {
                let (stream, from, to) = batch;
                let acked = Acked { conflict, highest, ..acked(stream, from, to) };
                Ok(Outcome::Told(arrival, acked))
            }
            Ok(Err(why)) => Ok(self.refuse(arrival, batch, &why)),
            Err(error) => Err((arrival, error)),
        }
    }

    fn refuse(
        &mut self,
        arrival: Arrival,
        (stream, from, to): (StreamName, u64, u64),
        why: &BatchFault,
    ) -> Outcome {
        let why = why.to_string();
        self.counts.refused += 1;
        tracing::warn!(device = %arrival.device, %stream, from, to, why, "a batch is refused");
        Outcome::Told(arrival, Acked { refused: Some(why), ..acked(stream, from, to) })
    }

    /// Adds a decoded batch. The inner error says why the batch can never be stored.
    fn add(
        &mut self,
        machine: Machine,
        batch: Checked,
    ) -> Result<Result<Conflicts, BatchFault>, StoreError> {
        let key = (machine, batch.stream.clone());
        let mut open = match self.open.remove(&key) {
            Some(open) => open,
            None => match self.open_stream(&key.0, &batch.stream) {
                Some(open) => open,
                None => {
                    return Ok(Err(BatchFault::Streams(MAX_STREAMS)));
                }
            },
        };
        let taken = self.put(&mut open, batch);
        self.open.insert(key, open);
        taken
    }

    /// Opens a known stream, or a new one. Returns `None` when the device has too many.
    fn open_stream(&mut self, machine: &Machine, stream: &StreamName) -> Option<OpenStream> {
        let known = self.service.ingest.known();
        let streams = known.machines.get(machine);
        let row = streams.and_then(|streams| streams.get(stream)).cloned();
        let (here, last_id) = (streams.map_or(0, BTreeMap::len), known.last_id);
        drop(known);
        if let Some(row) = row {
            return Some(OpenStream { row, ledger: LoadedLedger::new(), records: Vec::new() });
        }
        let new = |((of, _), open): &(&(Machine, StreamName), &OpenStream)| {
            of == machine && open.row.id > last_id
        };
        if here + self.open.iter().filter(new).count() >= MAX_STREAMS {
            return None;
        }
        self.last_id += 1;
        let row = StreamRow {
            id: self.last_id,
            device: machine.0.clone(),
            owner: machine.1,
            stream: stream.clone(),
            gone: false,
            tally: ingest::Tally::default(),
        };
        Some(OpenStream { row, ledger: LoadedLedger::new(), records: Vec::new() })
    }

    /// Adds a batch to an open stream: loads the touched parts of the ledger, sorts out repeated
    /// and conflicting records, and stores the rest.
    ///
    /// Example: sequence numbers 10 to 20 arrive and 10 to 15 are in the ledger. If the stored
    /// blocks hold equal records, 16 to 20 are stored. If they hold other records, 10 to 15 are
    /// reported as a conflict and the device numbers them anew.
    fn put(
        &mut self,
        open: &mut OpenStream,
        batch: Checked,
    ) -> Result<Result<Conflicts, BatchFault>, StoreError> {
        for range in ingest::touched(&open.row.tally, &batch).iter() {
            for wanted in open.ledger.wanted(range.from, range.to).iter() {
                let store = &self.service.ingest.store;
                let segments = store.segments(open.row.id, wanted, ALL_SEGMENTS)?;
                open.ledger.load(wanted, segments);
            }
        }
        let came = batch.records.len() as u64;
        let doubtful = ingest::doubtful(&open.ledger, &batch);
        let held = self.service.held(&open.row, &doubtful, None)?;
        let conflict = self.conflicts(open, &batch, &held)?;
        let tally = &mut open.row.tally;
        let taken = match ingest::take(&mut open.ledger, tally, &batch, &held, &conflict) {
            Ok(taken) => taken,
            Err(why) => return Ok(Err(why)),
        };
        let put = self.told(open, &batch, &conflict)?;
        let (pieces, records) = ingest::pieces(batch, &taken.fresh);
        ingest::count_stored(&mut open.row.tally, &pieces, &records, self.now);
        self.counts.records += records.len() as u64;
        self.counts.repeated += came.saturating_sub(records.len() as u64);
        for piece in pieces {
            let head = Head::of(&piece, self.now);
            self.batch.blocks.push((open.row.id, head, piece.block));
        }
        if self.service.ingest.feeds.readers() > 0 {
            open.records.extend(records);
        }
        Ok(Ok(put))
    }

    /// Returns the sequence numbers of a batch under which other records are stored.
    fn conflicts(
        &self,
        open: &OpenStream,
        batch: &Checked,
        held: &RangeSet,
    ) -> Result<RangeSet, StoreError> {
        let repeated = ingest::repeated(&open.ledger, batch, held);
        let pending = &self.batch.blocks;
        let compared = self.service.compared(&open.row, batch, &repeated, pending)?;
        Ok(ingest::conflicts(&open.ledger, batch, &repeated, &compared))
    }

    /// Builds the conflict part of an acknowledgement, and logs the conflict.
    fn told(
        &self,
        open: &OpenStream,
        batch: &Checked,
        conflict: &RangeSet,
    ) -> Result<Conflicts, StoreError> {
        if conflict.is_empty() {
            return Ok(Conflicts::default());
        }
        let highest = self.service.highest(&open.row)?.max(batch.to);
        let count = conflict.count();
        let (device, stream) = (&open.row.device, &batch.stream);
        tracing::warn!(%device, %stream, from = batch.from, to = batch.to, count, highest, "records came with numbers of other ones: the device was copied, or put back to an earlier state, and numbers them anew");
        Ok(Conflicts { conflict: conflict.iter().collect(), highest })
    }

    fn commit(mut self) -> Result<(), StoreError> {
        let service = self.service;
        // A stream that was opened only for a refused batch is not created.
        self.open.retain(|_, open| open.row.tally != ingest::Tally::default());
        for open in self.open.values() {
            self.batch.streams.push(open.row.clone());
            let rows = open.ledger.rows();
            if !rows.is_empty() {
                self.batch.segments.push((open.row.id, rows));
            }
        }
        if !self.batch.is_empty() {
            service.ingest.store.commit(&self.batch)?;
            service.counters.data_commits.fetch_add(1, Ordering::Relaxed);
        }
        let mut known = service.ingest.known_mut();
        known.last_id = known.last_id.max(self.last_id);
        for ((machine, stream), open) in &self.open {
            let streams = known.machines.entry(machine.clone()).or_default();
            streams.insert(stream.clone(), open.row.clone());
        }
        drop(known);
        let Counts { records, repeated, refused } = self.counts;
        let counters = &service.counters;
        counters.records.fetch_add(records, Ordering::Relaxed);
        counters.records_repeated.fetch_add(repeated, Ordering::Relaxed);
        counters.batches_refused.fetch_add(refused, Ordering::Relaxed);
        service.ingest.failing.store(false, Ordering::Relaxed);
        for (((device, _), stream), open) in self.open {
            if !open.records.is_empty() {
                service.ingest.feeds.publish(Stored { device, stream, records: open.records });
            }
        }
        Ok(())
    }
}
