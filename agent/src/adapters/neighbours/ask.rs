//! Asks one neighbour: connects to it, and sends one request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_base::ids::{Digest, Name};
use holdfast_protocol::neighbours::{FILES_PATH, OFFER_HEADER};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;

use super::peering::Peering;
use crate::adapters::https::tune;
use crate::adapters::tasks;
use crate::core::neighbours::Offer;

/// Longest time for TCP and TLS, and for the head of the response: a neighbour is near.
const NEAR: Duration = Duration::from_secs(3);
/// Name that is dialled; what counts is the device in the certificate.
const NAME: &str = "neighbour.holdfast.internal";

/// Reason why a neighbour cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotAsked {
    /// No address is known, or none accepts a connection.
    #[error("it cannot be reached")]
    Unreachable,
    /// Another device answers at this address.
    #[error("another device answers there")]
    Another,
    /// No response in time.
    #[error("it does not answer in time")]
    Late,
    /// The connection broke.
    #[error("{0}")]
    Broken(#[from] hyper::Error),
    /// The request cannot be made.
    #[error("{0}")]
    Request(#[from] hyper::http::Error),
}

/// Sends a request to the first address at which this neighbour answers.
pub(super) async fn send(
    peering: &Peering,
    (name, addresses): (&Name, &[SocketAddr]),
    request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, NotAsked> {
    let mut last = NotAsked::Unreachable;
    for address in addresses {
        let asked = tokio::time::timeout(NEAR, connect(peering, name, *address)).await;
        match asked.unwrap_or(Err(NotAsked::Late)) {
            Ok(stream) => return exchange(stream, request).await,
            Err(error) => last = error,
        }
    }
    Err(last)
}

type Stream = tokio_rustls::client::TlsStream<TcpStream>;

async fn connect(peering: &Peering, name: &Name, address: SocketAddr) -> Result<Stream, NotAsked> {
    let unreachable = |_| NotAsked::Unreachable;
    let socket = TcpStream::connect(address).await.map_err(unreachable)?;
    let _as_it_was = tune(&socket);
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(&peering.client));
    let server = ServerName::try_from(NAME).map_err(|_| NotAsked::Unreachable)?;
    let stream = connector.connect(server, socket).await.map_err(|error| {
        tracing::debug!(%error, %address, "a neighbour is not trusted, or trusts this device not");
        NotAsked::Unreachable
    })?;
    let is_it = peering.neighbour(stream.get_ref().1.peer_certificates()).as_ref() == Some(name);
    if is_it { Ok(stream) } else { Err(NotAsked::Another) }
}

async fn exchange(
    stream: Stream,
    request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, NotAsked> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tasks::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a neighbour ended");
        }
    });
    let answer = tokio::time::timeout(NEAR, sender.send_request(request)).await;
    Ok(answer.map_err(|_| NotAsked::Late)??)
}

/// Makes a request for a file. `own`: what this device says of itself.
pub(super) fn request(
    method: &str,
    digest: &Digest,
    own: Offer,
    from: u64,
) -> Result<Request<Empty<Bytes>>, NotAsked> {
    let request = Request::builder()
        .method(method)
        .uri(format!("{FILES_PATH}{digest}"))
        .header("host", NAME)
        .header("range", format!("bytes={from}-"))
        .header(OFFER_HEADER, own.word())
        .body(Empty::new())?;
    Ok(request)
}

/// What a response offers.
pub(super) fn offer_of(response: &Response<Incoming>) -> Offer {
    let offer = response.headers().get(OFFER_HEADER).and_then(|value| value.to_str().ok());
    offer.map_or(Offer::None, Offer::of_word)
}
