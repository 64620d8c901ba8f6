//! What every connection has below its session: TLS that is written and read within one poll, a
//! timer, and the watch on who takes nothing.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use holdfast_mqtt::{Policy, Session};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_rustls::server::TlsStream;

use super::counters::{Counters, add};
use super::meter::Meter;

/// One read: a TLS record at most.
const READ: usize = 16 * 1024;

/// Turns in one poll, after which other connections get theirs.
pub(super) const TURNS_A_POLL: usize = 8;

/// How long an ended connection may take its last words.
const LAST_WORDS: Duration = Duration::from_secs(1);

thread_local! {
    /// Every connection of a thread reads here: an idle one has no read buffer.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// A connection's transport. Times in milliseconds of the gateway's clock.
pub(super) struct Pipe {
    stream: TlsStream<Meter>,
    timer: Pin<Box<Sleep>>,
    /// When the timer rings, or None when it is not set.
    armed: Option<u64>,
    /// Since when the other side takes nothing of what waits for it.
    stalled_since: Option<u64>,
    /// Bytes that the kernel had taken then.
    written: u64,
    /// Set once the session is over: when to stop waiting for the last words to be taken.
    closing: Option<u64>,
    /// The last words are out.
    shut: bool,
}

impl Pipe {
    pub(super) fn new(mut stream: TlsStream<Meter>) -> Self {
        // What the other side does not take waits in the session, where newer replaces older.
        stream.get_mut().1.set_buffer_limit(Some(READ));
        Self {
            stream,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            armed: None,
            stalled_since: None,
            written: 0,
            closing: None,
            shut: false,
        }
    }

    /// Writes what there is. `Ready`: all of it is with the kernel.
    pub(super) fn write<P: Policy>(
        &mut self,
        session: &mut Session<P>,
        counters: &Counters,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let output = session.output();
            if output.is_empty() {
                break;
            }
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, output))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            session.consume(count);
            add(&counters.bytes_out, u64::try_from(count).unwrap_or(0));
        }
        if self.stream.get_ref().1.wants_write() {
            return Pin::new(&mut self.stream).poll_flush(cx);
        }
        Poll::Ready(Ok(()))
    }

    /// One read into the session. `Ready(Ok(0))`: the other side closed.
    pub(super) fn read<P: Policy>(
        &mut self,
        session: &mut Session<P>,
        counters: &Counters,
        cx: &mut Context<'_>,
        now: u64,
    ) -> Poll<io::Result<usize>> {
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            let bytes = buffer.filled();
            session.receive(bytes, now);
            add(&counters.bytes_in, u64::try_from(bytes.len()).unwrap_or(0));
            Poll::Ready(Ok(bytes.len()))
        })
    }

    /// True: what waits has waited for `limit` and nothing of it was taken; its data is let go.
    pub(super) fn has_stalled(&mut self, waits: bool, now: u64, limit: u64) -> bool {
        let written = self.stream.get_ref().0.written;
        if !waits || written != self.written {
            self.written = written;
            self.stalled_since = waits.then_some(now);
            return false;
        }
        let since = *self.stalled_since.get_or_insert(now);
        self.closing.is_none() && now >= since.saturating_add(limit)
    }

    /// The session is over: what is left may still be taken.
    pub(super) fn close(&mut self, now: u64) {
        self.closing = Some(now.saturating_add(millis(LAST_WORDS)));
        self.stalled_since = None;
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// The last words had their time.
    pub(super) fn is_over(&self, now: u64) -> bool {
        self.closing.is_some_and(|until| now >= until)
    }

    /// Says goodbye in TLS, then waits for the other side to close: closing with its data unread
    /// would reset the connection, and the reason be lost on its way.
    pub(super) fn last_words(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.shut {
            if ready!(Pin::new(&mut self.stream).poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            self.shut = true;
        }
        BUFFER.with_borrow_mut(|buffer| {
            for _ in 0..TURNS_A_POLL {
                let mut buffer = ReadBuf::new(buffer);
                let (tcp, _) = self.stream.get_mut();
                match ready!(Pin::new(tcp).poll_read(cx, &mut buffer)) {
                    Ok(()) if !buffer.filled().is_empty() => {}
                    _ => return Poll::Ready(()),
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }

    /// Sets the timer for the next moment at which something is due without any event: what
    /// `session` is due for, a stall of `limit`, or the end of the last words. `Ready`: it has rung.
    pub(super) fn wait(
        &mut self,
        cx: &mut Context<'_>,
        now: u64,
        session: Option<u64>,
        limit: u64,
    ) -> Poll<()> {
        let stall = self.stalled_since.map(|since| since.saturating_add(limit));
        let due = self.closing.or_else(|| [stall, session].into_iter().flatten().min());
        let Some(due) = due else { return Poll::Pending };
        // A timer that rings too early is set again then: most are never reached.
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

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
