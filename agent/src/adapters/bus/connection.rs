//! One client of the bus: a task with one hand-written poll that moves bytes between the socket and
//! the MQTT session, records into the buffer, and messages between the session and the exchange.
//!
//! See decisions 0086 and 0087.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use holdfast_mqtt::{Answer, Code, Ending, Event, Fault, Message, NotTaken, Session, Will};
use holdfast_records::block::MAX_RECORD;
use holdfast_records::{Format, StreamName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::exchange::Published;
use super::gate::Gate;
use super::mailbox::Mailbox;
use super::{STALL, Shared, Slot, Stream, add};
use crate::adapters::clock::uptime_ms;
use crate::adapters::intake::{Records, Refused, Stored};
use crate::core::bodies;
use crate::core::bus::Route;

/// Size of one read, in bytes.
const READ: usize = 16 * 1024;
/// Reads in one poll; then other tasks get their turn.
const READS_A_POLL: usize = 4;
/// Longest time for an ended client to take the last bytes, in milliseconds.
const CLOSE_TIMEOUT: u64 = 1_000;

thread_local! {
    /// Read buffer that all clients of the thread share, so that an idle client has none.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

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

/// Task of one client; ends with the connection.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    session: Session<Gate>,
    mailbox: Arc<Mailbox>,
    number: u64,
    slot: Slot,
    groups: Vec<Group>,
    appending: Vec<Appending>,
    timer: Pin<Box<Sleep>>,
    /// Time at which the timer fires, by [`uptime_ms`]; `None` when it is not set.
    armed: Option<u64>,
    /// Time since which the client accepts no output.
    stalled_since: Option<u64>,
    /// True when something was written since the last check.
    progress: bool,
    /// Time at which to stop waiting for the client to take the last bytes; set once the session is
    /// over.
    closing: Option<u64>,
    /// True when this side of the connection is shut down.
    shut: bool,
}

impl Connection {
    pub(super) fn new(stream: Box<dyn Stream>, number: u64, slot: Slot, gate: Gate) -> Self {
        let session = Session::new(gate, Arc::clone(&slot.shared.limits), uptime_ms());
        Self {
            stream,
            session,
            mailbox: Arc::default(),
            number,
            slot,
            groups: Vec::new(),
            appending: Vec::new(),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            armed: None,
            stalled_since: None,
            progress: false,
            closing: None,
            shut: false,
        }
    }

    fn shared(&self) -> &Shared {
        &self.slot.shared
    }

    fn report(&self, what: &'static str, about: &str) {
        self.session.policy().report(what, about);
    }

    fn events(&mut self, cx: &mut Context<'_>) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Connected { .. } => self.connected(),
                Event::Published { token, route, payload, retain, qos, content_type } => {
                    let kind = content_type.as_deref();
                    self.published(Some(token), route, payload, retain, qos, kind);
                }
                Event::TooLarge { topic } => {
                    add(&self.shared().counters.refused, 1);
                    self.report(TOO_LARGE, &topic);
                }
                Event::Subscribed { retained, .. } => {
                    self.subscribed();
                    self.deliver_retained(&retained);
                }
                Event::Unsubscribed => self.subscribed(),
                Event::NotAllowed => {}
                Event::Ended { ending, will } => self.ended(ending, will),
            }
        }
        self.append(cx);
    }

    fn connected(&mut self) {
        self.slot.authenticated();
        let gate = self.session.policy();
        if let Some(name) = gate.name() {
            let exchange = &self.shared().exchange;
            exchange.enter(self.number, name, gate.client_id(), &self.mailbox);
            tracing::debug!(workload = %name, "a client of the local bus");
        }
    }

    fn subscribed(&mut self) {
        let filters = self.session.filters().map(str::to_owned).collect();
        self.shared().exchange.subscribed(self.number, filters);
    }

    fn deliver_retained(&mut self, filters: &[String]) {
        let shared = self.shared();
        let rights = self.session.policy().name().and_then(|name| shared.rights(name));
        if let (Some(rights), false) = (rights, filters.is_empty()) {
            let overrun = shared.exchange.deliver_retained(self.number, filters, &rights);
            self.overrun(overrun);
        }
    }

    fn overrun(&self, messages: u64) {
        if messages > 0 {
            add(&self.shared().counters.overrun, messages);
            self.report(
                "published more than a subscriber takes: messages of the local bus were dropped",
                "",
            );
        }
    }

    /// Delivers a publish to subscribers, and hands its record to the buffer. `token` is the
    /// publish to acknowledge, `None` for a last will.
    fn published(
        &mut self,
        token: Option<u64>,
        route: Route,
        payload: Bytes,
        retain: bool,
        qos: u8,
        content_type: Option<&str>,
    ) {
        let Some(name) = self.session.policy().name().cloned() else { return };
        if let Route::Stream(stream) = &route {
            if payload.len() > MAX_RECORD {
                return self.refused(stream, token.as_slice(), &Refused::TooLarge);
            }
            if self.shared().sourced().contains(stream) {
                const WHY: &str = "published to a stream that the agent itself fills";
                let never = Answer::Never(Fault::new(Code::NotAuthorized, WHY));
                return self.fail(stream, token.as_slice(), WHY, never);
            }
        }
        let mut record = None;
        // An empty retained message clears the retained one, and is no record.
        if let Route::Stream(stream) = &route
            && !(retain && payload.is_empty())
        {
            match self.record(stream, &payload, content_type) {
                Ok(taken) => record = Some(taken),
                Err(why) => {
                    let never = Answer::Never(Fault::new(Code::PayloadFormat, why));
                    return self.fail(stream, token.as_slice(), why, never);
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
        self.overrun(outcome.overrun);
        if outcome.not_retained {
            self.report(
                "more retained messages than the local bus keeps: one was not retained",
                "",
            );
        }
        match stream.zip(record) {
            Some((stream, record)) => self.gather(stream, qos, record, token),
            None => self.answer(token.as_slice(), Answer::Stored),
        }
    }

    /// Converts a payload to a record.
    fn record(
        &self,
        stream: &StreamName,
        payload: &[u8],
        content_type: Option<&str>,
    ) -> Result<(Format, Vec<u8>), &'static str> {
        let taken = bodies::published(payload, content_type)?;
        if taken.is_broken {
            let text = String::from_utf8_lossy(taken.value);
            let who = self.session.policy().name();
            self.shared().problem_log.report_on_stream(
                who,
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

    fn append(&mut self, cx: &mut Context<'_>) {
        for Group { stream, qos, records, tokens } in std::mem::take(&mut self.groups) {
            let (owner, name) = (self.session.policy().name().cloned(), stream.clone());
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
                    self.report(
                        "published with QoS 0 faster than can be stored: records were dropped",
                        name.as_str(),
                    );
                    self.answer(&tokens, Answer::Stored);
                }
                Err(why) => self.refused(&name, &tokens, &why),
            }
        }
        self.stored(cx);
    }

    /// Completes the publishes whose records are on disk by now.
    fn stored(&mut self, cx: &mut Context<'_>) {
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
                    self.answer(&tokens, Answer::Stored);
                }
                Err(why) => self.refused(&stream, &tokens, &why),
            }
        }
    }

    fn refused(&mut self, stream: &StreamName, tokens: &[u64], why: &Refused) {
        let (code, text) = refusal_of(why);
        let fault = Fault::new(code, text);
        let never =
            matches!(why, Refused::TooLarge | Refused::TooManyStreams | Refused::TooManyOfOne);
        let answer = if never { Answer::Never(fault) } else { Answer::NotNow(fault) };
        self.fail(stream, tokens, text, answer);
    }

    fn fail(&mut self, stream: &StreamName, tokens: &[u64], text: &'static str, answer: Answer) {
        add(&self.shared().counters.refused, u64::try_from(tokens.len()).unwrap_or(0));
        self.report(text, stream.as_str());
        self.answer(tokens, answer);
    }

    fn answer(&mut self, tokens: &[u64], answer: Answer) {
        for token in tokens {
            self.session.answer(*token, answer);
        }
    }

    /// Hands messages to the session for as long as they go out at once; the rest waits in the
    /// mailbox.
    fn deliver(&mut self) {
        while self.session.is_ready()
            && let Some(delivery) = self.mailbox.next()
        {
            let message = Message {
                topic: delivery.topic,
                payload: delivery.payload,
                retain: delivery.retain,
                conflate: false,
            };
            match self.session.deliver_from(message, delivery.origin) {
                // The client unsubscribed meanwhile, or does not want its own messages.
                Ok(()) | Err(NotTaken::NotSubscribed | NotTaken::NotConnected) => {}
                Err(NotTaken::Full | NotTaken::TooLarge) => self.overrun(1),
            }
        }
    }

    fn ended(&mut self, ending: Ending, will: Option<Will<Route>>) {
        self.slot.authenticated();
        self.closing = Some(uptime_ms().saturating_add(CLOSE_TIMEOUT));
        self.stalled_since = None;
        if let Ending::Fault(fault) = ending {
            match fault.code {
                Code::TakenOver | Code::Administrative | Code::ShuttingDown => {}
                Code::TopicInvalid | Code::NotAuthorized | Code::Quota => {} // noted already
                _ => {
                    add(&self.shared().counters.refused, 1);
                    self.report(fault_text(fault), fault.text);
                }
            }
        }
        if let Some(will) = will {
            self.published(None, will.route, will.payload, will.retain, 1, None);
        }
        self.shared().exchange.leave(self.number);
    }

    /// Writes the session's output. `Ready` once the kernel has all of it.
    fn write(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        loop {
            let output = self.session.output();
            if output.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, output))?;
            if count == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
            self.progress = true;
            self.session.consume(count);
        }
    }

    /// Reads once into the session. `Ready(Ok(0))` when the client has closed its side.
    fn read(&mut self, cx: &mut Context<'_>, now: u64) -> Poll<std::io::Result<usize>> {
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            self.session.receive(buffer.filled(), now);
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }

    /// Does everything that can be done now. `Ready` when the connection is over.
    fn work(&mut self, cx: &mut Context<'_>, now: u64) -> Poll<()> {
        for _ in 0..READS_A_POLL {
            if let Some(why) = self.mailbox.listen(cx.waker()) {
                self.session.close(why);
            }
            self.stored(cx);
            self.events(cx);
            self.deliver();
            let wrote = self.write(cx);
            if let Poll::Ready(Err(_)) = &wrote {
                return self.lost(cx);
            }
            if self.has_stalled(wrote.is_pending(), now) {
                return Poll::Ready(());
            }
            if wrote.is_ready() {
                // The output made room in the session for events and messages that waited behind
                // it.
                self.events(cx);
                self.deliver();
                if !self.session.output().is_empty() {
                    continue;
                }
            }
            if self.closing.is_some() {
                return if wrote.is_ready() { self.finish(cx) } else { Poll::Pending };
            }
            if !self.session.wants_input() {
                // Whatever ends the block wakes this task: the buffer, or the socket when it
                // becomes writable.
                return Poll::Pending;
            }
            match self.read(cx, now) {
                Poll::Ready(Ok(1..)) => self.events(cx),
                // The client may have closed only its side, to say that this is all.
                Poll::Ready(Ok(0)) => self.session.half_closed(),
                Poll::Ready(Err(_)) => return self.lost(cx),
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn lost(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.session.lost();
        self.events(cx);
        Poll::Ready(())
    }

    /// True when the client has accepted no output for [`STALL`].
    fn has_stalled(&mut self, waits: bool, now: u64) -> bool {
        if !waits || std::mem::take(&mut self.progress) {
            self.progress = false;
            self.stalled_since = waits.then_some(now);
            return false;
        }
        let since = *self.stalled_since.get_or_insert(now);
        if self.closing.is_some() || now < since.saturating_add(STALL) {
            return false;
        }
        add(&self.shared().counters.stalled, 1);
        self.report("a client of the local bus does not read what it is sent: it was cut", "");
        true
    }

    /// Shuts this side down, then waits for the client to close. Closing with unread input would
    /// reset the connection, and the client might never see the reason.
    fn finish(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.appending.is_empty() {
            // A last will, or records that came right before DISCONNECT.
            self.stored(cx);
        }
        if !self.shut {
            if ready!(Pin::new(&mut self.stream).poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            self.shut = true;
        }
        BUFFER.with_borrow_mut(|buffer| {
            for _ in 0..READS_A_POLL {
                let mut buffer = ReadBuf::new(buffer);
                match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                    Ok(()) if !buffer.filled().is_empty() => {}
                    _ => return Poll::Ready(()),
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }

    /// Next time at which something is due without an event.
    fn next_timeout(&self) -> Option<u64> {
        if self.closing.is_some() {
            return self.closing;
        }
        let stall = self.stalled_since.map(|since| since.saturating_add(STALL));
        [stall, self.session.next_timeout()].into_iter().flatten().min()
    }

    /// Sets the timer. `Ready` when it has fired.
    fn wait(&mut self, cx: &mut Context<'_>, now: u64) -> Poll<()> {
        let Some(due) = self.next_timeout() else { return Poll::Pending };
        // A timer that fires too early is set again then; that is cheaper than to reset it for
        // every packet, since most deadlines are never reached.
        if self.armed.is_none_or(|armed| armed > due) {
            let wait = Duration::from_millis(due.saturating_sub(now));
            self.timer.as_mut().reset(Instant::now() + wait);
            self.armed = Some(due);
        }
        ready!(self.timer.as_mut().poll(cx));
        self.armed = None;
        Poll::Ready(())
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

impl Future for Connection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            let now = uptime_ms();
            if this.closing.is_some_and(|until| now >= until) {
                return Poll::Ready(());
            }
            this.session.handle_timeout(now);
            if this.work(cx, now).is_ready() {
                return Poll::Ready(());
            }
            ready!(this.wait(cx, now));
        }
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
