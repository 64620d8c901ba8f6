//! One client of the bus: what the events of its MQTT session mean, records into the buffer, and
//! messages between the session and the exchange. The bytes are moved by [`Host`].
//!
//! See decisions 0086, 0087 and 0154.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use holdfast_base::ids::Name;
use holdfast_mqtt::{Answer, Code, Ending, Event, Fault, Message, NotTaken, Session, Will};
use holdfast_mqtt_host::{HalfClose, Host, Side};
use holdfast_records::block::MAX_RECORD;
use holdfast_records::{Format, StreamName};

use super::exchange::Published;
use super::gate::Gate;
use super::mailbox::Mailbox;
use super::shared::{STALL, Shared, Slot, Stream, add};
use crate::adapters::clock::uptime_ms;
use crate::adapters::intake::{Records, Refused, Stored};
use crate::core::bodies;
use crate::core::bus::Route;

/// Records that the buffer is storing, with the tokens of the publishes that wait for them.
struct Appending {
    stream: StreamName,
    stored: Stored,
    tokens: Vec<u64>,
}

/// Records of one stream that were read together.
struct Group {
    stream: StreamName,
    qos: u8,
    records: Records,
    tokens: Vec<u64>,
}

/// Publish of the client, or its last will.
struct Publish {
    /// Token of the publish to acknowledge; `None` for a last will.
    token: Option<u64>,
    route: Route,
    payload: Bytes,
    retain: bool,
    qos: u8,
    content_type: Option<Box<str>>,
}

/// Bus's side of one client's connection.
pub(super) struct Connection {
    mailbox: Arc<Mailbox>,
    number: u64,
    slot: Slot,
    groups: Vec<Group>,
    appending: Vec<Appending>,
}

impl Side for Connection {
    type Policy = Gate;

    const TURNS_A_POLL: usize = 4;
    /// A client may close its side right after its last publish, which is still to be answered.
    const HALF_CLOSE: HalfClose = HalfClose::AnswerFirst;

    fn now(&self) -> u64 {
        uptime_ms()
    }

    fn stall_limit(&self) -> u64 {
        STALL
    }

    fn take_inbox(&mut self, session: &mut Session<Gate>, cx: &mut Context<'_>) {
        if let Some(why) = self.mailbox.listen(cx.waker()) {
            session.close(why);
        }
        self.stored(session, cx);
    }

    fn event(&mut self, session: &mut Session<Gate>, event: Event<Route>) {
        match event {
            Event::Connected { .. } => self.connected(session),
            Event::Published { token, route, payload, retain, qos, content_type } => {
                let token = Some(token);
                let publish = Publish { token, route, payload, retain, qos, content_type };
                self.published(session, publish);
            }
            Event::TooLarge { topic } => {
                add(&self.shared().counters.refused, 1);
                session.policy().report(TOO_LARGE, &topic);
            }
            Event::Subscribed { retained, .. } => {
                self.subscribed(session);
                self.deliver_retained(session, &retained);
            }
            Event::Unsubscribed => self.subscribed(session),
            Event::NotAllowed => {}
            Event::Ended { ending, will } => self.ended(session, ending, will),
        }
    }

    fn events_handled(&mut self, session: &mut Session<Gate>, cx: &mut Context<'_>) {
        self.append(session, cx);
    }

    fn offer(&mut self, session: &mut Session<Gate>, _now: u64, _cx: &mut Context<'_>) {
        self.deliver(session);
    }

    fn stalled(&mut self, session: &mut Session<Gate>) {
        add(&self.shared().counters.stalled, 1);
        let what = "a client of the local bus does not read what it is sent: it was cut";
        session.policy().report(what, "");
    }
}

