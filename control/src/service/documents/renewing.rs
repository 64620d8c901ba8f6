//! The thread that renews this process's lease.
//!
//! See decision 0136.

use std::sync::Arc;
use std::thread::JoinHandle;

use super::jobs::Jobs;
use super::lease::{Lease, Uptime};
use super::part::Documents;
use crate::ports::store::{Shard, Store};
use crate::service::StartError;

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
        jobs: Arc<Jobs<Documents>>,
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
fn run(lease: &Lease, store: &dyn Store, jobs: &Jobs<Documents>) {
    while lease.wait() {
        lease.renew(store);
    }
    if lease.is_lost() && !jobs.end() {
        tracing::debug!("the writing thread has ended already");
    }
}
