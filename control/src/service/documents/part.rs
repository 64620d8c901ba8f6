//! The documents in memory, what is told when they change, and the changes that wait for the store.

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use holdfast_base::ids::Name;

use super::events::{Events, EventsRead, Page};
use super::jobs::Jobs;
use super::lease::{Lease, Uptime};
use super::moments::Due;
use super::per_tenant::{PerTenant, Tables};
use super::state::Storing;
use crate::core::attention::Watch;
use crate::core::audit::{MAX_FORMER, RECENT};
use crate::core::bucket::Bucket;
use crate::core::change;
use crate::core::fleet::some;
use crate::core::model::{BadRecord, Device, Model, key};
use crate::core::records::AuditRecord;
use crate::core::rights::{Action, Actor, Sight};
use crate::core::seen::Seen;
use crate::core::tenants::{AllLate, Tenants};
use crate::ports::bus::Bus;
use crate::ports::store::Store;
use crate::service::counters::StoreCounters;
use crate::service::rights::may;
use crate::service::{Failure, Settings, StartError};

/// Number of resource versions that are skipped at each start. Versions that were given before a
/// crash and not stored are not given again, so a watcher's place in the events is never mistaken.
pub(super) const VERSION_GAP: u64 = 10_000;

/// Number of devices that are looked at under one lock, which takes a fraction of a millisecond.
const AT_ONCE: usize = 1_000;

/// Documents of all tenants, and whoever is told when they change.
pub struct Documents {
    pub(super) tables: RwLock<Tenants>,
    pub(super) storing: Storing,
    /// Queue of changes for the writing thread.
    pub(super) jobs: Arc<Jobs<Documents>>,
    /// Requests of each tenant in about the last second.
    pub(super) requests: PerTenant<Mutex<Bucket>>,
    pub(super) events: PerTenant<Events>,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) due: Due,
    pub(super) clock: Clock,
    /// Name of the tenant that the store began with.
    pub(super) first: Name,
    pub(super) counters: StoreCounters,
}

/// Rows of what notifications had told, by their keys.
type Told = Vec<(String, Vec<u8>)>;

/// Times by which documents are judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) now: fn() -> u64,
    /// Monotonic clock, by which requests are counted.
    pub(super) uptime: Uptime,
    /// Time at which this process began to serve, in seconds since 1970.
    pub(super) started: u64,
    /// Life of a device's certificate, in seconds.
    pub(super) device_ttl: u64,
}

impl std::fmt::Debug for Documents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Documents").field("first", &self.first).finish_non_exhaustive()
    }
}

/// Reads the whole store into tables. There is at least the tenant `first`.
pub(in crate::service) fn load(store: &dyn Store, first: &Name) -> Result<Tenants, StartError> {
    let mut tables = Tenants::new(first.clone());
    let mut late = AllLate::default();
    let mut bad = None;
    store.snapshot()?.visit(&[key::HISTORIES, key::AUDIT], &mut |key, value| {
        if let Err(error) = tables.take(&mut late, key, value) {
            bad.get_or_insert(error);
        }
        Ok(())
    })?;
    if let Some(error) = bad {
        return Err(error.into());
    }
    tables.settle(late);
    for model in tables.all_mut() {
        load_audit(store, model)?;
    }
    tables.settle_whole();
    Ok(tables)
}

/// Reads the newest entries of a tenant's audit log, and all of them where they have no hashes yet.
fn load_audit(store: &dyn Store, model: &mut Model) -> Result<(), StartError> {
    let next = model.meta.next_audit;
    let newest = audit_entries(store, &model.tenant, next.saturating_sub(RECENT as u64)..next)?;
    if newest.first().is_some_and(|entry| entry.hash.is_none()) {
        let from = next.saturating_sub(MAX_FORMER + RECENT as u64);
        for entry in audit_entries(store, &model.tenant, from..next)? {
            model.read_audit(entry);
        }
    } else {
        newest.into_iter().for_each(|entry| model.read_audit(entry));
    }
    let oldest = store.read(&key::of(&model.tenant, key::AUDIT), 1)?;
    let number = oldest.first().and_then(|(key, _)| key.rsplit_once('/')?.1.parse().ok());
    model.chain.first = number;
    Ok(())
}

/// Reads the stored entries of a tenant's audit log that have these numbers, the oldest first. A
/// number without an entry is left out.
pub(super) fn audit_entries(
    store: &dyn Store,
    tenant: &Name,
    numbers: std::ops::Range<u64>,
) -> Result<Vec<AuditRecord>, StartError> {
    let keys: Vec<String> = numbers.map(|number| key::of(tenant, &key::audit(number))).collect();
    let stored = store.pick(&keys)?;
    let found = keys.iter().zip(stored).filter_map(|(key, row)| Some((key, row?.value)));
    let read = found.map(|(key, value)| {
        serde_json::from_slice(&value)
            .map_err(|source| BadRecord::Value { key: key.clone(), source }.into())
    });
    read.collect()
}

