//! The service: carries out what the core decides, and answers devices (as the bus's directory) and
//! people (through `adapters/http`).
//!
//! It is made of parts that each own their state and see only parts below them. A part stands on
//! the ones named behind it:
//!
//! ```text
//! tenancy     documents, data, alarms, access, fleet, workloads
//! archive     documents, data, alarms, enrolment, keys, audit, vault
//! keys        documents
//! directory   documents, data, access, calls, audit, vault
//! fleet       documents, data, alarms
//! workloads   documents, calls, alarms, vault
//! enrolment   documents
//! alarms      documents, vault
//! calls       documents, data
//! people      documents, access, keys
//! access      documents
//! audit       documents, calls, vault
//! data        documents
//! vault       documents
//! documents   (the store, the bus)
//! ```
//!
//! See decision 0155.

mod access;
mod alarms;
mod archive;
mod audit;
mod calls;
mod counters;
mod data;
mod directory;
mod documents;
mod enrolment;
mod failure;
mod fleet;
mod keys;
mod listing;
pub mod origin;
mod people;
mod rights;
mod settings;
mod start;
mod tenancy;
mod vault;
mod waiting;
mod workloads;

use std::sync::Arc;

use holdfast_base::ids::Name;

use crate::ports::bus;
use crate::ports::keyring::Keyring;
use crate::ports::store::{Shard, Store};

pub use access::{Access, Client, Watch};
pub use alarms::{AlarmCounts, Alarms, AlarmsQuery, Delivery, Notifier, run as run_alarms};
pub use archive::{Archive, Backup, Carried, Checked, Checking};
pub use audit::{Audit, AuditLines, AuditSender, Forward, Seen, run as run_sinks};
pub use calls::{Asking, Calls, Cut, LogEnd, LogStream, Part, Piece};
pub use counters::{AlarmCounters, DataCounters, EnrolmentCounters, InboxCounters, StoreCounters};
pub use data::{
    Data, DataFeed, Feeds, Horizons, LedgerPart, Readable, Took, Visitor, WITHIN, Window,
    take_batch,
};
pub use directory::Directory;
pub use documents::{Documents, Events, EventsRead, Page, Uptime};
pub use enrolment::Enrolment;
pub use failure::Failure;
pub use fleet::{Counts, DevicesQuery, Fleet, TimelineQuery};
pub use keys::{MasterKeys, SealedRows};
pub use listing::{Listed, Query};
pub use people::{
    BegunLogin, Callback, People, ProviderAnswer, ProviderAsk, ProviderHttp, ProviderLogin,
};
pub use rights::may;
pub use settings::{Ports, Settings};
pub use start::StartError;
pub use tenancy::Tenancy;
pub use workloads::{Credentials, ImageDocument, Restarting, Workloads};

use documents::Renewing;
use enrolment::Terms;
use people::{ClientSecrets, Providers, SecondFactors};
use vault::{Vault, VaultRows};

/// The control plane's service: its parts. Whoever uses one names it.
#[derive(Debug)]
pub struct Service {
    /// Documents of all tenants, and how they change.
    pub documents: Arc<Documents>,
    /// Access tokens and logins.
    pub access: Arc<Access>,
    /// Local users, and everybody's sessions.
    pub people: Arc<People>,
    /// Records of streams.
    pub data: Arc<Data>,
    /// Calls to devices: logs, questions, signs of life.
    pub calls: Arc<Calls>,
    /// Alarms, and messages about them.
    pub alarms: Arc<Alarms>,
    /// Workloads and policies.
    pub workloads: Arc<Workloads>,
    /// Devices, as people see them.
    pub fleet: Arc<Fleet>,
    /// Enrolment of devices.
    pub enrolment: Arc<Enrolment>,
    /// What the gateway asks about devices.
    pub directory: Arc<Directory>,
    /// Master key and data keys.
    pub keys: Arc<MasterKeys>,
    /// Backup, restore, and the audit log.
    pub archive: Arc<Archive>,
    /// Tenants and their quotas.
    pub tenancy: Arc<Tenancy>,
}

/// Threads that write to the store and the data store, and the one that renews the lease.
#[derive(Debug)]
pub struct Threads {
    store: std::thread::JoinHandle<()>,
    data: std::thread::JoinHandle<()>,
    lease: Renewing,
}

impl Threads {
    /// Waits for the threads' end. Blocks.
    ///
    /// # Errors
    /// Returns the panic of a thread that ended by one.
    pub fn join(self) -> std::thread::Result<()> {
        let (store, data) = (self.store.join(), self.data.join());
        // It is renewed until nothing is written any more.
        store.and(data).and(self.lease.end())
    }
}

/// The one shard: every device belongs to it.
const SHARD: Shard = 0;

impl Service {
    /// Checks that the whole store can be read.
    ///
    /// # Errors
    /// Returns the first reason why it cannot.
    pub fn check(store: &dyn Store, tenant: &Name) -> Result<(), StartError> {
        documents::load(store, tenant).map(drop)
    }

