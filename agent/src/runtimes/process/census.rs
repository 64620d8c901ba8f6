//! Census of all processes: sees those that belong to this agent's workloads, by their user and the
//! marker in their environment. Whose they are is decided in `core/process/ownership.rs`.
//!
//! Reading a process's memory (its environment, its arguments) may block for ever, since the
//! process may have mapped a file system of its own there. So the census runs on a separate thread.
//! A thread that gets stuck is left behind, and that process is treated as if it showed nothing.
//!
//! See decisions 0008, 0036, 0037 and 0079.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::procfs::{self, Process};
use super::{Context, launcher, users};
use crate::adapters::files;
use crate::core::process::ownership::{Marker, Owners, Processes, Seen};
use crate::runtimes::STACK;

/// Environment variable that marks a workload's processes.
pub const MARKER: &str = "HOLDFAST_INSTANCE";

/// Folder in which agents that run as root keep the path of their data folder, each under its id.
/// Only root can write there, so it can be trusted when a process claims to be another agent's.
const REGISTER: &str = "/run/holdfast-agents";
/// Most entries of the register that are examined for agents whose data folder is gone, which are
/// removed.
const MAX_FORGOTTEN: usize = 256;
/// Interval at which the census thread is checked. A process whose memory is read at two checks in
/// a row, that is for 1 to 2 s, is stuck.
const STUCK: Duration = Duration::from_secs(1);
/// Most threads left behind in stuck processes. Beyond that, only processes of the agent's own user
/// are read.
const MAX_STUCK: usize = 8;

/// Processes that could not be read in time, by id and start time.
pub type Stuck = BTreeSet<(u32, u64)>;

/// Registers this agent's data folder for other agents on this machine. Without it (the agent is
/// not root, or there is no `/run`) another agent may take this one's processes for its own, where
/// both gave a workload the same user.
///
/// # Errors
/// The file system's error.
pub fn register(agent: &str, data: &Path) -> io::Result<()> {
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
fn registered(register: &Path, id: &str) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt as _;
    if id.len() != 16 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let path = files::read(&register.join(id), 4_096).ok()?;
    Some(PathBuf::from(std::ffi::OsString::from_vec(path)))
}

/// Owner of the folder that another agent on this machine has for the workload of its marker, by the
/// register: see [`Owners::attribute`].
fn theirs(register: &Path, marker: &Marker) -> Option<u32> {
    let workloads = registered(register, &marker.agent)?.join("workloads");
    users::owner(&workloads, &marker.workload)
}

/// Takes a census. Blocks for a few seconds where a process cannot be read, so it must not be
/// called on the agent's event loop.
///
/// # Errors
/// When a process could not be examined: half a census would take live processes for dead.
pub fn take(context: &Arc<Context>) -> io::Result<Processes> {
    let stuck = || context.stuck.lock().unwrap_or_else(PoisonError::into_inner);
    // Each round looks at everything on a fresh thread. A thread that gets stuck cannot be
    // ended; it is left behind, its process goes on the list of those to avoid, and the next
    // round reads past it. At most `MAX_STUCK` rounds fail that way for processes of other
    // users.
    loop {
        let (avoid, reads) = (stuck().clone(), Arc::new(AtomicU32::new(0)));
        let (tell, outcome) = channel();
        let (theirs, at) = (Arc::clone(context), Arc::clone(&reads));
        std::thread::Builder::new().stack_size(STACK).spawn(move || {
            let _left_behind = tell.send(scan(&theirs, &avoid, &at));
        })?;
        let mut before = 0;
        let pid = loop {
            match outcome.recv_timeout(STUCK) {
                Ok(Ok(census)) => {
                    let lives = |it: &Seen, (pid, start)| (it.pid, it.start) == (pid, start);
                    // A process that has ended lets its thread go, and its id may be somebody
                    // else's.
                    stuck().retain(|&known| census.seen.iter().any(|it| lives(it, known)));
                    return Ok(census);
                }
                Ok(Err(error)) => return Err(error),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(io::Error::other("the look at the processes ended early"));
                }
                // The same process at two checks in a row: read for at least 1 s. A census that
                // is merely slow moves on between checks.
                Err(RecvTimeoutError::Timeout) => match reads.load(Ordering::Relaxed) {
                    pid if pid != 0 && pid == before => break pid,
                    now => before = now,
                },
            }
        };
        tracing::warn!(pid, "a process keeps its memory from being read: it is left out");
        stuck().extend(procfs::stat(pid)?.map(|stat| (pid, stat.start)));
    }
}

/// Looks at every process but those to avoid. `reads` holds the id of the process whose memory
/// is being read, and 0 in between.
fn scan(context: &Context, avoid: &Stuck, reads: &AtomicU32) -> io::Result<Processes> {
    let of = users::owners(&context.workloads)?;
    let owners = Owners {
        agent: context.agent.clone(),
        agent_user: rustix::process::geteuid().as_raw(),
        own: of.values().copied().filter(|&user| users::is_own(user)).collect(),
        of,
    };
    let launcher = launcher::command_line(&context.launcher);
    let me = std::process::id();
    let mut seen = Vec::new();
    for pid in procfs::pids()?.into_iter().filter(|&pid| pid != me) {
        let Some(process) = Process::open(pid)? else { continue };
        let Some(stat) = process.stat()?.filter(|stat| !stat.kernel) else { continue };
        let mut it = Seen {
            pid,
            start: stat.start,
            session: stat.session,
            zombie: stat.zombie,
            marker: None,
            at_gate: false,
        };
        if !stat.zombie
            && let Some(user) = process.user()
        {
            let trusted = user == owners.agent_user;
            let readable =
                !avoid.contains(&(pid, stat.start)) && (trusted || avoid.len() < MAX_STUCK);
            reads.store(pid, Ordering::Relaxed);
            let marker = if readable { process.variable(MARKER)? } else { None };
            let marker = marker.as_deref().and_then(Marker::parse);
            let foreign = marker.as_ref().filter(|it| owners.is_foreign(it));
            let theirs = foreign.and_then(|it| theirs(Path::new(REGISTER), it));
            it.marker = owners.attribute(user, marker, theirs);
            it.at_gate = trusted
                && readable
                && it.marker.is_some()
                && process.read("cmdline")?.is_some_and(|line| line == launcher);
            reads.store(0, Ordering::Relaxed);
        }
        seen.push(it);
    }
    Ok(Processes { boot: context.boot.clone(), seen })
}
