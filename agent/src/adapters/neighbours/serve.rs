//! Gives files to neighbours. Who asks must name the digest, show a certificate of the same tenant,
//! and be of the site by the control plane's list. Connections, files at the same time, their rate and
//! the life of a connection are bounded.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use holdfast_base::ids::{Digest, Name};
use holdfast_protocol::neighbours::{FILES_PATH, OFFER_HEADER};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncSeekExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::body::Part;
use super::peering::Peering;
use super::shared::Shared;
use crate::adapters::https::tune;
use crate::adapters::tasks;
use crate::core::neighbours::{MAX_ASKED, Offer};

/// Most connections at the same time: as many as devices ask one another for a file.
const MAX_CONNECTIONS: usize = MAX_ASKED;
/// Longest time for a handshake, and for the head of a request.
const HEAD: Duration = Duration::from_secs(10);
/// Longest life of a connection: who takes longer goes on at the byte with another one.
const LIFE: Duration = Duration::from_secs(3_600);
/// Longest time for which a device waits until the control plane has said whether it is of the site:
/// less than it waits for an answer.
const KNOWN: Duration = Duration::from_secs(2);

/// Listens on a port, or on a free one if it is taken. Returns the port.
pub(super) fn bind(port: u16) -> io::Result<(TcpListener, u16)> {
    let any = |port| {
        // Linux serves IPv4 on this address too.
        let both = std::net::TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
        both.or_else(|_| {
            std::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
        })
    };
    let listener = any(port).or_else(|_| any(0))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    Ok((TcpListener::from_std(listener)?, port))
}

/// Serves until it is dropped.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>, peering: Arc<Peering>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a neighbour cannot be let in");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let (shared, peering) = (Arc::clone(&shared), Arc::clone(&peering));
        tasks::spawn(async move {
            let served = tokio::time::timeout(LIFE, serve(stream, &shared, &peering)).await;
            drop((served, place));
        });
    }
}

async fn serve(stream: TcpStream, shared: &Arc<Shared>, peering: &Peering) {
    let _as_it_was = tune(&stream);
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&peering.server));
    let stream = match tokio::time::timeout(HEAD, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "somebody is not let in as a neighbour"),
        Err(_) => return,
    };
    let Some(name) = peering.neighbour(stream.get_ref().1.peer_certificates()) else { return };
    let service = service_fn(|request| {
        let (shared, name) = (Arc::clone(shared), name.clone());
        async move { Ok::<_, Infallible>(answer(&shared, name, &request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, neighbour = %name, "a connection of a neighbour ended");
    }
}

async fn answer(
    shared: &Arc<Shared>,
    name: Name,
    request: &Request<Incoming>,
) -> Response<Part<Shared>> {
    let admits = shared.directory.admits(&name, &shared.api);
    if !tokio::time::timeout(KNOWN, admits).await.unwrap_or(false) {
        return reply(shared, StatusCode::FORBIDDEN, Offer::None);
    }
    let digest = request.uri().path().strip_prefix(FILES_PATH);
    let Some(digest) = digest.and_then(|text| text.parse::<Digest>().ok()) else {
        return reply(shared, StatusCode::NOT_FOUND, Offer::None);
    };
    let said = request.headers().get(OFFER_HEADER).and_then(|value| value.to_str().ok());
    shared.hear(digest, name.clone(), said.map_or(Offer::None, Offer::of_word));
    let path = shared.files.join(digest.hex());
    let Ok(meta) = tokio::fs::metadata(&path).await else {
        let offer = shared.lock().offers.get(&digest).copied().unwrap_or(Offer::None);
        return reply(shared, StatusCode::NOT_FOUND, offer);
    };
    if request.method() != Method::GET {
        return reply(shared, StatusCode::OK, Offer::Has);
    }
    let Ok(place) = Arc::clone(&shared.uploads).try_acquire_owned() else {
        return reply(shared, StatusCode::SERVICE_UNAVAILABLE, Offer::Has);
    };
    let from = begin_of(request);
    if from > meta.len() {
        return reply(shared, StatusCode::RANGE_NOT_SATISFIABLE, Offer::Has);
    }
    let opened = async {
        let mut file = tokio::fs::File::open(&path).await?;
        file.seek(io::SeekFrom::Start(from)).await?;
        Ok::<_, io::Error>(file)
    };
    let Ok(file) = opened.await else {
        return reply(shared, StatusCode::NOT_FOUND, Offer::None);
    };
    tracing::info!(%digest, from, neighbour = %name, "giving a file to a neighbour");
    let mut response = reply(shared, StatusCode::PARTIAL_CONTENT, Offer::Has);
    let range = format!("bytes {from}-{}/{}", meta.len().saturating_sub(1), meta.len());
    if let Ok(range) = range.parse() {
        response.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    let body = response.body_mut();
    body.file = Some((file, meta.len() - from));
    body.place = Some(place);
    response
}

/// First byte that a request asks for: `Range: bytes=N-`. Anything else means all.
fn begin_of(request: &Request<Incoming>) -> u64 {
    let range = request.headers().get(header::RANGE).and_then(|value| value.to_str().ok());
    let from = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
    from.and_then(|from| from.parse().ok()).unwrap_or(0)
}

fn reply(shared: &Arc<Shared>, status: StatusCode, offer: Offer) -> Response<Part<Shared>> {
    let body = Part { file: None, pause: None, shared: Arc::clone(shared), place: None };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if let Ok(offer) = offer.word().parse() {
        response.headers_mut().insert(OFFER_HEADER, offer);
    }
    response
}
