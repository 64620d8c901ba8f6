//! What devices should run and do: workloads and policies are applied, read and deleted, and
//! operators act on workloads.
//!
//! See decision 0155.

mod apply;
mod jobs;
mod policies;
mod read;

use std::sync::Arc;

use super::alarms::Alarms;
use super::calls::Calls;
use super::documents::Documents;
use crate::ports::artifacts::ArtifactSizes;

pub use jobs::Restarting;

/// Workloads and policies of all tenants.
pub struct Workloads {
    documents: Arc<Documents>,
    calls: Arc<Calls>,
    alarms: Arc<Alarms>,
    artifacts: Arc<dyn ArtifactSizes>,
}

impl std::fmt::Debug for Workloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workloads").finish_non_exhaustive()
    }
}

impl Workloads {
    pub(super) fn new(
        documents: Arc<Documents>,
        calls: Arc<Calls>,
        alarms: Arc<Alarms>,
        artifacts: Arc<dyn ArtifactSizes>,
    ) -> Self {
        Self { documents, calls, alarms, artifacts }
    }
}
