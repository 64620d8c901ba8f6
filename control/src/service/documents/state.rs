//! What is known of the store: the lease under which it is written, and how the last changes went.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::lease::Lease;
use crate::ports::store::Store;

/// Store of documents, and how the last changes of it went.
pub(super) struct Storing {
    pub(super) store: Arc<dyn Store>,
    /// Lease that this process took at its start; every commit carries its fence.
    pub(super) lease: Arc<Lease>,
    /// Number of the last batch that is durable.
    pub(super) durable: AtomicU64,
    /// Error of the store that refused the last change; `None` when it took it.
    pub(super) refusing: Mutex<Option<String>>,
    /// True when the memory differs from the store after a failure and could not be read again: no
    /// change may be made.
    pub(super) diverged: AtomicBool,
}

impl Storing {
    pub(super) fn new(store: Arc<dyn Store>, lease: Arc<Lease>) -> Self {
        Self {
            store,
            lease,
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
