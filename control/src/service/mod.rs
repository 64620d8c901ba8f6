//! The service: holds the model, carries out what the core decides, and answers devices (as the
//! bus's directory) and people (through `adapters/http`).
//!
//! Every change is made in memory under one lock and queued for the store in the same order. The
//! caller gets the result, and devices and watchers are told, once the change is durable.

mod access;
mod alarms;
mod apply;
mod blocks;
mod calls;
mod counters;
mod counts;
mod devices;
mod directory;
mod due;
mod enrol;
mod events;
mod export;
mod failure;
mod feeds;
mod ingest;
mod jobs;
mod latest;
mod lease;
mod looking;
mod maintenance;
mod notifier;
mod overview;
mod policies;
mod query;
mod read;
mod records;
mod restore;
mod rights;
mod sessions;
mod tenant;
mod timeline;
mod tokens;
mod watching;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use holdfast_base::ids::{DeviceId, Name};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::api::Event;
use crate::core::alarms::Engine;
use crate::core::change::{After, Change, Finished, Writes};
use crate::core::model::{BadRecord, Model, key};
use crate::core::rights::{Action, Actor};
use crate::core::tenants::{AllLate, Tenants};
use crate::core::throttle::Throttle;
use crate::ports::artifacts::ArtifactSizes;
use crate::ports::authority::Authority;
use crate::ports::bus::Bus;
use crate::ports::data_store::DataStore;
use crate::ports::store::{Batch, LeaseError, Shard, Store, StoreError};

pub use alarms::{AlarmsQuery, run as run_alarms};
pub use calls::{Cut, LogEnd, LogStream, Part, Piece};
pub use counters::Counters;
pub use counts::{AlarmCounts, Counts};
pub use events::{Events, Page};
pub use failure::Failure;
pub use feeds::{DataFeed, Feeds};
pub use ingest::{Took, take_batch};
pub use jobs::Restarting;
pub use latest::{Horizons, WITHIN};
pub use lease::Uptime;
pub use notifier::{Delivery, Notifier};
pub use overview::DevicesQuery;
pub use query::Asking;
pub use read::{Listed, Query};
pub use records::{LedgerPart, Readable, Visitor, Window};
pub use restore::{Backup, Checked, Checking};
pub use timeline::TimelineQuery;
pub use watching::Watch;

use tenant::{AllTenants, Tables, Tenant};
use writer::Job;

/// Settings of the service, fixed at its start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name of the tenant that a new store begins with.
    pub tenant: Name,
    /// Life of a device's certificate, in seconds.
    pub device_ttl: u64,
    /// Addresses that devices connect to for MQTT.
    pub mqtt: Vec<String>,
    /// Address that the API listens on.
    pub api: Option<String>,
    /// Addresses of the API that other machines can reach.
    pub addresses: Vec<String>,
    /// Free space on the data folder's disk that data may not use, in bytes. `None` for the
    /// default.
    pub reserve: Option<u64>,
    /// Clock, in seconds since 1970.
    pub clock: fn() -> u64,
    /// Monotonic clock, by which this process judges how long it holds its lease.
    pub uptime: Uptime,
}

/// What the service stands on: its ports.
pub struct Ports {
    /// Store of documents and leases.
    pub store: Arc<dyn Store>,
    /// Store of data records.
    pub data: Arc<dyn DataStore>,
    /// Connection to the devices.
    pub bus: Arc<dyn Bus>,
    /// Certificate authority and signing key.
    pub authority: Arc<dyn Authority>,
    /// Artifacts that devices fetch.
    pub artifacts: Arc<dyn ArtifactSizes>,
    /// Delivery of messages about alarms.
    pub notifier: Arc<dyn Notifier>,
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ports").finish_non_exhaustive()
    }
}

