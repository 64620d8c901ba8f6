//! Fair queue between threads: many put entries in, one thread takes them out, tenants in turn.
//!
//! See decision 0168.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_base::ids::Name;

use crate::core::fair::{Fair, Taken};

/// What a [`Waiting`] holds.
#[derive(Debug)]
struct Held<T> {
    fair: Fair<T>,
    /// True when the thread was woken without an entry.
    woken: bool,
    /// True once nobody takes entries out any more.
    closed: bool,
}

/// Queue of one thread.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    held: Mutex<Held<T>>,
    filled: Condvar,
}

/// Reason why an entry was not put in; it is given back.
#[derive(Debug)]
pub(super) struct NotPut<T>(pub(super) T);

impl<T> Waiting<T> {
    /// Creates an empty queue in which each tenant has at most `bound` entries.
    pub(super) fn new(bound: usize) -> Self {
        let held = Held { fair: Fair::new(bound), woken: false, closed: false };
        Self { held: Mutex::new(held), filled: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Held<T>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an entry of a tenant, without waiting.
    pub(super) fn put(&self, tenant: &Name, item: T) -> Result<(), NotPut<T>> {
        let mut held = self.lock();
        if held.closed {
            return Err(NotPut(item));
        }
        held.fair.push(tenant, item).map_err(NotPut)?;
        drop(held);
        self.filled.notify_one();
        Ok(())
    }

    /// Adds an entry that is taken after everything that is in the queue and before everything that
    /// comes later.
    pub(super) fn put_barrier(&self, item: T) -> Result<(), NotPut<T>> {
        let mut held = self.lock();
        if held.closed {
            return Err(NotPut(item));
        }
        held.fair.barrier(item);
        drop(held);
        self.filled.notify_one();
        Ok(())
    }

    /// Ends a wait of the thread although nothing was put in.
    pub(super) fn wake(&self) {
        self.lock().woken = true;
        self.filled.notify_one();
    }

    /// Takes the next entry when there is one.
    pub(super) fn take(&self) -> Option<Taken<T>> {
        self.lock().fair.pop()
    }

    /// Waits for the next entry, until the time is over or somebody calls [`Waiting::wake`].
    pub(super) fn wait(&self, time: Option<Duration>) -> Option<Taken<T>> {
        let mut held = self.lock();
        let empty = |held: &mut Held<T>| held.fair.is_empty() && !held.woken;
        held = match time {
            None => self.filled.wait_while(held, empty).unwrap_or_else(PoisonError::into_inner),
            Some(time) => {
                let waited = self.filled.wait_timeout_while(held, time, empty);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        held.woken = false;
        held.fair.pop()
    }

    /// Refuses further entries, and returns those that are left.
    pub(super) fn close(&self) -> Vec<T> {
        let mut held = self.lock();
        held.closed = true;
        let mut left = Vec::new();
        while let Some(Taken::Of(_, item) | Taken::Barrier(item)) = held.fair.pop() {
            left.push(item);
        }
        left
    }

    /// True once nothing can be put in any more.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }
}
