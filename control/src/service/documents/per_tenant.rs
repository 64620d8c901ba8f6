//! State that a part of the service has once for each tenant, and the tables of one tenant.
//!
//! See decision 0151.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use holdfast_base::ids::Name;

use crate::core::model::Model;
use crate::core::tenants::Tenants;

/// State of every tenant, by its name.
#[derive(Debug)]
pub(in crate::service) struct PerTenant<T>(RwLock<BTreeMap<Name, Arc<T>>>);

impl<T> Default for PerTenant<T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<T> PerTenant<T> {
    /// Returns the state of a tenant when there is one.
    pub(in crate::service) fn known(&self, tenant: &Name) -> Option<Arc<T>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned()
    }

    /// Forgets the state of a tenant that has ended, so that a later one of its name begins anew.
    pub(in crate::service) fn forget(&self, tenant: &Name) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }

    /// Returns the state of a tenant, which `make` makes when there is none. Nothing of this is
    /// locked while `make` runs.
    pub(in crate::service) fn of(&self, tenant: &Name, make: impl FnOnce() -> T) -> Arc<T> {
        self.known(tenant).unwrap_or_else(|| {
            let made = make();
            let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(tenant.clone()).or_insert_with(|| Arc::new(made)))
        })
    }
}

/// Tables of one tenant, locked for reading together with those of all others.
pub(in crate::service) struct Tables<'a> {
    pub(super) all: RwLockReadGuard<'a, Tenants>,
    pub(super) tenant: &'a Name,
}

impl Deref for Tables<'_> {
    type Target = Model;

    fn deref(&self) -> &Model {
        self.all.of(self.tenant)
    }
}
