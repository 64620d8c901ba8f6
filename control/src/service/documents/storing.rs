//! What the other parts ask of the store: to read it, under which lease it is written, and how the
//! last changes went.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use holdfast_base::ids::Name;

use super::lease::Lease;
use super::part::Documents;
use crate::ports::store::{Snapshot, StoreError, Versioned};
use crate::service::Failure;

impl Documents {
    /// Writes what is queued and ends the writing thread. No change can be made afterwards.
    pub(in crate::service) fn close(&self) {
        if !self.jobs.end() {
            tracing::warn!("the store was closed already");
        }
    }

    /// Waits until nothing can be stored any more because the writing thread has ended.
    pub async fn closed(&self) {
        self.jobs.closed().await;
    }

    /// Returns true when nothing can be stored any more.
    pub fn is_closed(&self) -> bool {
        self.jobs.is_closed()
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

    /// Returns whether a batch of changes of a tenant is durable.
    pub(in crate::service) fn is_durable(&self, tenant: &Name, number: u64) -> bool {
        self.storing.is_durable(tenant, number)
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
