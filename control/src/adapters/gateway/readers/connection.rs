//! Connection of one reader. Data records become messages only when they can be sent, so that
//! waiting records are shared among readers, and bounded. The bytes are moved by [`Host`].
//!
//! See decision 0154.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use holdfast_mqtt::{Code, Ending, Event, Fault, Message, Retain, Session, matches};
use holdfast_mqtt_host::{HalfClose, Host, Side};
use tokio_rustls::server::TlsStream;

use super::Form;
use super::policy::Reader;
use crate::adapters::gateway::counters::{add, count, drop_one};
use crate::adapters::gateway::limits::millis;
use crate::adapters::gateway::meter::Meter;
use crate::adapters::gateway::newcomer::{Newcomer, OpenConnection};
use crate::adapters::gateway::pipe::Pipe;
use crate::adapters::gateway::shared::{Shared, TURNS_A_POLL};
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

/// Gateway's side of a reader's connection.
pub(in crate::adapters::gateway) struct Connection {
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

impl Side for Connection {
    type Policy = Reader;

    const TURNS_A_POLL: usize = TURNS_A_POLL;
    /// A reader publishes nothing, so no answer is owed to one that sends no more.
    const HALF_CLOSE: HalfClose = HalfClose::Lost;

    fn now(&self) -> u64 {
        self.shared.now()
    }

    fn stall_limit(&self) -> u64 {
        self.shared.limits.stall_limit()
    }

    /// Closes the session when the gateway stops.
    fn take_inbox(&mut self, session: &mut Session<Reader>, cx: &mut Context<'_>) {
        if self.known && !self.is_stopping && self.stop.as_mut().poll(cx).is_ready() {
            self.is_stopping = true;
            session.close(Fault::new(Code::ShuttingDown, "the control plane stops"));
        }
    }

    fn event(&mut self, session: &mut Session<Reader>, event: Event<Infallible>) {
        match event {
            Event::Connected { .. } => self.connected(session),
            Event::Published { route, .. } => match route {},
            Event::Subscribed { refused, .. } => {
                if refused {
                    count(&self.shared.counters.refused_topic);
                    self.refused(session.policy());
                }
                self.wants(session);
            }
            Event::Unsubscribed => self.wants(session),
            Event::NotAllowed | Event::TooLarge { .. } => {
                count(&self.shared.counters.refused_topic);
            }
            Event::Ended { ending, .. } => self.ended(session, ending),
        }
    }

    fn offer(&mut self, session: &mut Session<Reader>, now: u64, cx: &mut Context<'_>) {
        self.send(session, now, cx);
    }

    fn received(&mut self, bytes: usize, _now: u64) {
        add(&self.shared.counters.bytes_in, u64::try_from(bytes).unwrap_or(0));
    }

    fn sent(&mut self, _session: &Session<Reader>, bytes: usize) {
        add(&self.shared.counters.bytes_out, u64::try_from(bytes).unwrap_or(0));
    }

    /// Time at which the token is checked again.
    fn next_due(&self) -> Option<u64> {
        self.feed.is_some().then_some(self.check)
    }

    fn stalled(&mut self, session: &mut Session<Reader>) {
        count(&self.shared.counters.cut_readers);
        self.leave(session, "it does not read: cut after a stall");
    }

    fn dropped(&mut self, session: &mut Session<Reader>) {
        self.leave(session, "the connection's task was ended");
    }
}

impl Connection {
    /// Creates the task of the connection. It ends with the connection.
    pub(in crate::adapters::gateway) fn task(
        stream: TlsStream<Meter>,
        new: Newcomer,
    ) -> Host<Pipe, Self> {
        let now = new.shared.now();
        let readers = Arc::clone(&new.shared.readers);
        let policy = Reader::new(Arc::clone(&new.ports.readers), readers, new.number);
        let session = Session::new(policy, Arc::clone(&new.shared.reader_limits), now);
        let mut stop = new.stop;
        let stop = async move { drop(stop.wait_for(|stopped| *stopped).await) };
        let side = Self {
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
        };
        Host::new(Pipe::new(stream), session, side)
    }

