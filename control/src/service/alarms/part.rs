//! The state of the alarms part: an engine for each tenant.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_base::ids::Name;
use tokio::sync::Notify;

use super::notifier::Notifier;
use crate::core::alarms::{Engine, Write};
use crate::core::change::Change;
use crate::ports::authority::Authority;
use crate::service::counters::AlarmCounters;
use crate::service::documents::{Documents, PerTenant};
use crate::service::vault::Vault;

/// Alarms of all tenants, and the delivery of messages about them.
pub struct Alarms {
    pub(super) documents: Arc<Documents>,
    pub(super) notifier: Arc<dyn Notifier>,
    pub(super) authority: Arc<dyn Authority>,
    pub(super) vault: Arc<Vault>,
    /// Engines, which must not be locked while the documents are: a pass locks the engine first and
    /// the documents then.
    pub(super) engines: PerTenant<Mutex<Engine>>,
    /// Wakes the task for a pass at once.
    pub(super) asked: Notify,
    pub(super) counters: AlarmCounters,
}

impl std::fmt::Debug for Alarms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Alarms").finish_non_exhaustive()
    }
}

/// Locks an engine. Must not be called while the documents are locked.
pub(super) fn lock(engine: &Mutex<Engine>) -> MutexGuard<'_, Engine> {
    engine.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes an engine without alarms.
fn new_engine(authority: &dyn Authority, now: u64) -> Engine {
    Engine::new(now, authority.random::<8>().map_or(now, u64::from_le_bytes))
}

impl Alarms {
    /// Makes the engines from the stored state of alarms and deliveries.
    pub(in crate::service) fn new(
        documents: Arc<Documents>,
        notifier: Arc<dyn Notifier>,
        authority: Arc<dyn Authority>,
        vault: Arc<Vault>,
    ) -> Self {
        let engines = PerTenant::default();
        for (tenant, told) in documents.take_told() {
            let mut engine = new_engine(&*authority, documents.now());
            for (key, value) in told {
                if let Err(error) = engine.take(&key, &value) {
                    tracing::error!(key, %error, "what a notification has told cannot be read: it is told again");
                }
            }
            engines.of(&tenant, || Mutex::new(engine));
        }
        let (asked, counters) = (Notify::new(), AlarmCounters::default());
        Self { documents, notifier, authority, vault, engines, asked, counters }
    }

    /// Counters of messages about alarms.
    pub fn counters(&self) -> &AlarmCounters {
        &self.counters
    }

    /// Returns the engine of a tenant. For a tenant that came with a restore it is made now.
    pub(super) fn engine_of(&self, tenant: &Name) -> Arc<Mutex<Engine>> {
        let made = || Mutex::new(new_engine(&*self.authority, self.documents.now()));
        self.engines.of(tenant, made)
    }

    /// Forgets the alarms of a tenant that has ended.
    pub(in crate::service) fn forget_tenant(&self, tenant: &Name) {
        self.engines.forget(tenant);
    }

    /// Returns the engine's whole stored state, for a store that is written anew.
    pub(in crate::service) fn told(&self, tenant: &Name) -> Vec<Write> {
        lock(&self.engine_of(tenant)).writes()
    }
}

/// Puts the engine's writes into a change.
pub(in crate::service) fn put(change: &mut Change<'_>, writes: Vec<Write>) {
    for (key, value) in writes {
        match value {
            Some(value) => change.put_bytes(key, value),
            None => change.delete(key),
        }
    }
}
