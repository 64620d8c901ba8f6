//! Session of one client: the state machine of a connection.
//!
//! See decisions 0085, 0086 and 0087.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::connect::{self, Connect};
use super::encode::{self, Offer, PUBACK, PUBCOMP, PUBREC};
use super::filter::is_topic_name;
use super::frame::{self, Kind};
use super::outbound::{Message, NotTaken, OUTPUT_HIGH, Origin, Outbound, Retain, Waiting};
use super::packet::{self, Packet, Publish, Wish};
use super::policy::{Client, Policy};
use super::reason::{Code, Ending, Fault};
use super::subscriptions::{Grant, Subscriptions};
use super::{Limits, Version};

/// Time in milliseconds for which an ending session waits for the answers to accepted publishes:
/// enough for a step of the store on a slow disk.
const LAST_ANSWERS: u64 = 5_000;

/// Event that a session tells its host.
#[derive(Debug)]
pub enum Event<R> {
    /// The CONNECT was accepted; its CONNACK is in the output.
    Connected {
        /// MQTT version of the client.
        version: Version,
        /// Keep-alive in seconds; the session itself enforces it.
        keep_alive: u16,
    },
    /// The client published to a topic that it may publish to. The host must answer with
    /// [`Session::acknowledge`], for QoS 0 too: the number of unanswered publishes is what bounds
    /// the client.
    Published {
        /// Number that identifies this publish in [`Session::acknowledge`].
        token: u64,
        /// Route that [`Policy::publish`] returned for the topic.
        route: R,
        /// Bytes of the publish.
        payload: Bytes,
        /// Retain flag of the publish.
        retain: bool,
        /// QoS of the publish, 0 to 2.
        qos: u8,
        /// Content type that the client names for the payload (v5).
        content_type: Option<Box<str>>,
    },
    /// The client sent a SUBSCRIBE.
    Subscribed {
        /// Filters, allowed and well formed, that ask for retained messages now.
        retained: Vec<String>,
        /// True: some filters were refused as outside the client's rights.
        refused: bool,
    },
    /// The client sent an UNSUBSCRIBE.
    Unsubscribed,
    /// A publish outside the client's rights was refused; the client stays connected.
    NotAllowed,
    /// A publish larger than [`Limits::max_packet`] was dropped; the client stays connected. Only
    /// with [`Limits::lenient`].
    TooLarge {
        /// Beginning of the publish's topic.
        topic: String,
    },
    /// The session is over. The host writes the remaining output, then closes the connection.
    Ended {
        /// Way in which the session ended.
        ending: Ending,
        /// Last will, unless the client sent DISCONNECT.
        will: Option<Will<R>>,
    },
}

/// Last will that passed the checks for publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will<R> {
    /// Route that [`Policy::publish`] returned for the topic.
    pub route: R,
    /// Bytes of the will.
    pub payload: Bytes,
    /// Retain flag of the will.
    pub retain: bool,
}

/// Answer of the host to a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The publish is stored.
    Stored,
    /// The publish can never be accepted, and is dropped. MQTT 3.1.1 cannot express that: with
    /// [`Limits::lenient`] the publish is acknowledged, else the connection ends.
    Never(Fault),
    /// The publish could not be stored now. In 3.1.1 the connection ends, and the client may try
    /// again.
    NotNow(Fault),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Waits for CONNECT since this time, in milliseconds.
    Connecting(u64),
    Connected(Version),
    /// Parses nothing more; accepted publishes are still answered.
    Ending(Version),
    /// Over; true once the host has been told.
    Ended(bool),
}

/// Publish that has not been answered to the client.
struct Pending {
    /// Packet id; None for QoS 0.
    packet_id: Option<u16>,
    qos: u8,
    size: usize,
    /// Answer of the host; it is sent when all publishes before this one are answered.
    answer: Option<Answer>,
}

/// PUBLISH that is too large, whose remaining bytes are dropped.
struct Skipping {
    left: usize,
    topic: String,
    packet_id: Option<u16>,
    qos: u8,
}

/// Packet ids of publishes of QoS 2 whose PUBREL has not come, one bit each (8 KiB). No memory is
/// used before the first.
#[derive(Default)]
struct Received(Vec<u64>);