    fn connected(&mut self, session: &Session<Reader>) {
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
        let Some(access) = session.policy().access() else { return };
        self.feed = Some(self.ports.readers.read_along(access, wanted));
        let access = &*access.id;
        tracing::info!(peer = %self.peer, access, "a reader is connected");
    }

    /// Logs the first refused filter. Clients show "denied" only, and some subscribe again and
    /// again.
    fn refused(&mut self, reader: &Reader) {
        if std::mem::replace(&mut self.is_told, true) {
            return;
        }
        let access = reader.access().map_or("", |access| &*access.id);
        let filter = reader.refused().unwrap_or_default();
        tracing::info!(
            peer = %self.peer, access, filter,
            "a filter of a reader is refused: there are data/DEVICE/STREAM and data-cbor/DEVICE/STREAM, each with + and #, and nothing shared"
        );
    }

    fn wants(&self, session: &Session<Reader>) {
        let wanted = session.filters().map(Into::into).collect();
        *self.filters.lock().unwrap_or_else(PoisonError::into_inner) = wanted;
    }

    fn ended(&mut self, session: &mut Session<Reader>, ending: Ending) {
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
        self.leave(session, &ending.to_string());
    }

    /// Gives up the reader's place, once.
    fn leave(&mut self, session: &mut Session<Reader>, reason: &str) {
        self.slot = None;
        if let Some(mut feed) = self.feed.take() {
            add(&self.shared.counters.reader_dropped, feed.missed());
        }
        self.current = None;
        session.policy_mut().leave();
        if std::mem::replace(&mut self.known, false) {
            drop_one(&self.shared.counters.readers);
            tracing::info!(peer = %self.peer, reason, "a reader has gone");
        }
    }

    /// Checks the token. Returns false when it has ended; the connection is then closed.
    fn may_read(&mut self, session: &mut Session<Reader>, now: u64) -> bool {
        self.check = now.saturating_add(millis(self.shared.limits.reader_check));
        let may = session.policy().may_read();
        if !may {
            count(&self.shared.counters.cut_readers);
            session.close(Fault::new(Code::Administrative, "the access token has ended"));
        }
        may
    }

    /// Sends waiting records for as long as the session takes messages.
    fn send(&mut self, session: &mut Session<Reader>, now: u64, cx: &mut Context<'_>) {
        if self.feed.is_none() || (now >= self.check && !self.may_read(session, now)) {
            return;
        }
        while session.is_ready() {
            if self.current.is_none() {
                let Some(feed) = &mut self.feed else { return };
                let next = feed.poll_next(cx);
                add(&self.shared.counters.reader_dropped, feed.missed());
                let Poll::Ready(stored) = next else { return };
                // The batch was queued before now, and the token may have ended since.
                if !self.may_read(session, now) {
                    return;
                }
                self.current = Some(Current { stored, next: 0 });
            }
            self.send_some(session);
        }
    }

    /// Sends as many records of the current batch as the session takes.
    fn send_some(&mut self, session: &mut Session<Reader>) {
        let Some(current) = &mut self.current else { return };
        let (device, stream) = (&current.stored.device, &current.stored.stream);
        let topics = Form::ALL.map(|form| (form, form.topic(device, stream)));
        let wanted: Vec<(Form, String)> =
            topics.into_iter().filter(|(_, topic)| session.is_subscribed(topic)).collect();
        while session.is_ready()
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
                match session.deliver(message) {
                    Ok(()) => count(&self.shared.counters.reader_records),
                    Err(_) => count(&self.shared.counters.reader_dropped),
                }
            }
        }
        if current.next >= current.stored.records.len() {
            self.current = None;
        }
    }
}
