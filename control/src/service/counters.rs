//! Counters since the process started, of each part of the service. They only rise, and hold no
//! names, so that they may be shown to anyone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counters of the store of documents.
#[derive(Debug, Default)]
pub struct StoreCounters {
    /// Committed transactions of the store.
    pub commits: AtomicU64,
    /// Transactions of the store that failed.
    pub commits_failed: AtomicU64,
    /// Keys written in committed transactions.
    pub writes: AtomicU64,
    /// Changes that were refused because too many waited for the disk.
    pub overloads: AtomicU64,
}

/// Counters of enrolment.
#[derive(Debug, Default)]
pub struct EnrolmentCounters {
    /// Devices that were enrolled.
    pub enrolled: AtomicU64,
    /// Certificates that were renewed.
    pub renewed: AtomicU64,
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

/// Counters of what devices publish.
#[derive(Debug, Default)]
pub struct InboxCounters {
    /// State reports that were processed.
    pub reports: AtomicU64,
    /// Messages of devices that could not be decoded, batches of data records excepted.
    pub malformed: AtomicU64,
}

/// Counters of data records.
#[derive(Debug, Default)]
pub struct DataCounters {
    /// Batches of data records that devices published.
    pub batches: AtomicU64,
    /// Batches that could not be decoded.
    pub malformed: AtomicU64,
    /// Batches that were not taken because the queue was full.
    pub batches_not_taken: AtomicU64,
    /// Batches that were refused because they can never be stored.
    pub batches_refused: AtomicU64,
    /// Data records that were stored.
    pub records: AtomicU64,
    /// Data records that were stored before and arrived again.
    pub records_repeated: AtomicU64,
    /// Data records removed by retention.
    pub records_retired: AtomicU64,
    /// Transactions of the data store that stored batches.
    pub data_commits: AtomicU64,
    /// Transactions and reads of the data store that failed.
    pub data_commits_failed: AtomicU64,
    /// Blocks of data records whose checksum did not match when they were read.
    pub blocks_damaged: AtomicU64,
}

/// Counters of messages about alarms.
#[derive(Debug, Default)]
pub struct AlarmCounters {
    /// Messages about alarms that a receiver accepted, tests included.
    pub notifications_sent: AtomicU64,
    /// Failed attempts to deliver a message about alarms.
    pub notifications_failed: AtomicU64,
}

impl AlarmCounters {
    /// Counts an attempt to deliver a message about alarms.
    pub fn notified(&self, delivered: bool) {
        let counter = if delivered { &self.notifications_sent } else { &self.notifications_failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl EnrolmentCounters {
    /// Counts a refused enrolment or renewal. `word` is the reason in one word.
    pub fn refuse(&self, word: &'static str) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner).entry(word).or_insert(0) += 1;
    }

    /// Number of refused enrolments and renewals, by reason.
    pub fn refused(&self) -> BTreeMap<&'static str, u64> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
