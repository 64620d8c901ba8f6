//! The driver: it holds the model, carries out what the core decides, and answers devices (as
//! the bus's directory) and people (through `adapters/http`).
//!
//! Every change is made in memory under one lock and queued for the store in the same order;
//! whoever asked is answered, and devices and watchers are told, when it is safe on disk.

mod access;
mod alarms;
mod apply;
mod calls;
mod change;
mod counters;
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
mod keeper;
mod latest;
mod looking;
mod overview;
mod policies;
mod query;
mod read;
mod records;
mod restore;
mod sessions;
mod timeline;
mod tokens;
mod watching;
mod writer;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use holdfast_base::ids::Name;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::adapters::authority::Authority;
use crate::core::alarms::Engine;
use crate::core::model::{BadRecord, Late, Model, key};
use crate::core::throttle::Throttle;
use crate::core::trend::Points;
use crate::data_store::DataStore;
use crate::ports::Bus;
use crate::store::{Batch, Store, StoreError};

pub use alarms::{AlarmsQuery, run as run_alarms};
pub use calls::{LogStream, Part, Piece};
pub use counters::Counters;
pub use events::{Events, Page};
pub use failure::Failure;
pub use feeds::{DataFeed, Feeds};
pub use jobs::Restarting;
pub use latest::{Horizons, WITHIN};
pub use overview::DevicesQuery;
pub use query::Asking;
pub use read::{Listed, Query};
pub use records::{LedgerPart, Visitor, Window};
pub use restore::{Backup, Checked, Checking};
pub use sessions::Credential;
pub use timeline::TimelineQuery;
pub use watching::Watch;

use change::{After, Change};
use writer::Job;

/// What the service is told at its start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The one tenant.
    pub tenant: Name,
    /// Life of a device's certificate, in seconds.
    pub device_ttl: u64,
    /// Addresses that devices dial for MQTT.
    pub mqtt: Vec<String>,
    /// Address that the API listens on.
    pub api: Option<String>,
    /// Addresses of the API that other machines may reach.
    pub addresses: Vec<String>,
    /// Bytes of the data folder's disk that are kept free of data; None: the usual ones.
    pub reserve: Option<u64>,
    /// Seconds since 1970, now.
    pub clock: fn() -> u64,
}

