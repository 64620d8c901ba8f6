//! Part of a file as the body of a response, no faster than all neighbours together may have it.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;

use crate::adapters::clock::uptime_ms;

/// Number of bytes that are read from the disk at once.
const PIECE: usize = 32 * 1024;

/// Bytes that may be sent: they come at a rate, and those of at most a second are saved up.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Bytes a second.
    rate: u64,
    /// Time in milliseconds up to which bytes are taken. May lie ahead.
    taken_until: Mutex<u64>,
}

impl Bucket {
    pub(super) fn new(rate: u64, now: u64) -> Self {
        Self { rate: rate.max(1), taken_until: Mutex::new(now) }
    }

    /// Takes bytes. Returns the milliseconds after which they may be sent.
    fn take(&self, bytes: u64, now: u64) -> u64 {
        let mut until = self.taken_until.lock().unwrap_or_else(PoisonError::into_inner);
        let costs = bytes.saturating_mul(1_000).div_ceil(self.rate);
        *until = (*until).max(now.saturating_sub(1_000)).saturating_add(costs);
        until.saturating_sub(now)
    }
}

/// Owner of a bucket.
pub(super) trait Bucketed: Send + Sync + 'static {
    /// The bucket.
    fn bucket(&self) -> &Bucket;
}

/// Part of a file, from where the file stands.
pub(super) struct Part<S: Bucketed> {
    /// The file, and how many of its bytes are left to send. None: there is no body.
    pub(super) file: Option<(tokio::fs::File, u64)>,
    /// Pause before the next piece.
    pub(super) pause: Option<Pin<Box<Sleep>>>,
    pub(super) shared: Arc<S>,
    /// Place among the uploads, given back at the end.
    pub(super) place: Option<OwnedSemaphorePermit>,
}

impl<S: Bucketed> Body for Part<S> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        let Some((file, left)) = &mut this.file else { return Poll::Ready(None) };
        if *left == 0 {
            return Poll::Ready(None);
        }
        if let Some(pause) = &mut this.pause {
            if pause.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            this.pause = None;
        }
        let most = usize::try_from(*left).map_or(PIECE, |left| left.min(PIECE));
        let mut piece = vec![0; most];
        let mut buffer = ReadBuf::new(&mut piece);
        match Pin::new(file).poll_read(cx, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
            Poll::Ready(Ok(())) => {
                let read = buffer.filled().len();
                if read == 0 {
                    return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
                }
                piece.truncate(read);
                let read = u64::try_from(read).unwrap_or(0);
                *left = left.saturating_sub(read);
                let wait = this.shared.bucket().take(read, uptime_ms());
                if wait > 0 {
                    this.pause = Some(Box::pin(tokio::time::sleep(Duration::from_millis(wait))));
                }
                Poll::Ready(Some(Ok(Frame::data(piece.into()))))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.file.as_ref().map_or(0, |(_, left)| *left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_at_their_rate_and_a_second_is_saved_up() {
        let bucket = Bucket::new(1_000, 5_000);
        assert_eq!(bucket.take(1_000, 10_000), 0, "saved up");
        assert_eq!(bucket.take(500, 10_000), 500);
        assert_eq!(bucket.take(500, 10_500), 500);
        assert_eq!(bucket.take(100, 60_000), 0);
    }
}
