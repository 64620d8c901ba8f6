//! Connection of one device: a task with a hand-written poll that moves bytes between TLS and the
//! MQTT session, and events between the session and the control plane.
//!
//! See decision 0086.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use holdfast_mqtt::{Code, Ending, Event, Fault, Message, Retain, Session, Will};
use holdfast_protocol::topic::Channel;
use tokio_rustls::server::TlsStream;

use super::Shared;
use super::accept::{Newcomer, OpenConnection};
use super::counters::{add, count, drop_one};
use super::gatekeeper::{Gatekeeper, Why};
use super::identity::Identity;
use super::meter::Meter;
use super::pipe::{Pipe, TURNS_A_POLL, millis};
use super::registry::{End, Inbox, Mailbox};
use crate::adapters::seats::Seat;
use crate::ports::bus::{Done, Line, Outcome, Ports, Refusal};

/// Pending delivery of the desired state to the device.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PendingDesired {
    /// No delivery is pending.
    None,
    /// The desired state changed, or may have.
    Changed,
    /// The device has just subscribed and gets it as a retained message.
    Subscribed,
}

/// Task of the connection. It ends with the connection.
pub(super) struct Connection {
    pipe: Pipe,
    session: Session<Gatekeeper>,
    mailbox: Arc<Mailbox>,
    shared: Arc<Shared>,
    ports: Arc<Ports>,
    peer: std::net::SocketAddr,
    stop: tokio::sync::watch::Receiver<bool>,
    /// Place among the half-open connections, held until CONNECT.
    slot: Option<Seat>,
    _open: OpenConnection,
    pending: PendingDesired,
    /// True while the registry and the control plane know this connection.
    known: bool,
    /// Reason why it was ended from outside.
    end: Option<End>,
    counted_sent: u64,
}

impl Connection {
    pub(super) fn new(stream: TlsStream<Meter>, identity: Identity, new: Newcomer) -> Self {
        let now = new.shared.now();
        let policy = Gatekeeper::new(identity, Arc::clone(&new.ports.admission));
        let session = Session::new(policy, Arc::clone(&new.shared.session_limits), now);
        Self {
            pipe: Pipe::new(stream),
            session,
            mailbox: Arc::new(Mailbox::new(new.number, new.shared.started)),
            shared: new.shared,
            ports: new.ports,
            peer: new.peer,
            stop: new.stop,
            slot: Some(new.slot),
            _open: new.open,
            pending: PendingDesired::None,
            known: false,
            end: None,
            counted_sent: 0,
        }
    }

    /// Processes what other tasks left in the mailbox: stored publishes, a changed desired state,
    /// calls, acknowledgements, an end.
    fn inbox(&mut self, inbox: Inbox) {
        for (token, stored) in inbox.done {
            let answered = self.session.acknowledge(token, stored);
            if !stored {
                count(&self.shared.counters.not_stored);
            } else if answered {
                count(&self.shared.counters.pubacks_out);
            }
        }
        if inbox.desired && self.pending == PendingDesired::None {
            self.pending = PendingDesired::Changed;
        }
        for payload in inbox.calls {
            self.deliver(Channel::Call, payload, Retain::No);
        }
        for payload in inbox.acks {
            self.deliver(Channel::Ack, payload, Retain::No);
        }
        if let Some(end) = inbox.end {
            self.end_by(end);
        }
    }

    fn end_by(&mut self, end: End) {
        self.end = Some(end);
        self.session.close(match end {
            End::Administrative => Fault::new(Code::Administrative, "ended by the control plane"),
            End::TakenOver => Fault::new(Code::TakenOver, "a newer connection of this device"),
            End::ShuttingDown => Fault::new(Code::ShuttingDown, "the control plane stops"),
        });
    }

