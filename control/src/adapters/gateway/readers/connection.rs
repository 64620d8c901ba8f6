//! Connection of one reader. Data records become messages only when they can be sent, so that
//! waiting records are shared among readers, and bounded.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use holdfast_mqtt::{Code, Ending, Event, Fault, Message, Retain, Session, matches};
use tokio_rustls::server::TlsStream;

use super::Form;
use super::policy::Reader;
use crate::adapters::gateway::Shared;
use crate::adapters::gateway::accept::{Newcomer, OpenConnection};
use crate::adapters::gateway::counters::{add, count, drop_one};
use crate::adapters::gateway::meter::Meter;
use crate::adapters::gateway::pipe::{Pipe, TURNS_A_POLL, millis};
use crate::adapters::seats::Seat;
use crate::core::values::{record_cbor, record_json};
use crate::ports::bus::{Feed, Ports, Stored, Wanted};

/// Topic filters of a reader, shared with the thread that stores records.
type Filters = Arc<Mutex<Vec<Box<str>>>>;

/// Batch of records that is being sent.
struct Current {
    stored: Arc<Stored>,
    /// Index of the next record of the batch.
    next: usize,
}

/// Task of the connection. It ends with the connection.
pub(in crate::adapters::gateway) struct Connection {
    pipe: Pipe,
    session: Session<Reader>,
    /// Feed of the subscribed streams; `None` before CONNECT and after the end.
    feed: Option<Box<dyn Feed>>,
    filters: Filters,
    current: Option<Current>,
    shared: Arc<Shared>,
    ports: Arc<Ports>,
    peer: SocketAddr,
    /// Time at which the token is checked again, in milliseconds of the gateway's clock.
    check: u64,
    /// Future that is ready when the gateway stops.
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_stopping: bool,
    /// Place among the half-open connections, held until CONNECT.
    slot: Option<Seat>,
    _open: OpenConnection,
    /// True while it is counted among the readers.
    known: bool,
    /// True once a refused filter was logged.
    is_told: bool,
}

impl Connection {
    pub(in crate::adapters::gateway) fn new(stream: TlsStream<Meter>, new: Newcomer) -> Self {
        let now = new.shared.now();
        let readers = Arc::clone(&new.shared.readers);
        let policy = Reader::new(Arc::clone(&new.ports.readers), readers, new.number);
        let mut stop = new.stop;
        let stop = async move { drop(stop.wait_for(|stopped| *stopped).await) };
        Self {
            pipe: Pipe::new(stream),
            session: Session::new(policy, Arc::clone(&new.shared.reader_limits), now),
            feed: None,
            filters: Filters::default(),
            current: None,
            shared: new.shared,
            ports: new.ports,
            peer: new.peer,
            check: now,
            stop: Box::pin(stop),
            is_stopping: false,
            slot: Some(new.slot),
            _open: new.open,
            known: false,
            is_told: false,
        }
    }

