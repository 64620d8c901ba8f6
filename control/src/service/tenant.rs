//! What the service keeps of each tenant besides its tables: events, alarms, summary and trend.
//!
//! See decision 0151.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use holdfast_base::ids::Name;

use super::events::Events;
use super::overview::Summary;
use crate::core::alarms::Engine;
use crate::core::model::Model;
use crate::core::tenants::Tenants;
use crate::core::trend::Points;

/// State of one tenant that is not stored as rows.
#[derive(Debug)]
pub(super) struct Tenant {
    pub(super) name: Name,
    pub(super) events: Arc<Events>,
    pub(super) summary: Mutex<Option<Summary>>,
    pub(super) trend: Mutex<Points>,
    alarms: Mutex<Engine>,
}

impl Tenant {
    /// Makes the state of a tenant whose newest resource version is `version`, at the time `now` in
    /// seconds since 1970.
    pub(super) fn new(name: Name, version: u64, now: u64, alarms: Engine) -> Self {
        Self {
            name,
            events: Arc::new(Events::new(version)),
            summary: Mutex::default(),
            trend: Mutex::new(Points::new(now)),
            alarms: Mutex::new(alarms),
        }
    }

    /// Locks the alarm engine. Must not be called while the tables are locked, see
    /// `Service::standings`.
    pub(super) fn engine(&self) -> MutexGuard<'_, Engine> {
        self.alarms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// State of every tenant, by its name.
pub(super) type AllTenants = RwLock<BTreeMap<Name, Arc<Tenant>>>;

/// Tables of one tenant, locked for reading together with those of all others.
pub(super) struct Tables<'a> {
    pub(super) all: RwLockReadGuard<'a, Tenants>,
    pub(super) tenant: &'a Name,
}

impl Deref for Tables<'_> {
    type Target = Model;

    fn deref(&self) -> &Model {
        self.all.of(self.tenant)
    }
}
