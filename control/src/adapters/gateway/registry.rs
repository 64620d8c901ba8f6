//! Registry of the connected devices, and the mailbox of each connection's task: a small inbox with
//! a waker. A channel's blocks would cost more memory than the rest of the connection.
//!
//! See decision 0131.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use bytes::Bytes;
use holdfast_base::ids::DeviceId;

use crate::ports::bus::{Line, Outcome};

/// Maximum number of calls that wait for the connection's task.
const INBOX_CALLS: usize = 16;

/// Maximum number of acknowledgements that wait for the connection's task. There is one for each
/// transaction of the data store, and one for each report. The device sends the batch or the report
/// of a lost one again.
const INBOX_ACKS: usize = 64;

/// Reason why a connection is ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The control plane ends it, because the device was revoked, deleted or restored.
    Administrative,
    /// A newer connection of the same device replaces it.
    TakenOver,
    /// The gateway is shutting down.
    ShuttingDown,
}

/// Messages of other tasks for the connection's task.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// True when the desired state changed.
    pub(super) desired: bool,
    /// Reason to end the connection.
    pub(super) end: Option<End>,
    /// Signed calls to send.
    pub(super) calls: VecDeque<Bytes>,
    /// Encoded acknowledgements to send.
    pub(super) acks: VecDeque<Bytes>,
    /// Tokens of publishes that were stored (true) or could not be stored (false).
    pub(super) done: Vec<(u64, bool)>,
    waker: Option<Waker>,
    /// True when the task has ended: nothing is accepted any more.
    closed: bool,
}

/// Mailbox of a connection, and what others may know of it.
#[derive(Debug)]
pub(super) struct Mailbox {
    /// Number of the connection, unique in this process and rising.
    pub(super) connection: u64,
    /// True while the device is subscribed to its calls.
    takes_calls: AtomicBool,
    /// True if topics are replaced by aliases after they were named once.
    aliases: AtomicBool,
    /// Number of calls that were left, as far as it fits.
    called: AtomicU8,
    /// True while the device is subscribed to its acknowledgements.
    takes_acks: AtomicBool,
    /// Keep-alive of the connection in seconds; 0 before CONNECT.
    keep_alive: AtomicU16,
    /// Time at which the device was last heard, in seconds of the gateway's clock.
    heard: AtomicU32,
    /// Start of the gateway's clock.
    started: Instant,
    inbox: Mutex<Inbox>,
}

impl Mailbox {
    /// Makes the mailbox of a connection from which nothing was heard yet. `started` is the start
    /// of the gateway's clock.
    pub(super) fn new(connection: u64, started: Instant) -> Self {
        Self {
            connection,
            takes_calls: AtomicBool::new(false),
            aliases: AtomicBool::new(false),
            called: AtomicU8::new(0),
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

    /// Asks the connection to end. The first reason counts.
    pub(super) fn end(&self, why: End) {
        self.leave(|inbox| {
            inbox.end.get_or_insert(why);
        });
    }

    /// Leaves the outcome of a publish. Its acknowledgement is left in the same step, so that both
    /// go out in one write.
    pub(super) fn done(&self, token: u64, outcome: Outcome) {
        let takes_acks = self.takes_acks.load(Ordering::Relaxed);
        self.leave(|inbox| {
            if inbox.closed {
                return;
            }
            inbox.done.push((token, outcome != Outcome::NotStored));
            if let Outcome::Acknowledged(ack) = outcome
                && takes_acks
                && inbox.acks.len() < INBOX_ACKS
            {
                inbox.acks.push_back(ack);
            }
        });
    }

    /// Notes that something arrived from the device at this time of the gateway's clock, in
    /// milliseconds.
    pub(super) fn heard(&self, now: u64) {
        self.heard.store(u32::try_from(now / 1_000).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    pub(super) fn promised(&self, keep_alive: u16, aliases: bool) {
        self.aliases.store(aliases, Ordering::Relaxed);
        self.keep_alive.store(keep_alive, Ordering::Relaxed);
    }

    pub(super) fn takes(&self, calls: bool, acks: bool) {
        self.takes_calls.store(calls, Ordering::Relaxed);
        self.takes_acks.store(acks, Ordering::Relaxed);
    }

    /// Leaves an acknowledgement. Returns false when the device is not subscribed, the inbox is
    /// full, or the connection ends.
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

    /// Leaves a call. Returns false when the device is not subscribed, the inbox is full, or the
    /// connection ends.
    pub(super) fn call(&self, payload: Bytes) -> bool {
        if !self.takes_calls.load(Ordering::Relaxed) {
            return false;
        }
        self.leave(|inbox| {
            let taken = !inbox.closed && inbox.end.is_none() && inbox.calls.len() < INBOX_CALLS;
            if taken {
                inbox.calls.push_back(payload);
                let called = self.called.load(Ordering::Relaxed);
                self.called.store(called.saturating_add(1), Ordering::Relaxed);
            }
            taken
        })
    }

    /// Takes the inbox, and leaves the waker for what comes later.
    pub(super) fn take(&self, waker: &Waker) -> Inbox {
        let mut inbox = self.lock();
        let waker = match inbox.waker.take() {
            Some(known) if known.will_wake(waker) => known,
            _ => waker.clone(),
        };
        std::mem::replace(&mut *inbox, Inbox { waker: Some(waker), ..Inbox::default() })
    }

    /// Marks the connection's task as ended.
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

    fn calls_by_alias(&self) -> bool {
        self.aliases.load(Ordering::Relaxed) && self.called.load(Ordering::Relaxed) > 1
    }
}

/// Mailboxes of the connected devices.
#[derive(Debug, Default)]
pub(super) struct Registry {
    next: AtomicU64,
    by_device: Mutex<HashMap<DeviceId, Arc<Mailbox>>>,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceId, Arc<Mailbox>>> {
        self.by_device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a number for a new connection.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn get(&self, device: &DeviceId) -> Option<Arc<Mailbox>> {
        self.lock().get(device).cloned()
    }

    /// Enters a connection. Returns the older connection that it replaces, or `Err` when a newer
    /// one of the device is there.
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

    /// Returns true while this is the device's connection.
    pub(super) fn is_current(&self, device: &DeviceId, connection: u64) -> bool {
        self.lock().get(device).is_some_and(|known| known.connection == connection)
    }

    /// Removes a connection, if it is still the device's.
    pub(super) fn leave(&self, device: &DeviceId, connection: u64) {
        let mut map = self.lock();
        if map.get(device).is_some_and(|known| known.connection == connection) {
            map.remove(device);
            if map.capacity() > 4 * map.len() + 64 {
                map.shrink_to_fit();
            }
        }
    }

    /// Mailboxes of all connections.
    pub(super) fn all(&self) -> Vec<Arc<Mailbox>> {
        self.lock().values().cloned().collect()
    }
}
