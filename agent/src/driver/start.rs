//! Start of the agent: reads what is on disk, finds what runs, and begins to connect.
//!
//! See decisions 0007, 0009, 0075 and 0079.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_base::collect;
use holdfast_base::ids::Name;
use holdfast_protocol::workload::Artifact;
use tokio::sync::{mpsc, watch};

use super::data::Shipping;
use super::desired::{self, DesiredStates};
use super::folder::DataFolder;
use super::host::Host;
use super::identity::{Around, DeviceIdentity};
use super::inputs::{Inputs, TaskResult};
use super::intake::Inlets;
use super::link::Link;
use super::logs::Logs;
use super::reports::Reports;
use super::run::Driver;
use super::sources::Sources;
use super::workloads::Workloads;
use crate::adapters::access::Access;
use crate::adapters::artifacts::Artifacts;
use crate::adapters::buffer::Buffer;
use crate::adapters::clock::uptime_ms;
use crate::adapters::format::{self, TooNew};
use crate::adapters::identity::Identity;
use crate::adapters::intake::Buffered;
use crate::adapters::lock::{self, LockError};
use crate::adapters::neighbours::Neighbours;
use crate::adapters::tasks;
use crate::adapters::{clock, files, link};
use crate::config::{self, Config};
use crate::core::agent::{Agent, Start};
use crate::core::backoff::Entropy;
use crate::core::secrets::Opener;
use crate::runtimes::common::Common;
use crate::runtimes::container::engine::{Engine, Place};
use crate::runtimes::container::images::{Images, Limits};
use crate::runtimes::container::volumes::Volumes;
use crate::runtimes::container::{Containers, Settings};
use crate::runtimes::process::{Context, Processes};
use crate::runtimes::{Runtime, Runtimes};

