//! Census of all processes: sees those that belong to this agent's workloads, by their user and the
//! marker in their environment. Whose they are is decided in `core/process/ownership.rs`.
//!
//! Reading a process's memory (its environment, its arguments) may block for ever, since the
//! process may have mapped a file system of its own there. So the census runs on a separate thread.
//! A thread that gets stuck is left behind, and that process is treated as if it showed nothing.
//!
//! See decisions 0008, 0036, 0037 and 0079.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::context::{Context, Stuck};
use super::launcher;
use super::register::{REGISTER, registered};
use crate::core::process::ownership::{Marker, Owners, Processes, Seen};
use crate::runtimes::STACK;
use crate::runtimes::common::procfs::{self, Process};
use crate::runtimes::common::users;

/// Environment variable that marks a workload's processes.
pub const MARKER: &str = "HOLDFAST_INSTANCE";

/// Interval at which the census thread is checked. A process whose memory is read at two checks in
/// a row, that is for 1 to 2 s, is stuck.
const STUCK: Duration = Duration::from_secs(1);
/// Most threads left behind in stuck processes. Beyond that, only processes of the agent's own user
/// are read.
const MAX_STUCK: usize = 8;

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