impl Connection {
    /// Creates the task of one client; it ends with the connection.
    pub(super) fn task(
        stream: Box<dyn Stream>,
        number: u64,
        slot: Slot,
        gate: Gate,
    ) -> Host<Box<dyn Stream>, Self> {
        let session = Session::new(gate, Arc::clone(&slot.shared.limits), uptime_ms());
        let (groups, appending) = (Vec::new(), Vec::new());
        let side = Self { mailbox: Arc::default(), number, slot, groups, appending };
        Host::new(stream, session, side)
    }

    fn shared(&self) -> &Shared {
        &self.slot.shared
    }

    fn connected(&self, session: &Session<Gate>) {
        self.slot.authenticated();
        let gate = session.policy();
        if let Some(name) = gate.name() {
            let exchange = &self.shared().exchange;
            exchange.enter(self.number, name, gate.client_id(), &self.mailbox);
            tracing::debug!(workload = %name, "a client of the local bus");
        }
    }

    fn subscribed(&self, session: &Session<Gate>) {
        let filters = session.filters().map(str::to_owned).collect();
        self.shared().exchange.subscribed(self.number, filters);
    }

    fn deliver_retained(&self, session: &Session<Gate>, filters: &[String]) {
        let shared = self.shared();
        let rights = session.policy().name().and_then(|name| shared.rights(name));
        if let (Some(rights), false) = (rights, filters.is_empty()) {
            let overrun = shared.exchange.deliver_retained(self.number, filters, &rights);
            self.overrun(session.policy(), overrun);
        }
    }

    fn overrun(&self, gate: &Gate, messages: u64) {
        if messages > 0 {
            add(&self.shared().counters.overrun, messages);
            gate.report(
                "published more than a subscriber takes: messages of the local bus were dropped",
                "",
            );
        }
    }

    /// Delivers a publish to subscribers, and hands its record to the buffer.
    fn published(&mut self, session: &mut Session<Gate>, publish: Publish) {
        let Publish { token, route, payload, retain, qos, content_type } = publish;
        let Some(name) = session.policy().name().cloned() else { return };
        if let Route::Stream(stream) = &route {
            if payload.len() > MAX_RECORD {
                return self.refused(session, stream, token.as_slice(), &Refused::TooLarge);
            }
            if self.shared().sourced().contains(stream) {
                const WHY: &str = "published to a stream that the agent itself fills";
                let never = Answer::Never(Fault::new(Code::NotAuthorized, WHY));
                return self.fail(session, stream, token.as_slice(), WHY, never);
            }
        }
        let mut record = None;
        // An empty retained message clears the retained one, and is no record.
        if let Route::Stream(stream) = &route
            && !(retain && payload.is_empty())
        {
            match self.record(&name, stream, &payload, content_type.as_deref()) {
                Ok(taken) => record = Some(taken),
                Err(why) => {
                    let never = Answer::Never(Fault::new(Code::PayloadFormat, why));
                    return self.fail(session, stream, token.as_slice(), why, never);
                }
            }
        }
        let (owner, topic, stream) = match route {
            Route::Stream(stream) => (name, Box::from(stream.as_str()), Some(stream)),
            Route::Local { owner, topic } => (owner, topic, None),
        };
        let is_stream = stream.is_some();
        let message =
            Published { owner, topic, stream: is_stream, payload: payload.clone(), qos, retain };
        let shared = self.shared();
        let outcome = shared.exchange.publish(self.number, message, |name| shared.rights(name));
        self.overrun(session.policy(), outcome.overrun);
        if outcome.not_retained {
            session.policy().report(
                "more retained messages than the local bus keeps: one was not retained",
                "",
            );
        }
        match stream.zip(record) {
            Some((stream, record)) => self.gather(stream, qos, record, token),
            None => answer_all(session, token.as_slice(), Answer::Stored),
        }
    }

