//! Register of the agents that run as root on this machine: which data folder each has.
//!
//! See decisions 0036 and 0079.

use std::io;
use std::path::{Path, PathBuf};

use crate::adapters::files;

/// Folder in which agents that run as root keep the path of their data folder, each under its id.
/// Only root can write there, so it can be trusted when a process claims to be another agent's.
pub(super) const REGISTER: &str = "/run/holdfast-agents";
/// Most entries of the register that are examined for agents whose data folder is gone, which are
/// removed.
const MAX_FORGOTTEN: usize = 256;

/// Registers this agent's data folder for other agents on this machine. Without it (the agent is
/// not root, or there is no `/run`) another agent may take this one's processes for its own, where
/// both gave a workload the same user.
///
/// # Errors
/// The file system's error.
pub(super) fn enter(agent: &str, data: &Path) -> io::Result<()> {
    let register = Path::new(REGISTER);
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    files::folder(register, 0o700)?;
    for entry in std::fs::read_dir(register)?.flatten().take(MAX_FORGOTTEN) {
        let folder = entry.file_name().to_str().and_then(|id| registered(register, id));
        if folder.is_none_or(|folder| !folder.join("agent-id").exists()) {
            let _gone = std::fs::remove_file(entry.path());
        }
    }
    files::replace(&register.join(agent), data.as_os_str().as_encoded_bytes(), 0o600)
}

/// Data folder of the agent with this id.
pub(super) fn registered(register: &Path, id: &str) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt as _;
    if id.len() != 16 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let path = files::read(&register.join(id), 4_096).ok()?;
    Some(PathBuf::from(std::ffi::OsString::from_vec(path)))
}
