//! One look at all processes: which belong to this agent's workloads.
//!
//! Everything that a workload starts inherits `HOLDFAST_INSTANCE=<agent>/<workload>/<revision>/<nonce>`,
//! but an environment is what its process makes of it. So where a workload has a user to itself,
//! the user tells: its processes are found whatever they cleared or forged, and nobody else's
//! marker is believed. Besides, whatever is in the session of a main process, or in its control
//! group, is its workload's.
//!
//! What a process shows of its memory (its environment, its arguments) may hold whoever reads it
//! up for ever: the process may have put a file system of its own there. So the census is taken on
//! a thread of its own; where that one gets stuck, it is left behind, and that process is taken
//! for one that shows nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use holdfast_base::ids::Name;

use super::procfs::{self, Process, Stat};
use super::runtime::Place;
use super::{files, launcher, users};
use crate::core::record::{Found, Instance};

/// The environment variable that marks a workload's processes.
pub const MARKER: &str = "HOLDFAST_INSTANCE";

/// Where agents that run as root keep, under its id, the data folder of each: written by root
/// alone, so that no process' word has to be taken for whose it is.
const REGISTER: &str = "/run/holdfast-agents";
/// Agents whose data folders are gone are forgotten; so many are looked at.
const MAX_FORGOTTEN: usize = 256;
/// A process whose memory is read for longer than this, and less than twice this, is stuck.
const STUCK: Duration = Duration::from_secs(1);
/// Threads that are left behind in stuck processes. Beyond, only processes of the agent's own user
/// are read.
const MAX_STUCK: usize = 8;

/// Stack of the thread that looks, in bytes.
pub const STACK: usize = 256 * 1024;

/// Processes by id and start.
pub type Processes = BTreeSet<(u32, u64)>;

/// Tells other agents on this machine whose this data folder is. Without it (the agent is not
/// root, or there is no `/run`) they may take this agent's processes for their own where both
/// have given a workload the same user.
///
/// # Errors
/// Whatever the file system says.
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

/// The data folder of the agent with this id.
fn registered(register: &Path, id: &str) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt as _;
    if id.len() != 16 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let path = files::read(&register.join(id), 4_096).ok()?;
    Some(PathBuf::from(std::ffi::OsString::from_vec(path)))
}

/// The marker's value.
pub fn marker(agent: &str, workload: &Name, revision: u64, nonce: u64) -> String {
    format!("{agent}/{workload}/{revision}/{nonce:016x}")
}

/// What a marker says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Marked {
    agent: String,
    workload: Name,
    revision: u64,
    nonce: u64,
}

impl Marked {
    /// For a process that is the workload's by its user, and does not say which instance's.
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

/// Whom the workloads' folders belong to.
#[derive(Debug)]
struct Owners {
    /// This agent's id.
    agent: String,
    /// Who the agent is.
    agent_user: u32,
    of: BTreeMap<Name, u32>,
}

impl Owners {
    /// The workload that this user belongs to, and nothing else on the machine.
    fn sole(&self, user: u32) -> Option<&Name> {
        if user == self.agent_user || !users::is_own(user) {
            return None;
        }
        let mut workloads = self.of.iter().filter(|(_, owner)| **owner == user);
        match (workloads.next(), workloads.next()) {
            (Some((name, _)), None) => Some(name),
            _ => None,
        }
    }

    /// Whose a process of this user with this marker is.
    fn whose(&self, user: u32, mark: Option<Marked>) -> Option<Marked> {
        let mark = mark.filter(|mark| mark.agent == self.agent);
        if let Some(sole) = self.sole(user) {
            let unmarked = || Marked::unknown(&self.agent, sole);
            return Some(mark.filter(|mark| mark.workload == *sole).unwrap_or_else(unmarked));
        }
        // Root may be, or have been, anybody; no other user is believed to be another one's.
        let rooted = |owner: u32| owner == user || owner == self.agent_user;
        mark.filter(|mark| {
            user == self.agent_user || self.of.get(&mark.workload).copied().is_none_or(rooted)
        })
    }

