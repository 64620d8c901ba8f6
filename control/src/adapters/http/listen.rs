//! The HTTPS port: TLS 1.3 by our CA, connections with bounds in number and time.
#![allow(
    clippy::disallowed_methods,
    reason = "an adapter: it spawns the tasks of its connections, whose end serve() awaits"
)]

use std::future::poll_fn;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::RootCertStore;
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use rustls_pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::auth::{PeerAddress, PeerDevice};
use super::stall::Stall;
use crate::adapters::gateway::ServerIdentity;

/// Connections at the same time; beyond, new ones wait in the kernel's queue. Each costs some
/// 30 KiB while it works.
const CONNECTIONS: usize = 4_096;

/// From accept to the end of the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// From the end of the handshake, or of the answer before, to a whole request head.
const HEAD: Duration = Duration::from_secs(30);

/// One who takes nothing of an answer for so long is cut; a satellite link delays, it does not
/// stand still.
const STALL: Duration = Duration::from_secs(30);

/// How long a stop waits for answers under way.
const FAREWELL: Duration = Duration::from_secs(3);

/// What a connection shows; may be replaced while connections go on.
#[derive(Debug, Clone)]
pub struct Tls(Arc<RwLock<Arc<ServerConfig>>>);

impl Tls {
    /// Shows `identity`, and knows devices by `ca`.
    ///
    /// # Errors
    /// When these are not usable.
    pub fn new(ca: &CertificateDer<'_>, identity: ServerIdentity) -> Result<Self, rustls::Error> {
        Ok(Self(Arc::new(RwLock::new(Arc::new(config(ca, identity)?)))))
    }

    /// Shows another identity from now on.
    ///
    /// # Errors
    /// When it is not usable; the former stays.
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
    // Operators show a token, devices a certificate: it is asked for, not demanded.
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

/// Serves until `stop` is true, then waits a little for answers under way.
pub async fn serve(
    listener: TcpListener,
    tls: Tls,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let stopping = stop.clone();
    while !*stop.borrow() {
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            (Ok(slot), accepted) = next => (slot, accepted),
            _ = stop.changed() => break,
            else => break,
        };
        match accepted {
            Ok((socket, address)) => {
                let from = PeerAddress(address.ip().to_canonical());
                let (acceptor, router, stop) = (tls.acceptor(), router.clone(), stopping.clone());
                tokio::spawn(connection(socket, from, acceptor, router, stop, slot));
            }
            Err(error) => {
                // Out of file descriptors, most likely: others end, and then it goes on.
                tracing::warn!(%error, "the API's port cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    let all = slots.acquire_many(u32::try_from(CONNECTIONS).unwrap_or(u32::MAX));
    if tokio::time::timeout(FAREWELL, all).await.is_err() {
        tracing::info!("stopped with requests that did not end in time");
    }
}

async fn connection(
    socket: TcpStream,
    from: PeerAddress,
    acceptor: TlsAcceptor,
    router: Router,
    mut stop: watch::Receiver<bool>,
    _slot: OwnedSemaphorePermit,
) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(socket)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => return tracing::debug!("TLS handshake took too long"),
    };
    let certificates = stream.get_ref().1.peer_certificates();
    let peer = certificates.and_then(|chain| chain.first()).and_then(PeerDevice::of);
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(from);
        if let Some(peer) = &peer {
            request.extensions_mut().insert(peer.clone());
        }
        router.clone().oneshot(request)
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
            std::pin::Pin::new(&mut serving).graceful_shutdown();
            poll_fn(|cx| serving.poll_without_shutdown(cx)).await
        }
    };
    match ended {
        Ok(()) => serving.into_parts().io.into_inner().farewell().await,
        Err(error) => tracing::debug!(%error, "connection ended"),
    }
}