/// Maximum number of observations that wait for the loop.
const OBSERVATIONS: usize = 256;
/// Delay after the start until the first regular check and the first poll of all logs, in
/// milliseconds: workloads come first.
const FIRST_CHECK: u64 = 100;

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
    /// A newer agent has written the data folder.
    #[error(transparent)]
    Newer(#[from] TooNew),
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
        format::check(&data)?;
        let seed = random()?;
        let (folder, saved) = DataFolder::open(&data, lock);
        let (identity, unreadable) = match Identity::load(&data) {
            Ok(identity) => (identity, None),
            Err(error) => {
                tracing::error!(%error, "no identity: what runs goes on");
                (None, Some(error.to_string()))
            }
        };
        let has_saved = !saved.is_empty();
        let on_disk = known(&identity)
            .map(|(key, device)| desired::load(&data, &key, &device, has_saved))
            .unwrap_or_default();
        let mut desired = DesiredStates::new(&data, on_disk.least, on_disk.trouble);
        if let Some(state) = &on_disk.desired {
            desired.remember(state);
        }
        let time = folder.time().clone();
        let (observe, observed) = mpsc::channel(OBSERVATIONS);
        let (tell, results) = mpsc::channel::<TaskResult>(OBSERVATIONS);
        let (api, api_seen) = watch::channel(None);
        let (credentials, credentials_seen) = watch::channel(None);
        let (link_tell, links) = mpsc::channel(16);
        let neighbours = Neighbours::new(&data, config.neighbours, api_seen.clone());
        let sources = (api_seen, neighbours.clone());
        let (artifacts, there) =
            Artifacts::open(&data, observe.clone(), sources, (config.downloads, seed))
                .map_err(failed)?;
        let access = Arc::new(Access::new(&data, config.bus_port));
        let device = identity.as_ref().and_then(Identity::device).map(|device| device.to_string());
        let (device, fetched) = (device.unwrap_or_default(), artifacts.folder().to_owned());
        let common = Common::take(
            &data,
            device,
            fetched,
            Arc::clone(&access),
            config.secrets_folder.clone(),
            seed,
        );
        let common = Arc::new(common.map_err(failed)?);
        let workloads = common.workloads.clone();
        let opener: Arc<dyn Opener> = common.secrets.clone();
        let processes = Processes::new(Context::take(Arc::clone(&common), &data), observe.clone());
        let (engine, settings, limits) = containers(&config.containers);
        let containers =
            Containers::new(Arc::clone(&common), engine.clone(), settings, observe.clone());
        let all: Vec<Box<dyn Runtime>> = vec![Box::new(processes), Box::new(containers)];
        let runtimes = Runtimes::new(all, workloads, observe.clone());
        let (want, wanted_files) = mpsc::channel(OBSERVATIONS);
        let (images, mut there_too) =
            Images::open(&data, artifacts.folder(), engine.clone(), limits, observe.clone(), want);
        let volumes = Volumes::new(&common.agent, engine.clone(), &data, api.subscribe());
        tasks::spawn(pass_on(wanted_files, tell.clone()));
        there_too.extend(there);

        let buffer = Buffer::new(&data, config.storage, time.clone());
        let intake = Arc::new(Buffered::new(buffer.clone(), time.clone()));
        let sources =
            Sources::new(&data, buffer.clone(), intake.clone(), runtimes.clone(), tell.clone());
        let inlets = Inlets::new(access, intake);
        let unseen = |source: io::Error| StartError::Folder { path: "/proc".into(), source };
        let known = saved.iter().filter_map(|(name, saved)| saved.known(name));
        let found = runtimes.census(&known.collect::<Vec<_>>()).map_err(unseen)?;
        let folders = folders(runtimes.workloads());
        let start = Start {
            desired: on_disk.desired,
            former: on_disk.former,
            saved,
            found,
            folders,
            artifacts: there_too,
            entropy: seed,
            opener: Some(opener),
            zone: clock::zone(config.zone.as_deref()),
        };
        let policies = start.desired.as_ref().and_then(|state| state.data.clone());
        tasks::spawn(link::run(credentials_seen, link_tell, seed ^ 1));
        let shipping =
            Shipping::new(&data, (buffer, config.storage), time.clone(), tell.clone(), seed ^ 3);
        let around = Around {
            data: data.clone(),
            time: time.clone(),
            meter: shipping.meter(),
            keep_alive: config.keep_alive,
            tell: tell.clone(),
            neighbours: neighbours.clone(),
        };
        // The low bits of the seed begin other things.
        let first = u16::try_from(seed >> 48).unwrap_or_default();
        let soon = uptime_ms() + FIRST_CHECK;
        let agent = Agent::new(start, uptime_ms());
        let (for_identity, for_reports) = (Entropy::new(seed ^ 2), Entropy::new(seed ^ 4));
        let (bytes, for_logs) = (config.log_bytes, Entropy::new(seed ^ 5));
        let mut driver = Driver {
            inputs: Inputs { observed, links, results, check_at: soon },
            folder,
            logs: Logs::new(&data, runtimes.clone(), time, bytes, soon, for_logs),
            workloads: Workloads::new(
                agent,
                runtimes,
                artifacts,
                (images, volumes, engine),
                tell.clone(),
            ),
            desired,
            identity: DeviceIdentity::new(around, credentials, api, for_identity, unreadable),
            link: Link::new(),
            reports: Reports::new(&data, first, for_reports, (tell, neighbours)),
            shipping,
            inlets,
            sources,
            host: Host::new(&data),
        };
        driver.host.listen();
        driver.workloads.admit(&mut driver.inlets);
        driver.follow_policies(policies.as_deref());
        driver.workloads.renew_limits();
        if let Some(identity) = identity {
            driver.use_identity(identity);
        }
        Ok(driver)
    }
}

/// Engine of this device, what containers may see of it, and what is kept of images.
fn containers(config: &config::Containers) -> (Engine, Settings, Limits) {
    let place = match &config.socket {
        _ if config.off => Place::Off,
        Some(socket) => Place::Socket(socket.clone()),
        None => Place::Usual,
    };
    let settings = Settings { host_paths: config.host_paths.clone() };
    let limits = Limits { quota: config.image_bytes, keep_files: config.keep_files };
    (Engine::begin(place), settings, limits)
}

/// Passes on to the loop which files images want.
async fn pass_on(mut wanted: mpsc::Receiver<Vec<Artifact>>, tell: mpsc::Sender<TaskResult>) {
    while let Some(files) = wanted.recv().await {
        let _agent_ends = tell.send(TaskResult::ImageFiles(files)).await;
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
