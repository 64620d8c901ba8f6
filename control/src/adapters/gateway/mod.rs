//! Device gateway: an MQTT endpoint over mutual TLS whose topics are fixed by the device's
//! certificate. It is no general broker: desired states come from the control plane's store through its
//! [`Ports`]. A PUBACK waits until the control plane has stored the publish, which bounds what a device
//! has in flight; no meaning hangs on it. Readers, who show an access token instead of a certificate,
//! follow streams through it too.
//!
//! It decides nothing about MQTT itself: `holdfast_mqtt` does. It must never let one
//! device slow down another or fill the memory of others.
#![allow(
    clippy::disallowed_methods,
    reason = "an adapter: it reads the clock and spawns the tasks of its connections, whose end shutdown() awaits"
)]

mod accept;
mod connection;
mod counters;
mod gatekeeper;
mod identity;
mod limits;
mod meter;
mod newcomer;
mod pipe;
mod readers;
mod registry;
mod shared;
mod tls;

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use bytes::Bytes;
use holdfast_base::ids::DeviceId;
use rustls_pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::ports::bus::{Bus, Ports};

pub use counters::Counters;
pub use limits::Limits;
pub use tls::{GatewayError, ServerIdentity};

use readers::Readers;
use registry::{End, Registry};
use shared::Shared;
use tls::TlsBase;

/// Handle of the gateway, cheap to clone, and the implementation of the [`Bus`]. It is made first,
/// so that the service (its [`Ports`]) can hold it, and then listens on behalf of that service.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

impl Gateway {
    /// Makes a gateway that admits devices with certificates of `ca` and presents `identity`.
    ///
    /// # Errors
    /// Returns [`GatewayError::Ca`] or [`GatewayError::Identity`] for a certificate or key that
    /// cannot be used.
    pub fn new(
        ca: &CertificateDer<'_>,
        identity: ServerIdentity,
        limits: Limits,
    ) -> Result<Self, GatewayError> {
        let tls_base = TlsBase::new(ca)?;
        let config = tls_base.config(identity)?;
        let shared = Shared {
            session_limits: Arc::new(limits.session()),
            reader_limits: Arc::new(limits.reader_session()),
            readers: Arc::new(Readers::new(limits.readers)),
            started: Instant::now(),
            limits,
            counters: Counters::default(),
            registry: Registry::default(),
            open: std::sync::atomic::AtomicUsize::new(0),
            tls_base,
            tls: RwLock::new(Arc::new(config)),
            stop: watch::Sender::new(false),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Serves devices on `listener` (bound, of a tokio runtime) until [`Gateway::shutdown`].
    /// Returns the listening address at once. Several listeners may share a gateway.
    ///
    /// # Errors
    /// Returns [`GatewayError::Listener`] when the socket has no address, and
    /// [`GatewayError::Stopped`] after a shutdown.
    pub fn listen(&self, listener: TcpListener, ports: Ports) -> Result<SocketAddr, GatewayError> {
        let address = listener.local_addr().map_err(GatewayError::Listener)?;
        let stop = self.shared.stop.subscribe();
        if *stop.borrow() {
            return Err(GatewayError::Stopped);
        }
        tokio::spawn(accept::run(listener, Arc::clone(&self.shared), Arc::new(ports), stop));
        Ok(address)
    }

    /// Replaces the server certificate for new connections. Open connections stay.
    ///
    /// # Errors
    /// Returns [`GatewayError::Identity`] when it cannot be used; then the former certificate
    /// stays.
    pub fn replace_identity(&self, identity: ServerIdentity) -> Result<(), GatewayError> {
        let config = Arc::new(self.shared.tls_base.config(identity)?);
        *self.shared.tls.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// Counters of the gateway.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Stops listening, tells every device so (MQTT 5: reason 0x8B), and returns when all
    /// connections have ended or [`Limits::shutdown_timeout`] is over.
    pub async fn shutdown(&self) {
        self.shared.stop.send_replace(true);
        for mailbox in self.shared.registry.all() {
            mailbox.end(End::ShuttingDown);
        }
        let gone = self.shared.stop.closed();
        if tokio::time::timeout(self.shared.limits.shutdown_timeout, gone).await.is_err() {
            tracing::warn!("gateway stopped with connections that did not end in time");
        }
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("counters", &self.shared.counters).finish_non_exhaustive()
    }
}

impl Bus for Gateway {
    fn desired_changed(&self, device: &DeviceId) {
        if let Some(mailbox) = self.shared.registry.get(device) {
            mailbox.desired_changed();
        }
    }

    fn call(&self, device: &DeviceId, payload: Bytes) -> bool {
        self.shared.registry.get(device).is_some_and(|mailbox| mailbox.call(payload))
    }

    fn ack(&self, device: &DeviceId, payload: Bytes) {
        let mailbox = self.shared.registry.get(device);
        if !mailbox.is_some_and(|mailbox| mailbox.ack(payload)) {
            counters::count(&self.shared.counters.not_delivered);
        }
    }

    fn disconnect(&self, device: &DeviceId) {
        if let Some(mailbox) = self.shared.registry.get(device) {
            mailbox.end(End::Administrative);
        }
    }
}
