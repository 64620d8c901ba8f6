//! Taking records in: batches wait in a bounded queue for the one thread that writes data. It
//! takes what is there, decides, commits one transaction, and acknowledges then. Whoever does not
//! fit into the queue sends again, and everybody is asked to hold back before that.
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
use super::keeper::{Keeper, replace};
use super::records::Opened;
use super::{DataFeed, Service};
use crate::core::ingest::{self, Checked, MAX_STREAMS, Unfit};
use crate::core::ledger::{MAX_SEQUENCE, Stretch};
use crate::core::model::sha256;
use crate::core::room::Room;
use crate::data_store::{DataBatch, DataStore, Direction, Head, StreamRow};
use crate::ports::{Directory, Done, Stored};
use crate::store::StoreError;

/// Batches that wait: a second's worth or two.
const QUEUE: usize = 1_024;

/// Bytes that wait, as they came.
const QUEUE_BYTES: u64 = 64 * 1024 * 1024;

/// Batches in one transaction: a bound on how long the first of them waits for the others.
const GROUP: usize = 256;

/// Bytes after which a group is not extended.
const GROUP_BYTES: usize = 8 * 1024 * 1024;

/// Housekeeping gets its turn at least this often, also when batches never end.
const TURN: Duration = Duration::from_secs(1);

/// How long devices hold back when the store takes nothing, in milliseconds.
const HOLD_FAILED: u32 = 5_000;

/// How long devices hold back when the disk has no room for data, in milliseconds.
const HOLD_LOW: u32 = 15_000;

/// How long a device holds back whose batch did not fit into the queue, in milliseconds.
const HOLD_FULL: u32 = 2_000;

/// How long devices hold back when the queue is half full, in milliseconds.
const HOLD_BUSY: u32 = 300;

/// Damaged blocks that wait to be told in their ledgers; more are found again.
const DAMAGED: usize = 1_000;

/// Most segments that are read of one ledger for one batch; more cannot be there.
const ALL_SEGMENTS: usize = 1_000_000;

/// An acknowledgement that says nothing.
const NOTHING: Acknowledgement = Acknowledgement {
    v: WIRE_VERSION,
    acked: Vec::new(),
    hold_ms: 0,
    store: None,
    diverged: None,
    more: false,
    given: Vec::new(),
};

/// A batch on its way to the disk.
struct Arrival {
    device: DeviceId,
    payload: Bytes,
    done: Done,
}

enum Job {
    Arrival(Arrival),
    Wake,
}

/// Whose streams: a device's name, and from the digest of its key. A restored backup may give a
/// name back to another machine: each has its own.
pub(super) type Machine = (Name, u64);

/// The streams of one machine, by name.
pub(super) type Streams = BTreeMap<StreamName, StreamRow>;

/// What is known of streams, in memory.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The store was read: what is not here is not there.
    pub(super) loaded: bool,
    /// Which store that was.
    pub(super) store: Option<u64>,
    /// It must be read anew before anything is stored.
    pub(super) stale: bool,
    pub(super) machines: BTreeMap<Machine, Streams>,
    /// Numbers of streams that are being removed.
    pub(super) gone: Vec<u64>,
    /// The last number given to a stream.
    pub(super) last_id: u64,
}

/// The driver's side of it, shared with the thread.
pub(super) struct Ingest {
    jobs: SyncSender<Job>,
    waiting: AtomicU64,
    waiting_bytes: AtomicU64,
    pub(super) store: Arc<dyn DataStore>,
    known: RwLock<Known>,
    pub(super) feeds: Feeds,
    /// Devices that were deleted, with their owners, for the thread to forget.
    forgotten: Mutex<Vec<Machine>>,
    /// Devices whose history is another than was known: the thread tells them which numbers are.
    diverged: Mutex<BTreeMap<Name, u32>>,
    closing: AtomicBool,
    /// The store could not be read or written when it was last tried.
    failing: AtomicBool,
    room: Mutex<Room>,
    damaged: Mutex<BTreeSet<DamagedBlock>>,
}

/// A block that was found damaged: its machine and stream, the stream's number, its first number.
type DamagedBlock = (Machine, StreamName, u64, u64);

/// The other end of the queue.
pub(super) struct Queue(Receiver<Job>);

/// Who owns the streams of a device: from the digest of its key.
pub(super) fn owner(public_key: &str) -> u64 {
    let digest = sha256(public_key.as_bytes());
    digest.into_iter().take(8).fold(0, |number, byte| number << 8 | u64::from(byte))
}

impl Ingest {
    /// `reserve`: see [`super::Settings::reserve`].
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

    /// Puts a batch into the queue. False: it is full; nothing is kept and the device sends again.
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

