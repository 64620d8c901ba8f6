//! State of sharing that all of its parts work with.
//!
//! See decision 0179.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_base::ids::{Digest, Name};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use super::body::{self, Bucketed};
use super::directory::Directory;
use super::peering::Peering;
use crate::adapters::clock::uptime_ms;
use crate::adapters::https::Api;
use crate::core::neighbours::Offer;

/// Time for which a neighbour's announcement that it begins counts, in milliseconds: it fetches by
/// then, or has given up.
const HEARD: u64 = 10_000;

/// Settings of sharing, from the agent's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// TCP port at which neighbours are served; a free one if it is taken. 0: a free one.
    pub port: u16,
    /// Most bytes a second that are given to all neighbours together.
    pub rate: u64,
}

impl Default for Settings {
    fn default() -> Self {
        // A port without a registered service; a tenth of a gigabit link, all of a slower one.
        Self { port: 8_886, rate: 12_500_000 }
    }
}

/// State behind all handles.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: Settings,
    /// Folder of the complete artifacts.
    pub(super) files: PathBuf,
    pub(super) api: watch::Receiver<Option<Api>>,
    pub(super) uploads: Arc<Semaphore>,
    pub(super) bucket: body::Bucket,
    pub(super) directory: Directory,
    pub(super) state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// True while a policy asks for sharing.
    pub(super) is_on: bool,
    pub(super) peering: Option<Arc<Peering>>,
    /// Files that are wanted now, with what is said of them to neighbours.
    pub(super) offers: BTreeMap<Digest, Offer>,
    /// Neighbours that said they begin to fetch a file, and when.
    pub(super) heard: BTreeMap<(Digest, Name), u64>,
    pub(super) server: Option<Server>,
}

/// Listener under way.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) tasks: Vec<JoinHandle<()>>,
    /// Addresses to report.
    pub(super) addresses: Vec<String>,
    pub(super) peering: Arc<Peering>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Identity for an exchange, if files are shared.
    pub(super) fn peering(&self) -> Option<Arc<Peering>> {
        let state = self.lock();
        state.peering.clone().filter(|_| state.is_on)
    }

    /// Sets what is said of a file; None: nothing any more.
    pub(super) fn offer(&self, digest: Digest, offer: Option<Offer>) {
        let mut state = self.lock();
        match offer {
            Some(offer) => state.offers.insert(digest, offer),
            None => state.offers.remove(&digest),
        };
    }

    /// Notes what a neighbour said of itself when it asked for a file.
    pub(super) fn hear(&self, digest: Digest, neighbour: Name, offer: Offer) {
        let now = uptime_ms();
        let mut state = self.lock();
        state.heard.retain(|_, at| *at + HEARD > now);
        if offer == Offer::Begins {
            state.heard.insert((digest, neighbour), now);
        }
    }

    /// Neighbours that announced lately that they begin to fetch a file.
    pub(super) fn heard(&self, digest: Digest) -> Vec<Name> {
        let now = uptime_ms();
        let state = self.lock();
        let fresh = state.heard.iter().filter(|((of, _), at)| *of == digest && **at + HEARD > now);
        fresh.map(|((_, name), _)| name.clone()).collect()
    }
}

impl Bucketed for Shared {
    fn bucket(&self) -> &body::Bucket {
        &self.bucket
    }
}
