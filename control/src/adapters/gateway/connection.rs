//! Connection of one device: what the events of its MQTT session mean to the control plane, and
//! what the device is sent. The bytes are moved by [`Host`].
//!
//! See decisions 0086 and 0154.

use std::sync::Arc;
use std::task::Context;

use bytes::Bytes;
use holdfast_mqtt::{Code, Ending, Event, Fault, Message, Retain, Session, Will};
use holdfast_mqtt_host::{HalfClose, Host, Side};
use holdfast_protocol::topic::Channel;
use tokio_rustls::server::TlsStream;

use super::counters::{add, count, drop_one};
use super::gatekeeper::{Gatekeeper, Why};
use super::identity::Identity;
use super::meter::Meter;
use super::newcomer::{Newcomer, OpenConnection};
use super::pipe::Pipe;
use super::registry::{End, Inbox, Mailbox};
use super::shared::{Shared, TURNS_A_POLL};
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

/// Gateway's side of a device's connection.
pub(super) struct Connection {
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

impl Side for Connection {
    type Policy = Gatekeeper;

    const TURNS_A_POLL: usize = TURNS_A_POLL;
    /// A device may close its side right after its last publish, which is still to be answered.
    const HALF_CLOSE: HalfClose = HalfClose::AnswerFirst;

    fn now(&self) -> u64 {
        self.shared.now()
    }

    fn stall_limit(&self) -> u64 {
        self.shared.limits.stall_limit()
    }

    fn take_inbox(&mut self, session: &mut Session<Gatekeeper>, cx: &mut Context<'_>) {
        let inbox = self.mailbox.take(cx.waker());
        self.inbox(session, inbox);
    }

    fn event(&mut self, session: &mut Session<Gatekeeper>, event: Event<Channel>) {
        match event {
            Event::Connected { keep_alive, .. } => self.connected(session, keep_alive),
            Event::Published { token, route, payload, .. } => {
                count(&self.shared.counters.publishes_in);
                let mailbox = Arc::clone(&self.mailbox);
                let done = Done::new(move |outcome| mailbox.done(token, outcome));
                let device = &session.policy().identity.device;
                self.ports.inbox.received(device, route, payload, done);
            }
            Event::Subscribed { retained, refused } => {
                if refused {
                    count(&self.shared.counters.refused_topic);
                }
                self.subscriptions_changed(session, &retained);
            }
            Event::Unsubscribed => self.subscriptions_changed(session, &[]),
            Event::NotAllowed | Event::TooLarge { .. } => {
                count(&self.shared.counters.refused_topic);
            }
            Event::Ended { ending, will } => self.ended(session, ending, will),
        }
    }

    fn offer(&mut self, session: &mut Session<Gatekeeper>, _now: u64, _cx: &mut Context<'_>) {
        self.send_desired(session);
    }

    fn received(&mut self, bytes: usize, now: u64) {
        add(&self.shared.counters.bytes_in, u64::try_from(bytes).unwrap_or(0));
        self.mailbox.heard(now);
    }

    fn sent(&mut self, session: &Session<Gatekeeper>, bytes: usize) {
        add(&self.shared.counters.bytes_out, u64::try_from(bytes).unwrap_or(0));
        let sent = session.publishes_sent();
        add(&self.shared.counters.publishes_out, sent - self.counted_sent);
        self.counted_sent = sent;
    }

    fn stalled(&mut self, session: &mut Session<Gatekeeper>) {
        count(&self.shared.counters.cut_silent);
        self.leave(session, "it does not read: cut after a stall");
    }

    fn dropped(&mut self, session: &mut Session<Gatekeeper>) {
        self.leave(session, "the connection's task was ended");
    }
}

impl Connection {
    /// Creates the task of the connection. It ends with the connection.
    pub(super) fn task(
        stream: TlsStream<Meter>,
        identity: Identity,
        new: Newcomer,
    ) -> Host<Pipe, Self> {
        let now = new.shared.now();
        let policy = Gatekeeper::new(identity, Arc::clone(&new.ports.admission));
        let session = Session::new(policy, Arc::clone(&new.shared.session_limits), now);
        let side = Self {
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
        };
        Host::new(Pipe::new(stream), session, side)
    }

    /// Processes what other tasks left in the mailbox: stored publishes, a changed desired state,
    /// calls, acknowledgements, an end.
    fn inbox(&mut self, session: &mut Session<Gatekeeper>, inbox: Inbox) {
        for (token, stored) in inbox.done {
            let answered = session.acknowledge(token, stored);
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
            self.deliver(session, Channel::Call, payload, Retain::No);
        }
        for payload in inbox.acks {
            self.deliver(session, Channel::Ack, payload, Retain::No);
        }
        if let Some(end) = inbox.end {
            self.end_by(session, end);
        }
    }

