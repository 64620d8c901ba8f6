//! The lease of this process, and what the service knows of it: whether it may act. A process whose lease was taken by another one acts no more, and ends.
//!
//! See decision 0136.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::core::lease::{TTL, Tenure};
use crate::ports::store::{Fence, LeaseError, Shard, Store};

/// Monotonic clock: the time since any fixed moment. A suspended machine's sleep counts.
pub type Uptime = fn() -> Duration;

/// Lease of this process.
#[derive(Debug)]
pub(in crate::service) struct Lease {
    pub(in crate::service) fence: Fence,
    uptime: Uptime,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    tenure: Tenure,
    /// True when nothing is written any more and the thread ends.
    ended: bool,
}

impl Lease {
    /// Takes the lease of a shard.
    pub(super) fn take(
        store: &dyn Store,
        shard: Shard,
        uptime: Uptime,
    ) -> Result<Arc<Self>, LeaseError> {
        let asked = uptime();
        let fence = store.lease(shard, "serve", TTL)?;
        let state = Mutex::new(State { tenure: Tenure::begin(asked), ended: false });
        Ok(Arc::new(Self { fence, uptime, state, changed: Condvar::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether this process may act on the outside without writing to the store first.
    pub(in crate::service) fn acts(&self) -> bool {
        self.state().tenure.acts((self.uptime)())
    }

    /// Returns whether another process is known to have the lease.
    pub(super) fn is_lost(&self) -> bool {
        self.state().tenure.is_lost()
    }

    /// Notes that another process has the lease.
    pub(in crate::service) fn lost(&self) {
        let mut state = self.state();
        if !state.tenure.is_lost() {
            tracing::error!(
                shard = self.fence.shard,
                epoch = self.fence.epoch,
                "another process has taken the lease: this one stops"
            );
        }
        state.tenure.lost();
        drop(state);
        self.changed.notify_all();
    }

    /// Ends the thread. Called once nothing is written any more.
    pub(super) fn end(&self) {
        self.state().ended = true;
        self.changed.notify_all();
    }

    /// Waits for the next renewal. Returns false when there is none any more.
    pub(super) fn wait(&self) -> bool {
        let mut state = self.state();
        loop {
            if state.ended || state.tenure.is_lost() {
                return false;
            }
            let wait = state.tenure.wait((self.uptime)());
            if wait.is_zero() {
                return true;
            }
            let woken = self.changed.wait_timeout(state, wait);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(super) fn renew(&self, store: &dyn Store) {
        let asked = (self.uptime)();
        match store.renew(self.fence, TTL) {
            Ok(()) => self.state().tenure.renewed(asked),
            Err(LeaseError::Lost | LeaseError::Held(_)) => self.lost(),
            Err(LeaseError::Store(error)) => {
                tracing::warn!(%error, "the lease cannot be renewed: it is tried again");
                self.state().tenure.unanswered((self.uptime)());
            }
        }
    }
}
