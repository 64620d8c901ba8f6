//! The bounded queue of batches that wait for the thread which stores them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bytes::Bytes;
use holdfast_base::ids::DeviceId;

use crate::core::ingest::pressure::{QUEUE, fits, hold};
use crate::ports::bus::Done;

/// Batch that waits to be stored.
pub(super) struct Arrival {
    pub(super) device: DeviceId,
    pub(super) payload: Bytes,
    pub(super) done: Done,
}

/// Entry of the queue.
pub(super) enum Job {
    Arrival(Arrival),
    /// Wakes the thread when there is something else to do.
    Wake,
}

/// Bounded queue of batches for the thread.
pub(super) struct Queue {
    pub(super) jobs: SyncSender<Job>,
    /// Number of batches that wait.
    pub(super) waiting: AtomicU64,
    pub(super) waiting_bytes: AtomicU64,
    pub(super) closing: AtomicBool,
}

/// Receiving end of the queue, for the thread.
pub(in crate::service) struct Queued(pub(super) Receiver<Job>);

impl Queue {
    /// Makes an empty queue, and the thread's end of it.
    pub(super) fn new() -> (Self, Queued) {
        let (jobs, queued) = sync_channel(QUEUE);
        let queue = Self {
            jobs,
            waiting: AtomicU64::new(0),
            waiting_bytes: AtomicU64::new(0),
            closing: AtomicBool::new(false),
        };
        (queue, Queued(queued))
    }

    /// Puts a batch into the queue. Returns false when the queue is full: nothing is kept, and the
    /// device sends the batch again.
    pub(super) fn offer(&self, arrival: Arrival) -> bool {
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
    pub(super) fn hold(&self) -> u32 {
        hold(self.waiting.load(Ordering::Relaxed), self.waiting_bytes.load(Ordering::Relaxed))
    }

    pub(super) fn wake(&self) {
        // When the queue is full, the thread is awake.
        drop(self.jobs.try_send(Job::Wake));
    }
}