    /// Converts a payload to a record. `who` is the workload or local access that published it.
    fn record(
        &self,
        who: &Name,
        stream: &StreamName,
        payload: &[u8],
        content_type: Option<&str>,
    ) -> Result<(Format, Vec<u8>), &'static str> {
        let taken = bodies::published(payload, content_type)?;
        if taken.is_broken {
            let text = String::from_utf8_lossy(taken.value);
            self.shared().problem_log.report_on_stream(
                Some(who),
                BROKEN,
                stream.as_str(),
                &text,
                uptime_ms(),
            );
        }
        Ok((taken.format, taken.value.to_vec()))
    }

    /// Adds a record to those of its stream that were read together and are stored together.
    fn gather(
        &mut self,
        stream: StreamName,
        qos: u8,
        record: (Format, Vec<u8>),
        token: Option<u64>,
    ) {
        // Nobody waits for a last will: its connection is over, so it must not wait for room
        // either.
        let qos = if token.is_some() { qos.min(1) } else { 0 };
        let known = self.groups.iter_mut().find(|it| it.stream == stream && it.qos == qos);
        match known {
            Some(group) => {
                group.records.push(record);
                group.tokens.extend(token);
            }
            None => {
                let (records, tokens) = (vec![record], token.into_iter().collect());
                self.groups.push(Group { stream, qos, records, tokens });
            }
        }
    }

    fn append(&mut self, session: &mut Session<Gate>, cx: &mut Context<'_>) {
        for Group { stream, qos, records, tokens } in std::mem::take(&mut self.groups) {
            let (owner, name) = (session.policy().name().cloned(), stream.clone());
            let count = u64::try_from(records.len()).unwrap_or(0);
            let intake = &self.shared().intake;
            // QoS 1 waits for room, which holds its client back. QoS 0 does not wait, and is
            // dropped.
            let stored = match qos {
                0 => intake.try_append(owner, stream, records),
                _ => Ok(intake.append(owner, stream, records)),
            };
            match stored {
                Ok(stored) => self.appending.push(Appending { stream: name, stored, tokens }),
                Err(Refused::Busy) => {
                    add(&self.shared().counters.dropped, count);
                    session.policy().report(
                        "published with QoS 0 faster than can be stored: records were dropped",
                        name.as_str(),
                    );
                    answer_all(session, &tokens, Answer::Stored);
                }
                Err(why) => self.refused(session, &name, &tokens, &why),
            }
        }
        self.stored(session, cx);
    }

    /// Completes the publishes whose records are on disk by now.
    fn stored(&mut self, session: &mut Session<Gate>, cx: &mut Context<'_>) {
        let mut done = Vec::new();
        self.appending.retain_mut(|it| match it.stored.as_mut().poll(cx) {
            Poll::Ready(result) => {
                done.push((it.stream.clone(), std::mem::take(&mut it.tokens), result));
                false
            }
            Poll::Pending => true,
        });
        if self.appending.is_empty() {
            self.appending = Vec::new();
        }
        for (stream, tokens, result) in done {
            match result {
                Ok(range) => {
                    add(&self.shared().counters.stored, range.len());
                    answer_all(session, &tokens, Answer::Stored);
                }
                Err(why) => self.refused(session, &stream, &tokens, &why),
            }
        }
    }

    fn refused(
        &self,
        session: &mut Session<Gate>,
        stream: &StreamName,
        tokens: &[u64],
        why: &Refused,
    ) {
        let (code, text) = refusal_of(why);
        let fault = Fault::new(code, text);
        let never =
            matches!(why, Refused::TooLarge | Refused::TooManyStreams | Refused::TooManyOfOne);
        let answer = if never { Answer::Never(fault) } else { Answer::NotNow(fault) };
        self.fail(session, stream, tokens, text, answer);
    }

    fn fail(
        &self,
        session: &mut Session<Gate>,
        stream: &StreamName,
        tokens: &[u64],
        text: &'static str,
        answer: Answer,
    ) {
        add(&self.shared().counters.refused, u64::try_from(tokens.len()).unwrap_or(0));
        session.policy().report(text, stream.as_str());
        answer_all(session, tokens, answer);
    }

    /// Hands messages to the session for as long as they go out at once; the rest waits in the
    /// mailbox.
    fn deliver(&self, session: &mut Session<Gate>) {
        while session.is_ready()
            && let Some(delivery) = self.mailbox.next()
        {
            let message = Message {
                topic: delivery.topic,
                payload: delivery.payload,
                retain: delivery.retain,
                conflate: false,
            };
            match session.deliver_from(message, delivery.origin) {
                // The client unsubscribed meanwhile, or does not want its own messages.
                Ok(()) | Err(NotTaken::NotSubscribed | NotTaken::NotConnected) => {}
                Err(NotTaken::Full | NotTaken::TooLarge) => self.overrun(session.policy(), 1),
            }
        }
    }

    fn ended(&mut self, session: &mut Session<Gate>, ending: Ending, will: Option<Will<Route>>) {
        self.slot.authenticated();
        if let Ending::Fault(fault) = ending {
            match fault.code {
                Code::TakenOver | Code::Administrative | Code::ShuttingDown => {}
                Code::TopicInvalid | Code::NotAuthorized | Code::Quota => {} // noted already
                _ => {
                    add(&self.shared().counters.refused, 1);
                    session.policy().report(fault_text(fault), fault.text);
                }
            }
        }
        if let Some(will) = will {
            let Will { route, payload, retain } = will;
            let (token, content_type) = (None, None);
            let publish = Publish { token, route, payload, retain, qos: 1, content_type };
            self.published(session, publish);
        }
        self.shared().exchange.leave(self.number);
    }
}