impl Documents {
    /// Reads the store. Changes are queued in `jobs`, for the writing thread.
    pub(in crate::service) fn read(
        store: Arc<dyn Store>,
        lease: Arc<Lease>,
        jobs: Arc<Jobs<Self>>,
        bus: Arc<dyn Bus>,
        settings: &Settings,
    ) -> Result<Self, StartError> {
        let mut tables = load(&*store, &settings.tenant)?;
        let started = (settings.clock)();
        let events = PerTenant::default();
        for model in tables.all_mut() {
            model.meta.version += VERSION_GAP;
            model.started = started;
            model.settle_rules();
            if model.meta.epoch == 0 {
                // A new control plane may inherit devices of a lost one. A time as the epoch is
                // higher than what those devices hold.
                model.meta.epoch = started.max(1);
            }
            events.of(&model.tenant, || Events::new(model.meta.version));
        }
        let documents = Self {
            tables: RwLock::new(tables),
            storing: Storing::new(store, lease),
            jobs,
            requests: PerTenant::default(),
            events,
            bus,
            due: Due::default(),
            clock: Clock {
                now: settings.clock,
                uptime: settings.uptime,
                started,
                device_ttl: settings.device_ttl,
            },
            first: settings.tenant.clone(),
            counters: StoreCounters::default(),
        };
        documents.note_every_due();
        Ok(documents)
    }

    /// Name of the tenant that the store began with.
    pub fn first_tenant(&self) -> &Name {
        &self.first
    }

    /// Counters of the store.
    pub fn counters(&self) -> &StoreCounters {
        &self.counters
    }

    /// Present time, in seconds since 1970.
    pub fn now(&self) -> u64 {
        (self.clock.now)()
    }

    /// End of the present second, in milliseconds since 1970: the last millisecond that may have
    /// come.
    pub(in crate::service) fn now_ms(&self) -> u64 {
        self.now().saturating_mul(1_000).saturating_add(999)
    }

    /// Time at which this process began to serve, in seconds since 1970.
    pub(in crate::service) fn started(&self) -> u64 {
        self.clock.started
    }

    /// Returns by what the states of devices are judged at this moment.
    pub(in crate::service) fn watch(&self) -> Watch {
        Watch::new(self.now(), self.clock.started, self.clock.device_ttl)
    }

    /// Locks the tables for reading.
    pub(in crate::service) fn tables(&self) -> RwLockReadGuard<'_, Tenants> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::service) fn tables_mut(&self) -> RwLockWriteGuard<'_, Tenants> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the tables of a tenant for reading. Those of an unknown tenant are empty.
    pub(in crate::service) fn model<'a>(&'a self, tenant: &'a Name) -> Tables<'a> {
        Tables { all: self.tables(), tenant }
    }

    /// Takes what each tenant's notifications had told at the start out of the tables.
    pub(in crate::service) fn take_told(&self) -> Vec<(Name, Told)> {
        let mut tables = self.tables_mut();
        let told = |model: &mut Model| (model.tenant.clone(), std::mem::take(&mut model.told));
        tables.all_mut().map(told).collect()
    }

    /// Returns whether there is a tenant of this name.
    pub(in crate::service) fn has_tenant(&self, tenant: &Name) -> bool {
        self.tables().has(tenant)
    }

    /// Returns the names of all tenants.
    pub(in crate::service) fn tenant_names(&self) -> Vec<Name> {
        self.tables().names()
    }

    /// Calls `add` with every device, in the order of names. Releases the lock after every 1,000
    /// devices, so that changes come in between.
    pub(in crate::service) fn every_device(&self, tenant: &Name, mut add: impl FnMut(&Device)) {
        let mut last = None;
        loop {
            last = some(&self.model(tenant), last.as_ref(), AT_ONCE, &mut add);
            if last.is_none() {
                return;
            }
        }
    }

    /// Returns the ring of events for those who watch.
    ///
    /// # Errors
    /// Returns [`Failure::Refused`] when the actor may not watch.
    pub fn events(&self, actor: &Actor) -> Result<Arc<Events>, Failure> {
        may(actor, Action::WatchEvents, "")?;
        Ok(self.events_of(&actor.tenant))
    }

    /// Returns the events after an id as the actor may read them: of what it sees now, or saw before
    /// the event.
    ///
    /// # Errors
    /// Returns [`Failure::Refused`] when the actor may not watch.
    pub fn events_after(&self, actor: &Actor, id: u64) -> Result<EventsRead, Failure> {
        let permit = may(actor, Action::WatchEvents, "")?;
        let told = match self.events_of(&actor.tenant).after(id) {
            Page::Reset(newest) => return Ok(EventsRead { events: None, newest }),
            Page::Events(told) => told,
        };
        let newest = told.last().map_or(id, |last| last.id);
        let events = match permit.sight() {
            Sight::All => told.iter().map(|told| (told.id, told.event.clone())).collect(),
            sight => {
                let model = self.model(&actor.tenant);
                let seen = Seen::new(&model, sight);
                let read = |told: &Arc<change::Told>| {
                    Some((told.id, seen.event(&told.event, told.was.as_deref())?))
                };
                told.iter().filter_map(read).collect()
            }
        };
        Ok(EventsRead { events: Some(events), newest })
    }

    /// Returns the ring of events of a tenant. For a tenant that came with a restore it is made
    /// now.
    pub(super) fn events_of(&self, tenant: &Name) -> Arc<Events> {
        self.events.of(tenant, || Events::new(self.model(tenant).meta.version))
    }

    /// Forgets what is known beside the tables of a tenant that has ended.
    pub(in crate::service) fn forget_tenant(&self, tenant: &Name) {
        self.events.forget(tenant);
        self.requests.forget(tenant);
    }

    /// Empties the rings of events of all tenants: everything was replaced, and readers read it
    /// again.
    pub(in crate::service) fn reset_events(&self) {
        for tenant in self.tenant_names() {
            let version = self.model(&tenant).meta.version;
            self.events_of(&tenant).reset(version);
        }
    }
}
