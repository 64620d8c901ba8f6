//! Connections whose client takes nothing are cut, because a response that nobody reads must not
//! hold a place for ever. A client that still sends after it was answered is read for a while, so
//! that the response is not lost with the connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Maximum number of bytes of a refused body that are read and dropped.
const HEARD_OUT: u64 = 64 * 1024 * 1024;

/// Longest time for which a client that was answered may go on sending.
const HEARING: Duration = Duration::from_secs(3);

/// Stream whose writes fail when they make no progress for `patience`.
pub(super) struct Stall<S> {
    inner: S,
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Stall<S> {
    pub(super) fn new(inner: S, patience: Duration) -> Self {
        Self { inner, patience, waiting: None }
    }

    /// Checks a write's outcome: starts, ends or checks the time of waiting.
    fn judge<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.waiting = None;
            return result;
        }
        let until = Instant::now() + self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        match waiting.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stall<S> {
    /// Ends the connection. What the client still sends is read for a while, because closing a
    /// connection with unread bytes would lose the last response.
    pub(super) async fn farewell(mut self) {
        let heard = async {
            self.shutdown().await?;
            tokio::io::copy(&mut (&mut self).take(HEARD_OUT), &mut tokio::io::sink()).await
        };
        if let Ok(Err(error)) = tokio::time::timeout(HEARING, heard).await {
            tracing::debug!(%error, "connection ended");
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stall<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stall<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.judge(cx, result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_flush(cx);
        self.judge(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.judge(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.judge(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_write_without_progress_fails_and_one_with_progress_does_not() {
        let (mut near, far) = tokio::io::duplex(16);
        let patience = Duration::from_secs(2);
        let mut far = Stall::new(far, patience);
        let began = Instant::now();
        let slow = async {
            let mut byte = [0; 8];
            for _ in 0..8 {
                tokio::time::sleep(patience / 5).await;
                near.read_exact(&mut byte).await.unwrap();
            }
        };
        let ((), written) = tokio::join!(slow, far.write_all(&[1; 64]));
        written.unwrap();
        assert!(began.elapsed() > patience, "longer than a stall, and it went on");
        let stalled = Instant::now();
        let error = far.write_all(&[1; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(stalled.elapsed() >= patience, "{:?}", stalled.elapsed());
    }
}