/// The control plane's service.
pub struct Service {
    tables: RwLock<Tenants>,
    tenants: AllTenants,
    store: Arc<dyn Store>,
    /// Lease that this process took at its start; every commit carries its fence.
    lease: Arc<lease::Lease>,
    jobs: mpsc::Sender<Job>,
    /// Number of the last batch that is durable.
    durable: AtomicU64,
    bus: Arc<dyn Bus>,
    authority: Arc<dyn Authority>,
    artifacts: Arc<dyn ArtifactSizes>,
    notifier: Arc<dyn Notifier>,
    settings: Settings,
    calls: calls::Calls,
    looking: looking::Looking,
    counters: Counters,
    ingest: ingest::Ingest,
    /// True when a restored backup has another CA, so that this process must be restarted.
    restart_needed: AtomicBool,
    /// Time at which this process began to serve, in seconds since 1970.
    started: u64,
    throttle: Mutex<Throttle>,
    due: due::Due,
    watching: Arc<watching::Watching>,
    /// Error of the store that refused the last change; `None` when it took it.
    refusing: Mutex<Option<String>>,
    /// Wakes the alarm task for a pass at once.
    alarms_asked: Notify,
    /// True when the memory differs from the store after a failure and could not be read again: no
    /// change may be made.
    diverged: AtomicBool,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Threads that write to the store and the data store, and the one that renews the lease.
#[derive(Debug)]
pub struct Threads {
    store: std::thread::JoinHandle<()>,
    data: std::thread::JoinHandle<()>,
    lease: std::thread::JoinHandle<()>,
    held: Arc<lease::Lease>,
}

impl Threads {
    /// Waits for the threads' end. Blocks.
    ///
    /// # Errors
    /// Returns the panic of a thread that ended by one.
    pub fn join(self) -> std::thread::Result<()> {
        let (store, data) = (self.store.join(), self.data.join());
        // It is renewed until nothing is written any more.
        self.held.end();
        store.and(data).and(self.lease.join())
    }
}

/// Reason why the service could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process has the lease, or it cannot be taken.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record of the store cannot be decoded.
    #[error("the store is damaged or of another version")]
    Record(#[from] BadRecord),
    /// A thread could not be started, or reading ended early.
    #[error("the store cannot be read to its end")]
    Read(#[from] std::io::Error),
}

/// The one shard: every device belongs to it.
const SHARD: Shard = 0;

/// Number of resource versions that are skipped at each start. Versions that were given before a
/// crash and not stored are not given again, so a watcher's place in the events is never mistaken.
const VERSION_GAP: u64 = 10_000;

/// Builds the alarm engine from the stored state of alarms and deliveries.
fn engine(model: &mut Model, authority: &dyn Authority, now: u64) -> Engine {
    let seed = authority.random::<8>().map_or(now, u64::from_le_bytes);
    let mut engine = Engine::new(now, seed);
    for (key, value) in std::mem::take(&mut model.told) {
        if let Err(error) = engine.take(&key, &value) {
            tracing::error!(key, %error, "what a notification has told cannot be read: it is told again");
        }
    }
    engine
}

/// Makes the state of a tenant from its tables, with the stored state of its alarms.
fn new_tenant(model: &mut Model, authority: &dyn Authority, now: u64) -> Tenant {
    let alarms = engine(model, authority, now);
    Tenant::new(model.tenant.clone(), model.meta.version, now, alarms)
}

/// Reads the whole store into tables. There is at least the tenant `first`.
fn load(store: &dyn Store, first: &Name) -> Result<Tenants, StartError> {
    let mut tables = Tenants::new(first.clone());
    let mut late = AllLate::default();
    let mut bad = None;
    store.snapshot()?.visit(&[key::HISTORIES], &mut |key, value| {
        if let Err(error) = tables.take(&mut late, key, value) {
            bad.get_or_insert(error);
        }
        Ok(())
    })?;
    if let Some(error) = bad {
        return Err(error.into());
    }
    tables.settle(late);
    Ok(tables)
}

/// Takes a change apart: its number, the batch for the store, and what is told afterwards.
fn prepared(finished: Finished) -> (u64, Batch, After) {
    for defect in finished.defects {
        tracing::error!(defect, "a record has no JSON and is not stored: this is a defect");
    }
    let Writes { clear, rows } = finished.writes;
    let batch = Batch { clear, writes: rows, ..Batch::default() };
    (finished.number, batch, finished.after)
}

impl Service {
    /// Checks that the whole store can be read.
    ///
    /// # Errors
    /// Returns the first reason why it cannot.
    pub fn check(store: &dyn Store, tenant: &Name) -> Result<(), StartError> {
        load(store, tenant).map(drop)
    }

    /// Reads the store and starts the threads that write to it and to the data store. They end with
    /// [`Service::close`].
    ///
    /// # Errors
    /// Returns a [`StartError`] when the store cannot be read or a thread cannot be started.
    pub fn start(ports: Ports, settings: Settings) -> Result<(Arc<Self>, Threads), StartError> {
        let Ports { store, data, bus, authority, artifacts, notifier } = ports;
        let lease = lease::Lease::take(&*store, SHARD, settings.uptime)?;
        let mut tables = load(&*store, &settings.tenant)?;
        let started = (settings.clock)();
        let mut tenants = BTreeMap::new();
        for model in tables.all_mut() {
            model.meta.version += VERSION_GAP;
            model.started = started;
            model.settle_rules();
            if model.meta.epoch == 0 {
                // A new control plane may inherit devices of a lost one. A time as the epoch is
                // higher than what those devices hold.
                model.meta.epoch = started.max(1);
            }
            let tenant = new_tenant(model, &*authority, started);
            tenants.insert(model.tenant.clone(), Arc::new(tenant));
        }
        let (jobs, queue) = mpsc::channel(writer::QUEUE);
        let (ingest, batches) = ingest::Ingest::new(data, settings.reserve);
        let service = Arc::new(Self {
            tables: RwLock::new(tables),
            tenants: RwLock::new(tenants),
            store,
            lease: Arc::clone(&lease),
            jobs,
            durable: AtomicU64::new(0),
            bus,
            authority,
            artifacts,
            notifier,
            calls: calls::Calls::default(),
            looking: looking::Looking::default(),
            counters: Counters::default(),
            ingest,
            restart_needed: AtomicBool::new(false),
            started,
            throttle: Mutex::default(),
            due: due::Due::default(),
            watching: Arc::default(),
            refusing: Mutex::default(),
            diverged: AtomicBool::new(false),
            alarms_asked: Notify::new(),
            settings,
        });
        service.note_every_due();
        let named = |name: &str| std::thread::Builder::new().name(name.into());
        let writing = Arc::clone(&service);
        let store = named("store").spawn(move || writer::run(&writing, queue))?;
        let taking = Arc::clone(&service);
        let data = named("data").spawn(move || ingest::run(&taking, batches))?;
        let holding = Arc::clone(&service);
        let renewing = named("lease").spawn(move || lease::run(&holding))?;
        Ok((service, Threads { store, data, lease: renewing, held: lease }))
    }

    /// Writes what is queued and ends the writing threads. No change can be made afterwards.
    pub async fn close(&self) {
        self.ingest.close();
        let job = Job { number: 0, batch: Batch::default(), tell: Box::new(|_, _| {}), last: true };
        if self.jobs.send(job).await.is_err() {
            tracing::warn!("the store was closed already");
        }
    }

    /// Stores the present time as the last sign of life: after a crash, devices that were connected
    /// count as connected until about then. Also drops what is outdated of timelines.
    pub fn live(&self) {
        for tenant in self.tenant_names() {
            // When the change is not taken, the next call's is.
            let _taken = self.note(&tenant, |change| change.live(), |_| {});
        }
        self.settle_lineages();
        self.settle_timelines();
    }

    /// Waits until nothing can be stored any more because the writing thread has ended.
    pub async fn closed(&self) {
        self.jobs.closed().await;
    }

    /// Returns true when nothing can be stored any more.
    pub fn is_closed(&self) -> bool {
        self.jobs.is_closed()
    }

    /// Returns why the store refused the last change; `None` when it took it. A change is tried at
    /// least once a minute.
    pub fn refusing(&self) -> Option<String> {
        self.refusing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn refuses(&self, why: Option<String>) {
        *self.refusing.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Counts an open stream of this kind (such as a log that is followed) for an access token,
    /// until the returned guard is dropped.
    ///
    /// # Errors
    /// Returns [`Failure::TooMany`] when the token has too many of them.
    pub fn unending(&self, what: &'static str, actor: &Actor) -> Result<Watch, Failure> {
        self.watching.begin(what, actor.id())
    }

    /// Counters of the service.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns the ring of events for those who watch.
    ///
    /// # Errors
    /// Returns [`Failure::Refused`] when the actor may not watch.
    pub fn events(&self, actor: &Actor) -> Result<Arc<Events>, Failure> {
        self.may(actor, Action::WatchEvents, "")?;
        Ok(Arc::clone(&self.tenant_of(&actor.tenant).events))
    }

    /// Certificate authority and signing key.
    pub fn authority(&self) -> &dyn Authority {
        &*self.authority
    }

    /// Present time, in seconds since 1970.
    pub fn now(&self) -> u64 {
        (self.settings.clock)()
    }

    /// End of the present second, in milliseconds since 1970: the last millisecond that may have
    /// come.
    fn now_ms(&self) -> u64 {
        self.now().saturating_mul(1_000).saturating_add(999)
    }

    /// Returns true after a restore that brought another CA.
    pub fn needs_restart(&self) -> bool {
        self.restart_needed.load(Ordering::Relaxed)
    }

    /// Locks the tables for reading.
    fn tables(&self) -> RwLockReadGuard<'_, Tenants> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn tables_mut(&self) -> RwLockWriteGuard<'_, Tenants> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the tables of a tenant for reading. Those of an unknown tenant are empty.
    fn model<'a>(&'a self, tenant: &'a Name) -> Tables<'a> {
        Tables { all: self.tables(), tenant }
    }

    /// Names of all tenants.
    fn tenant_names(&self) -> Vec<Name> {
        self.tables().names()
    }

    /// Returns the state of a tenant besides its tables. For a tenant that came with a restore it
    /// is made now.
    fn tenant_of(&self, tenant: &Name) -> Arc<Tenant> {
        let known =
            self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned();
        known.unwrap_or_else(|| {
            let (version, now) = (self.model(tenant).meta.version, self.now());
            let seed = self.authority.random::<8>().map_or(now, u64::from_le_bytes);
            let made = Tenant::new(tenant.clone(), version, now, Engine::new(now, seed));
            let mut all = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(tenant.clone()).or_insert_with(|| Arc::new(made)))
        })
    }

    /// States of all tenants besides their tables.
    fn every_tenant(&self) -> Vec<Arc<Tenant>> {
        self.tenant_names().iter().map(|name| self.tenant_of(name)).collect()
    }

    /// Makes a change of a tenant's tables and returns once it is durable. A change that turns out to
    /// do nothing also waits until everything before it is durable.
    async fn change<T>(
        &self,
        tenant: &Name,
        act: impl FnOnce(&mut Change<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (none, now) = (|| Failure::no("tenant", tenant.as_str()), self.now());
        self.change_all(|tables| {
            let mut change = tables.begin(tenant, now).ok_or_else(none)?;
            let out = act(&mut change)?;
            Ok((out, change.finish()))
        })
        .await
    }

    /// Makes a change that may touch the tables of all tenants, and returns once it is durable.
    async fn change_all<T>(
        &self,
        act: impl FnOnce(&mut Tenants) -> Result<(T, Finished), Failure>,
    ) -> Result<T, Failure> {
        let closed = || Failure::Unavailable("the control plane is stopping".into());
        let permit = self.jobs.reserve().await.map_err(|_| closed())?;
        let (answer, answered) = oneshot::channel();
        let out = {
            let mut tables = self.tables_mut();
            if !self.ensure_in_sync(&mut tables) {
                return Err(Failure::Unavailable(
                    "the store could not be read after a failure: nothing is changed until it can; see the log".into(),
                ));
            }
            let (out, finished) = act(&mut tables)?;
            let (number, batch, after) = prepared(finished);
            let tell = Box::new(move |service: &Self, result: Result<(), StoreError>| {
                if result.is_ok() {
                    service.tell(after);
                }
                if answer.send(result).is_err() {
                    tracing::debug!("whoever asked for a change has gone");
                }
            });
            permit.send(Job { number, batch, tell, last: false });
            out
        };
        answered.await.map_err(|_| closed())??;
        Ok(out)
    }

    /// Makes a change that nobody waits for; `then` gets whether it became durable. Returns false
    /// when too many changes wait for the disk; then nothing was done.
    fn note(
        &self,
        tenant: &Name,
        act: impl FnOnce(&mut Change<'_>),
        then: impl FnOnce(bool) + Send + 'static,
    ) -> bool {
        let Ok(permit) = self.jobs.try_reserve() else {
            self.counters.overloads.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        let mut tables = self.tables_mut();
        if !self.ensure_in_sync(&mut tables) {
            return false;
        }
        let Some(mut change) = tables.begin(tenant, self.now()) else { return false };
        act(&mut change);
        let (number, batch, after) = prepared(change.finish());
        let tell = Box::new(move |service: &Self, result: Result<(), StoreError>| {
            if result.is_ok() {
                service.tell(after);
            }
            then(result.is_ok());
        });
        permit.send(Job { number, batch, tell, last: false });
        true
    }

    /// Tells devices and watchers about a durable change.
    fn tell(&self, after: After) {
        let devices: BTreeSet<DeviceId> = after
            .events
            .iter()
            .filter(|(_, _, event)| event.kind == "device")
            .filter_map(|(tenant, _, event)| {
                Some(DeviceId { tenant: tenant.clone(), device: event.name.parse().ok()? })
            })
            .collect();
        for device in &devices {
            self.note_due(device);
        }
        let mut by_tenant: BTreeMap<Name, Vec<(u64, Event)>> = BTreeMap::new();
        for (tenant, version, event) in after.events {
            by_tenant.entry(tenant).or_default().push((version, event));
        }
        for (tenant, events) in by_tenant {
            self.tenant_of(&tenant).events.publish(events);
        }
        for device in &after.desired {
            self.bus.desired_changed(device);
        }
        for device in &after.disconnect {
            self.bus.disconnect(device);
        }
    }

    /// Handles a change that the store refused. All changes that wait behind it were built on it
    /// and are refused too, and the model is read from the store again. Connections stay as they
    /// are. Returns true when the closing job was among the waiting ones.
    fn after_failure(&self, jobs: &mut mpsc::Receiver<Job>, error: &StoreError) -> bool {
        let mut tables = self.tables_mut();
        let mut stale = Vec::new();
        while let Ok(job) = jobs.try_recv() {
            stale.push(job);
        }
        let last = stale.iter().any(|job| job.last);
        self.diverged.store(true, Ordering::Relaxed);
        self.ensure_in_sync(&mut tables);
        drop(tables);
        for job in stale {
            (job.tell)(self, Err(error.clone()));
        }
        last
    }

    /// Ensures that the model equals the store, which it is read from again after a failure. Returns
    /// false when that fails: no change may be made then, because it would be built on something that
    /// is not stored.
    fn ensure_in_sync(&self, tables: &mut Tenants) -> bool {
        if !self.has_diverged() {
            return true;
        }
        match load(&*self.store, &self.settings.tenant) {
            Ok(fresh) => {
                self.replace(tables, fresh);
                self.diverged.store(false, Ordering::Relaxed);
                true
            }
            Err(error) => {
                tracing::error!(%error, "the store cannot be read again: no change is made until it can");
                false
            }
        }
    }

    /// Returns true while the model differs from the store after a failure.
    pub fn has_diverged(&self) -> bool {
        self.diverged.load(Ordering::Relaxed)
    }

    /// Replaces the model by one that was read from the store, keeping the connections.
    fn replace(&self, tables: &mut Tenants, mut fresh: Tenants) {
        fresh.batches = tables.batches;
        for fresh in fresh.all_mut() {
            let model = tables.of(&fresh.tenant);
            for (name, device) in &mut fresh.devices {
                if let Some(known) = model.devices.get(name) {
                    device.live = known.live.clone();
                    device.report.connected = known.report.connected;
                }
            }
            fresh.batches = model.batches;
            fresh.started = self.started;
            fresh.settle_rules();
            fresh.meta.epoch = fresh.meta.epoch.max(model.meta.epoch);
            // Lists may have shown the versions of changes that were refused: none is given again.
            fresh.meta.version = fresh.meta.version.max(model.meta.version) + VERSION_GAP;
            let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(tenant) = tenants.get(&fresh.tenant) {
                tenant.events.reset(fresh.meta.version);
            }
        }
        *tables = fresh;
    }
}
