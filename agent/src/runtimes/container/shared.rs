//! State that all parts of the container runtime share, and what the configuration allows.
//!
//! See decision 0175.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_base::ids::Name;
use holdfast_protocol::message::ContainerDetail;
use tokio::sync::mpsc;

use super::engine::Engine;
use super::output;
use crate::core::effect::Observed;
use crate::runtimes::common::Common;

/// Number of SIGKILL on Linux.
pub(super) const KILL: u8 = 9;
/// Pause before a signal is tried again that an engine could not send.
pub(super) const AGAIN: Duration = Duration::from_millis(500);
/// Length of the part of an id that is shown.
pub(super) const SHOWN: usize = 12;

/// What the agent's configuration allows to containers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Paths of the device below which containers may see files.
    pub host_paths: Vec<PathBuf>,
}

/// What all parts of the runtime work with.
pub(super) struct Shared {
    pub(super) common: Arc<Common>,
    pub(super) engine: Engine,
    pub(super) settings: Settings,
    pub(super) tell: mpsc::Sender<Observed>,
    pub(super) outputs: output::Outputs,
    /// Facts for reports, by the id of the container.
    pub(super) details: Mutex<BTreeMap<String, ContainerDetail>>,
    /// Limits that the engine has warned of, by workload.
    pub(super) unlimited: Mutex<BTreeMap<Name, String>>,
    /// Held while networks are made or removed, so that one that was just made stays until it is used.
    pub(super) networks: tokio::sync::Mutex<()>,
}

impl Shared {
    /// Limits that the engine has warned of.
    pub(super) fn unlimited(&self) -> MutexGuard<'_, BTreeMap<Name, String>> {
        self.unlimited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Facts for reports.
    pub(super) fn details(&self) -> MutexGuard<'_, BTreeMap<String, ContainerDetail>> {
        self.details.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
