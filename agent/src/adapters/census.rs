//! Census of all processes: finds those that belong to this agent's workloads.
//!
//! Everything that a workload starts inherits
//! `HOLDFAST_INSTANCE=<agent>/<workload>/<revision>/<nonce>`, but a process can change its
//! environment. So where a workload has a user of its own, the user decides: its processes are
//! found whatever they cleared or forged, and a marker in another user's process is not believed.
//! Besides, whatever is in the session of a main process, or in its control group, belongs to its
//! workload.
//!
//! Reading a process's memory (its environment, its arguments) may block for ever, since the
//! process may have mapped a file system of its own there. So the census runs on a separate thread.
//! A thread that gets stuck is left behind, and that process is treated as if it showed nothing.
//!
//! See decisions 0008, 0036, 0037 and 0079.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use holdfast_base::ids::Name;

use super::procfs::{self, Process, Stat};
use super::runtime::RuntimeContext;
use super::{files, launcher, users};
use crate::core::saved::{Found, Instance};

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

/// Stack of the census thread, in bytes.
pub const STACK: usize = 256 * 1024;

/// Processes by id and start time.
pub type Processes = BTreeSet<(u32, u64)>;

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

/// Value of the marker for an instance.
pub fn marker(agent: &str, workload: &Name, revision: u64, nonce: u64) -> String {
    format!("{agent}/{workload}/{revision}/{nonce:016x}")
}

/// Parsed marker.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Marked {
    agent: String,
    workload: Name,
    revision: u64,
    nonce: u64,
}

impl Marked {
    /// Marker for a process that belongs to a workload by its user but names no instance of it.
    fn unknown(agent: &str, workload: &Name) -> Self {
        Self { agent: agent.to_owned(), workload: workload.clone(), revision: 0, nonce: 0 }
    }

    fn is_unknown(&self) -> bool {
        (self.revision, self.nonce) == (0, 0)
    }

    fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split('/');
        let (Some(agent), Some(workload), Some(revision), Some(nonce), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        Some(Self {
            agent: agent.to_owned(),
            workload: workload.parse().ok()?,
            revision: revision.parse().ok()?,
            nonce: u64::from_str_radix(nonce, 16).ok()?,
        })
    }
}

/// Users that own the workloads' folders.
#[derive(Debug)]
struct Owners {
    /// Id of this agent.
    agent: String,
    /// User that this agent runs as.
    agent_user: u32,
    of: BTreeMap<Name, u32>,
}

impl Owners {
    /// Returns the workload that this user belongs to, if it belongs to nothing else on the
    /// machine.
    fn workload_of(&self, user: u32) -> Option<&Name> {
        if user == self.agent_user || !users::is_own(user) {
            return None;
        }
        let mut workloads = self.of.iter().filter(|(_, owner)| **owner == user);
        match (workloads.next(), workloads.next()) {
            (Some((name, _)), None) => Some(name),
            _ => None,
        }
    }

    /// Returns the workload and instance that a process belongs to, by its user and its marker.
    fn attribute(&self, user: u32, mark: Option<Marked>) -> Option<Marked> {
        // 1. A user that belongs to one workload alone decides: the process is that workload's, and
        // the marker may only say which of its instances. A process of user 61,200, workload
        // `pump`, that carries `pump`'s marker is of that instance; with the marker of `valve`, or
        // with none, it is an unknown one of `pump`.
        let mark = mark.filter(|mark| mark.agent == self.agent);
        if let Some(sole) = self.workload_of(user) {
            let unmarked = || Marked::unknown(&self.agent, sole);
            return Some(mark.filter(|mark| mark.workload == *sole).unwrap_or_else(unmarked));
        }
        // 2. Otherwise the marker decides, if the user could be that workload's. The agent's own
        // user (root) may start anything. Any other user must own the workload's folder, or the
        // folder must be the agent user's or missing: else user `alice` could set a marker and have
        // the agent count, or kill, her process as `valve`'s.
        let may_own = |owner: u32| owner == user || owner == self.agent_user;
        mark.filter(|mark| {
            user == self.agent_user || self.of.get(&mark.workload).copied().is_none_or(may_own)
        })
    }

    /// Like [`Owners::attribute`], from the marker's text. A process that another agent on this machine
    /// started is left to that one: by the register, its data folder has that workload, owned by
    /// this very user.
    fn attribute_marker(&self, user: u32, marker: Option<&str>, register: &Path) -> Option<Marked> {
        let mark = marker.and_then(Marked::parse);
        let is_other_agents =
            mark.as_ref().filter(|mark| mark.agent != self.agent).is_some_and(|mark| {
                let data = registered(register, &mark.agent);
                let workloads = data.map(|data| data.join("workloads"));
                let owner = workloads.and_then(|it| users::owner(&it, &mark.workload));
                owner == Some(user)
            });
        if is_other_agents { None } else { self.attribute(user, mark) }
    }
}

