//! Paths, identity and services that the process runtime works with, and how they are had at the
//! start of the agent.
//!
//! See decision 0079.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_base::ids::{Digest, Name, hex};

use super::cgroup::{Cgroups, NoCgroups};
use super::ending::Awaited;
use super::secrets::{self, Keeper};
use super::{launcher as launching, register};
use crate::adapters::access::Access;
use crate::adapters::clock::boot_id;
use crate::adapters::{files, sealing};

/// Processes that a census could not read in time, by id and start time.
pub type Stuck = BTreeSet<(u32, u64)>;

/// Paths, identity and services that the process runtime works with.
#[derive(Debug)]
pub struct Context {
    /// Id of this agent, which marks its processes among those of other agents.
    pub agent: String,
    /// Name of the device, as workloads are told.
    pub device: String,
    /// Id of the current boot.
    pub boot: String,
    /// Folder that holds one folder for each workload.
    pub workloads: PathBuf,
    /// Folder of the artifacts.
    pub artifacts: PathBuf,
    /// Program and first arguments that start the launcher.
    pub launcher: Vec<OsString>,
    /// Control groups for resource limits, or the reason why there are none.
    pub cgroups: Result<Cgroups, NoCgroups>,
    /// Soft limit of open files that the agent was started with; workloads get it back.
    pub open_files: Option<u64>,
    /// Key of this device, and the folder in memory for what it opens.
    pub secrets: Arc<Keeper>,
    /// Sockets and credentials by which workloads publish data.
    pub access: Arc<Access>,
    /// Processes whose ends are waited for elsewhere, which the reaper leaves alone.
    pub awaited: Awaited,
    /// Processes that a census could not read in time.
    pub stuck: std::sync::Mutex<Stuck>,
}

impl Context {
    /// Takes hold of everything that the runtime needs in the data folder and of the system. `seed`:
    /// random number for an agent that has no id yet. `secrets`: folder in memory for files of
    /// secrets; None: a usual one.
    ///
    /// # Errors
    /// When there is no folder for the workloads.
    pub fn take(
        data: &Path,
        device: String,
        artifacts: PathBuf,
        access: Arc<Access>,
        secrets: Option<PathBuf>,
        seed: u64,
    ) -> io::Result<Self> {
        let workloads = data.join("workloads");
        files::folder(&workloads, 0o711)?;
        let agent = agent_id(data, seed);
        if let Err(error) = register::enter(&agent, data) {
            tracing::warn!(%error, "other agents on this machine cannot be told of this one");
        }
        let places = secrets.map_or_else(secrets::usual_places, |folder| vec![folder]);
        let secrets = Keeper::new(sealing::key(data), &places, &agent);
        Ok(Self {
            agent,
            device,
            boot: boot_id(),
            workloads,
            artifacts,
            launcher: launcher(),
            cgroups: Cgroups::take(),
            open_files: launching::raise_open_files(),
            secrets: Arc::new(secrets),
            access,
            awaited: Awaited::default(),
            stuck: std::sync::Mutex::default(),
        })
    }

    /// Path of an artifact by its digest.
    pub fn artifact(&self, digest: &Digest) -> PathBuf {
        self.artifacts.join(digest.hex())
    }

    /// Folder of a workload.
    pub fn folder(&self, name: &Name) -> PathBuf {
        self.workloads.join(name.as_str())
    }

    /// Path of a workload's log.
    pub fn log(&self, name: &Name) -> PathBuf {
        self.folder(name).join(crate::runtimes::LOG)
    }
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
