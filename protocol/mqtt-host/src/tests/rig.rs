//! Rig of the tests: a scripted transport, a side that notes what it is told, a clock that the test
//! sets, and polls by hand.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use holdfast_mqtt::{Client, Event, Fault, Limits, Message, Policy, Retain, Session};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{HalfClose, Host, Side, Transport};

/// Stall limit of the side, shorter than the close timeout.
pub(super) const STALL: u64 = 400;
/// Turns in one poll.
pub(super) const TURNS: usize = 4;
/// Time to a complete CONNECT.
pub(super) const CONNECT_TIMEOUT: u64 = 3_000;

/// CONNECT of MQTT 5, keep-alive 60 s, client id `a`.
pub(super) const CONNECT: &[u8] = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01a";
/// SUBSCRIBE to `t` with QoS 0.
pub(super) const SUBSCRIBE: &[u8] = b"\x82\x07\x00\x01\x00\x00\x01t\x00";
/// PUBLISH of `x` to `t` with QoS 1 and packet id 7.
pub(super) const PUBLISH: &[u8] = b"\x32\x07\x00\x01t\x00\x07\x00x";
/// PUBACK of packet id 7.
pub(super) const PUBACK: &[u8] = b"\x40\x02\x00\x07";

/// Outcome of one read.
pub(super) enum Read {
    Bytes(&'static [u8]),
    Eof,
    Error,
}

/// Behaviour of the transport, and what was done with it.
#[derive(Default)]
pub(super) struct Script {
    /// Reads to come; afterwards there is nothing to read.
    pub(super) reads: VecDeque<Read>,
    /// Bytes that every read returns once `reads` is empty.
    pub(super) endless: Option<&'static [u8]>,
    /// True: reads report the end once this side is shut down.
    pub(super) closes: bool,
    /// Bytes that writes take before they wait.
    pub(super) room: usize,
    pub(super) fails: bool,
    /// True: a write succeeds with 0 bytes.
    pub(super) is_full_for_ever: bool,
    pub(super) flush_waits: bool,
    pub(super) flush_fails: bool,
    pub(super) shutdown_waits: bool,
    /// Bytes that the kernel took, for a transport that buffers.
    pub(super) taken: Option<u64>,
    pub(super) written: Vec<u8>,
    pub(super) reads_done: usize,
    pub(super) shut: bool,
}

/// Transport that follows a [`Script`].
pub(super) struct Fake(Rc<RefCell<Script>>);

impl AsyncRead for Fake {
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut script = self.0.borrow_mut();
        let next = script.reads.pop_front().or(script.endless.map(Read::Bytes));
        match next {
            Some(Read::Bytes(bytes)) => buffer.put_slice(bytes),
            Some(Read::Error) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Some(Read::Eof) => {}
            None if script.closes && script.shut => {}
            None => return Poll::Pending,
        }
        script.reads_done += 1;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Fake {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut script = self.0.borrow_mut();
        assert!(!script.shut, "written after the shutdown");
        if script.fails {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = bytes.len().min(script.room);
        if script.is_full_for_ever {
            return Poll::Ready(Ok(0));
        }
        if count == 0 {
            return Poll::Pending;
        }
        script.room -= count;
        script.written.extend(bytes.iter().take(count));
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let script = self.0.borrow();
        if script.flush_fails {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if script.flush_waits { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut script = self.0.borrow_mut();
        if script.shutdown_waits {
            return Poll::Pending;
        }
        script.shut = true;
        Poll::Ready(Ok(()))
    }
}

impl Transport for Fake {
    fn taken(&self) -> Option<u64> {
        self.0.borrow().taken
    }
}

/// Policy that allows everything.
pub(super) struct Anyone;

impl Policy for Anyone {
    type Route = ();

    fn connect(&mut self, _client: &Client<'_>) -> Result<(), Fault> {
        Ok(())
    }

    fn publish(&self, _topic: &str) -> Option<()> {
        Some(())
    }

    fn subscribe(&self, _filter: &str) -> bool {
        true
    }
}

/// State that test and side share.
#[derive(Default)]
pub(super) struct State {
    pub(super) now: Cell<u64>,
    /// Calls of the host, in their order.
    pub(super) told: RefCell<Vec<String>>,
    /// Payload sizes of messages to send to `t`.
    pub(super) queue: RefCell<VecDeque<usize>>,
    /// Tokens of publishes that are not answered.
    pub(super) tokens: RefCell<Vec<u64>>,
    /// True: the tokens are answered at the next turn.
    pub(super) answers: Cell<bool>,
    /// Fault to close the session with at the next turn.
    pub(super) close: Cell<Option<Fault>>,
    /// Fault to close the session with instead of a message.
    pub(super) close_by_offer: Cell<Option<Fault>>,
    pub(super) due: Cell<Option<u64>>,
    pub(super) bytes_sent: Cell<usize>,
    pub(super) bytes_received: Cell<usize>,
    /// Times of the host's calls of `offer`.
    pub(super) offers: RefCell<Vec<u64>>,
    /// True: the clock is the runtime's, not the test's.
    pub(super) real: Option<tokio::time::Instant>,
}

impl State {
    fn tell(&self, what: impl Into<String>) {
        self.told.borrow_mut().push(what.into());
    }
}

/// Side that notes its calls. `ANSWER_FIRST` chooses its rule for a half-closed connection.
pub(super) struct TestSide<const ANSWER_FIRST: bool>(Rc<State>);

impl<const ANSWER_FIRST: bool> Side for TestSide<ANSWER_FIRST> {
    type Policy = Anyone;

    const TURNS_A_POLL: usize = TURNS;
    const HALF_CLOSE: HalfClose =
        if ANSWER_FIRST { HalfClose::AnswerFirst } else { HalfClose::Lost };

    fn now(&self) -> u64 {
        let real = self.0.real.map(|start| u64::try_from(start.elapsed().as_millis()).unwrap());
        real.unwrap_or(self.0.now.get())
    }

    fn stall_limit(&self) -> u64 {
        STALL
    }

    fn take_inbox(&mut self, session: &mut Session<Anyone>, _cx: &mut Context<'_>) {
        if let Some(why) = self.0.close.take() {
            session.close(why);
        }
        if self.0.answers.get() {
            for token in self.0.tokens.take() {
                session.acknowledge(token, true);
            }
        }
    }

    fn event(&mut self, _session: &mut Session<Anyone>, event: Event<()>) {
        match event {
            Event::Connected { .. } => self.0.tell("connected"),
            Event::Published { token, .. } => {
                self.0.tokens.borrow_mut().push(token);
                self.0.tell("published");
            }
            Event::Subscribed { .. } => self.0.tell("subscribed"),
            Event::Ended { ending, .. } => self.0.tell(format!("ended: {ending:?}")),
            event => self.0.tell(format!("{event:?}")),
        }
    }

    fn events_handled(&mut self, _session: &mut Session<Anyone>, _cx: &mut Context<'_>) {
        self.0.tell("-");
    }

    fn offer(&mut self, session: &mut Session<Anyone>, now: u64, _cx: &mut Context<'_>) {
        self.0.offers.borrow_mut().push(now);
        if let Some(why) = self.0.close_by_offer.take() {
            session.close(why);
        }
        while session.is_ready()
            && let Some(size) = self.0.queue.borrow_mut().pop_front()
        {
            let payload = Bytes::from(vec![b'm'; size]);
            let topic = "t".into();
            session
                .deliver(Message { topic, payload, retain: Retain::No, conflate: false })
                .unwrap();
        }
    }

    fn received(&mut self, bytes: usize, _now: u64) {
        self.0.bytes_received.set(self.0.bytes_received.get() + bytes);
    }

    fn sent(&mut self, _session: &Session<Anyone>, bytes: usize) {
        self.0.bytes_sent.set(self.0.bytes_sent.get() + bytes);
    }

    fn next_due(&self) -> Option<u64> {
        self.0.due.get()
    }

    fn stalled(&mut self, _session: &mut Session<Anyone>) {
        self.0.tell("stalled");
    }

    fn dropped(&mut self, _session: &mut Session<Anyone>) {
        self.0.tell("dropped");
    }
}

/// Counter of the wakes of a task.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// One connection that the test polls.
pub(super) struct Rig<const ANSWER_FIRST: bool> {
    pub(super) host: Host<Fake, TestSide<ANSWER_FIRST>>,
    pub(super) script: Rc<RefCell<Script>>,
    pub(super) state: Rc<State>,
    wakes: Arc<Wakes>,
}

pub(super) fn limits() -> Limits {
    Limits {
        max_packet: 64 * 1024,
        inbound_in_flight: 2,
        inbound_bytes: 128 * 1024,
        outbound_in_flight: 8,
        outbound_queue: 8,
        topic_aliases: 0,
        connect_timeout: CONNECT_TIMEOUT,
        partial_timeout: 10_000,
        max_keep_alive: 3_600,
        lenient: false,
    }
}

impl<const ANSWER_FIRST: bool> Rig<ANSWER_FIRST> {
    /// Connection whose CONNECT is to come, with room for everything that is written.
    pub(super) fn new() -> Self {
        Self::with(limits(), State::default())
    }

    pub(super) fn with(limits: Limits, state: State) -> Self {
        let script = Rc::new(RefCell::new(Script { room: usize::MAX, ..Script::default() }));
        let state = Rc::new(state);
        let session = Session::new(Anyone, Arc::new(limits), 0);
        let host = Host::new(Fake(Rc::clone(&script)), session, TestSide(Rc::clone(&state)));
        Self { host, script, state, wakes: Arc::default() }
    }

    /// Connection that is connected and subscribed, with its answers read and its calls forgotten.
    pub(super) fn connected() -> Self {
        let mut rig = Self::new();
        rig.script.borrow_mut().reads.extend([Read::Bytes(CONNECT), Read::Bytes(SUBSCRIBE)]);
        assert!(rig.at(0).is_pending());
        assert_eq!(rig.told(), ["connected", "-", "subscribed", "-"]);
        rig.written();
        rig
    }

    /// Polls the task at this time of its clock, in milliseconds.
    pub(super) fn at(&mut self, now: u64) -> Poll<()> {
        self.state.now.set(now);
        let waker = Waker::from(Arc::clone(&self.wakes));
        Pin::new(&mut self.host).poll(&mut Context::from_waker(&waker))
    }

    /// Takes the notes of the side's calls.
    pub(super) fn told(&self) -> Vec<String> {
        self.state.told.take()
    }

    /// Takes the bytes that were written.
    pub(super) fn written(&self) -> Vec<u8> {
        std::mem::take(&mut self.script.borrow_mut().written)
    }

    /// Takes the number of times that the task was woken.
    pub(super) fn wakes(&self) -> usize {
        self.wakes.0.swap(0, Ordering::Relaxed)
    }
}
