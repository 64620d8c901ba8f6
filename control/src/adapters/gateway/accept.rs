//! Acceptance of connections: TCP, then TLS in a task of its own. Bounds on number and time keep a
//! stalled client from holding up others.
//!
//! See decision 0095.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::connection;
use super::counters::{add, count, drop_one};
use super::identity::identify;
use super::meter::Meter;
use super::newcomer::{Newcomer, OpenConnection};
use super::readers;
use super::shared::Shared;
use crate::adapters::seats::Seats;
use crate::core::crowd::{Bounds, Stage};
use crate::ports::bus::Ports;

/// Pause after a failed accept, mostly for want of file descriptors, until some are free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Size of the kernel's send buffer for one device, in bytes. It is enough for 300 kB/s over 100
/// ms, and so small that the stall limit cuts only devices slower than 2 kB/s.
const SEND_BUFFER: usize = 32 * 1024;

/// Accepts connections until the gateway stops.
pub(super) async fn run(
    listener: TcpListener,
    shared: Arc<Shared>,
    ports: Arc<Ports>,
    mut stop: watch::Receiver<bool>,
) {
    let strangers = shared.limits.handshakes.max(1);
    let stalled_after = shared.limits.stalled_after.as_millis();
    let half_open = Seats::new(Bounds {
        all: usize::MAX,
        strangers,
        // A whole site may come back behind one address, so one address may have all places. A
        // connection is ended only when all places are taken.
        each: strangers,
        stalled_after: u64::try_from(stalled_after).unwrap_or(u64::MAX),
    });
    loop {
        let next = async {
            if half_open.room().await {
                count(&shared.counters.refused_slow);
            }
            listener.accept().await
        };
        let accepted = tokio::select! {
            _ = stop.wait_for(|stopped| *stopped) => break,
            accepted = next => accepted,
        };
        match accepted {
            Ok((tcp, peer)) => welcome(tcp, peer, &shared, &ports, &half_open, &stop),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    half_open.abort_all();
}

/// Gives an accepted connection a place, and starts its handshake.
fn welcome(
    tcp: TcpStream,
    peer: SocketAddr,
    shared: &Arc<Shared>,
    ports: &Arc<Ports>,
    half_open: &Arc<Seats>,
    stop: &watch::Receiver<bool>,
) {
    count(&shared.counters.accepted);
    let Some(open) = OpenConnection::try_new(shared) else {
        count(&shared.counters.refused_full);
        return;
    };
    let number = shared.registry.number();
    let (slot, ended) = half_open.enter(peer.ip(), Stage::Handshake);
    add(&shared.counters.refused_slow, ended);
    let seat = slot.number();
    let newcomer = Newcomer {
        shared: Arc::clone(shared),
        ports: Arc::clone(ports),
        peer,
        number,
        stop: stop.clone(),
        open,
        slot,
    };
    let task = tokio::spawn(handshake(tcp, newcomer));
    half_open.held_by(seat, task.abort_handle());
}

/// Does the TLS handshake within the time limit, and hands over to the connection's own, smaller
/// task.
async fn handshake(tcp: TcpStream, newcomer: Newcomer) {
    let shared = Arc::clone(&newcomer.shared);
    let counters = &shared.counters;
    count(&counters.handshakes);
    let _counted = Counted(&counters.handshakes);
    let tls = async {
        tcp.set_nodelay(true)?;
        rustix::net::sockopt::set_socket_send_buffer_size(&tcp, SEND_BUFFER)?;
        TlsAcceptor::from(shared.tls()).accept(Meter::new(tcp)).await
    };
    let stream = match tokio::time::timeout(shared.limits.handshake_timeout, tls).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            count(&counters.refused_tls);
            log_failure(newcomer.peer, &error);
            return;
        }
        Err(_) => {
            count(&counters.refused_slow);
            return;
        }
    };
    let (_, session) = stream.get_ref();
    let identity = session.peer_certificates().and_then(<[_]>::first).map(identify);
    let (half_open, seat) = (newcomer.slot.seats(), newcomer.slot.number());
    let task = match identity {
        None => tokio::spawn(readers::Connection::task(stream, newcomer)),
        Some(Ok(identity)) => {
            tokio::spawn(connection::Connection::task(stream, identity, newcomer))
        }
        Some(Err(reason)) => {
            count(&counters.refused_certificate);
            tracing::info!(peer = %newcomer.peer, %reason, "connection refused");
            return;
        }
    };
    half_open.held_by(seat, task.abort_handle());
}

/// Logs why a handshake failed. A client that merely went away is logged for debugging only.
fn log_failure(peer: SocketAddr, error: &io::Error) {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        tracing::debug!(%peer, %error, "TLS handshake ended");
    } else {
        tracing::info!(%peer, %error, "TLS handshake failed");
    }
}

/// Guard that subtracts one from a gauge when dropped.
struct Counted<'a>(&'a std::sync::atomic::AtomicU64);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        drop_one(self.0);
    }
}
