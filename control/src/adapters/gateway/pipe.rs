//! Transport below a connection's MQTT session: TLS that keeps little output back, and counts what
//! the kernel takes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use holdfast_mqtt_host::Transport;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::meter::Meter;

/// Most output in bytes that TLS buffers: one record. More waits in the session, where newer
/// messages replace older ones.
const TLS_BUFFER: usize = 16 * 1024;

/// TLS connection of a device or reader, after the handshake.
pub(super) struct Pipe(TlsStream<Meter>);

impl Pipe {
    pub(super) fn new(mut stream: TlsStream<Meter>) -> Self {
        stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER));
        Self(stream)
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    /// Sends the TLS close.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

impl Transport for Pipe {
    fn taken(&self) -> Option<u64> {
        Some(self.0.get_ref().0.written)
    }

    fn poll_leftover(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(self.0.get_mut().0).poll_read(cx, buffer)
    }
}
