//! The state of the data part: streams that are known, the queue, what the thread is asked to do, and
//! how the disk is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use holdfast_base::ids::{DeviceId, Name};
use holdfast_records::StreamName;

use super::feeds::{DataFeed, Feeds};
use super::queue::Queue;
use crate::core::quota::DayUse;
use crate::core::room::Room;
use crate::core::streams::{Known, Machine};
use crate::ports::bus::Bus;
use crate::ports::data_store::{DataStore, StreamRow};
use crate::service::counters::DataCounters;
use crate::service::documents::Documents;

/// Maximum number of damaged blocks that wait for their repair. Others are found again later.
const DAMAGED: usize = 1_000;

/// Records of all devices, and whoever follows them.
pub struct Data {
    pub(super) documents: Arc<Documents>,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) store: Arc<dyn DataStore>,
    pub(super) queue: Queue,
    pub(super) known: RwLock<Known>,
    pub(super) feeds: Feeds,
    pub(super) chores: Chores,
    pub(super) disk: Disk,
    pub(super) counters: DataCounters,
    /// Bytes that each tenant has sent on the present day.
    pub(super) used: Mutex<BTreeMap<Name, Used>>,
}

/// What a tenant has sent on one day, and what of that is stored.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Used {
    pub(super) now: DayUse,
    pub(super) noted: DayUse,
    /// Time at which it was written down, in seconds since 1970.
    pub(super) noted_at: u64,
    /// True if the tenant has a quota of data, so that its use is written down.
    pub(super) limited: bool,
}

/// What the thread does besides storing batches.
#[derive(Default)]
pub(super) struct Chores {
    /// Machines whose devices were deleted, for the thread to remove their streams.
    pub(super) forgotten: Mutex<Vec<Machine>>,
    /// Devices whose history has diverged, with the history's number. The thread tells each which
    /// sequence numbers are known.
    pub(super) diverged: Mutex<BTreeMap<DeviceId, u32>>,
    pub(super) damaged: Mutex<BTreeSet<DamagedBlock>>,
}

/// How the disk is.
pub(super) struct Disk {
    /// True when the store could not be read or written at the last attempt.
    pub(super) failing: AtomicBool,
    pub(super) room: Mutex<Room>,
}

/// Damaged block: its machine and stream, the stream's id, and the block's first sequence number.
pub(super) type DamagedBlock = (Machine, StreamName, u64, u64);

impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Data").finish_non_exhaustive()
    }
}

impl Data {
    /// Makes the state with an empty queue. For `reserve` see
    /// [`Settings::reserve`](crate::service::Settings::reserve).
    pub(in crate::service) fn new(
        documents: Arc<Documents>,
        bus: Arc<dyn Bus>,
        store: Arc<dyn DataStore>,
        reserve: Option<u64>,
    ) -> Self {
        let queue = Queue::new();
        let disk = Disk { failing: AtomicBool::new(false), room: Mutex::new(Room::new(reserve)) };
        Self {
            documents,
            bus,
            store,
            queue,
            known: RwLock::default(),
            feeds: Feeds::default(),
            chores: Chores::default(),
            disk,
            counters: DataCounters::default(),
            used: Mutex::default(),
        }
    }

    /// Counters of records.
    pub fn counters(&self) -> &DataCounters {
        &self.counters
    }

    pub(super) fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the thread to remove the streams of a deleted device.
    pub(in crate::service) fn forget(&self, device: DeviceId, owner: u64) {
        let mut forgotten = self.chores.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        forgotten.push((device, owner));
        drop(forgotten);
        self.queue.wake();
    }

    /// Asks the thread to tell a device, whose history has diverged, which sequence numbers are
    /// known. It does so once everything that was received before is stored.
    pub(in crate::service) fn diverged(&self, device: DeviceId, history: u32) {
        let mut diverged = self.chores.diverged.lock().unwrap_or_else(PoisonError::into_inner);
        diverged.insert(device, history);
        drop(diverged);
        self.queue.wake();
    }

    /// Asks the thread to store everything in the queue and end.
    pub(in crate::service) fn close(&self) {
        self.queue.closing.store(true, Ordering::Release);
        self.queue.wake();
    }

    pub(super) fn damaged(&self) -> MutexGuard<'_, BTreeSet<DamagedBlock>> {
        self.chores.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports a damaged block. The thread repairs the ledger.
    pub(super) fn is_damaged(&self, row: &StreamRow, first: u64) {
        let mut damaged = self.damaged();
        let new = damaged.len() < DAMAGED
            && damaged.insert((row.machine(), row.stream.clone(), row.id, first));
        drop(damaged);
        if new {
            self.queue.wake();
        }
    }

    pub(super) fn free_room(&self) -> MutexGuard<'_, Room> {
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
        self.queue.len()
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
            return Some(format!("{}: devices keep their data", scarce(&room)));
        }
        let aside = self.store.damaged()?;
        Some(format!(
            "the data store was damaged and began anew: what was received before is in {aside} and not known any more; remove that file once you have seen this"
        ))
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
