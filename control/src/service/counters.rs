//! What the service counts. No names: counts alone, safe to show to anyone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counters that only rise.
#[derive(Debug, Default)]
pub struct Counters {
    /// Transactions of the store.
    pub commits: AtomicU64,
    /// Transactions that failed.
    pub commits_failed: AtomicU64,
    /// Keys written in them.
    pub writes: AtomicU64,
    /// Changes that were not taken because too much waited for the disk.
    pub overloads: AtomicU64,
    /// Devices enrolled.
    pub enrolled: AtomicU64,
    /// Certificates renewed.
    pub renewed: AtomicU64,
    /// Logins that were refused.
    pub logins_refused: AtomicU64,
    /// State reports taken.
    pub reports: AtomicU64,
    /// Messages of devices that were none.
    pub malformed: AtomicU64,
    /// Batches that devices published.
    pub batches: AtomicU64,
    /// Of those: did not fit into the queue.
    pub batches_not_taken: AtomicU64,
    /// Of those: can never be stored.
    pub batches_refused: AtomicU64,
    /// Records stored.
    pub records: AtomicU64,
    /// Records that came again.
    pub records_repeated: AtomicU64,
    /// Records removed by retention.
    pub records_retired: AtomicU64,
    /// Transactions of the data store that took batches in.
    pub data_commits: AtomicU64,
    /// Transactions and reads of the data store that failed.
    pub data_commits_failed: AtomicU64,
    /// Blocks of records that the disk has changed.
    pub blocks_damaged: AtomicU64,
    /// Messages about alarms that a receiver took, tests included.
    pub notifications_sent: AtomicU64,
    /// Attempts to deliver one that failed.
    pub notifications_failed: AtomicU64,
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

impl Counters {
    /// An attempt to deliver a message about alarms ended.
    pub fn notified(&self, delivered: bool) {
        let counter = if delivered { &self.notifications_sent } else { &self.notifications_failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// An enrolment or a renewal was refused, for this reason in one word.
    pub fn refuse(&self, word: &'static str) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner).entry(word).or_insert(0) += 1;
    }

    /// Refusals by reason.
    pub fn refused(&self) -> BTreeMap<&'static str, u64> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