/// The control plane.
pub struct Service {
    model: RwLock<Model>,
    store: Arc<dyn Store>,
    jobs: mpsc::Sender<Job>,
    /// Number of the last batch that is safe.
    durable: AtomicU64,
    bus: Arc<dyn Bus>,
    authority: Arc<Authority>,
    settings: Settings,
    events: Events,
    calls: calls::Calls,
    looking: looking::Looking,
    counters: Counters,
    ingest: ingest::Ingest,
    /// A restored backup has another CA: this process must be replaced.
    restart_needed: AtomicBool,
    /// When this process began to serve, in seconds since 1970.
    started: u64,
    throttle: Mutex<Throttle>,
    summary: Mutex<Option<overview::Summary>>,
    trend: Mutex<Points>,
    due: due::Due,
    watching: Arc<watching::Watching>,
    /// Why the store did not take the last change. None: it did.
    refusing: Mutex<Option<String>>,
    /// Alarms, and who is told of them.
    alarms: Mutex<Engine>,
    /// Somebody wants the alarms looked at now.
    alarms_asked: Notify,
    /// Memory is not what is on disk and could not be read anew: nothing may be changed.
    adrift: AtomicBool,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The threads that write.
#[derive(Debug)]
pub struct Threads {
    store: std::thread::JoinHandle<()>,
    data: std::thread::JoinHandle<()>,
}

impl Threads {
    /// Waits for their end; blocks.
    ///
    /// # Errors
    /// One of them ended badly.
    pub fn join(self) -> std::thread::Result<()> {
        let (store, data) = (self.store.join(), self.data.join());
        store.and(data)
    }
}

/// Why the service could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The disk's.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record that cannot be read.
    #[error("the store is damaged or of another version")]
    Record(#[from] BadRecord),
    /// Reading ended early.
    #[error("the store cannot be read to its end")]
    Read(#[from] std::io::Error),
}

/// Resource versions between two starts: those that were given before a crash and not stored are
/// not given again, so that a watcher's place in the events is never mistaken.
const VERSION_GAP: u64 = 10_000;

/// The alarms, with what was told and is still to be told.
fn engine(model: &mut Model, authority: &Authority, now: u64) -> Engine {
    let seed = authority.random::<8>().map_or(now, u64::from_le_bytes);
    let mut engine = Engine::new(now, seed);
    for (key, value) in std::mem::take(&mut model.told) {
        if let Err(error) = engine.take(&key, &value) {
            tracing::error!(key, %error, "what a notification has told cannot be read: it is told again");
        }
    }
    engine
}

/// Reads everything of a store.
fn load(store: &dyn Store, tenant: &Name) -> Result<Model, StartError> {
    let mut model = Model::empty(tenant.clone());
    let mut late = Late::default();
    let mut bad = None;
    store.snapshot()?.visit(&[key::HISTORIES], &mut |key, value| {
        if let Err(error) = model.take(&mut late, key, value) {
            bad.get_or_insert(error);
        }
        Ok(())
    })?;
    if let Some(error) = bad {
        return Err(error.into());
    }
    model.settle(late);
    Ok(model)
}

impl Service {
    /// Whether everything of a store can be read.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn check(store: &dyn Store, tenant: &Name) -> Result<(), StartError> {
        load(store, tenant).map(drop)
    }

    /// Reads the store and begins to write to it and to the data store, on threads that end with
    /// [`Service::close`].
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(
        store: Arc<dyn Store>,
        data: Arc<dyn DataStore>,
        bus: Arc<dyn Bus>,
        authority: Arc<Authority>,
        settings: Settings,
    ) -> Result<(Arc<Self>, Threads), StartError> {
        let mut model = load(&*store, &settings.tenant)?;
        model.meta.version += VERSION_GAP;
        let started = (settings.clock)();
        model.started = started;
        model.settle_rules();
        if model.meta.epoch == 0 {
            // A fresh control plane may inherit devices of a lost one: what they hold is older.
            model.meta.epoch = (settings.clock)().max(1);
        }
        let alarms = engine(&mut model, &authority, (settings.clock)());
        let (jobs, queue) = mpsc::channel(writer::QUEUE);
        let (ingest, batches) = ingest::Ingest::new(data, settings.reserve);
        let service = Arc::new(Self {
            events: Events::new(model.meta.version),
            model: RwLock::new(model),
            store,
            jobs,
            durable: AtomicU64::new(0),
            bus,
            authority,
            calls: calls::Calls::default(),
            looking: looking::Looking::default(),
            counters: Counters::default(),
            ingest,
            restart_needed: AtomicBool::new(false),
            started,
            throttle: Mutex::default(),
            summary: Mutex::default(),
            trend: Mutex::new(Points::new((settings.clock)())),
            due: due::Due::default(),
            watching: Arc::default(),
            refusing: Mutex::default(),
            adrift: AtomicBool::new(false),
            alarms: Mutex::new(alarms),
            alarms_asked: Notify::new(),
            settings,
        });
        service.note_every_due();
        let named = |name: &str| std::thread::Builder::new().name(name.into());
        let writing = Arc::clone(&service);
        let store = named("store").spawn(move || writer::run(&writing, queue))?;
        let taking = Arc::clone(&service);
        let data = named("data").spawn(move || ingest::run(&taking, batches))?;
        Ok((service, Threads { store, data }))
    }

    /// Writes what is queued and ends the writing threads; nothing can be changed afterwards.
    pub async fn close(&self) {
        self.ingest.close();
        let job = Job { number: 0, batch: Batch::default(), tell: Box::new(|_, _| {}), last: true };
        if self.jobs.send(job).await.is_err() {
            tracing::warn!("the store was closed already");
        }
    }

    /// Stores that the control plane lives: should it end without a word, those who were connected
    /// were there until about then.
    pub fn live(&self) {
        // Not taken: the next one is.
        let _taken = self.note(|change| change.live(), |_| {});
        self.settle_lineages();
        self.settle_timelines();
    }

    /// Returns when nothing can be stored any more: the writing thread has ended.
    pub async fn closed(&self) {
        self.jobs.closed().await;
    }

    /// True when nothing can be stored any more.
    pub fn is_closed(&self) -> bool {
        self.jobs.is_closed()
    }

    /// Why the store did not take the last change, which is tried at least once a minute. None:
    /// it did.
    pub fn refusing(&self) -> Option<String> {
        self.refusing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn refuses(&self, why: Option<String>) {
        *self.refusing.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Counts an unending answer of this kind for an access token, until it is dropped.
    ///
    /// # Errors
    /// [`Failure::TooMany`].
    pub fn unending(&self, what: &'static str, credential: &Credential) -> Result<Watch, Failure> {
        self.watching.begin(what, &credential.access)
    }

    /// What it has counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What changed.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Its authority.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Seconds since 1970.
    pub fn now(&self) -> u64 {
        (self.settings.clock)()
    }

    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64 {
        self.now().saturating_mul(1_000).saturating_add(999)
    }

    /// True after a restore that brought another CA.
    pub fn needs_restart(&self) -> bool {
        self.restart_needed.load(Ordering::Relaxed)
    }

    fn model(&self) -> RwLockReadGuard<'_, Model> {
        self.model.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn model_mut(&self) -> RwLockWriteGuard<'_, Model> {
        self.model.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a change and returns when it is safe on disk. Also what turns out to change nothing
    /// is answered only when everything before it is safe.
    async fn change<T>(
        &self,
        act: impl FnOnce(&mut Change<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let closed = || Failure::Unavailable("the control plane is stopping".into());
        let permit = self.jobs.reserve().await.map_err(|_| closed())?;
        let (answer, answered) = oneshot::channel();
        let out = {
            let mut model = self.model_mut();
            if !self.is_ashore(&mut model) {
                return Err(Failure::Unavailable(
                    "the store could not be read after a failure: nothing is changed until it can; see the log".into(),
                ));
            }
            let mut change = Change::new(&mut model, self.now());
            let out = act(&mut change)?;
            let (number, batch, after) = change.finish();
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

    /// Makes a change that nobody waits for; `then` is told whether it is safe. False: too much
    /// waits for the disk, and nothing was done.
    fn note(
        &self,
        act: impl FnOnce(&mut Change<'_>),
        then: impl FnOnce(bool) + Send + 'static,
    ) -> bool {
        let Ok(permit) = self.jobs.try_reserve() else {
            self.counters.overloads.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        let mut model = self.model_mut();
        if !self.is_ashore(&mut model) {
            return false;
        }
        let mut change = Change::new(&mut model, self.now());
        act(&mut change);
        let (number, batch, after) = change.finish();
        let tell = Box::new(move |service: &Self, result: Result<(), StoreError>| {
            if result.is_ok() {
                service.tell(after);
            }
            then(result.is_ok());
        });
        permit.send(Job { number, batch, tell, last: false });
        true
    }

    /// Tells devices and watchers of a change that is safe.
    fn tell(&self, after: After) {
        let names: std::collections::BTreeSet<Name> = after
            .events
            .iter()
            .filter(|(_, event)| event.kind == "device")
            .filter_map(|(_, event)| event.name.parse().ok())
            .collect();
        for name in &names {
            self.note_due(name);
        }
        self.events.publish(after.events);
        for device in &after.desired {
            self.bus.desired_changed(device);
        }
        for device in &after.disconnect {
            self.bus.disconnect(device);
        }
    }

    /// The store refused a change: all that waits behind it was made on top of it and goes with
    /// it, and memory becomes what is on disk. Connections stay as they are. True: the last job
    /// was among them.
    fn after_failure(&self, jobs: &mut mpsc::Receiver<Job>, error: &StoreError) -> bool {
        let mut model = self.model_mut();
        let mut stale = Vec::new();
        while let Ok(job) = jobs.try_recv() {
            stale.push(job);
        }
        let last = stale.iter().any(|job| job.last);
        self.adrift.store(true, Ordering::Relaxed);
        self.is_ashore(&mut model);
        drop(model);
        for job in stale {
            (job.tell)(self, Err(error.clone()));
        }
        last
    }

    /// True when memory is what is on disk, or could be made so now: the next change tries it, and
    /// is built on nothing else.
    fn is_ashore(&self, model: &mut Model) -> bool {
        if !self.is_adrift() {
            return true;
        }
        match load(&*self.store, &self.settings.tenant) {
            Ok(fresh) => {
                self.replace(model, fresh);
                self.adrift.store(false, Ordering::Relaxed);
                true
            }
            Err(error) => {
                tracing::error!(%error, "the store cannot be read anew: nothing is changed until it can");
                false
            }
        }
    }

    /// True while memory is not what is on disk.
    pub fn is_adrift(&self) -> bool {
        self.adrift.load(Ordering::Relaxed)
    }

    /// Puts what was read in the place of what is known, keeping who is connected.
    fn replace(&self, model: &mut Model, mut fresh: Model) {
        for (name, device) in &mut fresh.devices {
            if let Some(known) = model.devices.get(name) {
                device.live = known.live.clone();
                device.report.connected = known.report.connected;
            }
        }
        fresh.batches = model.batches;
        fresh.started = model.started;
        fresh.settle_rules();
        fresh.meta.epoch = fresh.meta.epoch.max(model.meta.epoch);
        fresh.meta.version = fresh.meta.version.max(model.meta.version) + VERSION_GAP;
        self.events.reset(fresh.meta.version);
        *model = fresh;
    }
}
