//! Mailbox of one client: messages that others published, within a bound, and the reason if the
//! client has to end.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::Bytes;
use holdfast_mqtt::{Fault, Origin, Retain};

/// Most messages in a mailbox.
const MAX_MESSAGES: usize = 1_000;
/// Most bytes of messages in a mailbox; the kernel's socket buffer holds as much again.
const MAX_BYTES: usize = 256 * 1024;
/// Bytes that a message takes beside its topic and payload.
const OVERHEAD: usize = 96;

/// A message on its way to one client.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    /// Topic as this client names it.
    pub(super) topic: Box<str>,
    pub(super) payload: Bytes,
    pub(super) retain: Retain,
    pub(super) origin: Origin,
}

impl Delivery {
    fn size(&self) -> usize {
        self.topic.len() + self.payload.len() + OVERHEAD
    }
}

#[derive(Default)]
struct Inner {
    messages: VecDeque<Delivery>,
    bytes: usize,
    end: Option<Fault>,
    waker: Option<Waker>,
}

/// Mailbox of one client; see the module's documentation.
#[derive(Default)]
pub(super) struct Mailbox {
    inner: Mutex<Inner>,
}

impl Mailbox {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        let waker = self.inner().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Adds a message and wakes the client's task. False when there is no room.
    pub(super) fn push(&self, message: Delivery) -> bool {
        {
            let mut inner = self.inner();
            let full = inner.messages.len() >= MAX_MESSAGES
                || (inner.bytes > 0 && inner.bytes + message.size() > MAX_BYTES);
            if full {
                return false;
            }
            inner.bytes += message.size();
            inner.messages.push_back(message);
        }
        self.wake();
        true
    }

    /// Asks the client to end; the first reason stays.
    pub(super) fn end(&self, why: Fault) {
        self.inner().end.get_or_insert(why);
        self.wake();
    }

    /// Sets the waker of the client's task; returns the reason if the client has to end.
    pub(super) fn listen(&self, waker: &Waker) -> Option<Fault> {
        let mut inner = self.inner();
        if !inner.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            inner.waker = Some(waker.clone());
        }
        inner.end.take()
    }

    /// Takes the next message.
    pub(super) fn next(&self) -> Option<Delivery> {
        let mut inner = self.inner();
        let next = inner.messages.pop_front()?;
        inner.bytes = inner.bytes.saturating_sub(next.size());
        if inner.messages.is_empty() {
            inner.messages = VecDeque::new();
        }
        Some(next)
    }
}
