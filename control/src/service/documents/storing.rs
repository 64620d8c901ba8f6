//! What is known of the store: the lease under which it is written, the queue of changes, and how
//! the last ones went.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use super::Documents;
use super::lease::Lease;
use super::writer::Job;
use crate::ports::store::{Snapshot, Store, StoreError, Versioned};
use crate::service::Failure;

/// Store with the queue of changes for it.
pub(super) struct Storing {
    pub(super) store: Arc<dyn Store>,
    /// Lease that this process took at its start; every commit carries its fence.
    pub(super) lease: Arc<Lease>,
    pub(super) jobs: mpsc::Sender<Job>,
    /// Number of the last batch that is durable.
    durable: AtomicU64,
    /// Error of the store that refused the last change; `None` when it took it.
    refusing: Mutex<Option<String>>,
    /// True when the memory differs from the store after a failure and could not be read again: no
    /// change may be made.
    diverged: AtomicBool,
}

impl Storing {
    pub(super) fn new(store: Arc<dyn Store>, lease: Arc<Lease>, jobs: mpsc::Sender<Job>) -> Self {
        Self {
            store,
            lease,
            jobs,
            durable: AtomicU64::new(0),
            refusing: Mutex::default(),
            diverged: AtomicBool::new(false),
        }
    }

    /// Notes that everything up to this batch is durable.
    pub(super) fn stored(&self, number: u64) {
        self.durable.fetch_max(number, Ordering::Release);
    }

    /// Notes whether the store refuses changes, and why.
    pub(super) fn refuses(&self, why: Option<String>) {
        *self.refusing.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Notes whether the memory differs from the store.
    pub(super) fn diverges(&self, diverges: bool) {
        self.diverged.store(diverges, Ordering::Relaxed);
    }
}

impl Documents {
    /// Writes what is queued and ends the writing thread. No change can be made afterwards.
    pub(in crate::service) async fn close(&self) {
        if self.storing.jobs.send(Job::last()).await.is_err() {
            tracing::warn!("the store was closed already");
        }
    }

    /// Waits until nothing can be stored any more because the writing thread has ended.
    pub async fn closed(&self) {
        self.storing.jobs.closed().await;
    }

    /// Returns true when nothing can be stored any more.
    pub fn is_closed(&self) -> bool {
        self.storing.jobs.is_closed()
    }

    /// Returns why the store refused the last change; `None` when it took it. A change is tried at
    /// least once a minute.
    pub fn refusing(&self) -> Option<String> {
        self.storing.refusing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns true while the model differs from the store after a failure.
    pub fn has_diverged(&self) -> bool {
        self.storing.diverged.load(Ordering::Relaxed)
    }

    /// Returns whether a batch of changes is durable.
    pub(in crate::service) fn is_durable(&self, number: u64) -> bool {
        number <= self.storing.durable.load(Ordering::Acquire)
    }

    /// Lease under which this process writes and acts.
    pub(in crate::service) fn lease(&self) -> &Lease {
        &self.storing.lease
    }

    /// Checks that no other process is known to have the lease. What is in memory may be outdated
    /// then.
    ///
    /// # Errors
    /// Returns [`Failure::Unavailable`] when another one has it.
    pub fn check_held(&self) -> Result<(), Failure> {
        if self.storing.lease.is_lost() {
            return Err(Failure::Unavailable(
                "another control plane has taken over, and this one stops: what it knows may be outdated. Ask again, so that the other one answers".into(),
            ));
        }
        Ok(())
    }

    /// Takes a snapshot of the store.
    pub(in crate::service) fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.storing.store.snapshot()
    }

    /// Reads stored rows by the beginning of their keys. Blocks on the disk.
    pub(in crate::service) fn stored_below(
        &self,
        prefix: &str,
        most: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.storing.store.read(prefix, most)
    }

    /// Reads stored rows by their keys. Blocks on the disk.
    pub(in crate::service) fn stored_at(
        &self,
        keys: &[String],
    ) -> Result<Vec<Option<Versioned>>, StoreError> {
        self.storing.store.pick(keys)
    }
}
