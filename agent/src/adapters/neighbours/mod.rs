//! Neighbours: other devices of this device's site, which take files from each other, so that one of
//! them carries each over the thin link. A neighbour is trusted for nothing but bytes, whose digest is
//! checked; without one, or with a slow or lying one, the file comes from the control plane.
//!
//! - `directory.rs`: who they are, and where.
//! - `addresses.rs`, `multicast.rs`: this device's own addresses; finding others while the control
//!   plane is away.
//! - `peering.rs`: TLS with the certificates of both devices.
//! - `ask.rs`, `fetch.rs`: what a neighbour has, and taking it.
//! - `serve.rs`, `body.rs`: giving files to neighbours, within bounds.
//!
//! See decision 0179.

mod addresses;
mod ask;
mod body;
mod directory;
mod fetch;
mod multicast;
pub mod peering;
mod serve;
mod shared;

use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::sync::{Semaphore, watch};

use super::clock::uptime_ms;
use super::https::Api;
use super::tasks;
use directory::Directory;
pub use fetch::{Fetched, Fetching};
use peering::Peering;
pub use shared::Settings;
use shared::{Server, Shared};

/// Smallest file that neighbours are asked for, in bytes. To ask costs several round trips, and to
/// know the neighbours some 5 KB over the thin link now and then.
const LEAST: u64 = 256 * 1024;
/// Most files that are given to neighbours at the same time; others wait, and are told so.
const MAX_UPLOADS: usize = 4;
/// Sharing with neighbours, of which each part of the agent holds a handle.
#[derive(Debug, Clone)]
pub struct Neighbours(Arc<Shared>);

impl Neighbours {
    /// Creates a handle that shares nothing until a policy asks for it. `data`: the data folder, in
    /// which the list of neighbours is kept.
    pub fn new(data: &Path, settings: Settings, api: watch::Receiver<Option<Api>>) -> Self {
        Self(Arc::new(Shared {
            settings,
            files: data.join("artifacts/sha256"),
            api,
            uploads: Arc::new(Semaphore::new(MAX_UPLOADS)),
            bucket: body::Bucket::new(settings.rate, uptime_ms()),
            directory: Directory::open(data),
            state: Mutex::default(),
        }))
    }

    /// Takes the identity by which neighbours know this device. None: it has none.
    pub fn identify(&self, peering: Option<Peering>) {
        self.0.lock().peering = peering.map(Arc::new);
    }

    /// Follows a policy: whether files are shared.
    pub fn follow(&self, is_on: bool) {
        self.0.lock().is_on = is_on;
    }

    /// Begins or ends to serve, as the policy and the identity say. Returns true if the addresses to
    /// report are others than before. Called at each regular check, so that what failed is tried again.
    pub fn look(&self) -> bool {
        let (wanted, before) = {
            let mut state = self.0.lock();
            let wanted = state.peering.clone().filter(|_| state.is_on);
            let same = match (&wanted, &state.server) {
                (Some(peering), Some(server)) => {
                    Arc::ptr_eq(peering, &server.peering)
                        && server.tasks.iter().all(|task| !task.is_finished())
                }
                (None, None) => true,
                _ => false,
            };
            if same {
                return false;
            }
            (wanted, state.server.take().map(|server| server.addresses.clone()))
        };
        let server = wanted.and_then(|peering| self.serve(peering));
        let after = server.as_ref().map(|server| server.addresses.clone());
        let is_on = server.is_some();
        self.0.lock().server = server;
        if is_on {
            let shared = Arc::clone(&self.0);
            tasks::spawn(async move {
                let _asked_again_when_needed = shared.directory.refresh(&shared.api, 0).await;
            });
        }
        before.unwrap_or_default() != after.unwrap_or_default()
    }

    fn serve(&self, peering: Arc<Peering>) -> Option<Server> {
        let bound = serve::bind(self.0.settings.port);
        let (listener, port) = bound
            .inspect_err(|error| tracing::warn!(%error, "neighbours cannot be served"))
            .ok()?;
        let own = addresses::own();
        let shared = Arc::clone(&self.0);
        let mut tasks = vec![tasks::spawn(serve::accept(listener, shared, Arc::clone(&peering)))];
        let device = peering.device().device.clone();
        match multicast::answer(device, port, &own) {
            Ok(answering) => tasks.push(tasks::spawn(answering)),
            // Port 5353 taken for itself by another service: the control plane still tells addresses.
            Err(error) => tracing::warn!(%error, "neighbours cannot find this device by multicast"),
        }
        let addresses = own.iter().map(|address| format!("{address}:{port}"));
        let addresses = addresses.take(holdfast_protocol::neighbours::MAX_ADDRESSES).collect();
        tracing::info!(port, "files are shared with neighbours");
        Some(Server { tasks, addresses, peering })
    }

    /// Addresses at which neighbours are served, for reports.
    pub fn addresses(&self) -> Vec<String> {
        let state = self.0.lock();
        state.server.as_ref().map(|server| server.addresses.clone()).unwrap_or_default()
    }
}