    fn end_by(&mut self, session: &mut Session<Gatekeeper>, end: End) {
        self.end = Some(end);
        session.close(match end {
            End::Administrative => Fault::new(Code::Administrative, "ended by the control plane"),
            End::TakenOver => Fault::new(Code::TakenOver, "a newer connection of this device"),
            End::ShuttingDown => Fault::new(Code::ShuttingDown, "the control plane stops"),
        });
    }

    fn deliver(
        &self,
        session: &mut Session<Gatekeeper>,
        channel: Channel,
        payload: Bytes,
        retain: Retain,
    ) {
        let Some(topic) = session.policy().topic(channel) else { return };
        let conflate = retain != Retain::No;
        let message = Message { topic: topic.into(), payload, retain, conflate };
        if let Err(reason) = session.deliver(message) {
            count(&self.shared.counters.not_delivered);
            let device = &session.policy().identity.device;
            tracing::warn!(%device, channel = channel.as_str(), %reason, "not delivered");
        }
    }

    /// Sends the desired state if it is pending and the session can send now. It is read only here,
    /// so that the device gets the newest one and intermediate ones are skipped.
    fn send_desired(&mut self, session: &mut Session<Gatekeeper>) {
        if self.pending == PendingDesired::None || !session.is_ready() {
            return;
        }
        let retain =
            if self.pending == PendingDesired::Subscribed { Retain::Stored } else { Retain::Live };
        self.pending = PendingDesired::None;
        let policy = session.policy();
        let subscribed =
            policy.topic(Channel::Desired).is_some_and(|topic| session.is_subscribed(&topic));
        if subscribed && let Some(desired) = self.ports.desired.desired(&policy.identity.device) {
            self.deliver(session, Channel::Desired, desired, retain);
        }
    }

    fn connected(&mut self, session: &mut Session<Gatekeeper>, keep_alive: u16) {
        self.slot = None;
        self.mailbox.promised(keep_alive, session.has_aliases());
        let device = &session.policy().identity.device;
        count(&self.shared.counters.connected);
        count(&self.shared.counters.connections);
        self.known = true;
        let entered = self.shared.registry.enter(device, &self.mailbox);
        let line: Arc<dyn Line> = Arc::clone(&self.mailbox) as _;
        self.ports.admission.connected(device, self.mailbox.connection, self.peer, Some(line));
        match entered {
            Ok(None) => {}
            Ok(Some(older)) => older.end(End::TakenOver),
            Err(()) => self.end_by(session, End::TakenOver),
        }
        if *self.stop.borrow() {
            self.end_by(session, End::ShuttingDown);
        }
    }

    fn subscriptions_changed(&mut self, session: &mut Session<Gatekeeper>, retained: &[String]) {
        let policy = session.policy();
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
        self.mailbox.takes(session.is_subscribed(&call), session.is_subscribed(&ack));
        // The device takes acknowledgements already, so every later change of the store's id
        // reaches it.
        if retained.iter().any(|filter| holdfast_mqtt::matches(filter, &ack))
            && let Some(notice) = self.ports.inbox.store_notice()
        {
            self.deliver(session, Channel::Ack, notice, Retain::No);
        }
    }

    fn ended(
        &mut self,
        session: &Session<Gatekeeper>,
        ending: Ending,
        will: Option<Will<Channel>>,
    ) {
        self.slot = None;
        self.count_ending(session, ending);
        // A connection that was superseded, or ended by the control plane, publishes no will.
        let device = &session.policy().identity.device;
        if let Some(will) = will
            && self.end.is_none()
            && self.shared.registry.is_current(device, self.mailbox.connection)
        {
            let nobody_waits = Done::new(|_: Outcome| {});
            self.ports.inbox.received(device, will.route, will.payload, nobody_waits);
        }
        self.leave(session, &ending.to_string());
    }

    fn count_ending(&self, session: &Session<Gatekeeper>, ending: Ending) {
        let counters = &self.shared.counters;
        let refused = session.policy().refused;
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
            let device = &session.policy().identity.device;
            tracing::info!(%device, peer = %self.peer, reason = %fault, "connection refused");
        }
    }

    /// Tells registry and control plane, once, that the connection has ended.
    fn leave(&mut self, session: &Session<Gatekeeper>, reason: &str) {
        self.mailbox.close();
        if !std::mem::replace(&mut self.known, false) {
            return;
        }
        drop_one(&self.shared.counters.connections);
        let device = &session.policy().identity.device;
        self.shared.registry.leave(device, self.mailbox.connection);
        self.ports.admission.disconnected(device, self.mailbox.connection, reason);
        tracing::debug!(%device, peer = %self.peer, reason, "disconnected");
    }
}
