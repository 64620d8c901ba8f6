//! The few system calls that no safe library offers: executing a file without a shell, forking the
//! launcher, and dropping what this process inherited. It decides nothing, and no other file of the
//! workspace holds unsafe code.
//!
//! See decisions 0002, 0070 and 0071.
#![allow(
    unsafe_code,
    reason = "execve, fork, signal, sigprocmask, close_range and waitid for any child have no safe form in rustix"
)]

use std::ffi::{CStr, CString};
use std::io;
use std::ptr;

/// First descriptor after standard input, output and error.
const FIRST: libc::c_int = 3;
/// Highest number of a signal.
const LAST_SIGNAL: libc::c_int = 64;
/// Size of the kernel's set of signals in bytes, a bit for each.
const SIGNAL_SET: usize = 8;

/// Makes the agent independent of the process that started it: closes descriptors after the
/// standard three, unblocks all signals, and waits for children that end.
///
/// May only be called before anything was opened.
pub fn reset_inherited() {
    for_each_inherited(0, |fd| {
        // SAFETY: nothing was opened yet, so nobody in this program owns the descriptor.
        unsafe { libc::close(fd) };
    });
    unblock_signals();
    // If SIGCHLD were ignored, the kernel would reap children before their exit status was read.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Prepares for executing a program that inherits standard input, output and error, and no ignored
/// or blocked signal.
pub(super) fn prepare_exec() {
    for_each_inherited(libc::CLOSE_RANGE_CLOEXEC, |fd| {
        // SAFETY: a flag of the descriptor is set; one that is not open is an error and no more.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    });
    // The kernel's own form of "default, no flags" is all zeros, on every processor. The C library
    // would leave out two signals that it keeps for itself, and that can be ignored all the same.
    let default = [0_u64; 8];
    for signal in 1..=LAST_SIGNAL {
        // SAFETY: the kernel reads its structure, which is smaller, and writes nothing; no handler
        // is set that could run. Signals that cannot be set (SIGKILL) are refused.
        unsafe {
            let none = ptr::null_mut::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, SIGNAL_SET);
        }
    }
    unblock_signals();
}

fn unblock_signals() {
    // SAFETY: an all-zero set is a valid value, and `sigemptyset` makes it what it should be.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// Applies `flags` of `close_range` to every descriptor after the standard ones. On a kernel
/// without it (before 5.9, or 5.11 for the flag), calls `each` for those that are open.
fn for_each_inherited(flags: libc::c_uint, each: impl Fn(libc::c_int)) {
    // SAFETY: three numbers; whose the descriptors are is with the callers.
    let done = unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, flags) };
    if done == 0 {
        return;
    }
    let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let open: Vec<libc::c_int> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    open.into_iter().filter(|&fd| fd >= FIRST).for_each(each);
}

/// Replaces this process by exactly this file; returns only if that failed.
pub(super) fn execute(program: &CStr, args: &[CString], env: &[CString]) -> io::Error {
    let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
    };
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: both lists end with a null pointer, and all texts outlive the call.
    unsafe { libc::execve(program.as_ptr(), args.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Forks this process; returns `None` in the child, and its id in the parent. Only for a process
/// with a single thread: the launcher.
///
/// # Errors
/// The system's error.
pub(super) fn fork() -> io::Result<Option<u32>> {
    // SAFETY: with a single thread no lock can be held by somebody who is not in the copy.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(u32::try_from(pid).ok().filter(|&pid| pid != 0)),
    }
}

/// Returns a child of this process that has ended, without reaping it.
pub(super) fn ended_child() -> Option<u32> {
    // SAFETY: an all-zero value is a valid one, which the call fills; without an ended child it
    // stays zero, and so does the id.
    let (failed, pid) = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        (libc::waitid(libc::P_ALL, 0, &raw mut info, options), info.si_pid())
    };
    u32::try_from(pid).ok().filter(|&pid| failed == 0 && pid != 0)
}