    /// The same, of the marker's text. What another agent on this machine started is that one's:
    /// its register names the folder in which that workload belongs to this very user.
    fn mark(&self, user: u32, marker: Option<&str>, register: &Path) -> Option<Marked> {
        let mark = marker.and_then(Marked::parse);
        let anothers = mark.as_ref().filter(|mark| mark.agent != self.agent).is_some_and(|mark| {
            let data = registered(register, &mark.agent);
            let workloads = data.map(|data| data.join("workloads"));
            let owner = workloads.and_then(|it| users::owner(&it, &mark.workload));
            owner == Some(user)
        });
        if anothers { None } else { self.whose(user, mark) }
    }
}

/// A process.
#[derive(Debug)]
struct Seen {
    pid: u32,
    stat: Stat,
    /// Whose it is, if it is a workload's of this agent.
    mark: Option<Marked>,
    /// It is a launcher that has not become the workload.
    at_gate: bool,
}

/// All processes of a moment, but the agent itself and the kernel's.
#[derive(Debug)]
pub struct Census {
    seen: Vec<Seen>,
}

impl Census {
    /// Looks at every process. Blocks, for a few seconds where a process keeps its memory from
    /// being read: never to be called in the agent's loop.
    ///
    /// # Errors
    /// When one could not be looked at: half a census would take what lives for dead.
    pub fn take(place: &Arc<Place>) -> io::Result<Self> {
        let stuck = || place.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let (avoid, reads) = (stuck().clone(), Arc::new(AtomicU32::new(0)));
            let (tell, told) = channel();
            let (theirs, at) = (Arc::clone(place), Arc::clone(&reads));
            std::thread::Builder::new().stack_size(STACK).spawn(move || {
                let _left_behind = tell.send(Self::look(&theirs, &avoid, &at));
            })?;
            let mut before = 0;
            let pid = loop {
                match told.recv_timeout(STUCK) {
                    Ok(Ok(census)) => {
                        let lives =
                            |it: &Seen, (pid, start)| (it.pid, it.stat.start) == (pid, start);
                        stuck().retain(|&known| census.seen.iter().any(|it| lives(it, known)));
                        return Ok(census);
                    }
                    Ok(Err(error)) => return Err(error),
                    Err(RecvTimeoutError::Disconnected) => {
                        return Err(io::Error::other("the look at the processes ended early"));
                    }
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

    /// `reads`: the process whose memory is being read, else 0.
    fn look(place: &Place, avoid: &Processes, reads: &AtomicU32) -> io::Result<Self> {
        let owners = Owners {
            agent: place.agent.clone(),
            agent_user: rustix::process::geteuid().as_raw(),
            of: users::owners(&place.workloads)?,
        };
        let launcher = launcher::command_line(&place.launcher);
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
                it.mark = owners.mark(user, marker.as_deref(), Path::new(REGISTER));
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

    /// Every live process of this agent's workloads.
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

    /// True for what one of the workload's probes started.
    pub fn is_probes(&self, pid: u32) -> bool {
        let mark = self.seen.iter().find(|it| it.pid == pid).and_then(|it| it.mark.as_ref());
        mark.is_some_and(|mark| mark.revision == 0 && !mark.is_unknown())
    }

    /// Live processes of one workload, by id and start: by user or marker, by the session of its
    /// last main process, and by its control group. With `spare`, only what certainly belongs to
    /// another instance.
    pub fn remains(
        &self,
        workload: &Name,
        last: Option<&Instance>,
        spare: Option<&Instance>,
        group: &[u32],
    ) -> Vec<(u32, u64)> {
        // A session whose leader is somebody else by now is not ours any more.
        let anothers = |last: &Instance| {
            self.seen.iter().any(|it| it.pid == last.pid && it.stat.start != last.start)
        };
        let session = last.filter(|last| !anothers(last)).map(|last| last.pid);
        let is_left = |it: &&Seen| {
            let mark = it.mark.as_ref().filter(|mark| mark.workload == *workload);
            let in_session = session == Some(it.stat.session);
            let Some(spare) = spare else {
                return in_session || mark.is_some() || group.contains(&it.pid);
            };
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
        let whose = |user: u32, marker: Option<&str>| {
            let found = owners.whose(user, marker.and_then(Marked::parse))?;
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
            assert_eq!(whose(user, marker).as_deref(), wanted, "{why}");
        }
        // An agent that runs as such a user itself owns every folder, and is no workload.
        let mut alone = owned_by(&[("own", 61_200)]);
        alone.agent_user = 61_200;
        assert_eq!(alone.whose(61_200, None), None);
        assert!(alone.whose(61_200, Marked::parse("me/own/3/7")).is_some());
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
