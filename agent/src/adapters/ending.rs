//! The end of processes: seen by pidfd, or by looking each second where no descriptor can be had
//! for it; and how they are killed and reaped.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Resource, Signal, WaitId, WaitIdOptions, WaitIdStatus, getrlimit,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::SignalKind;

use super::{kernel, procfs};
use crate::core::saved::{Exit, Instance};

/// How often a process without a pidfd is looked at, and how soon what could not be done for want
/// of descriptors is tried again.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How soon a child without a pidfd is looked at first.
const FIRST_LOOK: Duration = Duration::from_millis(10);
/// Descriptors that pidfds leave to everything else: link, store, downloads, starts, probes and
/// whoever asks for the status. Without them the agent would see ends and could do nothing.
const RESERVE: u64 = 32;

/// Processes whose ends somebody waits for: nobody else reaps these.
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

    /// Reaps children that nobody waits for: as the first process of a container (or a subreaper)
    /// the agent is given every orphan.
    pub async fn reap_orphans(self) {
        let Ok(mut ends) = tokio::signal::unix::signal(SignalKind::child()) else { return };
        loop {
            while let Some(pid) = kernel::ended_child() {
                if self.has(pid) {
                    // Whoever waits for it reaps it in a moment, and uncovers those behind it.
                    tokio::time::sleep(FIRST_LOOK).await;
                } else if let Some(orphan) = raw(pid) {
                    let _reaped = reap(WaitId::Pid(orphan));
                }
            }
            ends.recv().await;
        }
    }
}

/// The end of a child of this agent, which is reaped.
pub(super) async fn of_child(pid: u32, awaited: &Awaited) -> Exit {
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
    // Soon at first: what is quick (a probe) must not look slow.
    let mut pause = FIRST_LOOK;
    loop {
        match reap(WaitId::Pid(child)) {
            Ok(Some(status)) => return exit(&status),
            Ok(None) => tokio::time::sleep(pause).await,
            // Not our child, or reaped.
            Err(_) => return Exit::Unseen,
        }
        pause = LOOK_EVERY.min(pause * 2);
    }
}

/// The end of a process that an agent before this one started.
pub(super) async fn of_adopted(instance: &Instance, boot: &str) -> Exit {
    if let Ok(fd) = watched(instance.pid) {
        // Looked at after the pidfd is held: from here on the id cannot change hands.
        let lives = procfs::lives(instance, boot);
        if matches!(lives, Ok(false)) {
            return Exit::Unseen;
        }
        if matches!(lives, Ok(true)) && fd.readable().await.is_ok() {
            // The agent may be whom orphans are given to.
            let status = reap(WaitId::PidFd(fd.get_ref().as_fd()));
            return status.ok().flatten().map_or(Exit::Unseen, |status| exit(&status));
        }
    }
    while !matches!(procfs::lives(instance, boot), Ok(false)) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Exit::Unseen
}

/// Kills a child that was not reaped yet, so that its id is still its own, and its group: a probe
/// may have children.
pub(super) fn kill_child(pid: u32) {
    if let Some(child) = raw(pid) {
        let _none_yet = rustix::process::kill_process_group(child, Signal::KILL);
        let _gone = rustix::process::kill_process(child, Signal::KILL);
    }
}

/// Kills the process that was seen with this start, by pidfd, so that another which has its id by
/// now is not mistaken for it.
pub(super) fn kill_exactly(pid: u32, start: u64) {
    match pidfd(pid) {
        Ok(fd) => {
            if procfs::stat(pid).is_ok_and(|stat| stat.is_some_and(|stat| stat.start == start)) {
                let _gone = rustix::process::pidfd_send_signal(fd, Signal::KILL);
            }
        }
        Err(Errno::SRCH) => {}
        // No descriptor to be had. It was seen a moment ago.
        Err(_) => {
            if let Some(pid) = raw(pid) {
                let _gone = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// Signals the process group of this very process, and wakes what is frozen of it. One that is
/// gone is fine.
///
/// # Errors
/// When it could not be looked at.
pub(super) fn signal(instance: &Instance, boot: &str, signal: u8) -> io::Result<()> {
    let signal = Signal::from_named_raw(i32::from(signal));
    if procfs::lives(instance, boot)?
        && let (Some(pid), Some(signal)) = (raw(instance.pid), signal)
    {
        let _gone = rustix::process::kill_process_group(pid, signal);
        // One that is frozen (SIGSTOP, a debugger) sees no other signal before it goes on.
        let _gone = rustix::process::kill_process_group(pid, Signal::CONT);
    }
    Ok(())
}

pub(super) fn raw(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

fn pidfd(pid: u32) -> Result<OwnedFd, Errno> {
    rustix::process::pidfd_open(raw(pid).ok_or(Errno::SRCH)?, PidfdFlags::NONBLOCK)
}

/// A pidfd that becomes readable at the end, if there are descriptors enough for one more.
fn watched(pid: u32) -> io::Result<AsyncFd<OwnedFd>> {
    let fd = pidfd(pid)?;
    // The lowest free number is given: a high one tells that few are left.
    let taken = u64::try_from(fd.as_raw_fd()).unwrap_or(u64::MAX);
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if taken.saturating_add(RESERVE) > limit {
        return Err(Errno::MFILE.into());
    }
    #[allow(
        deprecated,
        reason = "sound for an OwnedFd, which cannot be closed behind its back; what replaces it is unsafe to call"
    )]
    let registered = AsyncFd::with_interest(fd, Interest::READABLE);
    registered
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
