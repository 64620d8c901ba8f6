//! Connection to a broker that speaks MQTT 3.1.1 alone: the stream below the MQTT library, which
//! translates what goes through it.
//!
//! See decision 0146.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::core::mqtt311::{Translator, Way};

/// Size of one read, in bytes.
const READ: usize = 4 * 1024;

/// Stream whose one side speaks version 5 and whose other side 3.1.1.
pub struct Translated<S> {
    stream: S,
    up: Translator,
    down: Translator,
    /// Translated bytes for the broker.
    output: Vec<u8>,
    /// Number of bytes of `output` that are written.
    written: usize,
    /// Translated bytes for the library.
    input: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Translated<S> {
    /// Wraps an open connection, before its CONNECT.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            up: Translator::new(Way::Up),
            down: Translator::new(Way::Down),
            output: Vec::new(),
            written: 0,
            input: Vec::new(),
        }
    }

    /// Writes what is translated.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.output.get(self.written..).filter(|rest| !rest.is_empty()) {
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        (self.output, self.written) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Translated<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // All of the write before must be gone, so that at most one waits here.
        ready!(this.poll_drain(cx))?;
        this.up.translate(bytes, &mut this.output).map_err(io::Error::other)?;
        if let Poll::Ready(Err(error)) = this.poll_drain(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Translated<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.input.is_empty() {
            let mut piece = [0; READ];
            let mut piece = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut piece))?;
            if piece.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.down.translate(piece.filled(), &mut this.input).map_err(io::Error::other)?;
        }
        let count = this.input.len().min(buffer.remaining());
        for byte in this.input.drain(..count) {
            buffer.put_slice(&[byte]);
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn both_ways_are_translated_over_a_narrow_stream() {
        let (near, mut far) = tokio::io::duplex(16);
        let mut near = Translated::new(near);
        let broker = async {
            let mut connect = [0; 17];
            far.read_exact(&mut connect).await.unwrap();
            assert_eq!(&connect, b"\x10\x0f\0\x04MQTT\x04\x02\0\x3c\0\x03a_b");
            far.write_all(b"\x20\x02\0\0\x90\x03\0\x01\x80").await.unwrap();
            drop(far);
        };
        let library = async {
            near.write_all(b"\x10\x10\0\x04MQTT\x05\x02\0\x3c\0\0\x03a_b").await.unwrap();
            near.flush().await.unwrap();
            let mut answers = Vec::new();
            near.read_to_end(&mut answers).await.unwrap();
            assert_eq!(answers, b"\x20\x03\0\0\0\x90\x04\0\x01\0\x80");
        };
        tokio::join!(broker, library);
    }
}
