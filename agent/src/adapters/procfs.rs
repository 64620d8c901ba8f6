//! Processes as the kernel shows them: which belong to this agent's workloads. Everything that a
//! workload starts inherits `HOLDFAST_INSTANCE=<agent>/<workload>/<revision>/<nonce>`; what
//! cleared its environment is found by its session.

use std::fs;

use holdfast_protocol::ids::Name;

use crate::core::record::{Found, Instance};

/// The environment variable that marks a workload's processes.
pub const MARKER: &str = "HOLDFAST_INSTANCE";

/// The marker's value.
pub fn marker(agent: &str, workload: &Name, revision: u64, nonce: u64) -> String {
    format!("{agent}/{workload}/{revision}/{nonce:016x}")
}

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Dead, waiting to be reaped.
    pub zombie: bool,
    /// Its session's id.
    pub session: u32,
    /// Its start in ticks since the boot.
    pub start: u64,
}

/// Reads `/proc/PID/stat`; None: no such process.
pub fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The command may hold spaces and parentheses: fields are counted from the last one.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let session = fields.nth(2)?.parse().ok()?;
    let start = fields.nth(15)?.parse().ok()?;
    Some(Stat { zombie: matches!(state, "Z" | "X"), session, start })
}

/// A process that carries this agent's marker.
struct Marked {
    workload: Name,
    revision: u64,
    nonce: u64,
}

fn marked(pid: u32, agent: &str) -> Option<Marked> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = environment
        .split(|&byte| byte == 0)
        .filter_map(|entry| std::str::from_utf8(entry).ok())
        .find_map(|entry| entry.strip_prefix(MARKER)?.strip_prefix('='))?;
    let mut parts = value.split('/');
    let (Some(owner), Some(workload), Some(revision), Some(nonce), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    if owner != agent {
        return None;
    }
    Some(Marked {
        workload: workload.parse().ok()?,
        revision: revision.parse().ok()?,
        nonce: u64::from_str_radix(nonce, 16).ok()?,
    })
}

fn pids() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Every live process of this agent's workloads, but not itself.
pub fn census(agent: &str, boot: &str) -> Vec<Found> {
    let me = std::process::id();
    let mut found = Vec::new();
    for pid in pids() {
        let Some(mark) = (pid != me).then(|| marked(pid, agent)).flatten() else { continue };
        let Some(stat) = stat(pid).filter(|stat| !stat.zombie) else { continue };
        found.push(Found {
            workload: mark.workload,
            revision: mark.revision,
            instance: Instance { pid, start: stat.start, boot: boot.to_owned(), nonce: mark.nonce },
            leader: stat.session == pid,
            at_gate: is_launcher(pid),
        });
    }
    found
}

/// True for a launcher that has not become its workload: its arguments say so.
fn is_launcher(pid: u32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|&byte| byte == 0).any(|part| part == super::launcher::ARGUMENT.as_bytes())
}

/// True while this very process lives.
pub fn lives(instance: &Instance, boot: &str) -> bool {
    instance.boot == boot
        && stat(instance.pid).is_some_and(|stat| !stat.zombie && stat.start == instance.start)
}

/// Live processes of one workload: by marker, and by the session of its last main process.
pub fn remains(
    agent: &str,
    workload: &Name,
    last: Option<&Instance>,
    spare: Option<&Instance>,
) -> Vec<u32> {
    let me = std::process::id();
    // A session whose leader is somebody else by now is not ours any more.
    let session = last.filter(|last| stat(last.pid).is_none_or(|it| it.start == last.start));
    pids()
        .into_iter()
        .filter(|&pid| pid != me)
        .filter(|&pid| {
            let Some(stat) = stat(pid).filter(|stat| !stat.zombie) else { return false };
            if spare.is_some_and(|spare| stat.session == spare.pid || pid == spare.pid) {
                return false;
            }
            session.is_some_and(|last| stat.session == last.pid)
                || marked(pid, agent).is_some_and(|mark| {
                    mark.workload == *workload
                        && spare.is_none_or(|spare| mark.nonce != spare.nonce)
                })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_command_name_hides_nothing() {
        let text = "42 (a) R 1 (x) S 1 42 77 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2";
        let stat = parse_stat(text).unwrap();
        assert_eq!((stat.session, stat.start, stat.zombie), (77, 98_765, false));
        assert!(parse_stat("42 (x").is_none());
    }

    #[test]
    fn this_very_process_is_told_from_another_with_its_id() {
        let pid = std::process::id();
        let start = stat(pid).unwrap().start;
        let instance = Instance { pid, start, boot: "b".into(), nonce: 1 };
        assert!(lives(&instance, "b"));
        assert!(!lives(&instance, "another boot"));
        assert!(!lives(&Instance { start: start + 1, ..instance }, "b"));
    }
}
