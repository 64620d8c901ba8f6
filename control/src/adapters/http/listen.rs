//! HTTPS port: TLS 1.3 with a certificate of our CA, and connections bounded in number and time.
//!
//! See decisions 0095 and 0098.
#![allow(
    clippy::disallowed_methods,
    reason = "an adapter: it spawns the tasks of its connections, whose end serve() awaits"
)]

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::http::header;
use axum::http::uri::Authority;
use axum::response::IntoResponse as _;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::RootCertStore;
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use rustls_pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::auth::{PeerAddress, PeerDevice};
use super::stall::Stall;
use crate::adapters::gateway::ServerIdentity;
use crate::adapters::seats::{Seat, Seats};
use crate::core::crowd::{Bounds, Stage};
use crate::service::Failure;

/// Places for connections. An active connection costs about 30 KiB. Half of the places are closed
/// to clients that have shown no token, cookie or device certificate. An address (a NAT, a proxy,
/// this machine) with more than 256 stalled connections of such clients loses those first.
const BOUNDS: Bounds = Bounds { all: 4_096, strangers: 2_048, each: 256, stalled_after: 2_000 };

/// Longest time from accept to the end of the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Longest time from the end of the handshake, or of the previous response, to a complete request
/// head. It is longer than the two minutes between two requests of an idle page: a new connection
/// would cost the page 3.3 KiB, three times what it reads. A stalled connection makes room first
/// (`BOUNDS`).
const HEAD: Duration = Duration::from_secs(150);

/// Time after which a client is cut that takes nothing of a response. A satellite link delays, but
/// does not stand still.
const STALL: Duration = Duration::from_secs(30);

/// Time for which a stop waits for responses under way.
const FAREWELL: Duration = Duration::from_secs(3);

/// TLS configuration of the port, which may be replaced while connections are open.
#[derive(Debug, Clone)]
pub struct Tls(Arc<RwLock<Arc<ServerConfig>>>);

impl Tls {
    /// Makes a configuration that presents `identity`, and verifies devices by `ca`.
    ///
    /// # Errors
    /// Returns rustls' error when they cannot be used.
    pub fn new(ca: &CertificateDer<'_>, identity: ServerIdentity) -> Result<Self, rustls::Error> {
        Ok(Self(Arc::new(RwLock::new(Arc::new(config(ca, identity)?)))))
    }

