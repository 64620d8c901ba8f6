//! Who is connected, and what waits for each connection's task: a small inbox with a waker, in
//! place of a channel (whose blocks would cost more memory than the rest of the connection).
//! See decision 0131.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use bytes::Bytes;
use holdfast_base::ids::DeviceId;

use crate::core::liveness::Line;

/// Calls that wait for the connection's own task to take them into its session.
const INBOX_CALLS: usize = 16;

/// Acknowledgements that wait likewise: one a transaction of the data store. What is lost here is
/// sent again by the device.
const INBOX_ACKS: usize = 64;

/// Why a connection is asked to end from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The control plane ends it: revoked, or replaced identity.
    Administrative,
    /// A newer connection of the same device.
    TakenOver,
    /// The gateway stops.
    ShuttingDown,
}

/// What others left for the connection's task.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// The desired state changed.
    pub(super) desired: bool,
    /// End the connection.
    pub(super) end: Option<End>,
    /// Calls to send.
    pub(super) calls: VecDeque<Bytes>,
    /// Acknowledgements to send.
    pub(super) acks: VecDeque<Bytes>,
    /// Tokens of publishes that are stored (true) or could not be (false).
    pub(super) done: Vec<(u64, bool)>,
    waker: Option<Waker>,
    /// The task has ended: nothing is taken any more.
    closed: bool,
}

/// A connection as others see it.
#[derive(Debug)]
pub(super) struct Mailbox {
    /// Unique in this process, rising.
    pub(super) connection: u64,
    /// The device has subscribed to its calls.
    takes_calls: AtomicBool,
    /// The device has subscribed to its acknowledgements.
    takes_acks: AtomicBool,
    /// Seconds within which the device promised its next packet. 0: not connected yet.
    keep_alive: AtomicU16,
    /// When it was last heard, in seconds of the gateway's clock.
    heard: AtomicU32,
    /// What the gateway's clock counts from.
    started: Instant,
    inbox: Mutex<Inbox>,
}

impl Mailbox {
    /// A connection of which nothing was heard yet. `started`: what the gateway's clock counts
    /// from.
    pub(super) fn new(connection: u64, started: Instant) -> Self {
        Self {
            connection,
            takes_calls: AtomicBool::new(false),
            takes_acks: AtomicBool::new(false),
            keep_alive: AtomicU16::new(0),
            heard: AtomicU32::new(0),
            started,
            inbox: Mutex::new(Inbox::default()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the inbox and wakes the connection's task.
    fn leave<T>(&self, change: impl FnOnce(&mut Inbox) -> T) -> T {
        let (out, waker) = {
            let mut inbox = self.lock();
            let out = change(&mut inbox);
            (out, inbox.waker.take())
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        out
    }

    pub(super) fn desired_changed(&self) {
        self.leave(|inbox| inbox.desired = true);
    }

    /// Asks for the end; the first reason stays.
    pub(super) fn end(&self, why: End) {
        self.leave(|inbox| {
            inbox.end.get_or_insert(why);
        });
    }

    pub(super) fn done(&self, token: u64, stored: bool) {
        self.leave(|inbox| {
            if !inbox.closed {
                inbox.done.push((token, stored));
            }
        });
    }

    /// Something came from the device, at this time of the gateway's clock in milliseconds.
    pub(super) fn heard(&self, now: u64) {
        self.heard.store(u32::try_from(now / 1_000).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    pub(super) fn promised(&self, keep_alive: u16) {
        self.keep_alive.store(keep_alive, Ordering::Relaxed);
    }

    pub(super) fn takes(&self, calls: bool, acks: bool) {
        self.takes_calls.store(calls, Ordering::Relaxed);
        self.takes_acks.store(acks, Ordering::Relaxed);
    }

    /// False: not subscribed, full, or ended.
    pub(super) fn ack(&self, payload: Bytes) -> bool {
        if !self.takes_acks.load(Ordering::Relaxed) {
            return false;
        }
        self.leave(|inbox| {
            let taken = !inbox.closed && inbox.end.is_none() && inbox.acks.len() < INBOX_ACKS;
            if taken {
                inbox.acks.push_back(payload);
            }
            taken
        })
    }

    /// False: not subscribed, full, or ended.
    pub(super) fn call(&self, payload: Bytes) -> bool {
        if !self.takes_calls.load(Ordering::Relaxed) {
            return false;
        }
        self.leave(|inbox| {
            let taken = !inbox.closed && inbox.end.is_none() && inbox.calls.len() < INBOX_CALLS;
            if taken {
                inbox.calls.push_back(payload);
            }
            taken
        })
    }

    /// Takes what is there and leaves the waker for what comes.
    pub(super) fn take(&self, waker: &Waker) -> Inbox {
        let mut inbox = self.lock();
        let waker = match inbox.waker.take() {
            Some(known) if known.will_wake(waker) => known,
            _ => waker.clone(),
        };
        std::mem::replace(&mut *inbox, Inbox { waker: Some(waker), ..Inbox::default() })
    }

    /// The task ends.
    pub(super) fn close(&self) {
        *self.lock() = Inbox { closed: true, ..Inbox::default() };
    }
}

impl Line for Mailbox {
    fn silent(&self) -> u64 {
        let heard = u64::from(self.heard.load(Ordering::Relaxed));
        self.started.elapsed().as_secs().saturating_sub(heard)
    }

    fn keep_alive(&self) -> u16 {
        self.keep_alive.load(Ordering::Relaxed)
    }
}

/// The connected devices.
#[derive(Debug, Default)]
pub(super) struct Registry {
    next: AtomicU64,
    by_device: Mutex<HashMap<DeviceId, Arc<Mailbox>>>,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceId, Arc<Mailbox>>> {
        self.by_device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a new connection.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn get(&self, device: &DeviceId) -> Option<Arc<Mailbox>> {
        self.lock().get(device).cloned()
    }

    /// Enters a connection. `Err`: a newer one of the device is there. `Ok(Some)`: the older one
    /// that it replaces.
    pub(super) fn enter(
        &self,
        device: &DeviceId,
        mailbox: &Arc<Mailbox>,
    ) -> Result<Option<Arc<Mailbox>>, ()> {
        let mut map = self.lock();
        if map.get(device).is_some_and(|known| known.connection > mailbox.connection) {
            return Err(());
        }
        Ok(map.insert(device.clone(), Arc::clone(mailbox)))
    }

    /// True while this connection is the device's.
    pub(super) fn is_current(&self, device: &DeviceId, connection: u64) -> bool {
        self.lock().get(device).is_some_and(|known| known.connection == connection)
    }

    /// Takes the connection out, if it is still the device's.
    pub(super) fn leave(&self, device: &DeviceId, connection: u64) {
        let mut map = self.lock();
        if map.get(device).is_some_and(|known| known.connection == connection) {
            map.remove(device);
            if map.capacity() > 4 * map.len() + 64 {
                map.shrink_to_fit();
            }
        }
    }

    /// Every connection there is.
    pub(super) fn all(&self) -> Vec<Arc<Mailbox>> {
        self.lock().values().cloned().collect()
    }
}