    /// How long devices are asked to hold back now, in milliseconds.
    fn hold(&self) -> u32 {
        let waiting = self.waiting.load(Ordering::Relaxed);
        let bytes = self.waiting_bytes.load(Ordering::Relaxed);
        let busy = waiting > QUEUE as u64 / 2 || bytes > QUEUE_BYTES / 2;
        if busy { HOLD_BUSY } else { 0 }
    }

    fn wake(&self) {
        // Full: then it is awake.
        drop(self.jobs.try_send(Job::Wake));
    }

    /// The device was deleted: its data goes.
    pub(super) fn forget(&self, device: Name, owner: u64) {
        let mut forgotten = self.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        forgotten.push((device, owner));
        drop(forgotten);
        self.wake();
    }

    /// The device's history is another than was known: it is told which numbers are known, once
    /// what came before is stored.
    pub(super) fn diverged(&self, device: Name, history: u32) {
        let mut diverged = self.diverged.lock().unwrap_or_else(PoisonError::into_inner);
        diverged.insert(device, history);
        drop(diverged);
        self.wake();
    }

    /// Everything that is queued is stored first.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.wake();
    }

    /// Batches that wait.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    fn damaged(&self) -> MutexGuard<'_, BTreeSet<DamagedBlock>> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block was found damaged: the thread will tell it in the ledger.
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
    /// A device published a batch.
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

    /// Reads along: records of the streams that are wanted, once they are stored durably,
    /// each once and never again after a restart. A slow reader loses the oldest.
    pub fn read_along(
        &self,
        wanted: impl Fn(&Name, &StreamName) -> bool + Send + Sync + 'static,
    ) -> DataFeed {
        self.ingest.feeds.subscribe(Box::new(wanted))
    }

    /// How many read along.
    pub fn data_readers(&self) -> usize {
        self.ingest.feeds.readers()
    }

    /// Every stream of every device, by device and name: also for the latest values, see
    /// [`ingest::Tally::latest`]. Nothing is stored while it visits.
    pub fn each_stream(&self, visit: impl FnMut(&StreamRow)) {
        let known = self.ingest.known();
        known.machines.values().flat_map(BTreeMap::values).for_each(visit);
    }

    /// How many streams there are, the records that are kept of them, and the bytes of those.
    pub fn data_sums(&self) -> (u64, u64, u64) {
        let mut sums = (0, 0, 0);
        self.each_stream(|row| {
            sums = (sums.0 + 1, sums.1 + row.tally.kept, sums.2 + row.tally.bytes);
        });
        sums
    }

    /// False while the data store has not been read yet, at the start.
    pub fn knows_streams(&self) -> bool {
        self.ingest.known().loaded
    }

    /// Batches that wait to be stored.
    pub fn batches_waiting(&self) -> u64 {
        self.ingest.waiting()
    }

    /// What the disk of the data folder gives.
    pub fn room(&self) -> Room {
        *self.ingest.room()
    }

    /// What is wrong with the data store, in words. Devices keep what cannot be stored.
    pub fn data_trouble(&self) -> Option<String> {
        if self.ingest.is_failing() {
            return Some(
                "the data store takes nothing now: see the log; devices keep their data".into(),
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

/// That there is little room, in words.
fn scarce(room: &Room) -> String {
    let mib = |bytes: u64| bytes / (1024 * 1024);
    format!(
        "{} MiB are free on the disk of the data folder, and {} are kept free of data (--reserve): no more is taken than what retention gives back",
        mib(room.free().unwrap_or(0)),
        mib(room.reserve())
    )
}

/// Takes batches until it is told to end.
pub(super) fn run(service: &Service, queue: Queue) {
    let Queue(jobs) = queue;
    let mut keeper = Keeper::default();
    loop {
        let (group, open) = gather(service, &jobs);
        let any = !group.is_empty();
        let turn = AssertUnwindSafe(|| turn(service, group, &mut keeper));
        if catch_unwind(turn).is_err() {
            tracing::error!("a defect while data was stored: what is known is read anew");
            service.ingest.known_mut().stale = true;
        }
        if !open || (service.ingest.closing.load(Ordering::Acquire) && !any) {
            return;
        }
    }
}

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

fn turn(service: &Service, group: Vec<Arrival>, keeper: &mut Keeper) {
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
        store(service, group);
    }
    if let Err(error) = tell_diverged(service) {
        failed(service, &error);
    }
    let kept = if service.ingest.is_failing() {
        probe(service)
    } else {
        tell_damage(service).and_then(|()| keeper.turn(service))
    };
    if let Err(error) = kept {
        failed(service, &error);
    }
}

/// Looks whether the disk has room.
fn look(service: &Service) {
    let disk = service.ingest.store.disk();
    let mut room = service.ingest.room();
    match room.look(disk) {
        Some(true) => tracing::warn!("{}; devices keep their data", scarce(&room)),
        Some(false) => tracing::info!("the disk has room for data again"),
        None => {}
    }
}

/// What of a group there is room for. The others' devices send again, later.
fn fitting(service: &Service, group: Vec<Arrival>) -> Vec<Arrival> {
    let (fitting, rest): (Vec<_>, Vec<_>) = {
        let mut room = service.ingest.room();
        group.into_iter().partition(|arrival| room.takes(arrival.payload.len() as u64))
    };
    fail(service, &rest, HOLD_LOW);
    fitting
}

/// Tries whether the store works again.
fn probe(service: &Service) -> Result<(), StoreError> {
    service.ingest.store.commit(&DataBatch::default())?;
    service.ingest.failing.store(false, Ordering::Relaxed);
    tracing::info!("data can be stored again");
    Ok(())
}

/// Reads which streams there are.
fn load(service: &Service) -> Result<(), StoreError> {
    let ingest = &service.ingest;
    let failed = |error: &StoreError| failed(service, error);
    let store = Some(ingest.store.id().inspect_err(failed)?);
    let rows = ingest.store.streams().inspect_err(failed)?;
    let mut known = Known { loaded: true, store, ..Known::default() };
    for row in rows {
        known.last_id = known.last_id.max(row.id);
        if row.gone {
            known.gone.push(row.id);
        } else {
            let streams = known.machines.entry(row.machine()).or_default();
            streams.insert(row.stream.clone(), row);
        }
    }
    // A number is not given again while its records may still be there.
    known.last_id = known.last_id.max(ingest.known().last_id);
    let former = std::mem::replace(&mut *ingest.known_mut(), known).store;
    if former != store {
        tell_store(service);
    }
    Ok(())
}

/// Tells every device that is connected which store this is; others are told when they come.
fn tell_store(service: &Service) {
    let Some(bytes) = Directory::store(service) else { return };
    let connected: Vec<DeviceId> = {
        let model = service.model();
        let devices = model.devices.iter().filter(|(_, device)| device.live.connection != 0);
        devices.map(|(name, _)| model.id(name)).collect()
    };
    for device in connected {
        service.bus.ack(&device, bytes.clone());
    }
}

/// The store failed: what is known is read anew before anything else is stored.
fn failed(service: &Service, error: &StoreError) {
    service.counters.data_commits_failed.fetch_add(1, Ordering::Relaxed);
    if !service.ingest.failing.swap(true, Ordering::Relaxed) {
        tracing::error!(%error, "data cannot be stored: devices keep theirs and send again");
    }
    service.ingest.known_mut().stale = true;
}

/// Nothing of the group is stored: its devices send again, later.
fn fail(service: &Service, group: &[Arrival], hold_ms: u32) {
    let devices: BTreeSet<&DeviceId> = group.iter().map(|arrival| &arrival.device).collect();
    for device in devices {
        service.acknowledge(device, Vec::new(), hold_ms);
    }
}

/// What was in blocks that were found damaged is missing from now on, as the ledger says.
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

fn set_aside(service: &Service, mut row: StreamRow, first: u64) -> Result<(), StoreError> {
    let store = &service.ingest.store;
    let only = Range { from: first, to: first };
    let Some(head) = store.heads(row.id, only, 1, Direction::Up)?.pop() else { return Ok(()) };
    if !matches!(service.opened(&row, &head)?, Opened::Damaged) {
        return Ok(());
    }
    let last = head.reach(row.tally.span);
    let mut numbers = RangeSet::new();
    numbers.insert(first, last);
    // Blocks of a stream may interleave.
    let others = service.held(&row, &numbers, Some(first))?;
    numbers.subtract(&others);
    let mut ledger = Stretch::new();
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

/// Tells devices whose history is another which numbers are known. What is lost on the way is told
/// again after their next connect.
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

/// Streams of deleted devices are removed from now on.
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

/// Marks streams as gone; the keeper removes them.
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

/// A stream that a group changes.
struct Open {
    row: StreamRow,
    ledger: Stretch,
    records: Vec<Record>,
}

/// What a group comes to.
struct Group<'a> {
    service: &'a Service,
    now: u64,
    last_id: u64,
    open: BTreeMap<(Machine, StreamName), Open>,
    batch: DataBatch,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    records: u64,
    repeated: u64,
    refused: u64,
}

/// What becomes of one arrival.
enum Outcome {
    /// It is told so once all is stored.
    Told(Arrival, Acked),
    /// Nobody is told: it was no batch, or no device's.
    Dropped,
}

fn store(service: &Service, arrivals: Vec<Arrival>) {
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
    /// The highest number of a stream that there is an answer for, as far as it is committed.
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

/// All is stored: devices are acknowledged.
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

fn acked(stream: StreamName, from: u64, to: u64) -> Acked {
    Acked { stream, from, to, refused: None, conflict: Vec::new(), highest: 0 }
}

/// What a batch that is stored comes back with.
#[derive(Default)]
struct Put {
    /// See [`Acked::conflict`].
    conflict: Vec<Range>,
    /// See [`Acked::highest`].
    highest: u64,
}

impl Group<'_> {
    fn take(&mut self, arrival: Arrival) -> Result<Outcome, (Arrival, StoreError)> {
        let device = arrival.device.device.clone();
        let key =
            self.service.model().devices.get(&device).map(|known| known.record.public_key.clone());
        let Some(owner) = key.map(|key| owner(&key)) else {
            return Ok(Outcome::Dropped); // Deleted meanwhile.
        };
        let checked = match ingest::check(&arrival.payload) {
            Ok(checked) => checked,
            Err(Unfit::Malformed(error)) => {
                self.service.counters.malformed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(device = %arrival.device, channel = "data", %error, "refused");
                return Ok(Outcome::Dropped);
            }
            Err(Unfit::Batch { stream, from, to, why }) => {
                return Ok(self.refuse(arrival, (stream, from, to), why));
            }
        };
        let batch = (checked.stream.clone(), checked.from, checked.to);
        match self.add((device, owner), checked) {
            Ok(Ok(Put { conflict, highest })) => {
                let (stream, from, to) = batch;
                let acked = Acked { conflict, highest, ..acked(stream, from, to) };
                Ok(Outcome::Told(arrival, acked))
            }
            Ok(Err(why)) => Ok(self.refuse(arrival, batch, why)),
            Err(error) => Err((arrival, error)),
        }
    }

    fn refuse(
        &mut self,
        arrival: Arrival,
        (stream, from, to): (StreamName, u64, u64),
        why: String,
    ) -> Outcome {
        self.counts.refused += 1;
        tracing::warn!(device = %arrival.device, %stream, from, to, why, "a batch is refused");
        Outcome::Told(arrival, Acked { refused: Some(why), ..acked(stream, from, to) })
    }

    /// The inner error: why the batch can never be stored.
    fn add(&mut self, machine: Machine, batch: Checked) -> Result<Result<Put, String>, StoreError> {
        let key = (machine, batch.stream.clone());
        let mut open = match self.open.remove(&key) {
            Some(open) => open,
            None => match self.opened(&key.0, &batch.stream) {
                Some(open) => open,
                None => {
                    return Ok(Err(format!(
                        "the device has {MAX_STREAMS} streams already: no more are taken"
                    )));
                }
            },
        };
        let taken = self.put(&mut open, batch);
        self.open.insert(key, open);
        taken
    }

    /// A stream that is known, or a new one. None: there are too many.
    fn opened(&mut self, machine: &Machine, stream: &StreamName) -> Option<Open> {
        let known = self.service.ingest.known();
        let streams = known.machines.get(machine);
        let row = streams.and_then(|streams| streams.get(stream)).cloned();
        let (here, last_id) = (streams.map_or(0, BTreeMap::len), known.last_id);
        drop(known);
        if let Some(row) = row {
            return Some(Open { row, ledger: Stretch::new(), records: Vec::new() });
        }
        let new = |((of, _), open): &(&(Machine, StreamName), &Open)| {
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
        Some(Open { row, ledger: Stretch::new(), records: Vec::new() })
    }

    fn put(&mut self, open: &mut Open, batch: Checked) -> Result<Result<Put, String>, StoreError> {
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
        open.row.tally.store(&pieces, &records, self.now);
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

    /// Numbers of a batch that stand for other records here.
    fn conflicts(
        &self,
        open: &Open,
        batch: &Checked,
        held: &RangeSet,
    ) -> Result<RangeSet, StoreError> {
        let repeated = ingest::repeated(&open.ledger, batch, held);
        let pending = &self.batch.blocks;
        let compared = self.service.compared(&open.row, batch, &repeated, pending)?;
        Ok(ingest::conflicts(&open.ledger, batch, &repeated, &compared))
    }

    /// What the device is told of them.
    fn told(&self, open: &Open, batch: &Checked, conflict: &RangeSet) -> Result<Put, StoreError> {
        if conflict.is_empty() {
            return Ok(Put::default());
        }
        let highest = self.service.highest(&open.row)?.max(batch.to);
        let count = conflict.count();
        let (device, stream) = (&open.row.device, &batch.stream);
        tracing::warn!(%device, %stream, from = batch.from, to = batch.to, count, highest, "records came with numbers of other ones: the device was copied, or put back to an earlier state, and numbers them anew");
        Ok(Put { conflict: conflict.iter().collect(), highest })
    }

    fn commit(mut self) -> Result<(), StoreError> {
        let service = self.service;
        // A stream that was opened for a batch that was refused then is none.
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
