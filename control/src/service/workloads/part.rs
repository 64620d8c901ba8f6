//! What the workloads part stands on. Its only state are the transfers of volumes under way.

use std::sync::Arc;

use super::transfers::Transfers;
use crate::ports::artifacts::ArtifactSizes;
use crate::ports::keyring::ManagedKeyring;
use crate::service::alarms::Alarms;
use crate::service::calls::Calls;
use crate::service::documents::Documents;
use crate::service::vault::Vault;

/// Workloads and policies of all tenants.
pub struct Workloads {
    pub(super) documents: Arc<Documents>,
    pub(super) calls: Arc<Calls>,
    pub(super) alarms: Arc<Alarms>,
    pub(super) vault: Arc<Vault>,
    pub(super) artifacts: Arc<dyn ArtifactSizes>,
    pub(super) keyring: Arc<dyn ManagedKeyring>,
    pub(super) transfers: Transfers,
}

impl std::fmt::Debug for Workloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workloads").finish_non_exhaustive()
    }
}

impl Workloads {
    pub(in crate::service) fn new(
        documents: Arc<Documents>,
        (calls, alarms, vault): (Arc<Calls>, Arc<Alarms>, Arc<Vault>),
        artifacts: Arc<dyn ArtifactSizes>,
        keyring: Arc<dyn ManagedKeyring>,
    ) -> Self {
        Self {
            documents,
            calls,
            alarms,
            vault,
            artifacts,
            keyring,
            transfers: Transfers::default(),
        }
    }
}
