//! What the tenants part stands on. It has no state of its own.

use std::sync::Arc;

use crate::service::access::Access;
use crate::service::alarms::Alarms;
use crate::service::data::Data;
use crate::service::documents::Documents;
use crate::service::fleet::Fleet;
use crate::service::workloads::Workloads;

/// Tenants of the control plane.
pub struct Tenancy {
    pub(super) documents: Arc<Documents>,
    pub(super) access: Arc<Access>,
    pub(super) alarms: Arc<Alarms>,
    pub(super) data: Arc<Data>,
    pub(super) fleet: Arc<Fleet>,
    pub(super) workloads: Arc<Workloads>,
}

impl std::fmt::Debug for Tenancy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tenancy").finish_non_exhaustive()
    }
}

impl Tenancy {
    pub(in crate::service) fn new(
        documents: Arc<Documents>,
        access: Arc<Access>,
        alarms: Arc<Alarms>,
        data: Arc<Data>,
        fleet: Arc<Fleet>,
        workloads: Arc<Workloads>,
    ) -> Self {
        Self { documents, access, alarms, data, fleet, workloads }
    }
}
