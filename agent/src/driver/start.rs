//! Start of the agent: reads what is on disk, finds what runs, and begins to connect.
//!
//! See decisions 0007, 0009, 0075 and 0079.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_base::collect;
use holdfast_base::ids::Name;
use tokio::sync::{mpsc, watch};

use super::{
    Driver, HOUSEKEEPING, Link, OBSERVATIONS, TaskResult, data as shipping, desired, health,
    identity as own, intake, logs, restarts, sources,
};
use crate::adapters::access::Access;
use crate::adapters::artifacts::Artifacts;
use crate::adapters::buffer::Buffer;
use crate::adapters::calls::Calls;
use crate::adapters::clock::{Time, uptime_ms};
use crate::adapters::identity::Identity;
use crate::adapters::intake::Buffered;
use crate::adapters::lock::{self, LockError};
use crate::adapters::notify::Notifier;
use crate::adapters::store::Store;
use crate::adapters::tasks;
use crate::adapters::{files, link};
use crate::config::Config;
use crate::core::agent::{Agent, Start};
use crate::core::backoff::Entropy;
use crate::core::lineage::Lineage;
use crate::core::report::Reporter;
use crate::core::runtime::Known;
use crate::runtimes::Runtimes;
use crate::runtimes::process::{Context, Processes};

