//! Transport below a session: a byte stream, and what the host must know of its buffers.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Byte stream of one connection. The provided methods suit a plain socket; a transport that
/// buffers output itself (TLS) overrides them.
pub trait Transport: AsyncRead + AsyncWrite + Unpin {
    /// Number of bytes that the kernel has taken since the connection began. `None` for a transport
    /// without a buffer of its own: there, what a write takes has reached the kernel.
    fn taken(&self) -> Option<u64> {
        None
    }

    /// Reads what the peer sends after the shutdown of this side. It is dropped, so TLS need not be
    /// decrypted.
    fn poll_leftover(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(self).poll_read(cx, buffer)
    }
}