/// Gives several publishes the same answer.
fn answer_all(session: &mut Session<Gate>, tokens: &[u64], answer: Answer) {
    for token in tokens {
        session.answer(*token, answer);
    }
}

/// Text that is logged of a client that broke the protocol, one for each kind.
fn fault_text(fault: Fault) -> &'static str {
    match fault.code {
        Code::PacketTooLarge => "a packet that is too large for its kind ended its connection",
        Code::KeepAliveTimeout => "a client of the local bus went silent",
        _ => "sent what is not MQTT as the local bus speaks it",
    }
}

/// Text that is logged of a payload that was meant as JSON and is not.
const BROKEN: &str = "published what begins like JSON and is none (nan, a comma too many, single quotes?), kept as text without numbers,";
/// Text that is logged of a publish larger than a record may be.
const TOO_LARGE: &str = "a record of more than 64 KiB was refused";

/// Reason code for a publish that was not stored, and the text that is logged of it.
fn refusal_of(why: &Refused) -> (Code, &'static str) {
    match why {
        Refused::Busy => (Code::Quota, "the buffer is busy"),
        Refused::DiskFull(_) => (Code::Quota, "a record was refused: the disk is full"),
        Refused::Dropped(_) => (
            Code::Quota,
            "a record was dropped: its stream has used up its quota, or the buffer is full of what goes before it",
        ),
        Refused::TooManyStreams => (
            Code::Quota,
            "a record was refused: the device has as many streams as it can have, 1000: publish to fewer names",
        ),
        Refused::TooManyOfOne => (
            Code::Quota,
            "a record was refused: whoever published it has made as many streams as one may make, 200: publish to fewer names",
        ),
        Refused::TooLarge => (Code::Quota, TOO_LARGE),
        Refused::Closed => {
            (Code::Implementation, "the buffer is closed: the agent ends, or its problems say why")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_that_are_said_are_those_that_hold() {
        use crate::core::data::places::{MAX_OF_ONE, MAX_STREAMS};
        let (_, one) = refusal_of(&Refused::TooManyOfOne);
        assert!(one.contains(&format!("may make, {MAX_OF_ONE}:")), "{one}");
        let (_, all) = refusal_of(&Refused::TooManyStreams);
        assert!(all.contains(&format!("can have, {MAX_STREAMS}:")), "{all}");
        let (_, large) = refusal_of(&Refused::TooLarge);
        assert!(large.contains(&format!("{} KiB", MAX_RECORD / 1024)), "{large}");
    }
}
