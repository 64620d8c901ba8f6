//! One client's session: the state machine that everything else here serves.

use std::sync::Arc;

use bytes::Bytes;

use super::connect::{self, Connect};
use super::encode::{self, Offer};
use super::frame::{self, Kind};
use super::outbound::{Message, NotTaken, OUTPUT_HIGH, Origin, Outbound, Retain, Waiting};
use super::packet::{self, Packet, Wish};
use super::policy::{Client, Policy};
use super::reason::{Code, Ending, Fault};
use super::subscriptions::{Grant, Subscriptions};
use super::{Limits, Version};

/// What a session tells its host.
#[derive(Debug)]
pub enum Event<R> {
    /// CONNECT was accepted; its CONNACK is in the output.
    Connected {
        /// The client's version.
        version: Version,
        /// Seconds; the session itself sees to it.
        keep_alive: u16,
    },
    /// The client published what it may. Answer with [`Session::acknowledge`], QoS 0 too: what
    /// is unanswered is what bounds the client.
    Published {
        /// Names this publish in [`Session::acknowledge`].
        token: u64,
        /// From [`Policy::publish`].
        route: R,
        /// Its payload.
        payload: Bytes,
        /// Its retain flag.
        retain: bool,
        /// 0 or 1.
        qos: u8,
    },
    /// The client subscribed.
    Subscribed {
        /// Filters, allowed and well formed, that want retained messages now.
        retained: Vec<String>,
        /// Some of its filters were refused: outside the client's rights.
        refused: bool,
    },
    /// The client gave up subscriptions.
    Unsubscribed,
    /// A publish outside the client's rights was refused; it stays connected.
    NotAllowed,
    /// The session is over. Write the output that is left, then close.
    Ended {
        /// How.
        ending: Ending,
        /// The last will, unless the client said goodbye.
        will: Option<Will<R>>,
    },
}

/// A last will that passed the rule of publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will<R> {
    /// From [`Policy::publish`].
    pub route: R,
    /// Its payload.
    pub payload: Bytes,
    /// Its retain flag.
    pub retain: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Since.
    Connecting(u64),
    Connected(Version),
    /// Whether the host has been told.
    Ended(bool),
}

/// A publish that the host has not answered.
struct Pending {
    token: u64,
    /// None: QoS 0.
    packet_id: Option<u16>,
    size: usize,
}

/// See the module's documentation. Times are milliseconds of any one clock.
pub struct Session<P: Policy> {
    policy: P,
    limits: Arc<Limits>,
    state: State,
    input: Vec<u8>,
    /// Bytes of `input` that are done with.
    parsed: usize,
    output: Vec<u8>,
    /// Bytes of `output` that are written.
    written: usize,
    pending: Vec<Pending>,
    pending_bytes: usize,
    next_token: u64,
    outbound: Outbound,
    subscriptions: Subscriptions,
    will: Option<Box<Will<P::Route>>>,
    ending: Option<Ending>,
    last_heard: u64,
    /// Milliseconds of silence that end the session.
    silence: u64,
    /// Publishes that the client takes unacknowledged.
    window: u16,
    maximum_packet: usize,
    session_expiry: bool,
    sent: u64,
}

impl<P: Policy> Session<P> {
    /// A session whose transport is there and whose CONNECT is to come.
    pub fn new(policy: P, limits: Arc<Limits>, now: u64) -> Self {
        Self {
            policy,
            limits,
            state: State::Connecting(now),
            input: Vec::new(),
            parsed: 0,
            output: Vec::new(),
            written: 0,
            pending: Vec::new(),
            pending_bytes: 0,
            next_token: 1,
            outbound: Outbound::new(),
            subscriptions: Subscriptions::default(),
            will: None,
            ending: None,
            last_heard: now,
            silence: 0,
            window: 1,
            maximum_packet: usize::MAX,
            session_expiry: false,
            sent: 0,
        }
    }

    /// The policy, as it was given.
    pub fn policy(&self) -> &P {
        &self.policy
    }

    /// The policy, to be told what the session does not tell it.
    pub fn policy_mut(&mut self) -> &mut P {
        &mut self.policy
    }

    /// False: read no more from the transport for now (or ever). What is given nevertheless is
    /// kept, so give no more than one read.
    pub fn wants_input(&self) -> bool {
        !matches!(self.state, State::Ended(_)) && !self.is_blocked()
    }

    /// Bytes from the transport. Call [`Session::poll_event`] until it gives None before giving
    /// more.
    pub fn receive(&mut self, bytes: &[u8], now: u64) {
        if matches!(self.state, State::Ended(_)) {
            return;
        }
        self.last_heard = now;
        let needed = self.input.len() + bytes.len();
        if needed > self.input.capacity() {
            // Doubling, but of what has really come: a claimed length reserves nothing.
            self.input.reserve_exact(needed.max(2 * self.input.len()) - self.input.len());
        }
        self.input.extend_from_slice(bytes);
    }

