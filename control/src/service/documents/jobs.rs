//! Queue of changes for the writing thread: one line for each tenant, served in turn, so that a
//! tenant that makes many changes delays the changes of others by one group at most.
//!
//! See decision 0168.

use std::sync::Arc;

use holdfast_base::ids::Name;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::per_tenant::PerTenant;
use crate::core::fair::Taken;
use crate::ports::store::{Batch, StoreError};
use crate::service::waiting::{NotPut, Waiting};

/// Maximum number of changes of one tenant that wait to be written. When there are as many, its
/// callers wait, and its devices are not acknowledged and send again.
const QUEUE: usize = 4_096;

/// Function that is called once with the outcome of a change. `D` is what was changed.
pub(super) type Tell<D> = Box<dyn FnOnce(&D, Result<(), StoreError>) + Send>;

/// Change that waits to be written.
pub(in crate::service) struct Job<D> {
    /// Tenant whose rows it writes. None: it may write those of all tenants.
    pub(super) tenant: Option<Name>,
    pub(super) number: u64,
    pub(super) batch: Batch,
    pub(super) tell: Tell<D>,
    /// True for the closing job, after which nothing comes.
    pub(super) last: bool,
    /// Place in the tenant's line, free again when the thread takes the job.
    place: Option<Place>,
}

impl<D> Job<D> {
    /// Makes a change of a tenant, or of all, with the place that was reserved for it.
    pub(super) fn new(
        tenant: Option<Name>,
        (number, batch): (u64, Batch),
        tell: Tell<D>,
        place: Place,
    ) -> Self {
        Self { tenant, number, batch, tell, last: false, place: Some(place) }
    }

    /// Makes the closing job.
    fn last() -> Self {
        let tell: Tell<D> = Box::new(|_, _| {});
        Self { tenant: None, number: 0, batch: Batch::default(), tell, last: true, place: None }
    }
}

/// Place in the line of a tenant.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
}

/// Bounds of one tenant.
#[derive(Debug)]
struct Bounds {
    /// Free places in its line.
    places: Arc<Semaphore>,
    /// One permit: a tenant makes one change at a time, so that at most one of its callers waits for
    /// the lock of the tables that all tenants share.
    turn: Arc<Semaphore>,
}

impl Bounds {
    fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(QUEUE)), turn: Arc::new(Semaphore::new(1)) }
    }
}

/// Queue of changes.
pub(in crate::service) struct Jobs<D> {
    waiting: Waiting<Job<D>>,
    bounds: PerTenant<Bounds>,
    closed: watch::Sender<bool>,
}

impl<D> std::fmt::Debug for Jobs<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jobs").finish_non_exhaustive()
    }
}

impl<D> Jobs<D> {
    /// Creates an empty queue.
    pub(in crate::service) fn new() -> Self {
        // Places bound the lines; barriers are made by a first tenant's caller who has a place too.
        let waiting = Waiting::new(usize::MAX);
        Self { waiting, bounds: PerTenant::default(), closed: watch::Sender::new(false) }
    }

    /// Waits for a place in the line of a tenant. None: the writing thread has ended.
    pub(super) async fn place(&self, tenant: &Name) -> Option<Place> {
        let places = Arc::clone(&self.bounds.of(tenant, Bounds::new).places);
        let mut closed = self.closed.subscribe();
        tokio::select! {
            biased;
            place = places.acquire_owned() => match self.is_closed() {
                true => None,
                false => place.ok().map(|permit| Place { _permit: permit }),
            },
            _ = closed.wait_for(|closed| *closed) => None,
        }
    }

    /// Takes a place in the line of a tenant. None: it has none, or the writing thread has ended.
    pub(super) fn try_place(&self, tenant: &Name) -> Option<Place> {
        let places = Arc::clone(&self.bounds.of(tenant, Bounds::new).places);
        let permit = places.try_acquire_owned().ok().filter(|_| !self.is_closed());
        permit.map(|permit| Place { _permit: permit })
    }

    /// Waits until it is the caller's turn to change the tables for a tenant.
    pub(super) async fn turn(&self, tenant: &Name) -> Option<OwnedSemaphorePermit> {
        let turn = Arc::clone(&self.bounds.of(tenant, Bounds::new).turn);
        turn.acquire_owned().await.ok()
    }

    /// Queues a change. When the writing thread has ended, the job is dropped, and whoever waits for
    /// it hears that.
    pub(super) fn put(&self, job: Job<D>) {
        let put = match job.tenant.clone() {
            Some(tenant) => self.waiting.put(&tenant, job),
            None => self.waiting.put_barrier(job),
        };
        if let Err(NotPut(job)) = put {
            drop(job);
        }
    }

    /// Queues the closing job. Returns false when the writing thread has ended already.
    pub(in crate::service) fn end(&self) -> bool {
        self.waiting.put_barrier(Job::last()).is_ok()
    }

    /// Waits for the next job.
    pub(super) fn wait(&self) -> Option<Job<D>> {
        self.waiting.wait(None).map(job)
    }

    /// Takes the next job when there is one.
    pub(super) fn take(&self) -> Option<Job<D>> {
        self.waiting.take().map(job)
    }

    /// Ends the queue: nothing is written any more, and everyone who waits hears that.
    pub(super) fn close(&self) {
        let left = self.waiting.close();
        self.closed.send_replace(true);
        drop(left);
    }

    /// Waits until the writing thread has ended.
    pub(super) async fn closed(&self) {
        let mut closed = self.closed.subscribe();
        // The sender lives as long as this queue.
        let _ended = closed.wait_for(|closed| *closed).await;
    }

    /// True once the writing thread has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.waiting.is_closed()
    }
}

/// Frees the job's place in its line.
fn job<D>(taken: Taken<Job<D>>) -> Job<D> {
    let (Taken::Of(_, mut job) | Taken::Barrier(mut job)) = taken;
    drop(job.place.take());
    job
}
