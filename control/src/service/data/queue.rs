//! The bounded queue of batches that wait for the thread which stores them: one line for each
//! tenant, served in turn.
//!
//! See decision 0168.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use holdfast_base::ids::{DeviceId, Name};

use crate::core::fair::Taken;
use crate::core::ingest::pressure::{QUEUE, fits, hold};
use crate::ports::bus::Done;
use crate::service::waiting::Waiting;

/// Batch that waits to be stored.
pub(super) struct Arrival {
    pub(super) device: DeviceId,
    pub(super) payload: Bytes,
    pub(super) done: Done,
}

/// What waits of one tenant: number of batches, and their bytes.
pub(super) type Load = (u64, u64);

/// Bounded queue of batches for the thread.
pub(super) struct Queue {
    waiting: Waiting<Arrival>,
    loads: Mutex<BTreeMap<Name, Load>>,
    /// Bytes of all batches that wait.
    bytes: AtomicU64,
    pub(super) closing: AtomicBool,
}

impl Queue {
    /// Makes an empty queue.
    pub(super) fn new() -> Self {
        Self {
            waiting: Waiting::new(QUEUE),
            loads: Mutex::default(),
            bytes: AtomicU64::new(0),
            closing: AtomicBool::new(false),
        }
    }

    fn loads(&self) -> MutexGuard<'_, BTreeMap<Name, Load>> {
        self.loads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, tenant: &Name, bytes: u64) -> bool {
        let mut loads = self.loads();
        let load = loads.entry(tenant.clone()).or_default();
        if !fits(load.1, self.bytes.load(Ordering::Relaxed), bytes) {
            return false;
        }
        *load = (load.0 + 1, load.1 + bytes);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        true
    }

    fn remove(&self, tenant: &Name, bytes: u64) {
        let mut loads = self.loads();
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        let Some(load) = loads.get_mut(tenant) else { return };
        *load = (load.0.saturating_sub(1), load.1.saturating_sub(bytes));
        if load.0 == 0 {
            loads.remove(tenant);
        }
    }

    /// Puts a batch into the queue. Returns false when its tenant's line is full: nothing is kept,
    /// and the device sends the batch again.
    pub(super) fn offer(&self, arrival: Arrival) -> bool {
        let bytes = size(&arrival);
        let tenant = arrival.device.tenant.clone();
        if !self.add(&tenant, bytes) {
            return false;
        }
        let put = self.waiting.put(&tenant, arrival).is_ok();
        if !put {
            self.remove(&tenant, bytes);
        }
        put
    }

    fn taken(&self, taken: Taken<Arrival>) -> Arrival {
        let (Taken::Of(_, arrival) | Taken::Barrier(arrival)) = taken;
        self.remove(&arrival.device.tenant, size(&arrival));
        arrival
    }

    /// Waits for a batch, at most this long.
    pub(super) fn wait(&self, time: Duration) -> Option<Arrival> {
        self.waiting.wait(Some(time)).map(|taken| self.taken(taken))
    }

    /// Takes the next batch when one waits.
    pub(super) fn take(&self) -> Option<Arrival> {
        self.waiting.take().map(|taken| self.taken(taken))
    }

    /// Time for which the devices of a tenant are asked to hold back now, in milliseconds; 0 when they
    /// need not.
    pub(super) fn hold(&self, tenant: &Name) -> u32 {
        let (waiting, bytes) = self.load(tenant);
        hold(waiting, bytes)
    }

    /// What waits of a tenant.
    pub(super) fn load(&self, tenant: &Name) -> Load {
        self.loads().get(tenant).copied().unwrap_or_default()
    }

    /// Number of batches that wait, of all tenants.
    pub(super) fn len(&self) -> u64 {
        self.loads().values().map(|(count, _)| count).sum()
    }

    pub(super) fn wake(&self) {
        self.waiting.wake();
    }

    /// Refuses further batches: the thread has ended. Those that are left are not stored.
    pub(super) fn close(&self) {
        drop(self.waiting.close());
    }
}

fn size(arrival: &Arrival) -> u64 {
    u64::try_from(arrival.payload.len()).unwrap_or(u64::MAX)
}