    /// Presents another identity to new connections.
    ///
    /// # Errors
    /// Returns rustls' error when it cannot be used; then the former one stays.
    pub fn replace(
        &self,
        ca: &CertificateDer<'_>,
        identity: ServerIdentity,
    ) -> Result<(), rustls::Error> {
        let config = Arc::new(config(ca, identity)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

fn config(
    ca: &CertificateDer<'_>,
    identity: ServerIdentity,
) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone().into_owned())?;
    // Operators show a token and devices a certificate, so a certificate is requested but not
    // required.
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain, identity.key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = rustls::crypto::ring::Ticketer::new()?;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(config)
}

/// Serves until `stop` is true, then waits a little for responses under way. A new connection is
/// always accepted before it is decided which one ends to make room, so silent clients never keep
/// others waiting.
pub async fn serve(
    listener: TcpListener,
    tls: Tls,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let seats = Seats::new(BOUNDS);
    let stopping = stop.clone();
    while !*stop.borrow() {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => break,
        };
        match accepted {
            Ok((socket, address)) => {
                let from = PeerAddress(address.ip().to_canonical());
                let (seat, _) = seats.enter(from.0, Stage::Silent);
                let number = seat.number();
                let (acceptor, router, stop) = (tls.acceptor(), router.clone(), stopping.clone());
                let seat = Arc::new(seat);
                let task = tokio::spawn(connection(socket, from, acceptor, router, stop, seat));
                seats.held_by(number, task.abort_handle());
            }
            Err(error) => {
                // The process is probably out of file descriptors: ending a stranger's connection
                // gives one back.
                seats.relieve();
                tracing::warn!(%error, "the API's port cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(FAREWELL, seats.empty()).await.is_err() {
        tracing::info!("stopped with requests that did not end in time");
    }
}

async fn connection(
    socket: TcpStream,
    from: PeerAddress,
    acceptor: TlsAcceptor,
    router: Router,
    mut stop: watch::Receiver<bool>,
    seat: Arc<Seat>,
) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let secured = async {
        socket.readable().await?;
        seat.at(Stage::Handshake);
        acceptor.accept(socket).await
    };
    let stream = match tokio::time::timeout(HANDSHAKE, secured).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => return tracing::debug!("TLS handshake took too long"),
    };
    seat.at(Stage::Idle);
    let certificates = stream.get_ref().1.peer_certificates();
    let peer = certificates.and_then(|chain| chain.first()).and_then(PeerDevice::of);
    if peer.is_some() {
        seat.known();
    }
    let place = Arc::clone(&seat);
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(from);
        request.extensions_mut().insert(Arc::clone(&place));
        if let Some(peer) = &peer {
            request.extensions_mut().insert(peer.clone());
        }
        place.at(Stage::Busy);
        let busy = Busy(Arc::clone(&place));
        let wrong = misdirected(&request);
        let answered = router.clone().oneshot(request);
        Box::pin(async move {
            let answer = match wrong {
                Some(wrong) => Failure::invalid(wrong).into_response(),
                None => answered.await?,
            };
            Ok::<_, Infallible>(answer.map(|body| Tracked { body, _busy: busy }))
        })
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(Stall::new(stream, STALL)), service);
    let mut serving = serving;
    let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
    let ended = tokio::select! {
        ended = poll_fn(|cx| serving.poll_without_shutdown(cx)) => ended,
        () = stopped => {
            Pin::new(&mut serving).graceful_shutdown();
            poll_fn(|cx| serving.poll_without_shutdown(cx)).await
        }
    };
    match ended {
        Ok(()) => serving.into_parts().io.into_inner().farewell().await,
        Err(error) => tracing::debug!(%error, "connection ended"),
    }
}

/// Returns what is wrong with the `Host` of a request. A proxy in between might otherwise read
/// another host than this server does.
fn misdirected(request: &hyper::Request<Body>) -> Option<&'static str> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (host, another) = (hosts.next(), hosts.next());
    if another.is_some() {
        return Some("Host: it is given more than once");
    }
    let Some(host) = host else {
        let old = request.version() < hyper::Version::HTTP_11;
        return (!old).then_some("Host: HTTP/1.1 asks for it");
    };
    let Ok(authority) = Authority::try_from(host.as_bytes()) else {
        return Some("Host: it is no host, such as edge.example:8443");
    };
    let whole = request.uri().authority();
    whole
        .is_some_and(|whole| !whole.as_str().eq_ignore_ascii_case(authority.as_str()))
        .then_some("Host: it is not the host of the request's address")
}

/// Guard of a request under way.
struct Busy(Arc<Seat>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.at(Stage::Idle);
    }
}

/// Response body that keeps the connection marked as busy until it is sent or given up.
struct Tracked {
    body: Body,
    _busy: Busy,
}

impl HttpBody for Tracked {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_one_host_and_the_same_everywhere() {
        for (uri, hosts, good) in [
            ("/x", &["edge.example:8443"][..], true),
            ("/x", &["[::1]:8443"], true),
            ("https://edge/x", &["Edge"], true),
            ("/x", &[], false),
            ("/x", &["a", "b"], false),
            ("/x", &["a", "a"], false),
            ("/x", &["a/b"], false),
            ("/x", &["a b"], false),
            ("https://other/x", &["edge"], false),
        ] {
            let request = hosts.iter().fold(hyper::Request::builder().uri(uri), |made, host| {
                made.header(header::HOST, *host)
            });
            let request = request.body(Body::empty()).unwrap();
            assert_eq!(misdirected(&request).is_none(), good, "{uri} {hosts:?}");
        }
        let old = hyper::Request::builder().version(hyper::Version::HTTP_10);
        assert_eq!(misdirected(&old.body(Body::empty()).unwrap()), None);
    }
}
