//! Descriptors of processes, which tell their ends without a look.
//!
//! See decision 0037.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Resource, getrlimit};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Descriptors that pidfds leave to everything else: link, store, downloads, starts, probes and
/// readers of the status. Without them the agent would notice ends but could not act.
const RESERVE: u64 = 32;

/// Process id as the system calls take it.
pub(crate) fn raw(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Opens a pidfd.
///
/// # Errors
/// The error of the system; `SRCH`: there is no such process.
pub(crate) fn pidfd(pid: u32) -> Result<OwnedFd, Errno> {
    rustix::process::pidfd_open(raw(pid).ok_or(Errno::SRCH)?, PidfdFlags::NONBLOCK)
}

/// Opens a pidfd that becomes readable at the end, if enough descriptors are left.
///
/// # Errors
/// The error of the system.
pub(crate) fn watched(pid: u32) -> io::Result<AsyncFd<OwnedFd>> {
    let fd = pidfd(pid)?;
    // The kernel gives the lowest free number, so a high one means that few are left.
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
