//! Processes as `/proc` shows them: found by their folder, never by their name, and ended by id.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// Every process whose environment, working folder or program lies in `folder`: an agent's
/// workloads and launchers, whoever is their parent now.
pub fn of_folder(folder: &Path) -> Vec<u32> {
    let mine = std::process::id();
    let needle = folder.as_os_str().as_bytes();
    let within = |text: &[u8]| {
        (0..text.len()).any(|at| {
            // `/x/d1` is not in `/x/d10`.
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

/// Every live process (not a zombie) with exactly this argument.
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

/// True while the process exists and is not a zombie.
pub fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().chars().next());
        !matches!(state, Some(Some('Z' | 'X')))
    })
}

/// SIGKILL. A process that is gone already is fine.
pub fn kill(pid: u32) {
    send(pid, Signal::KILL);
}

/// SIGTERM.
pub fn terminate(pid: u32) {
    send(pid, Signal::TERM);
}

/// Sends a signal; a process that is gone already is fine.
pub fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _gone = kill_process(pid, signal);
    }
}

/// Kills everything of a folder, again and again until nothing is left: what is just being
/// started is seen in the next round.
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

/// User ids of a process: real, effective, saved, file system.
pub fn uids(pid: u32) -> Vec<u32> {
    status_line(pid, "Uid:").split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

/// The rest of a line of `/proc/PID/status`.
pub fn status_line(pid: u32, key: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .map_or_else(String::new, |rest| rest.trim().to_owned())
}

/// Every process id of now.
pub fn all() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc is mounted");
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
