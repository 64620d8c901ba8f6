//! Start of the agent: reads what is on disk, finds the processes that run, and begins to connect.
//!
//! See decisions 0007, 0009, 0075 and 0079.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_base::ids::{Name, hex};
use holdfast_protocol::message::DesiredState;
use tokio::sync::{mpsc, watch};

use super::{Driver, HOUSEKEEPING, Link, OBSERVATIONS, TaskResult, desired, health, intake, logs};
use crate::adapters::access::Access;
use crate::adapters::artifacts::Artifacts;
use crate::adapters::buffer::Buffer;
use crate::adapters::calls::Calls;
use crate::adapters::census::{self, Census};
use crate::adapters::cgroup::Cgroups;
use crate::adapters::clock::{Time, boot_id, uptime_ms};
use crate::adapters::ending::Awaited;
use crate::adapters::identity::Identity;
use crate::adapters::intake::Buffered;
use crate::adapters::lock::{self, LockError};
use crate::adapters::meter::Meter;
use crate::adapters::notify::Notifier;
use crate::adapters::runtime::{Runtime, RuntimeContext};
use crate::adapters::store::Store;
use crate::adapters::{files, launcher as launching, link, procfs};
use crate::config::Config;
use crate::core::agent::{Agent, Start};
use crate::core::backoff::Entropy;
use crate::core::lineage::Lineage;
use crate::core::report::Reporter;
use crate::core::saved::{Found, SavedWorkload};

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
    /// Opens the data folder, adopts the processes that run, and begins to connect.
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
        let identity = Identity::load(&data).unwrap_or_else(|error| {
            tracing::error!(%error, "no identity: what runs goes on");
            trouble.identity = Some(error.to_string());
            None
        });
        let on_disk = known(&identity)
            .map(|(key, device)| desired::load(&data, &key, &device))
            .unwrap_or_default();
        trouble.untrusted = on_disk.trouble.map(|why| format!("{why}: what ran goes on"));
        let least = on_disk.spare.as_ref().map(DesiredState::version).unwrap_or_default();
        // The saved states say better than an older desired state what ran; without them, it is all
        // there is.
        let former = on_disk.spare.filter(|_| loaded.saved.is_empty());
        let time = Time::new(loaded.floor);
        let (observe, observed) = mpsc::channel(OBSERVATIONS);
        let (tell, results) = mpsc::channel::<TaskResult>(OBSERVATIONS);
        let (api, api_seen) = watch::channel(None);
        let (credentials, credentials_seen) = watch::channel(None);
        let (link_tell, links) = mpsc::channel(16);
        let (artifacts, there) =
            Artifacts::open(&data, observe.clone(), api_seen, seed).map_err(failed)?;
        let access = Arc::new(Access::new(&data, config.bus_port));
        let place = place(&data, &identity, &artifacts, seed, Arc::clone(&access));
        let place = Arc::new(place.map_err(failed)?);
        let buffer = Buffer::new(&data, config.storage, time.clone());
        let intake = Arc::new(Buffered::new(buffer.clone(), time.clone()));
        let sources = super::sources::Sources::new(&data, buffer.clone(), intake.clone());
        let inlets = intake::Inlets::new(access, intake);
        let processes = |source: io::Error| StartError::Folder { path: "/proc".into(), source };
        let seen = Census::take(&place).map_err(processes)?;
        let found = found(&seen, &place, loaded.saved.iter());
        let folders = folders(&place.workloads);
        let start = Start {
            desired: on_disk.state,
            former,
            saved: loaded.saved,
            found,
            folders,
            artifacts: there,
            entropy: seed,
        };
        let policies = start.desired.as_ref().and_then(|state| state.data.clone());
        tokio::spawn(place.awaited.clone().reap_orphans());
        tokio::spawn(link::run(credentials_seen, link_tell, seed ^ 1));
        let mut driver = Self {
            config,
            runtime: Runtime::new(Arc::clone(&place), observe.clone()),
            place,
            artifacts,
            store,
            store_behind: loaded.behind,
            agent: Agent::new(start, uptime_ms()),
            least,
            afresh: false,
            // The low bits of the seed begin other things.
            reporter: Reporter::new(u16::try_from(seed >> 48).unwrap_or_default()),
            calls: Calls::default(),
            time,
            floor_stored: loaded.floor,
            identity: None,
            credentials,
            api,
            link: Link { reason: super::NOT_TRIED.into(), ..Link::default() },
            trouble,
            waiting: None,
            restarts: Vec::new(),
            renewal: health::Renewal::default(),
            entropy: Entropy::new(seed ^ 2),
            observed,
            observe,
            links,
            results,
            tell,
            listener: None,
            notifier: Notifier::from_environment(),
            // Workloads come first: disk and certificate are checked in the second turn.
            housekeeping_at: uptime_ms() + HOUSEKEEPING / 50,
            logs: logs::Logs::new(&data, uptime_ms() + HOUSEKEEPING / 50),
            shipping: super::data::Shipping::new(buffer, policies.as_deref(), seed ^ 3),
            meter: Meter::default(),
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
        driver.follow_sources(policies.as_deref());
        driver.renew_limits();
        if let Some(identity) = identity {
            driver.use_identity(identity);
        }
        Ok(driver)
    }

    /// Sets the limits of adopted workloads again: the service manager may have taken the
    /// controllers back while the agent was not running.
    fn renew_limits(&self) {
        let Ok(cgroups) = &self.place.cgroups else { return };
        let running: BTreeSet<&Name> = self.agent.instances().map(|(name, _)| name).collect();
        for (name, saved) in self.agent.saved().filter(|(name, _)| running.contains(name)) {
            let Some(current) = &saved.current else { continue };
            if let Err(error) = cgroups.prepare(name, current.spec.resources) {
                tracing::warn!(workload = %name, %error, "its limits cannot be set again");
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

fn place(
    data: &Path,
    identity: &Option<Identity>,
    artifacts: &Artifacts,
    seed: u64,
    access: Arc<Access>,
) -> io::Result<RuntimeContext> {
    let workloads = data.join("workloads");
    files::folder(&workloads, 0o711)?;
    let device = identity.as_ref().and_then(Identity::device).map(|device| device.to_string());
    let agent = agent_id(data, seed);
    if let Err(error) = census::register(&agent, data) {
        tracing::warn!(%error, "other agents on this machine cannot be told of this one");
    }
    Ok(RuntimeContext {
        agent,
        device: device.unwrap_or_default(),
        boot: boot_id(),
        workloads,
        artifacts: artifacts.folder().to_owned(),
        launcher: launcher(),
        cgroups: Cgroups::take(),
        open_files: launching::raise_open_files(),
        access,
        awaited: Awaited::default(),
        stuck: std::sync::Mutex::default(),
    })
}

/// Command line of the launcher: the agent itself; a test may put an emulator before it.
fn launcher() -> Vec<OsString> {
    #[cfg(debug_assertions)]
    if let Ok(line) = std::env::var("HOLDFAST_TEST_LAUNCHER") {
        return line.split_whitespace().map(OsString::from).collect();
    }
    vec![OsString::from("/proc/self/exe")]
}

/// Id that marks the processes of this data folder's agent. Made once; if it cannot be stored, it
/// is valid until the agent ends.
fn agent_id(data: &Path, seed: u64) -> String {
    let path = data.join("agent-id");
    let read = files::read(&path, 64).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    if let Ok(text) = &read
        && text.trim().len() == 16
        && text.trim().bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        return text.trim().to_owned();
    }
    let id = hex(&seed.to_be_bytes());
    if !matches!(&read, Err(error) if error.kind() == io::ErrorKind::NotFound) {
        tracing::error!(path = %path.display(), id, "it was damaged: this agent has a new id");
    }
    if let Err(error) = files::put(&path, id.as_bytes(), 0o600) {
        tracing::error!(%error, "the agent's id cannot be stored");
    }
    id
}

/// All processes of workloads: known by their user, by their marker, or by the saved state.
pub(super) fn found<'a>(
    seen: &Census,
    place: &RuntimeContext,
    states: impl Iterator<Item = (&'a Name, &'a SavedWorkload)>,
) -> Vec<Found> {
    let mut found = seen.found(&place.boot);
    for (name, saved) in states {
        known_by_saved(name, saved, &place.boot, &mut found);
    }
    found
}

/// Adds the process of a saved state, which is known even if it has overwritten its environment.
fn known_by_saved(name: &Name, saved: &SavedWorkload, boot: &str, found: &mut Vec<Found>) {
    let Some(instance) = &saved.instance else { return };
    let same =
        |it: &&mut Found| it.instance.pid == instance.pid && it.instance.start == instance.start;
    if let Some(known) = found.iter_mut().find(same) {
        known.instance = instance.clone();
    } else if !matches!(procfs::lives(instance, boot), Ok(false)) {
        found.push(Found {
            workload: name.clone(),
            revision: saved.current.as_ref().map_or(0, |current| current.number),
            instance: instance.clone(),
            leader: true,
            at_gate: false,
        });
    }
}

fn folders(workloads: &Path) -> BTreeSet<Name> {
    let entries = std::fs::read_dir(workloads).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
