//! Transport below a connection's MQTT session: TLS that is written and read within one poll, a
//! timer, and the detection of a client that takes nothing.

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

/// Maximum size of one read, in bytes: one TLS record.
const READ: usize = 16 * 1024;

/// Maximum number of turns in one poll, after which other connections get theirs.
pub(super) const TURNS_A_POLL: usize = 8;

/// Time that a client has to take the last bytes of an ended connection.
const LAST_WORDS: Duration = Duration::from_secs(1);

thread_local! {
    /// Read buffer that all connections of a thread share, so that an idle connection has none.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// Transport of a connection. Times are in milliseconds of the gateway's clock.
pub(super) struct Pipe {
    stream: TlsStream<Meter>,
    timer: Pin<Box<Sleep>>,
    /// Time at which the timer fires; `None` when it is not set.
    armed: Option<u64>,
    /// Time since which the client has taken none of what waits for it.
    stalled_since: Option<u64>,
    /// Number of bytes that the kernel had taken at that time.
    written: u64,
    /// Time at which to stop waiting for the last bytes to be taken; set once the session has
    /// ended.
    closing: Option<u64>,
    /// True once the TLS close was sent.
    shut: bool,
}

impl Pipe {
    pub(super) fn new(mut stream: TlsStream<Meter>) -> Self {
        // Output that the client does not take should wait in the session, where newer messages
        // replace older ones.
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

    /// Writes the session's output. `Ready` means that the kernel has all of it.
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

    /// Reads once into the session. `Ready(Ok(0))` means that the client closed its side.
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

    /// Returns true when nothing of the waiting output was taken for `limit` milliseconds. The
    /// connection is then given up.
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

    /// Notes that the session has ended; the client may still take what is left.
    pub(super) fn close(&mut self, now: u64) {
        self.closing = Some(now.saturating_add(millis(LAST_WORDS)));
        self.stalled_since = None;
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Returns true when the time for the last bytes is over.
    pub(super) fn is_over(&self, now: u64) -> bool {
        self.closing.is_some_and(|until| now >= until)
    }

    /// Sends the TLS close and waits for the client to close. Closing with unread data would reset
    /// the connection, and the reason would be lost on its way.
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

    /// Sets the timer for the next time at which something is due without an event: the session's
    /// own time, a stall after `limit`, or the end of the last bytes' time. `Ready` means that it
    /// has fired.
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
        // A timer that fires too early is set again at that point. Most timers are never reached.
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
