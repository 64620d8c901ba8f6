//! State that every handler of the API shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use super::files::Pages;
use crate::adapters::artifacts::Artifacts;
use crate::adapters::clock;
use crate::adapters::gateway::Gateway;
use crate::service::Service;

/// State that every handler shares.
#[derive(Clone)]
pub struct App {
    /// Service of the control plane.
    pub service: Arc<Service>,
    /// Device gateway, for its counters.
    pub gateway: Gateway,
    /// Store of the artifacts on disk.
    pub artifacts: Arc<Artifacts>,
    /// Counter of answered requests.
    pub requests: Arc<Requests>,
    /// OpenAPI document, see [`super::openapi`].
    pub description: Arc<utoipa::openapi::OpenApi>,
    /// Files of the pages, served at `/`.
    pub pages: Arc<Pages>,
    /// True once open streams must end because the control plane stops.
    pub stop: watch::Receiver<bool>,
}

/// Id of a request: the header `X-Request-Id` of its response, and part of what the audit log says
/// of it.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub(super) Box<str>);

/// Numbers of requests: those answered, by class of status (1xx to 5xx), and of the next id.
#[derive(Debug)]
pub struct Requests {
    pub(super) classes: [AtomicU64; 5],
    /// Time at which the process started, in seconds since 1970: ids of two runs differ.
    run: u64,
    next: AtomicU64,
}

impl Default for Requests {
    fn default() -> Self {
        Self { classes: Default::default(), run: clock::now(), next: AtomicU64::new(1) }
    }
}

impl Requests {
    /// Makes the id of the next request.
    pub(super) fn next_id(&self) -> Box<str> {
        format!("{:x}-{}", self.run, self.next.fetch_add(1, Ordering::Relaxed)).into()
    }

    /// Counts an answer of this status.
    pub(super) fn count(&self, status: u16) {
        let class = usize::from(status / 100).saturating_sub(1);
        if let Some(counter) = self.classes.get(class) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}
