//! The devices of each tenant: what people see of them and do to them, and what happened to them.
//!
//! See decision 0155.

mod counts;
mod devices;
mod overview;
mod settle;
mod timeline;

use std::sync::{Arc, Mutex};

use super::alarms::Alarms;
use super::data::Data;
use super::documents::{Documents, PerTenant};
use crate::core::trend::Points;

pub use counts::Counts;
pub use overview::DevicesQuery;
pub use timeline::TimelineQuery;

use overview::Summary;

/// Devices of all tenants.
pub struct Fleet {
    documents: Arc<Documents>,
    alarms: Arc<Alarms>,
    data: Arc<Data>,
    summaries: PerTenant<Mutex<Option<Summary>>>,
    trends: PerTenant<Mutex<Points>>,
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet").finish_non_exhaustive()
    }
}

impl Fleet {
    pub(super) fn new(documents: Arc<Documents>, alarms: Arc<Alarms>, data: Arc<Data>) -> Self {
        let trends = PerTenant::default();
        for tenant in documents.tenant_names() {
            trends.of(&tenant, || Mutex::new(Points::new(documents.now())));
        }
        Self { documents, alarms, data, summaries: PerTenant::default(), trends }
    }
}
