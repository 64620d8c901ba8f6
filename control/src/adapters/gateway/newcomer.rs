//! Accepted connection on its way from the listener to the task that serves it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;

use super::shared::Shared;
use crate::adapters::seats::Seat;
use crate::ports::bus::Ports;

/// Accepted connection that has not sent its CONNECT yet.
pub(super) struct Newcomer {
    pub(super) shared: Arc<Shared>,
    pub(super) ports: Arc<Ports>,
    pub(super) peer: SocketAddr,
    /// Number of the connection, see [`super::registry::Registry::number`].
    pub(super) number: u64,
    pub(super) stop: watch::Receiver<bool>,
    /// Guard that counts it among the open connections.
    pub(super) open: OpenConnection,
    /// Place among the half-open connections, held until CONNECT.
    pub(super) slot: Seat,
}

/// Guard of one open connection, which counts until it is dropped.
pub(super) struct OpenConnection {
    shared: Arc<Shared>,
}

impl OpenConnection {
    /// Counts a connection unless there are too many.
    pub(super) fn try_new(shared: &Arc<Shared>) -> Option<Self> {
        let limit = shared.limits.connections;
        shared
            .open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                (open < limit).then_some(open + 1)
            })
            .ok()?;
        Some(Self { shared: Arc::clone(shared) })
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
    }
}
