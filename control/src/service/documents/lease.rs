//! The thread that renews this process's lease, and what the service knows of it: whether it may
//! act. A process whose lease was taken by another one acts no more, and ends.
//!
//! See decision 0136.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;

use super::writer::Job;
use crate::core::lease::{TTL, Tenure};
use crate::ports::store::{Fence, LeaseError, Shard, Store};
use crate::service::StartError;

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
    fn take(store: &dyn Store, shard: Shard, uptime: Uptime) -> Result<Arc<Self>, LeaseError> {
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
    fn end(&self) {
        self.state().ended = true;
        self.changed.notify_all();
    }

    /// Waits for the next renewal. Returns false when there is none any more.
    fn wait(&self) -> bool {
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

    fn renew(&self, store: &dyn Store) {
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

/// Thread that renews the lease of this process.
#[derive(Debug)]
pub(in crate::service) struct Renewing {
    pub(in crate::service) lease: Arc<Lease>,
    thread: JoinHandle<()>,
}

impl Renewing {
    /// Takes the lease of a shard and starts to renew it: before the store is read, which may take
    /// longer than the lease lasts. When the lease is lost, the writing thread ends by a last job
    /// in `jobs`.
    pub(in crate::service) fn begin(
        store: &Arc<dyn Store>,
        shard: Shard,
        uptime: Uptime,
        jobs: mpsc::Sender<Job>,
    ) -> Result<Self, StartError> {
        let lease = Lease::take(&**store, shard, uptime)?;
        let (held, store) = (Arc::clone(&lease), Arc::clone(store));
        let thread = std::thread::Builder::new().name("lease".into());
        let thread = thread.spawn(move || run(&held, &*store, &jobs))?;
        Ok(Self { lease, thread })
    }

    /// Ends the thread and waits for that. Called once nothing is written any more.
    pub(in crate::service) fn end(self) -> std::thread::Result<()> {
        self.lease.end();
        self.thread.join()
    }
}

/// Renews the lease until it is lost or [`Lease::end`] is called. When it is lost, the writing
/// thread ends, and `serve` with it. Nothing waits for the disk here.
fn run(lease: &Lease, store: &dyn Store, jobs: &mpsc::Sender<Job>) {
    while lease.wait() {
        lease.renew(store);
    }
    if lease.is_lost() && jobs.blocking_send(Job::last()).is_err() {
        tracing::debug!("the writing thread has ended already");
    }
}
