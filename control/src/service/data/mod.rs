//! Records of streams: received and stored by a thread of their own, kept for as long as policies
//! say, read and followed.
//!
//! See decisions 0059 and 0155.

mod blocks;
mod export;
mod feeds;
mod ingest;
mod latest;
mod ledger;
mod maintenance;
mod records;
mod streams;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use holdfast_base::ids::{DeviceId, Name};
use holdfast_records::StreamName;

use super::counters::DataCounters;
use super::documents::Documents;
use crate::core::ingest::pressure::{QUEUE, fits, hold};
use crate::core::room::Room;
use crate::core::streams::{Known, Machine};
use crate::ports::bus::Bus;
use crate::ports::data_store::{DataStore, StreamRow};

use ingest::{Arrival, Job};

pub use feeds::{DataFeed, Feeds};
pub(super) use ingest::run as store;
pub use ingest::{Took, take_batch};
pub use latest::{Horizons, WITHIN};
pub use ledger::LedgerPart;
pub use records::{Visitor, Window};
pub use streams::Readable;
pub(super) use streams::no_stream;

/// Maximum number of damaged blocks that wait for their repair. Others are found again later.
const DAMAGED: usize = 1_000;

/// Records of all devices, and whoever follows them.
pub struct Data {
    documents: Arc<Documents>,
    bus: Arc<dyn Bus>,
    store: Arc<dyn DataStore>,
    queue: Queue,
    known: RwLock<Known>,
    feeds: Feeds,
    chores: Chores,
    disk: Disk,
    counters: DataCounters,
}

/// Bounded queue of batches for the thread.
struct Queue {
    jobs: SyncSender<Job>,
    /// Number of batches that wait.
    waiting: AtomicU64,
    waiting_bytes: AtomicU64,
    closing: AtomicBool,
}

/// What the thread does besides storing batches.
#[derive(Default)]
struct Chores {
    /// Machines whose devices were deleted, for the thread to remove their streams.
    forgotten: Mutex<Vec<Machine>>,
    /// Devices whose history has diverged, with the history's number. The thread tells each which
    /// sequence numbers are known.
    diverged: Mutex<BTreeMap<DeviceId, u32>>,
    damaged: Mutex<BTreeSet<DamagedBlock>>,
}

/// How the disk is.
struct Disk {
    /// True when the store could not be read or written at the last attempt.
    failing: AtomicBool,
    room: Mutex<Room>,
}

/// Damaged block: its machine and stream, the stream's id, and the block's first sequence number.
type DamagedBlock = (Machine, StreamName, u64, u64);

/// Receiving end of the queue, for the thread.
pub(super) struct Queued(Receiver<Job>);

impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Data").finish_non_exhaustive()
    }
}

impl Queue {
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
}

impl Data {
    /// Makes the state and the queue for the thread. For `reserve` see
    /// [`Settings::reserve`](super::Settings::reserve).
    pub(super) fn new(
        documents: Arc<Documents>,
        bus: Arc<dyn Bus>,
        store: Arc<dyn DataStore>,
        reserve: Option<u64>,
    ) -> (Self, Queued) {
        let (jobs, queued) = sync_channel(QUEUE);
        let queue = Queue {
            jobs,
            waiting: AtomicU64::new(0),
            waiting_bytes: AtomicU64::new(0),
            closing: AtomicBool::new(false),
        };
        let disk = Disk { failing: AtomicBool::new(false), room: Mutex::new(Room::new(reserve)) };
        let data = Self {
            documents,
            bus,
            store,
            queue,
            known: RwLock::default(),
            feeds: Feeds::default(),
            chores: Chores::default(),
            disk,
            counters: DataCounters::default(),
        };
        (data, Queued(queued))
    }

    /// Counters of records.
    pub fn counters(&self) -> &DataCounters {
        &self.counters
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the thread to remove the streams of a deleted device.
    pub(super) fn forget(&self, device: DeviceId, owner: u64) {
        let mut forgotten = self.chores.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        forgotten.push((device, owner));
        drop(forgotten);
        self.queue.wake();
    }

    /// Asks the thread to tell a device, whose history has diverged, which sequence numbers are
    /// known. It does so once everything that was received before is stored.
    pub(super) fn diverged(&self, device: DeviceId, history: u32) {
        let mut diverged = self.chores.diverged.lock().unwrap_or_else(PoisonError::into_inner);
        diverged.insert(device, history);
        drop(diverged);
        self.queue.wake();
    }

    /// Asks the thread to store everything in the queue and end.
    pub(super) fn close(&self) {
        self.queue.closing.store(true, Ordering::Release);
        self.queue.wake();
    }

    fn damaged(&self) -> MutexGuard<'_, BTreeSet<DamagedBlock>> {
        self.chores.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports a damaged block. The thread repairs the ledger.
    fn is_damaged(&self, row: &StreamRow, first: u64) {
        let mut damaged = self.damaged();
        let new = damaged.len() < DAMAGED
            && damaged.insert((row.machine(), row.stream.clone(), row.id, first));
        drop(damaged);
        if new {
            self.queue.wake();
        }
    }

    fn free_room(&self) -> MutexGuard<'_, Room> {
        self.disk.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Subscribes to the records of a tenant's wanted streams once they are durable: each record
    /// once, and never again after a restart. A slow reader loses the oldest.
    pub fn read_along(
        &self,
        tenant: Name,
        wanted: impl Fn(&Name, &StreamName) -> bool + Send + Sync + 'static,
    ) -> DataFeed {
        self.feeds.subscribe(tenant, Box::new(wanted))
    }

    /// Number of readers of the live feeds.
    pub fn data_readers(&self) -> usize {
        self.feeds.readers()
    }

    /// Calls `visit` for every stream, in the order of devices and names; a row also has the
    /// stream's latest value, see [`Tally::latest`](crate::ports::rows::Tally::latest). No records are stored during the call.
    pub fn each_stream(&self, visit: impl FnMut(&StreamRow)) {
        let known = self.known();
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
        self.known().loaded
    }

    /// Number of batches that wait to be stored.
    pub fn batches_waiting(&self) -> u64 {
        self.queue.waiting.load(Ordering::Relaxed)
    }

    /// Free space and reserve on the disk of the data folder.
    pub fn room(&self) -> Room {
        *self.free_room()
    }

    /// Returns what is wrong with the data store, for a person; `None` when all is well. Devices
    /// keep what cannot be stored.
    pub fn data_trouble(&self) -> Option<String> {
        if self.disk.failing.load(Ordering::Relaxed) {
            return Some(
                "the data store cannot be written: see the log; devices keep their data".into(),
            );
        }
        let room = self.room();
        if room.is_low() {
            return Some(format!("{}: devices keep their data", ingest::scarce(&room)));
        }
        let aside = self.store.damaged()?;
        Some(format!(
            "the data store was damaged and began anew: what was received before is in {aside} and not known any more; remove that file once you have seen this"
        ))
    }
}
