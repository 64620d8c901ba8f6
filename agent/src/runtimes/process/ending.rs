//! Ends of processes: noticed by pidfd, or by looking every second where no descriptor is left; and
//! how processes are killed and reaped.
//!
//! See decision 0037.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus};
use tokio::signal::unix::SignalKind;

use super::kernel;
use crate::core::process::ProcessId;
use crate::core::saved::Exit;
use crate::runtimes::common::pidfd::{pidfd, raw, watched};
use crate::runtimes::common::procfs;

/// Interval at which a process without a pidfd is looked at, and after which a step that failed for
/// want of descriptors is tried again.
pub(super) const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// First interval at which a child without a pidfd is looked at.
const FIRST_POLL: Duration = Duration::from_millis(10);
/// Processes whose ends a task waits for; the orphan reaper leaves these alone.
#[derive(Debug, Clone, Default)]
pub struct Awaited(Arc<Mutex<BTreeSet<u32>>>);

impl Awaited {
    pub(super) fn add(&self, pid: u32) {
        let _poisoned = self.0.lock().map(|mut pids| pids.insert(pid));
    }

    pub(super) fn remove(&self, pid: u32) {
        let _poisoned = self.0.lock().map(|mut pids| pids.remove(&pid));
    }

    fn has(&self, pid: u32) -> bool {
        self.0.lock().is_ok_and(|pids| pids.contains(&pid))
    }

    /// Reaps children that no task waits for: as the first process of a container, or as a
    /// subreaper, the agent inherits every orphan.
    pub async fn reap_orphans(self) {
        let Ok(mut ends) = tokio::signal::unix::signal(SignalKind::child()) else { return };
        loop {
            while let Some(pid) = kernel::ended_child() {
                if self.has(pid) {
                    // The task that waits for it reaps it in a moment, which uncovers those behind
                    // it.
                    tokio::time::sleep(FIRST_POLL).await;
                } else if let Some(orphan) = raw(pid) {
                    let _reaped = reap(WaitId::Pid(orphan));
                }
            }
            ends.recv().await;
        }
    }
}

/// Waits for the end of a child of this agent, and reaps it.
pub(super) async fn child_exit(pid: u32, awaited: &Awaited) -> Exit {
    let exit = child_end(pid).await;
    awaited.remove(pid);
    exit
}

async fn child_end(pid: u32) -> Exit {
    if let Ok(fd) = watched(pid)
        && fd.readable().await.is_ok()
        && let Ok(Some(status)) = reap(WaitId::PidFd(fd.get_ref().as_fd()))
    {
        return exit(&status);
    }
    let Some(child) = raw(pid) else { return Exit::Unseen };
    // Often at first, so that a quick probe does not look slow.
    let mut pause = FIRST_POLL;
    loop {
        match reap(WaitId::Pid(child)) {
            Ok(Some(status)) => return exit(&status),
            Ok(None) => tokio::time::sleep(pause).await,
            // Not a child of this agent, or already reaped.
            Err(_) => return Exit::Unseen,
        }
        pause = POLL_INTERVAL.min(pause * 2);
    }
}

/// Waits for the end of a process that a former agent started.
pub(super) async fn adopted_exit(process: &ProcessId, boot: &str) -> Exit {
    if let Ok(fd) = watched(process.pid) {
        // Checked while the pidfd is held: from here on the id cannot pass to another process.
        let lives = procfs::lives(process, boot);
        if matches!(lives, Ok(false)) {
            return Exit::Unseen;
        }
        if matches!(lives, Ok(true)) && fd.readable().await.is_ok() {
            // The agent may inherit orphans, and then it can reap this one.
            let status = reap(WaitId::PidFd(fd.get_ref().as_fd()));
            return status.ok().flatten().map_or(Exit::Unseen, |status| exit(&status));
        }
    }
    while !matches!(procfs::lives(process, boot), Ok(false)) {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Exit::Unseen
}

/// Kills a child that was not reaped yet, whose id is therefore still its own, and its process
/// group: a probe may have children.
pub(super) fn kill_child(pid: u32) {
    if let Some(child) = raw(pid) {
        let _none_yet = rustix::process::kill_process_group(child, Signal::KILL);
        let _gone = rustix::process::kill_process(child, Signal::KILL);
    }
}

/// Kills the process with this id and start time. It uses a pidfd, so that another process that has
/// the id by now is not hit.
pub(super) fn kill_exactly(pid: u32, start: u64) {
    match pidfd(pid) {
        Ok(fd) => {
            if procfs::stat(pid).is_ok_and(|stat| stat.is_some_and(|stat| stat.start == start)) {
                let _gone = rustix::process::pidfd_send_signal(fd, Signal::KILL);
            }
        }
        Err(Errno::SRCH) => {}
        // No descriptor is left. The process was there a moment ago.
        Err(_) => {
            if let Some(pid) = raw(pid) {
                let _gone = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// Signals the group of this process, and continues processes of it that are stopped. A
/// group that is gone is fine.
///
/// # Errors
/// When the process could not be examined.
pub(super) fn signal(process: &ProcessId, boot: &str, signal: u8) -> io::Result<()> {
    let signal = Signal::from_named_raw(i32::from(signal));
    if procfs::lives(process, boot)?
        && let (Some(pid), Some(signal)) = (raw(process.pid), signal)
    {
        let _gone = rustix::process::kill_process_group(pid, signal);
        // A stopped process (SIGSTOP, a debugger) sees no other signal before it goes on.
        let _gone = rustix::process::kill_process_group(pid, Signal::CONT);
    }
    Ok(())
}

/// Signals this process alone. One that is gone is fine: its end is told by who waits for it.
///
/// # Errors
/// When the process could not be examined or signalled.
pub(super) fn signal_main(process: &ProcessId, boot: &str, signal: u8) -> io::Result<()> {
    let signal = Signal::from_named_raw(i32::from(signal));
    if procfs::lives(process, boot)?
        && let (Some(pid), Some(signal)) = (raw(process.pid), signal)
    {
        match rustix::process::kill_process(pid, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn reap(id: WaitId<'_>) -> rustix::io::Result<Option<WaitIdStatus>> {
    rustix::process::waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
}

pub(super) fn exit(status: &WaitIdStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Unseen,
    }
}
