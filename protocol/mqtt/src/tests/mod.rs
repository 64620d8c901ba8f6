//! Whole sessions, driven byte by byte: their answers, their refusals, and that no input breaks
//! them.

mod behaviour;
mod chunks;
mod ends;
mod lenient;
mod malformed;
mod outward;
mod table;
mod wire;

use std::sync::Arc;

use super::{Client, Code, Ending, Event, Fault, Limits, Policy, Session, Will, matches};

use wire::NAME;

/// An empty output.
pub(super) const NOTHING: [u8; 0] = [];

/// Topics of the client below [`PREFIX`] that it may publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    State,
    Reply,
    Presence,
}

/// Prefix of the client's topics, with the final `/`.
const PREFIX: &str = "hf/v1/7/acme_dev/";

/// Policy like the gateway's, without certificate and directory.
pub(super) struct TestPolicy {
    refuse: Option<Fault>,
}

impl Policy for TestPolicy {
    type Route = Channel;

    fn connect(&mut self, client: &Client<'_>) -> Result<(), Fault> {
        if client.id != NAME {
            return Err(Fault::new(Code::ClientId, "another client id"));
        }
        self.refuse.map_or(Ok(()), Err)
    }

    fn publish(&self, topic: &str) -> Option<Channel> {
        match topic.strip_prefix(PREFIX)? {
            "state" => Some(Channel::State),
            "reply" => Some(Channel::Reply),
            "presence" => Some(Channel::Presence),
            _ => None,
        }
    }

    fn subscribe(&self, filter: &str) -> bool {
        let Some(rest) = filter.strip_prefix(PREFIX) else { return false };
        ["state", "reply", "presence", "desired", "call"].iter().any(|name| matches(rest, name))
    }
}

pub(super) fn limits() -> Limits {
    Limits {
        max_packet: table::MAX_PACKET,
        inbound_in_flight: 4,
        inbound_bytes: 128 * 1024,
        outbound_in_flight: 2,
        outbound_queue: 3,
        topic_aliases: 2,
        connect_timeout: 10_000,
        partial_timeout: 60_000,
        max_keep_alive: 3_600,
        lenient: false,
    }
}

/// Event that a session told its host, in a comparable form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    Connected(u16),
    Published(u64, Channel, Vec<u8>, bool),
    Subscribed(Vec<String>, bool),
    Unsubscribed,
    NotAllowed,
    TooLarge(String),
    Ended(Ending, Option<Will<Channel>>),
}

/// Session with all events that it told.
pub(super) struct Rig {
    pub(super) session: Session<TestPolicy>,
    pub(super) told: Vec<Told>,
    pub(super) now: u64,
    /// True: publishes are acknowledged at once.
    pub(super) stores: bool,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(limits(), None)
    }

    pub(super) fn with(limits: Limits, refuse: Option<Fault>) -> Self {
        let session = Session::new(TestPolicy { refuse }, Arc::new(limits), 0);
        Self { session, told: Vec::new(), now: 0, stores: true }
    }

    /// Returns a session like one of the local bus, connected in this version, with CONNACK read.
    pub(super) fn lenient(version: u8) -> Self {
        let mut rig = Self::with(Limits { lenient: true, ..limits() }, None);
        rig.answer(&wire::connect(version, NAME));
        rig.told.clear();
        rig
    }

    /// Returns a session connected in this version, with CONNACK read.
    pub(super) fn connected(version: u8) -> Self {
        Self::after(&wire::connect(version, NAME))
    }

    /// Returns a session connected by this CONNECT, with CONNACK read.
    pub(super) fn after(connect: &[u8]) -> Self {
        let mut rig = Self::new();
        rig.give(connect);
        let answer = rig.take();
        assert_eq!(answer.get(..4).map(|head| (head[0], head[2], head[3])), Some((0x20, 0, 0)));
        assert_eq!(rig.told.len(), 1);
        rig.told.clear();
        rig
    }

    /// Gives bytes to the session and collects the events.
    pub(super) fn give(&mut self, bytes: &[u8]) {
        self.session.receive(bytes, self.now);
        self.events();
    }

    pub(super) fn events(&mut self) {
        while let Some(event) = self.session.poll_event() {
            let told = match event {
                Event::Connected { keep_alive, .. } => Told::Connected(keep_alive),
                Event::Published { token, route, payload, retain, .. } => {
                    if self.stores {
                        self.session.acknowledge(token, true);
                    }
                    Told::Published(token, route, payload.to_vec(), retain)
                }
                Event::Subscribed { retained, refused } => Told::Subscribed(retained, refused),
                Event::Unsubscribed => Told::Unsubscribed,
                Event::NotAllowed => Told::NotAllowed,
                Event::TooLarge { topic } => Told::TooLarge(topic),
                Event::Ended { ending, will } => Told::Ended(ending, will),
            };
            self.told.push(told);
        }
    }

    /// Takes the whole output, as if it had been written.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while !self.session.output().is_empty() {
            let count = self.session.output().len();
            out.extend_from_slice(self.session.output());
            self.session.consume(count);
        }
        out
    }

    /// Gives bytes and returns the answer, which makes room for the next bytes.
    pub(super) fn answer(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.give(bytes);
        let mut all = Vec::new();
        loop {
            let out = self.take();
            self.events();
            if out.is_empty() {
                return all;
            }
            all.extend(out);
        }
    }

    /// Returns the events since the last call.
    pub(super) fn news(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    pub(super) fn at(&mut self, now: u64) {
        self.now = now;
        self.session.handle_timeout(now);
        self.events();
    }

    pub(super) fn ending(&self) -> Option<Ending> {
        self.told.iter().find_map(|told| match told {
            Told::Ended(ending, _) => Some(*ending),
            _ => None,
        })
    }
}
