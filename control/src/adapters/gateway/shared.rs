//! State that handle, listeners and connections of the gateway share.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use rustls::server::ServerConfig;
use tokio::sync::watch;

use super::counters::Counters;
use super::limits::Limits;
use super::readers::Readers;
use super::registry::Registry;
use super::tls::TlsBase;

/// Most turns of one connection in one poll, after which other connections get theirs.
pub(super) const TURNS_A_POLL: usize = 8;

/// State that handle, listeners and connections share.
pub(super) struct Shared {
    pub(super) limits: Limits,
    pub(super) session_limits: Arc<holdfast_mqtt::Limits>,
    pub(super) reader_limits: Arc<holdfast_mqtt::Limits>,
    /// Start of the gateway's clock.
    pub(super) started: Instant,
    pub(super) counters: Counters,
    pub(super) registry: Registry,
    pub(super) readers: Arc<Readers>,
    /// Number of open TCP connections, see [`Limits::connections`].
    pub(super) open: std::sync::atomic::AtomicUsize,
    pub(super) tls_base: TlsBase,
    pub(super) tls: RwLock<Arc<ServerConfig>>,
    /// True once the gateway stops. Every listener and connection holds a receiver while it lives,
    /// so "no receivers" means that all have ended.
    pub(super) stop: watch::Sender<bool>,
}

impl Shared {
    /// Time of the gateway's monotonic clock, in milliseconds.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Configuration of TLS for new connections.
    pub(super) fn tls(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.tls.read().unwrap_or_else(PoisonError::into_inner))
    }
}
