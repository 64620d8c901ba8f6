//! Processes in `/proc`: found by their folder, never by their name, and ended by id.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// Returns every process whose environment, working folder or program lies in `folder`: an agent's
/// workloads and launchers, whatever their parent is now.
pub fn of_folder(folder: &Path) -> Vec<u32> {
    let mine = std::process::id();
    let needle = folder.as_os_str().as_bytes();
    let within = |text: &[u8]| {
        (0..text.len()).any(|at| {
            // The folder `/x/d1` must not match `/x/d10`.
            let rest = text.get(at..).and_then(|rest| rest.strip_prefix(needle));
            rest.is_some_and(|rest| rest.first().is_none_or(|next| !next.is_ascii_alphanumeric()))
        })
    };
    all()
        .into_iter()
        .filter(|&pid| pid != mine)
        .filter(|pid| {
            let proc = Path::new("/proc").join(pid.to_string());
            let environment = std::fs::read(proc.join("environ")).unwrap_or_default();
            let marked = environment
                .split(|&byte| byte == 0)
                .any(|entry| entry.starts_with(b"HOLDFAST_") && within(entry));
            marked
                || std::fs::read_link(proc.join("cwd"))
                    .is_ok_and(|cwd| within(cwd.as_os_str().as_bytes()))
                || std::fs::read_link(proc.join("exe"))
                    .is_ok_and(|exe| within(exe.as_os_str().as_bytes()))
        })
        .collect()
}

/// Returns every live process (not a zombie) with exactly this argument.
pub fn with_argument(argument: &str) -> Vec<u32> {
    all()
        .into_iter()
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
                line.split(|&byte| byte == 0).any(|part| part == argument.as_bytes())
            })
        })
        .collect()
}

/// Returns true while the process exists and is not a zombie.
pub fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().chars().next());
        !matches!(state, Some(Some('Z' | 'X')))
    })
}

/// Sends SIGKILL; no error if the process is already gone.
pub fn kill(pid: u32) {
    send(pid, Signal::KILL);
}

/// Sends SIGTERM; no error if the process is already gone.
pub fn terminate(pid: u32) {
    send(pid, Signal::TERM);
}

/// Sends a signal; no error if the process is already gone.
pub fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _gone = kill_process(pid, signal);
    }
}

/// Kills all processes of a folder, in rounds until nothing is left: a process that is just being
/// started is found in the next round.
pub fn kill_folder(folder: &Path) {
    for _ in 0..100 {
        let left: Vec<u32> = of_folder(folder).into_iter().filter(|&pid| alive(pid)).collect();
        if left.is_empty() {
            return;
        }
        left.into_iter().for_each(kill);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Returns the user ids of a process: real, effective, saved, file system.
pub fn uids(pid: u32) -> Vec<u32> {
    status_line(pid, "Uid:").split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

/// Returns the rest of the line of `/proc/PID/status` that begins with `key`.
pub fn status_line(pid: u32, key: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .map_or_else(String::new, |rest| rest.trim().to_owned())
}

/// Returns the ids of all processes.
pub fn all() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc is mounted");
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
