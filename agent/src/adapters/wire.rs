//! The one HTTP/1.1 client of the agent: to the control plane over TLS, and to the container engine
//! over a Unix socket. It is compiled once, for one type of connection and one of bodies.
//!
//! See decision 0143.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::tasks;

/// Connection of any kind.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Body of a request.
#[derive(Debug)]
pub enum Sent {
    /// Bytes that are there.
    Whole(Full<Bytes>),
    /// Bytes that are read while they are sent, and their length.
    Fed(mpsc::Receiver<Bytes>, u64),
}

impl Body for Sent {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut *self {
            Self::Whole(body) => Pin::new(body).poll_frame(context),
            Self::Fed(feed, _) => {
                feed.poll_recv(context).map(|fed| fed.map(|it| Ok(Frame::data(it))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Fed(..) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Fed(_, length) => SizeHint::with_exact(*length),
        }
    }
}

/// Begins to speak HTTP on a connection, which ends when the answer has been read or dropped.
///
/// # Errors
/// The error of the connection.
pub async fn speak(wire: Box<dyn Wire>) -> Result<SendRequest<Sent>, hyper::Error> {
    let (sender, connection) = handshake(TokioIo::new(wire)).await?;
    tasks::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an HTTP connection of the agent");
        }
    });
    Ok(sender)
}