/// A process as the census saw it.
#[derive(Debug)]
struct Seen {
    pid: u32,
    stat: Stat,
    /// Workload and instance, if the process belongs to this agent.
    mark: Option<Marked>,
    /// True for a launcher that has not yet executed the workload.
    at_gate: bool,
}

/// All processes at one time, except the agent itself and the kernel's threads.
#[derive(Debug)]
pub struct Census {
    seen: Vec<Seen>,
}

impl Census {
    /// Takes a census. Blocks for a few seconds where a process cannot be read, so it must not be
    /// called on the agent's event loop.
    ///
    /// # Errors
    /// When a process could not be examined: half a census would take live processes for dead.
    pub fn take(context: &Arc<RuntimeContext>) -> io::Result<Self> {
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
                let _left_behind = tell.send(Self::scan(&theirs, &avoid, &at));
            })?;
            let mut before = 0;
            let pid = loop {
                match outcome.recv_timeout(STUCK) {
                    Ok(Ok(census)) => {
                        let lives =
                            |it: &Seen, (pid, start)| (it.pid, it.stat.start) == (pid, start);
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
    fn scan(context: &RuntimeContext, avoid: &Processes, reads: &AtomicU32) -> io::Result<Self> {
        let owners = Owners {
            agent: context.agent.clone(),
            agent_user: rustix::process::geteuid().as_raw(),
            of: users::owners(&context.workloads)?,
        };
        let launcher = launcher::command_line(&context.launcher);
        let me = std::process::id();
        let mut seen = Vec::new();
        for pid in procfs::pids()?.into_iter().filter(|&pid| pid != me) {
            let Some(process) = Process::open(pid)? else { continue };
            let Some(stat) = process.stat()?.filter(|stat| !stat.kernel) else { continue };
            let mut it = Seen { pid, stat, mark: None, at_gate: false };
            if !stat.zombie
                && let Some(user) = process.user()
            {
                let trusted = user == owners.agent_user;
                let readable =
                    !avoid.contains(&(pid, stat.start)) && (trusted || avoid.len() < MAX_STUCK);
                reads.store(pid, Ordering::Relaxed);
                let marker = if readable { process.variable(MARKER)? } else { None };
                it.mark = owners.attribute_marker(user, marker.as_deref(), Path::new(REGISTER));
                it.at_gate = trusted
                    && readable
                    && it.mark.is_some()
                    && process.read("cmdline")?.is_some_and(|line| line == launcher);
                reads.store(0, Ordering::Relaxed);
            }
            seen.push(it);
        }
        Ok(Self { seen })
    }

    fn living(&self) -> impl Iterator<Item = &Seen> {
        self.seen.iter().filter(|it| !it.stat.zombie)
    }

    /// Lists every live process of this agent's workloads.
    pub fn found(&self, boot: &str) -> Vec<Found> {
        let found = |it: &Seen| {
            let mark = it.mark.as_ref()?;
            let (pid, start) = (it.pid, it.stat.start);
            Some(Found {
                workload: mark.workload.clone(),
                revision: mark.revision,
                instance: Instance { pid, start, boot: boot.to_owned(), nonce: mark.nonce },
                leader: it.stat.session == pid,
                at_gate: it.at_gate,
            })
        };
        self.living().filter_map(found).collect()
    }

    /// True for a process that one of the workload's probes started.
    pub fn is_of_probe(&self, pid: u32) -> bool {
        let mark = self.seen.iter().find(|it| it.pid == pid).and_then(|it| it.mark.as_ref());
        mark.is_some_and(|mark| mark.revision == 0 && !mark.is_unknown())
    }

    /// Lists the live processes of one workload, by id and start: by user or marker, by the session
    /// of its last main process, and by its control group. With `spare`, only those that certainly
    /// belong to another instance.
    pub fn remains(
        &self,
        workload: &Name,
        last: Option<&Instance>,
        spare: Option<&Instance>,
        group: &[u32],
    ) -> Vec<(u32, u64)> {
        // If the leader's id has another start time by now, it was reused, and a session of that
        // number is somebody else's.
        let is_reused = |last: &Instance| {
            self.seen.iter().any(|it| it.pid == last.pid && it.stat.start != last.start)
        };
        let session = last.filter(|last| !is_reused(last)).map(|last| last.pid);
        let is_left = |it: &&Seen| {
            let mark = it.mark.as_ref().filter(|mark| mark.workload == *workload);
            let in_session = session == Some(it.stat.session);
            // Nothing is spared: one sign of the three is enough.
            let Some(spare) = spare else {
                return in_session || mark.is_some() || group.contains(&it.pid);
            };
            // An instance is spared: its session and itself stay. Of the rest, only what is in the
            // session of the former main process, or bears the nonce of another instance, is
            // certainly older. An unknown process of the workload's user may be a child of the
            // spared one that left its session (a daemon), and stays.
            let is_spared = [it.stat.session, it.pid].contains(&spare.pid);
            let is_older = mark.is_some_and(|mark| !mark.is_unknown() && mark.nonce != spare.nonce);
            !is_spared && (in_session || is_older)
        };
        self.living().filter(is_left).map(|it| (it.pid, it.stat.start)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn owned_by(of: &[(&str, u32)]) -> Owners {
        let of = of.iter().map(|&(workload, user)| (name(workload), user)).collect();
        Owners { agent: "me".into(), agent_user: 0, of }
    }

    #[test]
    fn a_marker_is_believed_of_the_workloads_own_user_alone() {
        let owners = owned_by(&[
            ("own", 61_200),
            ("other", 61_201),
            ("named", 33),
            ("rooted", 0),
            ("twin", 61_300),
            ("twins", 61_300),
        ]);
        let attribute = |user: u32, marker: Option<&str>| {
            let found = owners.attribute(user, marker.and_then(Marked::parse))?;
            Some(format!("{} {} {}", found.workload, found.revision, found.nonce))
        };
        let cases = [
            (61_200, Some("me/own/3/7"), Some("own 3 7"), "its own"),
            (61_200, None, Some("own 0 0"), "cleared"),
            (61_200, Some("me/other/3/7"), Some("own 0 0"), "forged: another workload's"),
            (61_200, Some("me/named/3/7"), Some("own 0 0"), "forged: one with a named user"),
            (61_200, Some("you/own/3/7"), Some("own 0 0"), "forged: another agent's"),
            (33, Some("me/own/3/7"), None, "forged by a named user"),
            (33, Some("me/named/3/7"), Some("named 3 7"), "a named user's own"),
            (33, None, None, "a named user without marker may be anybody"),
            (0, Some("me/own/3/7"), Some("own 3 7"), "its launcher"),
            (70, Some("me/rooted/3/7"), Some("rooted 3 7"), "root's workload, as somebody else"),
            (61_400, Some("me/gone/3/7"), Some("gone 3 7"), "its folder was taken away"),
            (61_300, Some("me/twin/3/7"), Some("twin 3 7"), "two with one user: the marker tells"),
            (61_300, None, None, "two with one user: nobody's"),
            (0, Some("you/own/3/7"), None, "another agent's"),
        ];
        for (user, marker, wanted, why) in cases {
            assert_eq!(attribute(user, marker).as_deref(), wanted, "{why}");
        }
        // An agent that runs as such a user itself owns every folder, and is no workload.
        let mut alone = owned_by(&[("own", 61_200)]);
        alone.agent_user = 61_200;
        assert_eq!(alone.attribute(61_200, None), None);
        assert!(alone.attribute(61_200, Marked::parse("me/own/3/7")).is_some());
    }

    fn seen(pid: u32, session: u32, marker: Option<&str>) -> Seen {
        let stat = Stat { zombie: false, kernel: false, parent: 1, session, start: u64::from(pid) };
        Seen { pid, stat, mark: marker.and_then(Marked::parse), at_gate: false }
    }

    #[test]
    fn what_is_left_of_a_workload() {
        let census = Census {
            seen: vec![
                seen(7, 7, Some("me/w/1/a")),
                seen(8, 7, None),
                seen(9, 9, Some("me/w/0/0")),
                seen(10, 10, Some("me/w/1/b")),
                seen(11, 11, Some("me/other/1/a")),
                seen(12, 12, None),
                seen(13, 13, None),
            ],
        };
        let instance =
            |pid: u32, nonce| Instance { pid, start: u64::from(pid), boot: String::new(), nonce };
        let left = |last: Option<&Instance>, spare: Option<&Instance>, group: &[u32]| {
            let left = census.remains(&name("w"), last, spare, group);
            left.into_iter().map(|(pid, _)| pid).collect::<Vec<_>>()
        };
        let (a, b) = (instance(7, 10), instance(10, 11));
        assert_eq!(left(Some(&a), None, &[]), [7, 8, 9, 10]);
        assert_eq!(left(None, None, &[12]), [7, 9, 10, 12], "by its control group");
        assert_eq!(left(None, Some(&b), &[12]), [7], "whose the unmarked ones are is not known");
        assert_eq!(left(Some(&a), Some(&b), &[]), [7, 8]);
        let reused = Instance { start: 1, ..a };
        assert_eq!(left(Some(&reused), None, &[]), [7, 9, 10], "its session is another's by now");
    }
}