    fn deliver(&mut self, channel: Channel, payload: Bytes, retain: Retain) {
        let Some(topic) = self.session.policy().topic(channel) else { return };
        let conflate = retain != Retain::No;
        let message = Message { topic: topic.into(), payload, retain, conflate };
        if let Err(reason) = self.session.deliver(message) {
            count(&self.shared.counters.not_delivered);
            let device = &self.session.policy().identity.device;
            tracing::warn!(%device, channel = channel.as_str(), %reason, "not delivered");
        }
    }

    /// Sends the desired state if it is pending and the session can send now. It is read only here,
    /// so that the device gets the newest one and intermediate ones are skipped.
    fn send_desired(&mut self) {
        if self.pending == PendingDesired::None || !self.session.is_ready() {
            return;
        }
        let retain =
            if self.pending == PendingDesired::Subscribed { Retain::Stored } else { Retain::Live };
        self.pending = PendingDesired::None;
        let policy = self.session.policy();
        let subscribed =
            policy.topic(Channel::Desired).is_some_and(|topic| self.session.is_subscribed(&topic));
        if subscribed && let Some(desired) = self.ports.desired.desired(&policy.identity.device) {
            self.deliver(Channel::Desired, desired, retain);
        }
    }

    fn events(&mut self) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Connected { keep_alive, .. } => self.connected(keep_alive),
                Event::Published { token, route, payload, .. } => {
                    count(&self.shared.counters.publishes_in);
                    let mailbox = Arc::clone(&self.mailbox);
                    let done = Done::new(move |outcome| mailbox.done(token, outcome));
                    let device = &self.session.policy().identity.device;
                    self.ports.inbox.received(device, route, payload, done);
                }
                Event::Subscribed { retained, refused } => {
                    if refused {
                        count(&self.shared.counters.refused_topic);
                    }
                    self.subscriptions_changed(&retained);
                }
                Event::Unsubscribed => self.subscriptions_changed(&[]),
                Event::NotAllowed | Event::TooLarge { .. } => {
                    count(&self.shared.counters.refused_topic);
                }
                Event::Ended { ending, will } => self.ended(ending, will),
            }
        }
    }

    fn connected(&mut self, keep_alive: u16) {
        self.slot = None;
        self.mailbox.promised(keep_alive, self.session.has_aliases());
        let device = &self.session.policy().identity.device;
        count(&self.shared.counters.connected);
        count(&self.shared.counters.connections);
        self.known = true;
        let entered = self.shared.registry.enter(device, &self.mailbox);
        let line: Arc<dyn Line> = Arc::clone(&self.mailbox) as _;
        self.ports.admission.connected(device, self.mailbox.connection, self.peer, Some(line));
        match entered {
            Ok(None) => {}
            Ok(Some(older)) => older.end(End::TakenOver),
            Err(()) => self.end_by(End::TakenOver),
        }
        if *self.stop.borrow() {
            self.end_by(End::ShuttingDown);
        }
    }

    fn subscriptions_changed(&mut self, retained: &[String]) {
        let policy = self.session.policy();
        let (Some(desired), Some(call), Some(ack)) = (
            policy.topic(Channel::Desired),
            policy.topic(Channel::Call),
            policy.topic(Channel::Ack),
        ) else {
            return;
        };
        if retained.iter().any(|filter| holdfast_mqtt::matches(filter, &desired)) {
            self.pending = PendingDesired::Subscribed;
        }
        self.mailbox.takes(self.session.is_subscribed(&call), self.session.is_subscribed(&ack));
        // The device takes acknowledgements already, so every later change of the store's id
        // reaches it.
        if retained.iter().any(|filter| holdfast_mqtt::matches(filter, &ack))
            && let Some(notice) = self.ports.inbox.store_notice()
        {
            self.deliver(Channel::Ack, notice, Retain::No);
        }
    }

    fn ended(&mut self, ending: Ending, will: Option<Will<Channel>>) {
        self.slot = None;
        let now = self.shared.now();
        self.pipe.close(now);
        self.count_ending(ending);
        // A connection that was superseded, or ended by the control plane, publishes no will.
        let device = &self.session.policy().identity.device;
        if let Some(will) = will
            && self.end.is_none()
            && self.shared.registry.is_current(device, self.mailbox.connection)
        {
            let nobody_waits = Done::new(|_: Outcome| {});
            self.ports.inbox.received(device, will.route, will.payload, nobody_waits);
        }
        self.leave(&ending.to_string());
    }

    fn count_ending(&self, ending: Ending) {
        let counters = &self.shared.counters;
        let refused = self.session.policy().refused;
        count(match (ending, refused, self.end) {
            (Ending::Goodbye | Ending::Lost, ..) => return,
            (Ending::Refused(..), Some(Why::Certificate), _) => &counters.refused_certificate,
            (Ending::Refused(..), Some(Why::Admission(refusal)), _) => match refusal {
                Refusal::Unknown => &counters.refused_unknown,
                Refusal::Pending => &counters.refused_pending,
                Refusal::Revoked => &counters.refused_revoked,
            },
            (Ending::Refused(..), None, _) => &counters.refused_connect,
            (_, _, Some(End::TakenOver)) => &counters.taken_over,
            (_, _, Some(_)) => return,
            (Ending::Fault(fault), ..) => match fault.code {
                Code::KeepAliveTimeout => &counters.cut_silent,
                Code::NotAuthorized => &counters.refused_topic,
                _ => &counters.protocol_errors,
            },
        });
        if let Ending::Refused(fault, _) = ending {
            let device = &self.session.policy().identity.device;
            tracing::info!(%device, peer = %self.peer, reason = %fault, "connection refused");
        }
    }

    /// Tells registry and control plane, once, that the connection has ended.
    fn leave(&mut self, reason: &str) {
        self.mailbox.close();
        if !std::mem::replace(&mut self.known, false) {
            return;
        }
        drop_one(&self.shared.counters.connections);
        let device = &self.session.policy().identity.device;
        self.shared.registry.leave(device, self.mailbox.connection);
        self.ports.admission.disconnected(device, self.mailbox.connection, reason);
        tracing::debug!(%device, peer = %self.peer, reason, "disconnected");
    }

    /// Does everything that can be done now. `Ready` means that the connection has ended.
    fn work(&mut self, cx: &mut Context<'_>, now: u64) -> Poll<()> {
        for _ in 0..TURNS_A_POLL {
            let inbox = self.mailbox.take(cx.waker());
            self.inbox(inbox);
            self.events();
            self.send_desired();
            let wrote = self.pipe.write(&mut self.session, &self.shared.counters, cx);
            self.count_sent();
            if let Poll::Ready(Err(_)) = &wrote {
                self.session.lost();
                self.events();
                return Poll::Ready(());
            }
            if self.pipe.has_stalled(wrote.is_pending(), now, self.stall_limit()) {
                count(&self.shared.counters.cut_silent);
                self.leave("it does not read: cut after a stall");
                return Poll::Ready(());
            }
            if wrote.is_ready() {
                // The write made room for what waited behind it.
                self.events();
                self.send_desired();
                if !self.session.output().is_empty() {
                    continue;
                }
            }
            if self.pipe.is_closing() {
                return if wrote.is_ready() { self.pipe.last_words(cx) } else { Poll::Pending };
            }
            if !self.session.wants_input() {
                // Whoever unblocks the session wakes this task: the mailbox, or the socket when it
                // is writable.
                return Poll::Pending;
            }
            match self.pipe.read(&mut self.session, &self.shared.counters, cx, now) {
                Poll::Ready(Ok(1..)) => {
                    self.mailbox.heard(now);
                    self.events();
                }
                // The device may have closed only its sending side.
                Poll::Ready(Ok(0)) => self.session.half_closed(),
                Poll::Ready(Err(_)) => {
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

    fn count_sent(&mut self) {
        let sent = self.session.publishes_sent();
        add(&self.shared.counters.publishes_out, sent - self.counted_sent);
        self.counted_sent = sent;
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
            let due = this.session.next_timeout();
            ready!(this.pipe.wait(cx, now, due, this.stall_limit()));
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.leave("the connection's task was ended");
    }
}
