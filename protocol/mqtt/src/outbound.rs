//! Messages to the client: a bounded queue that can conflate messages of a topic to the newest, the
//! window of publishes that the client has not acknowledged, and the topics that have an alias.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Version;
use super::encode::{self, Topic};

/// Unwritten output in bytes above which no further message is begun: the rest waits in the queue,
/// where a newer message can still replace an older one.
pub(super) const OUTPUT_HIGH: usize = 16 * 1024;

/// Kind of a message, which decides its retain flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retain {
    /// The message is not retained.
    No,
    /// The message is retained and sent because of a new subscription: the flag is set.
    Stored,
    /// The message is retained and sent because it changed: the flag is set if the subscription
    /// asks for it.
    Live,
}

/// Message to the client.
#[derive(Debug, Clone)]
pub struct Message {
    /// Name of the topic.
    pub topic: Box<str>,
    /// Bytes of the message.
    pub payload: Bytes,
    /// Kind of the message, for its retain flag.
    pub retain: Retain,
    /// True: the message replaces one of the same topic that still waits.
    pub conflate: bool,
}

/// Sender of a message, where the clients of one host publish to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// QoS of the publish, which is the highest QoS of its delivery.
    pub qos: u8,
    /// True: the receiving client published it itself, so that subscriptions with no-local do not
    /// want it.
    pub own: bool,
}

impl Origin {
    /// Origin of messages from the host itself.
    pub const HOST: Self = Self { qos: 1, own: false };
}

/// Reason why a message was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// The client is not connected, or no longer.
    #[error("not connected")]
    NotConnected,
    /// The client has no subscription that matches.
    #[error("not subscribed")]
    NotSubscribed,
    /// Too many messages wait already.
    #[error("queue full")]
    Full,
    /// The message is larger than the client accepts.
    #[error("larger than the client takes")]
    TooLarge,
}

/// Message that waits in the queue.
pub(super) struct Waiting {
    pub(super) topic: Box<str>,
    pub(super) payload: Bytes,
    pub(super) retain: bool,
    pub(super) qos: u8,
    pub(super) conflate: bool,
}

/// Topics for which a number stands on this connection, so that the name is sent only once.
#[derive(Default)]
pub(super) struct Aliases {
    /// Most topics; 0: none.
    pub(super) most: u16,
    /// Topics that have an alias: the first has 1.
    known: Vec<Box<str>>,
}

impl Aliases {
    /// Returns the bytes that an alias may add to a message.
    pub(super) fn size(&self) -> usize {
        if self.most > 0 { encode::TOPIC_ALIAS } else { 0 }
    }

    /// Returns the topic as it is sent now: by its alias alone if the client knows it, else with
    /// its name and, while there are any, with a new alias.
    fn shorten<'a>(&mut self, topic: &'a str) -> Topic<'a> {
        let number = |index: usize| u16::try_from(index + 1).ok();
        if let Some(index) = self.known.iter().position(|known| **known == *topic) {
            return Topic { name: "", alias: number(index) };
        }
        let alias = number(self.known.len()).filter(|alias| *alias <= self.most);
        if alias.is_some() {
            self.known.push(topic.into());
        }
        Topic { name: topic, alias }
    }
}

/// Queue of messages and window of unacknowledged publishes.
pub(super) struct Outbound {
    queue: VecDeque<Waiting>,
    /// Packet ids that the client has not acknowledged, the oldest first.
    in_flight: VecDeque<u16>,
    next_id: u16,
    pub(super) aliases: Aliases,
}

impl Outbound {
    pub(super) fn new() -> Self {
        let (queue, in_flight) = (VecDeque::new(), VecDeque::new());
        Self { queue, in_flight, next_id: 1, aliases: Aliases::default() }
    }

    /// Queues a message, or refuses it.
    pub(super) fn push(&mut self, message: Waiting, limit: usize) -> Result<(), NotTaken> {
        if message.conflate
            && let Some(old) =
                self.queue.iter_mut().find(|old| old.conflate && old.topic == message.topic)
        {
            // If a subscription still waits for the retained message, the newer one carries the
            // flag as well.
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

    /// Moves messages into the output as window and output allow, and returns how many.
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
            let topic = self.aliases.shorten(&next.topic);
            encode::publish(out, version, topic, packet_id, next.retain, &next.payload);
            moved += 1;
        }
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        moved
    }

    /// Returns the next packet id that is not in flight. The loop ends since the window is far
    /// smaller than the number of ids.
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

    /// Removes an acknowledged packet id from the window; unknown ids are ignored.
    pub(super) fn acknowledged(&mut self, packet_id: u16) {
        self.in_flight.retain(|&id| id != packet_id);
        if self.in_flight.is_empty() {
            self.in_flight = VecDeque::new();
        }
    }

    /// Returns true if a message given now would go into the output at once.
    pub(super) fn is_ready(&self, window: u16) -> bool {
        self.queue.is_empty() && self.in_flight.len() < usize::from(window)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }
}
