//! What is known of the store: the lease under which it is written, and how the last changes went.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use holdfast_base::ids::Name;

use super::lease::Lease;
use crate::ports::store::Store;

/// Store of documents, and how the last changes of it went.
pub(super) struct Storing {
    pub(super) store: Arc<dyn Store>,
    /// Lease that this process took at its start; every commit carries its fence.
    pub(super) lease: Arc<Lease>,
    /// Number up to which the batches of all tenants are durable.
    durable: AtomicU64,
    /// Number of the last durable batch of each tenant. Batches of one tenant are stored in their
    /// order; those of several in turn.
    durable_of: RwLock<BTreeMap<Name, u64>>,
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
            durable_of: RwLock::default(),
            refusing: Mutex::default(),
            diverged: AtomicBool::new(false),
        }
    }

    /// Notes the batches of a group that is durable: for each tenant the number up to which all of
    /// its batches are. No tenant: up to which the batches of all are.
    pub(super) fn stored(&self, group: &BTreeMap<Option<Name>, u64>) {
        let mut of = self.durable_of.write().unwrap_or_else(PoisonError::into_inner);
        for (tenant, number) in group {
            match tenant {
                None => drop(self.durable.fetch_max(*number, Ordering::Release)),
                Some(tenant) => match of.get_mut(tenant) {
                    Some(known) => *known = (*known).max(*number),
                    None => drop(of.insert(tenant.clone(), *number)),
                },
            }
        }
    }

    /// Returns whether a batch of a tenant is durable.
    pub(super) fn is_durable(&self, tenant: &Name, number: u64) -> bool {
        if number <= self.durable.load(Ordering::Acquire) {
            return true;
        }
        let of = self.durable_of.read().unwrap_or_else(PoisonError::into_inner);
        of.get(tenant).is_some_and(|durable| number <= *durable)
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
