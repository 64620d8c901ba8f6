//! What all runtimes of this device share: the identity of the agent, the folders of workloads, the
//! secrets that are laid into them, the users that own them, and processes as `/proc` shows them.
//!
//! See decisions 0079, 0149 and 0175.

pub mod folder;
pub(crate) mod pidfd;
pub mod procfs;
pub mod secrets;
mod tree;
pub mod users;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_base::ids::{Name, hex};

use crate::adapters::access::Access;
use crate::adapters::clock::boot_id;
use crate::adapters::{files, sealing};
use secrets::Keeper;

/// Identity, paths and services that every runtime works with.
#[derive(Debug)]
pub struct Common {
    /// Id of this agent, which marks what is its own among that of other agents.
    pub agent: String,
    /// Name of the device, as workloads are told.
    pub device: String,
    /// Id of the current boot.
    pub boot: String,
    /// Folder that holds one folder for each workload.
    pub workloads: PathBuf,
    /// Folder of the artifacts.
    pub artifacts: PathBuf,
    /// Key of this device, and the folder in memory for what it opens.
    pub secrets: Arc<Keeper>,
    /// Sockets and credentials by which workloads publish data.
    pub access: Arc<Access>,
}

impl Common {
    /// Takes hold of what the runtimes share in the data folder. `seed`: random number for an agent
    /// that has no id yet. `secrets`: folder in memory for files of secrets; None: a usual one.
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
        let places = secrets.map_or_else(secrets::usual_places, |folder| vec![folder]);
        let secrets = Arc::new(Keeper::new(sealing::key(data), &places, &agent));
        Ok(Self { agent, device, boot: boot_id(), workloads, artifacts, secrets, access })
    }

    /// Folder of a workload.
    pub fn folder(&self, name: &Name) -> PathBuf {
        self.workloads.join(name.as_str())
    }

    /// Path of a workload's log.
    pub fn log(&self, name: &Name) -> PathBuf {
        self.folder(name).join(super::LOG)
    }
}

/// Id that marks what is of this data folder's agent. Made once; if it cannot be stored, it is valid
/// until the agent ends.
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
