//! What goes to the client: a bounded queue that keeps only the newest message of a topic where
//! that is asked for, and the window of publishes that the client has not acknowledged.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Version;
use super::encode;

/// Output that waits to be written, in bytes, above which nothing more is put there but a
/// message already begun: the rest waits in the queue, where newer can still replace older.
pub(super) const OUTPUT_HIGH: usize = 16 * 1024;

/// Whether a message is retained, which decides its flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retain {
    /// Not a retained message.
    No,
    /// Retained, and sent because of a new subscription: the flag is set.
    Stored,
    /// Retained, and sent because it changed: the flag is set if the subscription asks for it.
    Live,
}

/// A message to the client.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its topic.
    pub topic: Box<str>,
    /// Its payload.
    pub payload: Bytes,
    /// See [`Retain`].
    pub retain: Retain,
    /// True: it replaces a message of the same topic that still waits.
    pub conflate: bool,
}

/// Whose message it is, where clients of one host publish to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The QoS that it was published with: it is delivered with no more.
    pub qos: u8,
    /// The client published it itself: subscriptions with no-local do not want it.
    pub own: bool,
}

impl Origin {
    /// From the host itself.
    pub const HOST: Self = Self { qos: 1, own: false };
}

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// Not connected (any more).
    #[error("not connected")]
    NotConnected,
    /// The client has no subscription that matches.
    #[error("not subscribed")]
    NotSubscribed,
    /// Too much waits already.
    #[error("queue full")]
    Full,
    /// Larger than the client takes.
    #[error("larger than the client takes")]
    TooLarge,
}

/// A message as it waits.
pub(super) struct Waiting {
    pub(super) topic: Box<str>,
    pub(super) payload: Bytes,
    pub(super) retain: bool,
    pub(super) qos: u8,
    pub(super) conflate: bool,
}

/// The queue and the window.
pub(super) struct Outbound {
    queue: VecDeque<Waiting>,
    /// Packet ids that the client has not acknowledged, oldest first.
    in_flight: VecDeque<u16>,
    next_id: u16,
}

impl Outbound {
    pub(super) fn new() -> Self {
        Self { queue: VecDeque::new(), in_flight: VecDeque::new(), next_id: 1 }
    }

    /// Takes a message in, or refuses it.
    pub(super) fn push(&mut self, message: Waiting, limit: usize) -> Result<(), NotTaken> {
        if message.conflate
            && let Some(old) =
                self.queue.iter_mut().find(|old| old.conflate && old.topic == message.topic)
        {
            // A retained message that a subscription is owed stays marked so.
            let retain = old.retain || message.retain;
            *old = Waiting { retain, ..message };
            return Ok(());
        }
        if self.queue.len() >= limit {
            return Err(NotTaken::Full);
        }
        self.queue.push_back(message);
        Ok(())
    }

    /// Moves what may go now into the output. Returns how many publishes.
    pub(super) fn fill(&mut self, out: &mut Vec<u8>, version: Version, window: u16) -> u64 {
        let mut moved = 0;
        while out.len() < OUTPUT_HIGH
            && let Some(next) = self.queue.front()
        {
            if next.qos > 0 && self.in_flight.len() >= usize::from(window) {
                break;
            }
            let Some(next) = self.queue.pop_front() else { break };
            let packet_id = (next.qos > 0).then(|| self.take_id());
            encode::publish(out, version, &next.topic, packet_id, next.retain, &next.payload);
            moved += 1;
        }
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        moved
    }

    /// The next id that is not in flight. The window is far smaller than the ids.
    fn take_id(&mut self) -> u16 {
        loop {
            let id = self.next_id;
            self.next_id = id.checked_add(1).unwrap_or(1);
            if !self.in_flight.contains(&id) {
                self.in_flight.push_back(id);
                return id;
            }
        }
    }

    /// The client acknowledged; ids that it made up are ignored.
    pub(super) fn acknowledged(&mut self, packet_id: u16) {
        self.in_flight.retain(|&id| id != packet_id);
        if self.in_flight.is_empty() {
            self.in_flight = VecDeque::new();
        }
    }

    /// True when a message given now would go out now.
    pub(super) fn is_ready(&self, window: u16) -> bool {
        self.queue.is_empty() && self.in_flight.len() < usize::from(window)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }
}