/// Reason for which the agent cannot run at all.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder, or `/proc`, cannot be used.
    #[error("{path}: {source}")]
    Folder {
        /// Path that was tried.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// Another agent has the data folder.
    #[error("another agent runs on {path} already{who}; one data folder serves one agent")]
    Second {
        /// Path of the data folder.
        path: PathBuf,
        /// Holder of the lock, as far as it can be known; may be empty.
        who: String,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

impl Driver {
    /// Opens the data folder, adopts what runs, and begins to connect.
    ///
    /// # Errors
    /// Returns a [`StartError`] only if there is nothing to run from.
    #[allow(
        clippy::too_many_lines,
        reason = "one list of what an agent is made of, in the order in which it can be had"
    )]
    pub fn start(data: &Path, config: Config) -> Result<Self, StartError> {
        let failed = |source: io::Error| StartError::Folder { path: data.into(), source };
        files::keep_private();
        files::folder(data, 0o711).map_err(failed)?;
        let data = data.canonicalize().map_err(failed)?;
        let lock = lock(&data)?;
        let seed = random()?;
        let (store, loaded) = Store::open(&data.join("store.redb"));
        let mut trouble = health::Trouble { damage: loaded.damage, ..Default::default() };
        let (identity, unreadable) = match Identity::load(&data) {
            Ok(identity) => (identity, None),
            Err(error) => {
                tracing::error!(%error, "no identity: what runs goes on");
                (None, Some(error.to_string()))
            }
        };
        let has_saved = !loaded.saved.is_empty();
        let on_disk = known(&identity)
            .map(|(key, device)| desired::load(&data, &key, &device, has_saved))
            .unwrap_or_default();
        trouble.untrusted = on_disk.trouble.map(|why| format!("{why}: what ran goes on"));
        let time = Time::new(loaded.floor);
        let (observe, observed) = mpsc::channel(OBSERVATIONS);
        let (tell, results) = mpsc::channel::<TaskResult>(OBSERVATIONS);
        let (api, api_seen) = watch::channel(None);
        let (credentials, credentials_seen) = watch::channel(None);
        let (link_tell, links) = mpsc::channel(16);
        let (artifacts, there) =
            Artifacts::open(&data, observe.clone(), api_seen, seed).map_err(failed)?;
        let access = Arc::new(Access::new(&data, config.bus_port));
        let device = identity.as_ref().and_then(Identity::device).map(|device| device.to_string());
        let (device, folder) = (device.unwrap_or_default(), artifacts.folder().to_owned());
        let context = Context::take(&data, device, folder, Arc::clone(&access), seed);
        let context = context.map_err(failed)?;
        let workloads = context.workloads.clone();
        let processes = Processes::new(context, observe.clone());
        let runtimes = Runtimes::new(vec![Box::new(processes)], workloads, observe.clone());
        let buffer = Buffer::new(&data, config.storage, time.clone());
        let intake = Arc::new(Buffered::new(buffer.clone(), time.clone()));
        let sources = sources::Sources::new(
            &data,
            buffer.clone(),
            intake.clone(),
            runtimes.clone(),
            tell.clone(),
        );
        let inlets = intake::Inlets::new(access, intake);
        let unseen = |source: io::Error| StartError::Folder { path: "/proc".into(), source };
        let known = loaded.saved.iter().filter_map(|(name, saved)| Known::of(name, saved));
        let found = runtimes.census(&known.collect::<Vec<_>>()).map_err(unseen)?;
        let folders = folders(runtimes.workloads());
        let start = Start {
            desired: on_disk.desired,
            former: on_disk.former,
            saved: loaded.saved,
            found,
            folders,
            artifacts: there,
            entropy: seed,
        };
        let policies = start.desired.as_ref().and_then(|state| state.data.clone());
        tasks::spawn(link::run(credentials_seen, link_tell, seed ^ 1));
        let shipping =
            shipping::Shipping::new(buffer, config.storage, (time.clone(), tell.clone()), seed ^ 3);
        let around = own::Around {
            data: data.clone(),
            time: time.clone(),
            meter: shipping.meter(),
            keep_alive: config.keep_alive,
            tell: tell.clone(),
        };
        // Workloads come first: disk and certificate are checked in the second turn.
        let soon = uptime_ms() + HOUSEKEEPING / 50;
        let logs = logs::Logs::new(&data, runtimes.clone(), time.clone(), config.log_bytes, soon);
        let mut driver = Self {
            runtimes,
            artifacts,
            store,
            store_behind: loaded.behind,
            agent: Agent::new(start, uptime_ms()),
            desired: desired::DesiredStates::new(&data, on_disk.least),
            // The low bits of the seed begin other things.
            reporter: Reporter::new(u16::try_from(seed >> 48).unwrap_or_default()),
            calls: Calls::default(),
            time,
            floor_stored: loaded.floor,
            identity: own::DeviceIdentity::new(around, credentials, api, unreadable),
            link: Link { reason: super::NOT_TRIED.into(), ..Link::default() },
            trouble,
            restarts: restarts::Restarts::default(),
            entropy: Entropy::new(seed ^ 2),
            observed,
            links,
            results,
            tell,
            listener: None,
            notifier: Notifier::from_environment(),
            housekeeping_at: soon,
            logs,
            shipping,
            lineage: Lineage::read(
                &std::fs::read_to_string(data.join(super::HISTORY)).unwrap_or_default(),
            ),
            inlets,
            sources,
            data,
            _lock: lock,
        };
        driver.listen();
        driver.admit_known();
        driver.follow_policies(policies.as_deref());
        driver.renew_limits();
        if let Some(identity) = identity {
            driver.use_identity(identity);
        }
        Ok(driver)
    }

    /// Sets the limits of adopted workloads again: the service manager may have taken the
    /// controllers back while the agent was not running.
    fn renew_limits(&self) {
        let running = collect::map(self.agent.instances());
        for (name, saved) in self.agent.saved() {
            if let (Some(instance), Some(current)) = (running.get(name), &saved.current) {
                self.runtimes.renew_limits(name, instance, &current.spec);
            }
        }
    }
}

fn known(identity: &Option<Identity>) -> Option<(Vec<u8>, holdfast_base::ids::DeviceId)> {
    let identity = identity.as_ref()?;
    Some((identity.signing_key(), identity.device()?))
}

/// Takes the lock, and closes the data folder to other users.
fn lock(data: &Path) -> Result<std::fs::File, StartError> {
    let lock = lock::take(data).map_err(|error| match error {
        LockError::Io(path, source) => StartError::Folder { path, source },
        LockError::Held(who) => StartError::Second { path: data.into(), who },
    })?;
    files::close_to_others(data);
    Ok(lock)
}

fn random() -> Result<u64, StartError> {
    let mut bytes = [0; 8];
    let random = ring::rand::SystemRandom::new();
    ring::rand::SecureRandom::fill(&random, &mut bytes).map_err(|_| StartError::Random)?;
    Ok(u64::from_le_bytes(bytes))
}

fn folders(workloads: &Path) -> BTreeSet<Name> {
    let entries = std::fs::read_dir(workloads).into_iter().flatten().flatten();
    collect::set(entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}
