//! Places of a listener's connections: the crowd of `core/crowd.rs` with the tasks behind it. The
//! API's port and the gateway's port both admit connections by it.
//!
//! See decision 0095.
#![allow(clippy::disallowed_methods, reason = "an adapter: it reads the clock")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::core::crowd::{Bounds, Crowd, Room, Stage};

/// Places of one listener.
#[derive(Debug)]
pub(super) struct Seats {
    held: Mutex<Held>,
    /// Start of its clock.
    started: Instant,
    freed: Notify,
}

#[derive(Debug)]
struct Held {
    crowd: Crowd,
    tasks: BTreeMap<u64, AbortHandle>,
    next: u64,
}

impl Held {
    fn end(&mut self, number: u64) {
        self.crowd.leave(number);
        if let Some(task) = self.tasks.remove(&number) {
            task.abort();
        }
    }
}

impl Seats {
    pub(super) fn new(bounds: Bounds) -> Arc<Self> {
        let held = Held { crowd: Crowd::new(bounds), tasks: BTreeMap::new(), next: 0 };
        Arc::new(Self { held: held.into(), started: Instant::now(), freed: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Gives a new connection a place. Returns the place and the number of connections that were
    /// ended for it.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr, stage: Stage) -> (Seat, u64) {
        let now = self.now();
        let mut held = self.lock();
        let number = held.next;
        held.next += 1;
        let ended = held.crowd.enter(number, address, stage, now);
        for one in &ended {
            held.end(*one);
        }
        (Seat { seats: Arc::clone(self), number }, ended.len() as u64)
    }

    /// Waits until there is room for another stranger, and ends one that has stalled if needed.
    /// Returns true when one was ended. For a listener whose new connections wait in the kernel's
    /// queue.
    pub(super) async fn room(&self) -> bool {
        let mut ended = false;
        loop {
            let freed = self.freed.notified();
            let wait = {
                let mut held = self.lock();
                match held.crowd.room(self.now()) {
                    Room::Free => return ended,
                    Room::Stalled(number) => {
                        held.end(number);
                        ended = true;
                        continue;
                    }
                    Room::After(wait) => Duration::from_millis(wait),
                }
            };
            // A freed place and a stalled connection are both found by looking again.
            drop(tokio::time::timeout(wait, freed).await);
        }
    }

    /// Ends the connection that is missed least, when the machine has no resources for another one.
    pub(super) fn relieve(&self) {
        let mut held = self.lock();
        if let Some(number) = held.crowd.least() {
            held.end(number);
        }
    }

    /// Sets the task that is aborted when the place is needed.
    pub(super) fn held_by(&self, number: u64, task: AbortHandle) {
        let mut held = self.lock();
        if held.crowd.has(number) {
            held.tasks.insert(number, task);
        }
    }

    pub(super) fn abort_all(&self) {
        let mut held = self.lock();
        for (number, task) in std::mem::take(&mut held.tasks) {
            held.crowd.leave(number);
            task.abort();
        }
    }

    /// Waits until all connections have left.
    pub(super) async fn empty(&self) {
        loop {
            let freed = self.freed.notified();
            if self.lock().crowd.is_empty() {
                return;
            }
            freed.await;
        }
    }
}

/// Place of one connection, which is given back on drop.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    number: u64,
}

impl Seat {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn seats(&self) -> Arc<Seats> {
        Arc::clone(&self.seats)
    }

    /// Notes that the connection has reached a stage.
    pub(super) fn at(&self, stage: Stage) {
        let now = self.seats.now();
        self.seats.lock().crowd.at(self.number, stage, now);
    }

    /// Notes that the connection has authenticated.
    pub(super) fn known(&self) {
        self.seats.lock().crowd.known(self.number);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        {
            let mut held = self.seats.lock();
            held.crowd.leave(self.number);
            held.tasks.remove(&self.number);
        }
        self.seats.freed.notify_one();
    }
}
