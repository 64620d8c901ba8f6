//! The state of the fleet part: the newest summary and the trend of each tenant.

use std::sync::{Arc, Mutex};

use holdfast_base::ids::Name;

use crate::api;
use crate::core::trend::Points;
use crate::service::alarms::Alarms;
use crate::service::data::Data;
use crate::service::documents::{Documents, PerTenant};

/// Newest summary of the fleet.
#[derive(Debug)]
pub(super) struct Summary {
    /// Number of batches in the model when it was made.
    pub(super) batches: u64,
    /// Time at which it was made, in seconds since 1970.
    pub(super) at: u64,
    pub(super) fleet: Arc<api::Fleet>,
}

/// Devices of all tenants.
pub struct Fleet {
    pub(super) documents: Arc<Documents>,
    pub(super) alarms: Arc<Alarms>,
    pub(super) data: Arc<Data>,
    pub(super) summaries: PerTenant<Mutex<Option<Summary>>>,
    pub(super) trends: PerTenant<Mutex<Points>>,
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet").finish_non_exhaustive()
    }
}

impl Fleet {
    pub(in crate::service) fn new(
        documents: Arc<Documents>,
        alarms: Arc<Alarms>,
        data: Arc<Data>,
    ) -> Self {
        let trends = PerTenant::default();
        for tenant in documents.tenant_names() {
            trends.of(&tenant, || Mutex::new(Points::new(documents.now())));
        }
        Self { documents, alarms, data, summaries: PerTenant::default(), trends }
    }

    /// Forgets what was summed up for a tenant that has ended.
    pub(in crate::service) fn forget_tenant(&self, tenant: &Name) {
        self.summaries.forget(tenant);
        self.trends.forget(tenant);
    }
}