    fn events(&mut self) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Connected { .. } => self.connected(),
                Event::Published { route, .. } => match route {},
                Event::Subscribed { refused, .. } => {
                    if refused {
                        count(&self.shared.counters.refused_topic);
                        self.refused();
                    }
                    self.wants();
                }
                Event::Unsubscribed => self.wants(),
                Event::NotAllowed | Event::TooLarge { .. } => {
                    count(&self.shared.counters.refused_topic);
                }
                Event::Ended { ending, .. } => self.ended(ending),
            }
        }
    }

    fn connected(&mut self) {
        self.slot = None;
        self.known = true;
        count(&self.shared.counters.readers);
        let filters = Arc::clone(&self.filters);
        let wanted: Wanted = Box::new(move |device, stream| {
            let filters = filters.lock().unwrap_or_else(PoisonError::into_inner);
            !filters.is_empty()
                && Form::ALL
                    .map(|form| form.topic(device, stream))
                    .iter()
                    .any(|topic| filters.iter().any(|filter| matches(filter, topic)))
        });
        let Some(access) = self.session.policy().access() else { return };
        self.feed = Some(self.ports.readers.read_along(access, wanted));
        let access = &*access.id;
        tracing::info!(peer = %self.peer, access, "a reader is connected");
    }

    /// Logs the first refused filter. Clients show "denied" only, and some subscribe again and
    /// again.
    fn refused(&mut self) {
        if std::mem::replace(&mut self.is_told, true) {
            return;
        }
        let reader = self.session.policy();
        let access = reader.access().map_or("", |access| &*access.id);
        let filter = reader.refused().unwrap_or_default();
        tracing::info!(
            peer = %self.peer, access, filter,
            "a filter of a reader is refused: there are data/DEVICE/STREAM and data-cbor/DEVICE/STREAM, each with + and #, and nothing shared"
        );
    }

    fn wants(&mut self) {
        let wanted = self.session.filters().map(Into::into).collect();
        *self.filters.lock().unwrap_or_else(PoisonError::into_inner) = wanted;
    }

    fn ended(&mut self, ending: Ending) {
        self.pipe.close(self.shared.now());
        let counters = &self.shared.counters;
        match ending {
            Ending::Refused(fault, _) => {
                count(&counters.refused_readers);
                tracing::info!(peer = %self.peer, reason = %fault, "reader refused");
            }
            Ending::Fault(fault) => match fault.code {
                Code::NotAuthorized => count(&counters.refused_topic),
                Code::KeepAliveTimeout => count(&counters.cut_readers),
                Code::Administrative | Code::ShuttingDown => {}
                _ => count(&counters.protocol_errors),
            },
            Ending::Goodbye | Ending::Lost => {}
        }
        self.leave(&ending.to_string());
    }

    /// Gives up the reader's place, once.
    fn leave(&mut self, reason: &str) {
        self.slot = None;
        if let Some(mut feed) = self.feed.take() {
            add(&self.shared.counters.reader_dropped, feed.missed());
        }
        self.current = None;
        self.session.policy_mut().leave();
        if std::mem::replace(&mut self.known, false) {
            drop_one(&self.shared.counters.readers);
            tracing::info!(peer = %self.peer, reason, "a reader has gone");
        }
    }

    /// Checks the token. Returns false when it has ended; the connection is then closed.
    fn may_read(&mut self, now: u64) -> bool {
        self.check = now.saturating_add(millis(self.shared.limits.reader_check));
        let may = self.session.policy().may_read();
        if !may {
            count(&self.shared.counters.cut_readers);
            self.session.close(Fault::new(Code::Administrative, "the access token has ended"));
        }
        may
    }

    /// Sends waiting records for as long as the session takes messages. Returns true when more may
    /// wait.
    fn send(&mut self, now: u64, cx: &mut Context<'_>) -> bool {
        if self.feed.is_none() || (now >= self.check && !self.may_read(now)) {
            return false;
        }
        while self.session.is_ready() {
            if self.current.is_none() {
                let Some(feed) = &mut self.feed else { return false };
                let next = feed.poll_next(cx);
                add(&self.shared.counters.reader_dropped, feed.missed());
                let Poll::Ready(stored) = next else { return false };
                // The batch was queued before now, and the token may have ended since.
                if !self.may_read(now) {
                    return false;
                }
                self.current = Some(Current { stored, next: 0 });
            }
            self.send_some();
        }
        true
    }

    /// Closes the session when the gateway stops.
    fn look_for_stop(&mut self, cx: &mut Context<'_>) {
        if self.known && !self.is_stopping && self.stop.as_mut().poll(cx).is_ready() {
            self.is_stopping = true;
            self.session.close(Fault::new(Code::ShuttingDown, "the control plane stops"));
        }
    }

    /// Sends as many records of the current batch as the session takes.
    fn send_some(&mut self) {
        let Some(current) = &mut self.current else { return };
        let (device, stream) = (&current.stored.device, &current.stored.stream);
        let topics = Form::ALL.map(|form| (form, form.topic(device, stream)));
        let wanted: Vec<(Form, String)> =
            topics.into_iter().filter(|(_, topic)| self.session.is_subscribed(topic)).collect();
        while self.session.is_ready()
            && let Some(record) = current.stored.records.get(current.next)
        {
            current.next += 1;
            for (form, topic) in &wanted {
                let payload: Bytes = match form {
                    Form::Json => record_json(record).into(),
                    Form::Cbor => record_cbor(record).into(),
                };
                let topic = topic.as_str().into();
                let message = Message { topic, payload, retain: Retain::No, conflate: false };
                match self.session.deliver(message) {
                    Ok(()) => count(&self.shared.counters.reader_records),
                    Err(_) => count(&self.shared.counters.reader_dropped),
                }
            }
        }
        if current.next >= current.stored.records.len() {
            self.current = None;
        }
    }

    /// Does everything that can be done now. `Ready` means that the connection has ended.
    fn work(&mut self, cx: &mut Context<'_>, now: u64) -> Poll<()> {
        for _ in 0..TURNS_A_POLL {
            self.look_for_stop(cx);
            self.events();
            let more = self.send(now, cx);
            self.events();
            let wrote = self.pipe.write(&mut self.session, &self.shared.counters, cx);
            if let Poll::Ready(Err(_)) = &wrote {
                self.session.lost();
                self.events();
                return Poll::Ready(());
            }
            if self.pipe.has_stalled(wrote.is_pending(), now, self.stall_limit()) {
                count(&self.shared.counters.cut_readers);
                self.leave("it does not read: cut after a stall");
                return Poll::Ready(());
            }
            if self.pipe.is_closing() {
                return if wrote.is_ready() { self.pipe.last_words(cx) } else { Poll::Pending };
            }
            if wrote.is_ready() && more && self.session.is_ready() {
                continue;
            }
            if !self.session.wants_input() {
                // The socket wakes this task when it is writable.
                return Poll::Pending;
            }
            match self.pipe.read(&mut self.session, &self.shared.counters, cx, now) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => {
                    self.session.lost();
                    self.events();
                    return Poll::Ready(());
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn stall_limit(&self) -> u64 {
        millis(self.shared.limits.stall_timeout)
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            let now = this.shared.now();
            if this.pipe.is_over(now) {
                return Poll::Ready(());
            }
            this.session.handle_timeout(now);
            if this.work(cx, now).is_ready() {
                return Poll::Ready(());
            }
            let check = this.feed.is_some().then_some(this.check);
            let due = [this.session.next_timeout(), check].into_iter().flatten().min();
            ready!(this.pipe.wait(cx, now, due, this.stall_limit()));
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.leave("the connection's task was ended");
    }
}