impl Received {
    /// Sets or clears the bit of a packet id. Returns its former value.
    fn set(&mut self, id: u16, to: bool) -> bool {
        if self.0.is_empty() && to {
            self.0 = vec![0; (usize::from(u16::MAX) + 1) / 64];
        }
        let Some(word) = self.0.get_mut(usize::from(id / 64)) else { return false };
        let bit = 1 << (id % 64);
        let was = *word & bit != 0;
        *word = if to { *word | bit } else { *word & !bit };
        was
    }
}

/// Server side of one MQTT connection; see the module's documentation. Times are milliseconds of
/// any one clock.
pub struct Session<P: Policy> {
    policy: P,
    limits: Arc<Limits>,
    state: State,
    input: Vec<u8>,
    /// Number of bytes of `input` that are parsed.
    parsed: usize,
    output: Vec<u8>,
    /// Number of bytes of `output` that are written.
    written: usize,
    /// Publishes in the order of their arrival, which is the order of the answers.
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    /// Token of the first publish in `pending`.
    first_token: u64,
    received: Received,
    skipping: Option<Skipping>,
    outbound: Outbound,
    subscriptions: Subscriptions,
    will: Option<Box<Will<P::Route>>>,
    ending: Option<Ending>,
    last_heard: u64,
    /// Latest time that the session was given, in milliseconds.
    now: u64,
    /// Time at which an ending session stops waiting, in milliseconds.
    ends_at: u64,
    /// Milliseconds of silence that end the session.
    silence: u64,
    /// Most publishes that the client accepts unacknowledged.
    window: u16,
    maximum_packet: usize,
    session_expiry: bool,
    sent: u64,
}

impl<P: Policy> Session<P> {
    /// Creates a session whose transport is open and whose CONNECT is to come.
    pub fn new(policy: P, limits: Arc<Limits>, now: u64) -> Self {
        Self {
            policy,
            limits,
            state: State::Connecting(now),
            input: Vec::new(),
            parsed: 0,
            output: Vec::new(),
            written: 0,
            pending: VecDeque::new(),
            pending_bytes: 0,
            first_token: 1,
            received: Received::default(),
            skipping: None,
            outbound: Outbound::new(),
            subscriptions: Subscriptions::default(),
            will: None,
            ending: None,
            last_heard: now,
            now,
            ends_at: 0,
            silence: 0,
            window: 1,
            maximum_packet: usize::MAX,
            session_expiry: false,
            sent: 0,
        }
    }

    /// Returns the policy that the session was created with.
    pub fn policy(&self) -> &P {
        &self.policy
    }

    /// Returns whether topics that were sent once are replaced by aliases on this connection.
    pub fn has_aliases(&self) -> bool {
        self.outbound.aliases.most > 0
    }

    /// Returns the policy for changes that the session does not know of.
    pub fn policy_mut(&mut self) -> &mut P {
        &mut self.policy
    }

    /// Returns false if the host should read no more from the transport for now (or ever). Bytes
    /// given nevertheless are kept, so the host gives at most one read more.
    pub fn wants_input(&self) -> bool {
        self.is_open() && !self.is_blocked()
    }

    /// Returns true if the session has not begun to end.
    fn is_open(&self) -> bool {
        matches!(self.state, State::Connecting(_) | State::Connected(_))
    }

    /// Accepts bytes from the transport. The host calls [`Session::poll_event`] until it returns
    /// None before it gives more.
    pub fn receive(&mut self, bytes: &[u8], now: u64) {
        self.now = now;
        if !self.is_open() {
            return;
        }
        self.last_heard = now;
        let needed = self.input.len() + bytes.len();
        if needed > self.input.capacity() {
            // The capacity doubles with the bytes that have arrived; a claimed length reserves
            // nothing.
            self.input.reserve_exact(needed.max(2 * self.input.len()) - self.input.len());
        }
        self.input.extend_from_slice(bytes);
    }

    /// Ends the session at once because the transport has ended: nothing more can be sent.
    pub fn lost(&mut self) {
        self.ending.get_or_insert(Ending::Lost);
        self.over(None);
    }

    /// Ends the session because the client sends no more; it may still read.
    pub fn half_closed(&mut self) {
        self.end(Ending::Lost);
    }