    /// Reads the store and starts the threads that write to it and to the data store. They end with
    /// [`Service::close`].
    ///
    /// # Errors
    /// Returns a [`StartError`] when the store cannot be read or a thread cannot be started.
    pub fn start(ports: Ports, settings: Settings) -> Result<(Arc<Self>, Threads), StartError> {
        let jobs = Arc::new(documents::Jobs::new());
        let lease = Renewing::begin(&ports.store, SHARD, settings.uptime, Arc::clone(&jobs))?;
        let begun = Self::begin(ports, settings, (&lease, jobs)).and_then(|service| {
            let named = |name: &str| std::thread::Builder::new().name(name.into());
            let documents = Arc::clone(&service.documents);
            let store = named("store").spawn(move || documents::write(&documents))?;
            let data = Arc::clone(&service.data);
            let data = named("data").spawn(move || data::store(&data))?;
            service.archive.seal_old();
            Ok((service, store, data))
        });
        match begun {
            Ok((service, store, data)) => Ok((Arc::new(service), Threads { store, data, lease })),
            Err(error) => {
                if lease.end().is_err() {
                    tracing::error!("the thread that renews the lease ended badly");
                }
                Err(error)
            }
        }
    }

    /// Reads the store and makes the parts.
    fn begin(
        ports: Ports,
        settings: Settings,
        (lease, jobs): (&Renewing, Arc<documents::Jobs<Documents>>),
    ) -> Result<Self, StartError> {
        let Ports { store, data, bus, authority, keyring, passwords, .. } = ports;
        let Ports { artifacts, notifier, providers, sender, .. } = ports;
        let lease = Arc::clone(&lease.lease);
        let documents = Documents::read(store, lease, jobs, Arc::clone(&bus), &settings)?;
        let documents = Arc::new(documents);
        let of = || Arc::clone(&documents);
        let keys = || Arc::clone(&authority);
        let data = Arc::new(Data::new(of(), Arc::clone(&bus), data, settings.reserve));
        let records = || Arc::clone(&data);
        let access = Arc::new(Access::new(of(), keys()));
        let random = authority.random().map_err(std::io::Error::other)?;
        let by_provider = Providers::new(providers, random);
        let ring = || Arc::clone(&keyring);
        let people =
            People::new(of(), Arc::clone(&access), keys(), ring(), (passwords, by_provider));
        let calls = Arc::new(Calls::new(of(), records(), Arc::clone(&bus), keys()));
        let sealing: Arc<dyn Keyring> = keyring.clone();
        let vault = Arc::new(Vault::new(of(), sealing, keys()));
        let secrets = || Arc::clone(&vault);
        let alarms = Arc::new(Alarms::new(of(), notifier, keys(), secrets()));
        let Settings { device_ttl, mqtt, api, addresses, .. } = settings;
        let terms = Terms { device_ttl, mqtt, api, addresses };
        let enrolment = Arc::new(Enrolment::new(of(), keys(), terms));
        let above = (Arc::clone(&calls), Arc::clone(&alarms), secrets());
        let workloads = Arc::new(Workloads::new(of(), above, artifacts, ring()));
        let fleet = Arc::new(Fleet::new(of(), Arc::clone(&alarms), records()));
        let audit = Arc::new(Audit::new(of(), Arc::clone(&calls), keys(), sender, secrets()));
        let tenancy = Tenancy::new(
            of(),
            Arc::clone(&access),
            Arc::clone(&alarms),
            records(),
            Arc::clone(&fleet),
            Arc::clone(&workloads),
        );
        let directory = Directory::new(
            of(),
            Arc::clone(&access),
            records(),
            (Arc::clone(&calls), Arc::clone(&audit)),
            bus,
            (keys(), secrets()),
        );
        // Whoever keeps sealed values in a tenant's tables adds itself here.
        let owners: Vec<Box<dyn SealedRows>> =
            vec![Box::new(SecondFactors), Box::new(VaultRows), Box::new(ClientSecrets)];
        let master_keys = Arc::new(MasterKeys::new(of(), keys(), keyring, owners));
        let archive = Archive::new(
            (of(), Arc::clone(&alarms), records(), Arc::clone(&enrolment)),
            (audit, secrets()),
            keys(),
            Arc::clone(&master_keys),
        );
        Ok(Self {
            workloads,
            fleet,
            tenancy: Arc::new(tenancy),
            directory: Arc::new(directory),
            archive: Arc::new(archive),
            people: Arc::new(people),
            keys: master_keys,
            documents,
            access,
            data,
            calls,
            alarms,
            enrolment,
        })
    }

    /// The audit log as a chain.
    pub fn audit(&self) -> &Arc<Audit> {
        self.archive.audit()
    }

    /// Ports that a bus calls.
    pub fn bus_ports(&self) -> bus::Ports {
        bus::Ports::of(Arc::clone(&self.directory))
    }

    /// Writes what is queued and ends the writing threads. No change can be made afterwards.
    pub fn close(&self) {
        self.audit().end();
        self.data.close();
        self.documents.close();
    }
}