    /// The transport ended.
    pub fn lost(&mut self) {
        self.end(Ending::Lost);
    }

    /// Ends the session from this side; v5 clients are told why.
    pub fn close(&mut self, fault: Fault) {
        self.fail(fault);
    }

    /// The next thing to tell the host.
    pub fn poll_event(&mut self) -> Option<Event<P::Route>> {
        loop {
            if let State::Ended(told) = &mut self.state {
                let was_told = std::mem::replace(told, true);
                return self.ending.take().filter(|_| !was_told).map(|ending| Event::Ended {
                    ending,
                    will: self.will.take().map(|will| *will),
                });
            }
            if self.is_blocked() {
                return None;
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
            if let Some(event) = self.take_packet(frame) {
                return Some(event);
            }
        }
    }

    /// The next whole packet's place, relative to `parsed`.
    fn next_frame(&self) -> Result<Option<frame::Frame>, Fault> {
        let bytes = self.input.get(self.parsed..).unwrap_or_default();
        let frame = frame::peek(bytes, self.limits.max_packet)?;
        if let Some(frame) = frame
            && matches!(self.state, State::Connecting(_))
            && frame.kind != Kind::Connect
        {
            return Err(Fault::protocol("the first packet is not a CONNECT"));
        }
        Ok(frame.filter(|frame| bytes.len() >= frame.total))
    }

    fn take_packet(&mut self, frame: frame::Frame) -> Option<Event<P::Route>> {
        let start = self.parsed;
        let end = start + frame.total;
        let body = self.input.get(start + frame.header..end).unwrap_or_default();
        let event = match self.state {
            State::Connecting(_) => {
                let connect = connect::parse(body);
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
            State::Ended(_) => None,
        };
        if self.parsed >= self.input.len() {
            self.compact();
        }
        event
    }

    /// Gives back what is done with; all of it, mostly.
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
        let will = self.policy.connect(&client).and_then(|()| match connect.will {
            None => Ok(None),
            Some(will) => match self.policy.publish(&will.topic) {
                Some(route) => {
                    let payload = Bytes::from(will.payload);
                    Ok(Some(Box::new(Will { route, payload, retain: will.retain })))
                }
                None => Err(Fault::new(
                    Code::NotAuthorized,
                    "the last will's topic is not the client's own",
                )),
            },
        });
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
        self.session_expiry = connect.session_expiry;
        let keep_alive = match connect.keep_alive {
            0 => self.limits.max_keep_alive,
            asked => asked.min(self.limits.max_keep_alive),
        };
        // In 3.1.1 a server cannot say what it takes for the keep-alive: it does as asked.
        let counted = match (connect.version, connect.keep_alive) {
            (Version::V311, asked) if asked != 0 => asked,
            _ => keep_alive,
        };
        self.silence = u64::from(counted) * 1_500;
        let offer = Offer {
            receive_maximum: self.limits.inbound_in_flight,
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

    fn packet(&mut self, version: Version, packet: Packet, size: usize) -> Option<Event<P::Route>> {
        match packet {
            Packet::Publish { topic, packet_id, retain, payload } => {
                let Some(route) = self.policy.publish(&topic) else {
                    let fault = self.policy.refusal(&topic);
                    return self.foreign_publish(version, packet_id, fault);
                };
                self.published(version, route, packet_id, retain, payload, size)
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
        route: P::Route,
        packet_id: Option<u16>,
        retain: bool,
        payload: Bytes,
        size: usize,
    ) -> Option<Event<P::Route>> {
        let unanswered = self.pending.iter().filter(|known| known.packet_id.is_some()).count();
        if version == Version::V5
            && packet_id.is_some()
            && unanswered >= usize::from(self.limits.inbound_in_flight)
        {
            let fault = Fault::new(Code::ReceiveMaximum, "more publishes in flight than announced");
            self.fail(fault);
            return None;
        }
        let token = self.next_token;
        self.next_token += 1;
        self.pending.push(Pending { token, packet_id, size });
        self.pending_bytes += size;
        let qos = u8::from(packet_id.is_some());
        Some(Event::Published { token, route, payload, retain, qos })
    }

    /// v5 has a negative PUBACK; without one the connection has to go.
    fn foreign_publish(
        &mut self,
        version: Version,
        packet_id: Option<u16>,
        fault: Fault,
    ) -> Option<Event<P::Route>> {
        if let (Version::V5, Some(id)) = (version, packet_id) {
            encode::puback(&mut self.output, id, fault.code.byte());
            return Some(Event::NotAllowed);
        }
        self.fail(fault);
        None
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

    /// SUBACK's code for one filter.
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

    /// Answers a publish: stored, or not. Tokens of an ended session are ignored. True: a PUBACK
    /// goes out (at QoS 0 nobody waits for one).
    pub fn acknowledge(&mut self, token: u64, stored: bool) -> bool {
        const NOT_STORED: Fault =
            Fault::new(Code::Unspecified, "what was published could not be stored");
        self.answer(token, if stored { Ok(()) } else { Err(NOT_STORED) })
    }

    /// Answers a publish: stored, or why not. v3.1.1 has no word for that: a refused publish of
    /// QoS 1 ends the connection there.
    pub fn answer(&mut self, token: u64, result: Result<(), Fault>) -> bool {
        let State::Connected(version) = self.state else { return false };
        let Some(index) = self.pending.iter().position(|known| known.token == token) else {
            return false;
        };
        let answered = self.pending.remove(index);
        self.pending_bytes -= answered.size;
        if self.pending.is_empty() {
            self.pending = Vec::new();
        }
        let Some(id) = answered.packet_id else { return false };
        match (result, version) {
            (Ok(()), _) => encode::puback(&mut self.output, id, 0),
            (Err(fault), Version::V5) => encode::puback(&mut self.output, id, fault.code.byte()),
            (Err(fault), Version::V311) => {
                self.fail(fault);
                return false;
            }
        }
        true
    }

    /// Puts a message on its way. It goes out as the window and the output allow.
    ///
    /// # Errors
    /// [`NotTaken`]: nothing was changed.
    pub fn deliver(&mut self, message: Message) -> Result<(), NotTaken> {
        self.deliver_from(message, Origin::HOST)
    }

    /// [`Session::deliver`] of what a client published.
    ///
    /// # Errors
    /// [`NotTaken`]: nothing was changed.
    pub fn deliver_from(&mut self, message: Message, origin: Origin) -> Result<(), NotTaken> {
        let State::Connected(version) = self.state else { return Err(NotTaken::NotConnected) };
        let grant = self.grant_of(&message.topic, origin.own).ok_or(NotTaken::NotSubscribed)?;
        let qos = grant.qos.min(origin.qos);
        let body = encode::publish_body(version, &message.topic, qos > 0, message.payload.len());
        if encode::packet_size(body) > self.maximum_packet {
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

    /// True when the client has a subscription that matches.
    pub fn is_subscribed(&self, topic: &str) -> bool {
        self.grant_of(topic, false).is_some()
    }

    /// The filters that the client has subscribed to.
    pub fn filters(&self) -> impl Iterator<Item = &str> {
        self.subscriptions.filters()
    }

    fn grant_of(&self, topic: &str, own: bool) -> Option<Grant> {
        self.subscriptions.grant(own, |filter| self.policy.means(filter, topic))
    }

    /// True when a message delivered now would go out now: the time to read what is to be sent,
    /// so that it is the newest.
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Connected(_))
            && self.output.len() < OUTPUT_HIGH
            && self.outbound.is_ready(self.window)
    }

    /// Publishes put into the output so far.
    pub fn publishes_sent(&self) -> u64 {
        self.sent
    }

    /// Bytes to write.
    pub fn output(&self) -> &[u8] {
        self.output.get(self.written..).unwrap_or_default()
    }

    /// So many bytes of [`Session::output`] are written.
    pub fn consume(&mut self, count: usize) {
        self.written = self.written.saturating_add(count).min(self.output.len());
        if self.written == self.output.len() {
            self.output = Vec::new();
            self.written = 0;
            self.fill();
        }
    }

    /// When to call [`Session::handle_timeout`] at the latest.
    pub fn next_timeout(&self) -> Option<u64> {
        match self.state {
            State::Connecting(since) => Some(since.saturating_add(self.limits.connect_timeout)),
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
        if self.next_timeout().is_none_or(|at| now < at) {
            return;
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

    /// Bytes of memory that it holds for its client.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.input.capacity() + self.output.capacity() + self.pending_bytes
    }

    fn has_partial(&self) -> bool {
        self.input.len() > self.parsed
    }

    /// True when no more may be parsed until the host answers or the client reads.
    fn is_blocked(&self) -> bool {
        // v5 clients know the limit: one more is parsed to find those who pass it.
        let extra = usize::from(self.state == State::Connected(Version::V5));
        self.pending.len() >= usize::from(self.limits.inbound_in_flight) + extra
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
        match self.state {
            State::Connecting(_) => self.end(Ending::Refused(fault, None)),
            State::Connected(Version::V5) => {
                encode::disconnect(&mut self.output, fault, self.maximum_packet);
                self.end(Ending::Fault(fault));
            }
            State::Connected(Version::V311) => self.end(Ending::Fault(fault)),
            State::Ended(_) => {}
        }
    }

    fn end(&mut self, ending: Ending) {
        if matches!(self.state, State::Ended(_)) {
            return;
        }
        self.state = State::Ended(false);
        self.ending = Some(ending);
        self.input = Vec::new();
        self.parsed = 0;
        self.pending = Vec::new();
        self.pending_bytes = 0;
        self.outbound.clear();
        self.subscriptions.clear();
    }
}