    /// Ends the session from this side, once accepted publishes are answered; v5 clients are told
    /// the reason.
    pub fn close(&mut self, fault: Fault) {
        self.fail(fault);
    }

    /// Returns the next event for the host.
    pub fn poll_event(&mut self) -> Option<Event<P::Route>> {
        loop {
            if let State::Ended(told) = &mut self.state {
                let was_told = std::mem::replace(told, true);
                return self.ending.take().filter(|_| !was_told).map(|ending| Event::Ended {
                    ending,
                    will: self.will.take().map(|will| *will),
                });
            }
            if !self.is_open() || self.is_blocked() {
                return None;
            }
            if self.skipping.is_some() {
                return self.skip();
            }
            let frame = match self.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    self.compact();
                    return None;
                }
                Err(fault) => {
                    self.fail(fault);
                    continue;
                }
            };
            if frame.total > self.limits.max_packet {
                if self.begin_to_skip(frame) {
                    continue;
                }
                self.compact();
                return None;
            }
            if let Some(event) = self.take_packet(frame) {
                return Some(event);
            }
        }
    }

    /// Returns the position of the next packet, relative to `parsed`.
    fn next_frame(&self) -> Result<Option<frame::Frame>, Fault> {
        let bytes = self.input.get(self.parsed..).unwrap_or_default();
        let lenient = self.limits.lenient;
        let frame = frame::peek(bytes, self.limits.max_packet, lenient)?;
        if let Some(frame) = frame
            && matches!(self.state, State::Connecting(_))
            && frame.kind != Kind::Connect
        {
            return Err(Fault::protocol("the first packet is not a CONNECT"));
        }
        let whole = |frame: &frame::Frame| {
            frame.total > self.limits.max_packet || bytes.len() >= frame.total
        };
        Ok(frame.filter(whole))
    }

    /// Drops the bytes that have come of a PUBLISH that is too large.
    fn skip(&mut self) -> Option<Event<P::Route>> {
        let skipping = self.skipping.as_mut()?;
        let come = (self.input.len() - self.parsed).min(skipping.left);
        skipping.left -= come;
        self.parsed += come;
        self.compact();
        let Skipping { topic, packet_id, qos, .. } = self.skipping.take_if(|it| it.left == 0)?;
        let fault = Fault::new(Code::Quota, "larger than a publish may be");
        self.expect(packet_id, qos, 0, Some(Answer::Never(fault)));
        Some(Event::TooLarge { topic })
    }

    /// Begins to skip a PUBLISH that is too large. Returns false if more of its beginning is
    /// needed.
    fn begin_to_skip(&mut self, frame: frame::Frame) -> bool {
        let end = self.input.len().min(self.parsed + frame.total);
        let body = self.input.get(self.parsed + frame.header..end).unwrap_or_default();
        match packet::beginning(frame.flags, body) {
            None if body.len() < frame.total - frame.header => return false,
            None => self.fail(Fault::malformed("PUBLISH cut short")),
            Some(Err(fault)) => self.fail(fault),
            Some(Ok((topic, packet_id))) => {
                let qos = (frame.flags >> 1) & 3;
                self.skipping = Some(Skipping { left: frame.total, topic, packet_id, qos });
            }
        }
        true
    }

    fn take_packet(&mut self, frame: frame::Frame) -> Option<Event<P::Route>> {
        let start = self.parsed;
        let end = start + frame.total;
        let body = self.input.get(start + frame.header..end).unwrap_or_default();
        let event = match self.state {
            State::Connecting(_) => {
                let connect = connect::parse(body, self.limits.lenient);
                self.parsed = end;
                self.connect(connect)
            }
            State::Connected(version) => {
                let packet = packet::parse(version, frame.kind, frame.flags, body);
                self.parsed = end;
                match packet {
                    Ok(packet) => self.packet(version, packet, frame.total),
                    Err(fault) => {
                        self.fail(fault);
                        None
                    }
                }
            }
            State::Ending(_) | State::Ended(_) => None,
        };
        if self.parsed >= self.input.len() {
            self.compact();
        }
        event
    }

    /// Frees the parsed bytes of `input`; mostly that is all of it, and an idle session then holds no
    /// buffer.
    fn compact(&mut self) {
        if self.parsed >= self.input.len() {
            self.input = Vec::new();
        } else if self.parsed > 0 {
            self.input.drain(..self.parsed);
        }
        self.parsed = 0;
    }

    fn connect(&mut self, connect: Result<Connect, connect::Refused>) -> Option<Event<P::Route>> {
        let connect = match connect {
            Ok(connect) => connect,
            Err((fault, version)) => {
                self.refuse(fault, version, usize::MAX);
                return None;
            }
        };
        let client = Client {
            id: &connect.client_id,
            version: connect.version,
            user: connect.user.as_deref(),
            password: connect.password.as_deref(),
        };
        let will = self.policy.connect(&client).and_then(|()| self.will(&connect));
        match will {
            Ok(will) => self.will = will,
            Err(fault) => {
                self.refuse(fault, Some(connect.version), connect.maximum_packet);
                return None;
            }
        }
        self.state = State::Connected(connect.version);
        self.window = connect.receive_maximum.min(self.limits.outbound_in_flight);
        self.maximum_packet = connect.maximum_packet;
        self.outbound.aliases.most = connect.topic_aliases.min(self.limits.topic_aliases);
        self.session_expiry = connect.session_expiry;
        let keep_alive = match connect.keep_alive {
            0 => self.limits.max_keep_alive,
            asked => asked.min(self.limits.max_keep_alive),
        };
        // In 3.1.1 a server cannot announce its own keep-alive, so the client's is used.
        let counted = match (connect.version, connect.keep_alive) {
            (Version::V311, asked) if asked != 0 => asked,
            _ => keep_alive,
        };
        // One and a half times the keep-alive in milliseconds, as the standard demands.
        self.silence = u64::from(counted) * 1_500;
        let lenient = self.limits.lenient;
        let offer = Offer {
            receive_maximum: if lenient { u16::MAX } else { self.limits.inbound_in_flight },
            qos_2: lenient,
            max_packet: self.limits.max_packet,
            server_keep_alive: (keep_alive != connect.keep_alive).then_some(keep_alive),
            no_session: connect.session_expiry,
            assigned_id: if connect.client_id.is_empty() {
                self.policy.assigned_id()
            } else {
                None
            },
        };
        encode::connack(&mut self.output, connect.version, &offer);
        Some(Event::Connected { version: connect.version, keep_alive: counted })
    }

    /// Returns the last will after the checks for publishes.
    fn will(&self, connect: &Connect) -> Result<Option<Box<Will<P::Route>>>, Fault> {
        let Some(will) = &connect.will else { return Ok(None) };
        match self.route(&will.topic) {
            Ok(route) => {
                let payload = Bytes::copy_from_slice(&will.payload);
                Ok(Some(Box::new(Will { route, payload, retain: will.retain })))
            }
            // CONNACK of 3.1.1 has no code for a bad topic. A refused client would look for another
            // fault, so it is connected without the will.
            Err(fault) if fault.code == Code::TopicInvalid && self.is_forgiven(connect.version) => {
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Returns true if a publish that can never be accepted is acknowledged, since the version has
    /// no other answer.
    fn is_forgiven(&self, version: Version) -> bool {
        version == Version::V311 && self.limits.lenient
    }

    fn route(&self, topic: &str) -> Result<P::Route, Fault> {
        if !self.limits.lenient && !is_topic_name(topic) {
            return Err(Fault::new(
                Code::TopicInvalid,
                "not a topic name, or one that is too long",
            ));
        }
        let named = Some(topic).filter(|topic| is_topic_name(topic));
        let route = named.and_then(|topic| self.policy.publish(topic));
        route.ok_or_else(|| self.policy.refusal(topic))
    }

    fn packet(&mut self, version: Version, packet: Packet, size: usize) -> Option<Event<P::Route>> {
        match packet {
            Packet::Publish(publish) => self.published(version, publish, size),
            Packet::Pubrel { packet_id } => {
                let known = self.received.set(packet_id, false);
                let code = if known || version == Version::V311 {
                    Code::Success
                } else {
                    Code::NoPacketId
                };
                encode::answer(&mut self.output, PUBCOMP, packet_id, code.byte());
                None
            }
            Packet::Puback { packet_id } => {
                self.outbound.acknowledged(packet_id);
                self.fill();
                None
            }
            Packet::Subscribe { packet_id, entries } => {
                Some(self.subscribe(version, packet_id, &entries))
            }
            Packet::Unsubscribe { packet_id, filters } => {
                let codes: Vec<u8> = filters
                    .iter()
                    .map(|filter| if self.subscriptions.remove(filter) { 0 } else { 0x11 })
                    .collect();
                encode::unsuback(&mut self.output, version, packet_id, &codes);
                Some(Event::Unsubscribed)
            }
            Packet::Pingreq => {
                encode::pingresp(&mut self.output);
                None
            }
            Packet::Disconnect { session_expiry: true, .. } if !self.session_expiry => {
                self.fail(Fault::protocol("DISCONNECT asks for a session that CONNECT did not"));
                None
            }
            Packet::Disconnect { with_will, .. } => {
                if !with_will {
                    self.will = None;
                }
                self.end(Ending::Goodbye);
                None
            }
        }
    }

    fn published(
        &mut self,
        version: Version,
        publish: Publish,
        size: usize,
    ) -> Option<Event<P::Route>> {
        let Publish { topic, packet_id, qos, retain, content_type, payload } = publish;
        if let (2, Some(id)) = (qos, packet_id)
            && self.received.set(id, true)
        {
            // The same publish again. If the first is not answered yet, it will be.
            if !self.pending.iter().any(|known| known.qos == 2 && known.packet_id == packet_id) {
                encode::answer(&mut self.output, PUBREC, id, 0);
            }
            return None;
        }
        match self.route(&topic) {
            Ok(route) => {
                let token = self.expect(packet_id, qos, size, None);
                Some(Event::Published { token, route, payload, retain, qos, content_type })
            }
            Err(fault) if self.limits.lenient || is_refusable(version, packet_id, fault) => {
                self.expect(packet_id, qos, size, Some(Answer::Never(fault)));
                Some(Event::NotAllowed)
            }
            Err(fault) => {
                self.fail(fault);
                None
            }
        }
    }

    /// Notes a publish that is to be answered. Returns its token.
    fn expect(
        &mut self,
        packet_id: Option<u16>,
        qos: u8,
        size: usize,
        answer: Option<Answer>,
    ) -> u64 {
        let token = self.first_token + self.pending.len() as u64;
        self.pending.push_back(Pending { packet_id, qos, size, answer });
        self.pending_bytes += size;
        if answer.is_some() {
            self.reply();
        }
        token
    }

    fn subscribe(&mut self, version: Version, packet_id: u16, entries: &[Wish]) -> Event<P::Route> {
        let mut retained = Vec::new();
        let mut refused = false;
        let mut codes = Vec::with_capacity(entries.len());
        for wish in entries {
            let code = self.grant(wish, &mut retained);
            refused |= code == Code::NotAuthorized.byte();
            codes.push(if version == Version::V311 { code.min(0x80) } else { code });
        }
        encode::suback(&mut self.output, version, packet_id, &codes);
        Event::Subscribed { retained, refused }
    }

    /// Returns SUBACK's code for one filter.
    fn grant(&mut self, wish: &Wish, retained: &mut Vec<String>) -> u8 {
        if wish.filter.starts_with("$share/") {
            return Code::SharedSubscriptions.byte();
        }
        if !self.policy.subscribe(&wish.filter) {
            return Code::NotAuthorized.byte();
        }
        match self.subscriptions.add(wish) {
            Err(()) => Code::Quota.byte(),
            Ok(due) => {
                if due {
                    retained.push(wish.filter.clone());
                }
                wish.qos
            }
        }
    }

    /// Answers a publish: stored, or not. Tokens of an ended session are ignored. Returns true if
    /// the client waits for the answer (at QoS 0 it does not).
    pub fn acknowledge(&mut self, token: u64, stored: bool) -> bool {
        const NOT_STORED: Fault =
            Fault::new(Code::Unspecified, "what was published could not be stored");
        self.answer(token, if stored { Answer::Stored } else { Answer::NotNow(NOT_STORED) })
    }

    /// Answers a publish with a reason, else as [`Session::acknowledge`]. Answers are sent in the
    /// order of the publishes, as the standard demands, whatever the order of the calls.
    pub fn answer(&mut self, token: u64, answer: Answer) -> bool {
        let index = token.checked_sub(self.first_token).and_then(|it| usize::try_from(it).ok());
        let pending = index.and_then(|index| self.pending.get_mut(index));
        let Some(pending) = pending.filter(|known| known.answer.is_none()) else { return false };
        pending.answer = Some(answer);
        let waits = pending.packet_id.is_some();
        self.reply();
        waits
    }

    /// Sends the answers whose turn it is.
    fn reply(&mut self) {
        let (State::Connected(version) | State::Ending(version)) = self.state else { return };
        while self.pending.front().is_some_and(|next| next.answer.is_some())
            && let Some(next) = self.pending.pop_front()
        {
            self.first_token += 1;
            self.pending_bytes -= next.size;
            if let (Some(id), Some(answer)) = (next.packet_id, next.answer) {
                self.reply_to(version, id, next.qos, answer);
            }
        }
        if self.pending.is_empty() {
            self.pending = VecDeque::new();
        }
        self.end_if_answered();
    }

    fn reply_to(&mut self, version: Version, id: u16, qos: u8, answer: Answer) {
        let first = if qos == 2 { PUBREC } else { PUBACK };
        match answer {
            Answer::Stored => encode::answer(&mut self.output, first, id, 0),
            Answer::Never(_) if self.is_forgiven(version) => {
                encode::answer(&mut self.output, first, id, 0);
            }
            Answer::Never(fault) | Answer::NotNow(fault) if version == Version::V5 => {
                if qos == 2 {
                    self.received.set(id, false);
                }
                encode::answer(&mut self.output, first, id, fault.code.byte());
            }
            Answer::Never(fault) | Answer::NotNow(fault) => self.fail(fault),
        }
    }

    /// Queues a message for the client. It is sent as the window and the output allow.
    ///
    /// # Errors
    /// Returns [`NotTaken`]; nothing was changed.
    pub fn deliver(&mut self, message: Message) -> Result<(), NotTaken> {
        self.deliver_from(message, Origin::HOST)
    }

    /// Queues a message that a client published, else as [`Session::deliver`].
    ///
    /// # Errors
    /// Returns [`NotTaken`]; nothing was changed.
    pub fn deliver_from(&mut self, message: Message, origin: Origin) -> Result<(), NotTaken> {
        let State::Connected(version) = self.state else { return Err(NotTaken::NotConnected) };
        let grant = self.grant_of(&message.topic, origin.own).ok_or(NotTaken::NotSubscribed)?;
        let qos = grant.qos.min(origin.qos);
        let body = encode::publish_body(version, &message.topic, qos > 0, message.payload.len());
        if encode::packet_size(body + self.outbound.aliases.size()) > self.maximum_packet {
            return Err(NotTaken::TooLarge);
        }
        let waiting = Waiting {
            topic: message.topic,
            payload: message.payload,
            retain: match message.retain {
                Retain::No => false,
                Retain::Stored => true,
                Retain::Live => grant.retain_as_published,
            },
            qos,
            conflate: message.conflate,
        };
        self.outbound.push(waiting, self.limits.outbound_queue)?;
        self.fill();
        Ok(())
    }

    /// Returns true if the client has a subscription that matches.
    pub fn is_subscribed(&self, topic: &str) -> bool {
        self.grant_of(topic, false).is_some()
    }

    /// Returns the filters that the client has subscribed to.
    pub fn filters(&self) -> impl Iterator<Item = &str> {
        self.subscriptions.filters()
    }

    fn grant_of(&self, topic: &str, own: bool) -> Option<Grant> {
        self.subscriptions.grant(own, |filter| self.policy.means(filter, topic))
    }

    /// Returns true if a message delivered now would be sent at once. The host reads the message to
    /// send only then, so that it is the newest.
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Connected(_))
            && self.output.len() < OUTPUT_HIGH
            && self.outbound.is_ready(self.window)
    }

    /// Returns the number of publishes put into the output so far.
    pub fn publishes_sent(&self) -> u64 {
        self.sent
    }

    /// Returns the bytes to write to the transport.
    pub fn output(&self) -> &[u8] {
        self.output.get(self.written..).unwrap_or_default()
    }

    /// Removes `count` written bytes from [`Session::output`].
    pub fn consume(&mut self, count: usize) {
        self.written = self.written.saturating_add(count).min(self.output.len());
        if self.written == self.output.len() {
            self.output = Vec::new();
            self.written = 0;
            self.fill();
        }
    }

    /// Returns the time at which [`Session::handle_timeout`] must be called at the latest.
    pub fn next_timeout(&self) -> Option<u64> {
        match self.state {
            State::Connecting(since) => Some(since.saturating_add(self.limits.connect_timeout)),
            State::Ending(_) => Some(self.ends_at),
            State::Connected(_) => {
                let silent = self.last_heard.saturating_add(self.silence);
                let partial = self.last_heard.saturating_add(self.limits.partial_timeout);
                Some(if self.has_partial() { silent.min(partial) } else { silent })
            }
            State::Ended(_) => None,
        }
    }

    /// Ends the session if its time is over.
    pub fn handle_timeout(&mut self, now: u64) {
        self.now = now;
        if self.next_timeout().is_none_or(|at| now < at) {
            return;
        }
        if let State::Ending(version) = self.state {
            return self.over(Some(version));
        }
        if matches!(self.state, State::Connecting(_)) {
            self.end(Ending::Refused(Fault::protocol("no CONNECT in time"), None));
        } else if self.is_blocked() {
            self.last_heard = now; // it was not silent, it was not listened to
        } else if self.has_partial() && now < self.last_heard.saturating_add(self.silence) {
            self.fail(Fault::new(Code::KeepAliveTimeout, "a packet was begun and not finished"));
        } else {
            self.fail(Fault::new(Code::KeepAliveTimeout, "silent for longer than its keep-alive"));
        }
    }

    /// Returns the bytes of memory that the session holds for its client.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.input.capacity() + self.output.capacity() + self.pending_bytes
    }

    fn has_partial(&self) -> bool {
        self.input.len() > self.parsed
    }

    /// Returns true if parsing must wait until the host answers or the client reads.
    fn is_blocked(&self) -> bool {
        self.pending.len() >= usize::from(self.limits.inbound_in_flight)
            || self.pending_bytes >= self.limits.inbound_bytes
            || self.output.len() - self.written >= OUTPUT_HIGH
    }

    fn fill(&mut self) {
        if let State::Connected(version) = self.state {
            self.sent += self.outbound.fill(&mut self.output, version, self.window);
        }
    }

    fn refuse(&mut self, fault: Fault, version: Option<Version>, maximum_packet: usize) {
        encode::refusal(&mut self.output, version, fault, maximum_packet);
        self.end(Ending::Refused(fault, version));
    }

    fn fail(&mut self, fault: Fault) {
        self.end(match self.state {
            State::Connecting(_) => Ending::Refused(fault, None),
            _ => Ending::Fault(fault),
        });
    }

    /// Ends the session, once every accepted publish is answered.
    fn end(&mut self, ending: Ending) {
        if !self.is_open() {
            return;
        }
        self.ending = Some(ending);
        self.clear();
        let State::Connected(version) = self.state else { return self.over(None) };
        self.state = State::Ending(version);
        self.ends_at = self.now.saturating_add(LAST_ANSWERS);
        self.end_if_answered();
    }

    fn end_if_answered(&mut self) {
        if let State::Ending(version) = self.state
            && self.pending.iter().all(|known| known.packet_id.is_none())
        {
            self.over(Some(version));
        }
    }

    /// Ends the session at once. `version`: of the client, if it can still be told the reason.
    fn over(&mut self, version: Option<Version>) {
        if matches!(self.state, State::Ended(_)) {
            return;
        }
        if let (Some(Version::V5), Some(Ending::Fault(fault))) = (version, self.ending) {
            encode::disconnect(&mut self.output, fault, self.maximum_packet);
        }
        self.state = State::Ended(false);
        self.clear();
        self.pending = VecDeque::new();
        self.pending_bytes = 0;
    }

    fn clear(&mut self) {
        self.input = Vec::new();
        self.parsed = 0;
        self.skipping = None;
        self.outbound.clear();
        self.subscriptions.clear();
    }
}

/// Returns true if the client can be told of the refusal of a publish in its version without ending
/// the connection.
fn is_refusable(version: Version, packet_id: Option<u16>, fault: Fault) -> bool {
    version == Version::V5 && packet_id.is_some() && fault.code != Code::TopicInvalid
}
