//! The loop of one connection, written as one poll: the only place that reads, writes, keeps the
//! timer and closes.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use holdfast_mqtt::{Event, Session};
use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep};

use super::{HalfClose, Side, Transport};

/// Size of one read in bytes: one TLS record.
const READ: usize = 16 * 1024;

/// Longest time for the peer of an ended session to take the last bytes and close, in milliseconds.
pub(super) const CLOSE_TIMEOUT: u64 = 1_000;

thread_local! {
    /// Read buffer that all connections of a thread share, so that an idle connection has none.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// Outcome of one turn.
enum Turn {
    /// More can be done at once.
    Again,
    /// Nothing can be done until something wakes the task.
    Wait,
    /// The connection is over.
    Over,
}

/// Task of one connection: a future that ends with it. Times are milliseconds of the clock of its
/// [`Side`]. It must run in a tokio runtime with a timer.
pub struct Host<T: Transport, S: Side> {
    stream: T,
    session: Session<S::Policy>,
    side: S,
    timer: Pin<Box<Sleep>>,
    /// Time at which the timer fires; `None` when it is not set.
    pub(super) armed: Option<u64>,
    /// Time since which the peer has taken none of the waiting output.
    stalled_since: Option<u64>,
    /// Last value of [`Transport::taken`].
    taken: u64,
    /// Time at which to stop waiting for the peer to take the last bytes; set once the session has
    /// ended.
    closing: Option<u64>,
    /// True once this side of the transport is shut down.
    shut: bool,
}

/// Nothing in it is pinned in place: the timer has its own box, and a transport is `Unpin`.
impl<T: Transport, S: Side> Unpin for Host<T, S> {}

impl<T: Transport, S: Side> Host<T, S> {
    /// Creates the task of a connection whose transport is open.
    ///
    /// # Panics
    /// Outside a tokio runtime with a timer.
    pub fn new(stream: T, session: Session<S::Policy>, side: S) -> Self {
        Self {
            stream,
            session,
            side,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            armed: None,
            stalled_since: None,
            taken: 0,
            closing: None,
            shut: false,
        }
    }

    /// Tells the side all events of the session.
    fn events(&mut self, cx: &mut Context<'_>, now: u64) {
        let mut handled = false;
        while let Some(event) = self.session.poll_event() {
            if matches!(event, Event::Ended { .. }) {
                self.closing = Some(now.saturating_add(CLOSE_TIMEOUT));
                self.stalled_since = None;
            }
            self.side.event(&mut self.session, event);
            handled = true;
        }
        if handled {
            self.side.events_handled(&mut self.session, cx);
        }
    }

    /// Fills the session's output. Events come first, since they change what is sent, and once more
    /// after it, since a side may end the session instead of sending.
    fn fill(&mut self, cx: &mut Context<'_>, now: u64) {
        self.events(cx, now);
        self.side.offer(&mut self.session, now, cx);
        self.events(cx, now);
    }

    /// Writes the session's output, and counts the bytes that the transport took. `Ready` once the
    /// kernel has all of it.
    fn write(&mut self, cx: &mut Context<'_>) -> (usize, Poll<io::Result<()>>) {
        let mut bytes = 0;
        let wrote = loop {
            let output = self.session.output();
            if output.is_empty() {
                break Pin::new(&mut self.stream).poll_flush(cx);
            }
            match Pin::new(&mut self.stream).poll_write(cx, output) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    self.session.consume(count);
                    bytes += count;
                }
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        self.side.sent(&self.session, bytes);
        (bytes, wrote)
    }

    /// Reads once into the session. `Ready(Ok(0))` when the peer has closed its sending direction.
    fn read(&mut self, cx: &mut Context<'_>, now: u64) -> Poll<io::Result<usize>> {
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            self.session.receive(buffer.filled(), now);
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }

    /// Does everything that can be done now. `Ready` when the connection is over.
    fn work(&mut self, cx: &mut Context<'_>, now: u64) -> Poll<()> {
        for _ in 0..S::TURNS_A_POLL {
            match self.turn(cx, now) {
                Turn::Again => {}
                Turn::Wait => return Poll::Pending,
                Turn::Over => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn turn(&mut self, cx: &mut Context<'_>, now: u64) -> Turn {
        self.side.take_inbox(&mut self.session, cx);
        self.fill(cx, now);
        let (bytes, wrote) = self.write(cx);
        if let Poll::Ready(Err(_)) = wrote {
            return self.lost(cx, now);
        }
        if self.has_stalled(bytes, wrote.is_pending(), now) {
            self.side.stalled(&mut self.session);
            return Turn::Over;
        }
        if wrote.is_ready() {
            // The write made room in the session for events and messages that waited behind it.
            self.fill(cx, now);
            if !self.session.output().is_empty() {
                return Turn::Again;
            }
        }
        if self.closing.is_some() {
            return if wrote.is_ready() { self.finish(cx) } else { Turn::Wait };
        }
        if !self.session.wants_input() {
            // Whatever unblocks the session wakes this task: the side, or the transport when it
            // becomes writable.
            return Turn::Wait;
        }
        match self.read(cx, now) {
            Poll::Ready(Ok(0)) if S::HALF_CLOSE == HalfClose::AnswerFirst => {
                self.session.half_closed();
                Turn::Again
            }
            Poll::Ready(Ok(0) | Err(_)) => self.lost(cx, now),
            Poll::Ready(Ok(bytes)) => {
                self.side.received(bytes, now);
                self.events(cx, now);
                Turn::Again
            }
            Poll::Pending => Turn::Wait,
        }
    }

    /// Ends the session, since nothing more can be sent.
    fn lost(&mut self, cx: &mut Context<'_>, now: u64) -> Turn {
        self.session.lost();
        self.events(cx, now);
        Turn::Over
    }

    /// Returns true when nothing of the waiting output was taken for [`Side::stall_limit`].
    /// `bytes` is what the last write took; `waits` says that some output is left.
    fn has_stalled(&mut self, bytes: usize, waits: bool, now: u64) -> bool {
        let progress = match self.stream.taken() {
            Some(taken) => std::mem::replace(&mut self.taken, taken) != taken,
            None => bytes > 0,
        };
        if !waits || progress {
            self.stalled_since = waits.then_some(now);
            return false;
        }
        let since = *self.stalled_since.get_or_insert(now);
        self.closing.is_none() && now >= since.saturating_add(self.side.stall_limit())
    }

    /// Shuts this side down, then waits for the peer to close. Closing with unread input would
    /// reset the connection, and the peer might never see the reason.
    fn finish(&mut self, cx: &mut Context<'_>) -> Turn {
        if !self.shut {
            match Pin::new(&mut self.stream).poll_shutdown(cx) {
                Poll::Ready(Ok(())) => self.shut = true,
                Poll::Ready(Err(_)) => return Turn::Over,
                Poll::Pending => return Turn::Wait,
            }
        }
        BUFFER.with_borrow_mut(|buffer| {
            for _ in 0..S::TURNS_A_POLL {
                let mut buffer = ReadBuf::new(buffer);
                match self.stream.poll_leftover(cx, &mut buffer) {
                    Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                    Poll::Ready(_) => return Turn::Over,
                    Poll::Pending => return Turn::Wait,
                }
            }
            cx.waker().wake_by_ref();
            Turn::Wait
        })
    }

    /// Next time at which something is due without an event.
    fn next_due(&self) -> Option<u64> {
        if self.closing.is_some() {
            return self.closing;
        }
        let stall = self.stalled_since.map(|since| since.saturating_add(self.side.stall_limit()));
        [stall, self.session.next_timeout(), self.side.next_due()].into_iter().flatten().min()
    }

    /// Sets the timer. `Ready` when it has fired.
    fn wait(&mut self, cx: &mut Context<'_>, now: u64) -> Poll<()> {
        let Some(due) = self.next_due() else { return Poll::Pending };
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

impl<T: Transport, S: Side> Future for Host<T, S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            let now = this.side.now();
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

impl<T: Transport, S: Side> Drop for Host<T, S> {
    fn drop(&mut self) {
        self.side.dropped(&mut self.session);
    }
}
