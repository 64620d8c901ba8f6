//! Attribution of processes: whose a process is, and what is left of a workload. A wrong answer kills
//! somebody else's process.
//!
//! Everything that a workload starts inherits
//! `HOLDFAST_INSTANCE=<agent>/<workload>/<revision>/<nonce>`, but a process can change its
//! environment. So where a workload has a user of its own, the user decides: its processes are
//! found whatever they cleared or forged, and a marker in another user's process is not believed.
//! Besides, whatever is in the session of a main process, or in its control group, belongs to its
//! workload.
//!
//! See decisions 0008 and 0036.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_base::ids::Name;

use super::ProcessId;
use crate::runtime::{Found, Handle, Known, Role};

/// Marker of an instance, in the environment of its processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// Id of the agent that started the process.
    pub agent: String,
    /// Workload of the process.
    pub workload: Name,
    /// Number of the revision; 0: a probe.
    pub revision: u64,
    /// Nonce of the instance.
    pub nonce: u64,
}

impl std::fmt::Display for Marker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { agent, workload, revision, nonce } = self;
        write!(f, "{agent}/{workload}/{revision}/{nonce:016x}")
    }
}

impl Marker {
    /// Marker for a process that belongs to a workload by its user but names no instance of it.
    fn unknown(agent: &str, workload: &Name) -> Self {
        Self { agent: agent.to_owned(), workload: workload.clone(), revision: 0, nonce: 0 }
    }

    fn is_unknown(&self) -> bool {
        (self.revision, self.nonce) == (0, 0)
    }

    /// Reads a marker's text; `None` for anything else.
    pub fn parse(value: &str) -> Option<Self> {
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
#[derive(Debug, Clone, Default)]
pub struct Owners {
    /// Id of this agent.
    pub agent: String,
    /// User that this agent runs as.
    pub agent_user: u32,
    /// Owner of each workload's folder of files.
    pub of: BTreeMap<Name, u32>,
    /// Those of the owners that no account and no service has: see `users::is_own`.
    pub own: BTreeSet<u32>,
}

impl Owners {
    /// Returns the workload that this user belongs to, if it belongs to nothing else on the
    /// machine.
    fn workload_of(&self, user: u32) -> Option<&Name> {
        if user == self.agent_user || !self.own.contains(&user) {
            return None;
        }
        let mut workloads = self.of.iter().filter(|(_, owner)| **owner == user);
        match (workloads.next(), workloads.next()) {
            (Some((name, _)), None) => Some(name),
            _ => None,
        }
    }

    /// True for a marker that another agent made.
    pub fn is_foreign(&self, marker: &Marker) -> bool {
        marker.agent != self.agent
    }

    /// Returns the workload and instance that a process belongs to, by its user and its marker.
    /// `theirs`: where another agent on this machine made the marker, the owner of the folder that
    /// this agent has for the workload. A process of that very user is left to the other agent.
    pub fn attribute(
        &self,
        user: u32,
        marker: Option<Marker>,
        theirs: Option<u32>,
    ) -> Option<Marker> {
        if marker.as_ref().is_some_and(|it| self.is_foreign(it)) && theirs == Some(user) {
            return None;
        }
        // 1. A user that belongs to one workload alone decides: the process is that workload's, and
        // the marker may only say which of its instances. A process of user 61,200, workload
        // `pump`, that carries `pump`'s marker is of that instance; with the marker of `valve`, or
        // with none, it is an unknown one of `pump`.
        let marker = marker.filter(|it| !self.is_foreign(it));
        if let Some(sole) = self.workload_of(user) {
            let unmarked = || Marker::unknown(&self.agent, sole);
            return Some(marker.filter(|it| it.workload == *sole).unwrap_or_else(unmarked));
        }
        // 2. Otherwise the marker decides, if the user could be that workload's. The agent's own
        // user (root) may start anything. Any other user must own the workload's folder, or the
        // folder must be the agent user's or missing: else user `alice` could set a marker and have
        // the agent count, or kill, her process as `valve`'s.
        let may_own = |owner: u32| owner == user || owner == self.agent_user;
        marker.filter(|it| {
            user == self.agent_user || self.of.get(&it.workload).copied().is_none_or(may_own)
        })
    }
}

/// Process as a census saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Number of the process.
    pub pid: u32,
    /// Start time in ticks since the boot.
    pub start: u64,
    /// Session of the process: the number of the session's leader.
    pub session: u32,
    /// True for a process that has ended and was not reaped yet.
    pub zombie: bool,
    /// Workload and instance, if the process belongs to this agent.
    pub marker: Option<Marker>,
    /// True for a launcher that has not yet executed the workload.
    pub at_gate: bool,
}

/// All processes at one time, except the agent itself and the kernel's threads.
#[derive(Debug, Default)]
pub struct Processes {
    /// Id of the present boot.
    pub boot: String,
    /// Each process once.
    pub seen: Vec<Seen>,
}

impl Processes {
    fn living(&self) -> impl Iterator<Item = &Seen> {
        self.seen.iter().filter(|it| !it.zombie)
    }

    /// Lists every live process of this agent's workloads. `known`: instances of the saved states, whose main processes are known even if they have
    /// overwritten their environment. `lives`: true unless the process is certain to be gone.
    pub fn found(&self, known: &[Known], lives: impl Fn(&ProcessId) -> bool) -> Vec<Found> {
        let found = |it: &Seen| {
            let marker = it.marker.as_ref()?;
            let process = ProcessId { pid: it.pid, start: it.start, boot: self.boot.clone() };
            let role = match (it.at_gate, it.session == it.pid) {
                (true, _) => Role::Prepared,
                (false, true) => Role::Main,
                (false, false) => Role::Part,
            };
            Some(Found {
                workload: marker.workload.clone(),
                revision: marker.revision,
                instance: process.handle(marker.nonce),
                role,
                order: (it.start, u64::from(it.pid)),
            })
        };
        let mut found: Vec<Found> = self.living().filter_map(found).collect();
        for Known { workload, revision, instance } in known {
            let Some(process) = ProcessId::of(instance) else { continue };
            let order = (process.start, u64::from(process.pid));
            if let Some(it) = found.iter_mut().find(|it| it.order == order) {
                it.instance = instance.clone();
                // Saved, so the gate was about to be opened, or open, when the agent ended. Either
                // the launcher is becoming the workload, or it is ending.
                if it.role == Role::Prepared {
                    it.role = Role::Main;
                }
            } else if lives(&process) {
                let (workload, instance) = (workload.clone(), instance.clone());
                found.push(Found {
                    workload,
                    revision: *revision,
                    instance,
                    role: Role::Main,
                    order,
                });
            }
        }
        found
    }

    /// True for a process that one of the workload's probes started.
    pub fn is_of_probe(&self, pid: u32) -> bool {
        let marker = self.seen.iter().find(|it| it.pid == pid).and_then(|it| it.marker.as_ref());
        marker.is_some_and(|marker| marker.revision == 0 && !marker.is_unknown())
    }

    /// Lists the live processes of one workload, by number and start: by user or marker, by the
    /// session of its last main process in this boot, and by its control group. With `spare`, only
    /// those that certainly belong to another instance.
    pub fn remains(
        &self,
        workload: &Name,
        last: Option<&ProcessId>,
        spare: Option<(&ProcessId, &Handle)>,
        group: &[u32],
    ) -> Vec<(u32, u64)> {
        // The numbers of another boot belong to somebody else by now.
        let last = last.filter(|last| last.boot == self.boot);
        // If the leader's id has another start time by now, it was reused, and a session of that
        // number is somebody else's.
        let is_reused = |last: &ProcessId| {
            self.seen.iter().any(|it| it.pid == last.pid && it.start != last.start)
        };
        let session = last.filter(|last| !is_reused(last)).map(|last| last.pid);
        let is_left = |it: &&Seen| {
            let marker = it.marker.as_ref().filter(|marker| marker.workload == *workload);
            let in_session = session == Some(it.session);
            // Nothing is spared: one sign of the three is enough.
            let Some((process, spare)) = spare else {
                return in_session || marker.is_some() || group.contains(&it.pid);
            };
            // An instance is spared: its session and itself stay. Of the rest, only what is in the
            // session of the former main process, or bears the nonce of another instance, is
            // certainly older. An unknown process of the workload's user may be a child of the
            // spared one that left its session (a daemon), and stays.
            let is_spared = [it.session, it.pid].contains(&process.pid);
            let is_older = marker.is_some_and(|it| !it.is_unknown() && it.nonce != spare.nonce);
            !is_spared && (in_session || is_older)
        };
        self.living().filter(is_left).map(|it| (it.pid, it.start)).collect()
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
        let own = [61_200, 61_201, 61_300, 61_400].into();
        Owners { agent: "me".into(), agent_user: 0, of, own }
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
            let found = owners.attribute(user, marker.and_then(Marker::parse), None)?;
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
        assert_eq!(alone.attribute(61_200, None, None), None);
        assert!(alone.attribute(61_200, Marker::parse("me/own/3/7"), None).is_some());
    }

    #[test]
    fn a_process_of_another_agent_is_left_to_it_if_its_folder_says_so() {
        let owners = owned_by(&[("own", 61_200)]);
        let theirs = Marker::parse("you/own/3/7");
        let attribute = |theirs_by_folder| {
            owners.attribute(61_200, theirs.clone(), theirs_by_folder).map(|it| it.revision)
        };
        assert_eq!(attribute(Some(61_200)), None, "both gave a workload the same user");
        assert_eq!(attribute(Some(61_201)), Some(0), "the other agent's workload has another");
        assert_eq!(attribute(None), Some(0), "nothing is known of another agent: it is forged");
        // The folder of another agent says nothing about this one's own marker.
        let own = owners.attribute(61_200, Marker::parse("me/own/3/7"), Some(61_200));
        assert_eq!(own.map(|it| it.revision), Some(3));
    }

    fn seen(pid: u32, session: u32, marker: Option<&str>) -> Seen {
        let marker = marker.and_then(Marker::parse);
        Seen { pid, start: u64::from(pid), session, zombie: false, marker, at_gate: false }
    }

    fn process(pid: u32) -> ProcessId {
        ProcessId { pid, start: u64::from(pid), boot: "b".into() }
    }

    #[test]
    fn what_is_left_of_a_workload() {
        let processes = Processes {
            boot: "b".into(),
            seen: vec![
                seen(7, 7, Some("me/w/1/a")),
                seen(8, 7, None),
                seen(9, 9, Some("me/w/0/0")),
                seen(10, 10, Some("me/w/1/b")),
                seen(11, 11, Some("me/other/1/a")),
                seen(12, 12, None),
                Seen { zombie: true, ..seen(13, 7, Some("me/w/1/a")) },
            ],
        };
        let left = |last: Option<&ProcessId>, spare: Option<u32>, group: &[u32]| {
            let spare = spare.map(|pid| (process(pid), process(pid).handle(11)));
            let spare = spare.as_ref().map(|(process, handle)| (process, handle));
            let left = processes.remains(&name("w"), last, spare, group);
            left.into_iter().map(|(pid, _)| pid).collect::<Vec<_>>()
        };
        let a = process(7);
        assert_eq!(left(Some(&a), None, &[]), [7, 8, 9, 10]);
        assert_eq!(left(None, None, &[12]), [7, 9, 10, 12], "by its control group");
        assert_eq!(left(None, Some(10), &[12]), [7], "whose the unmarked ones are is not known");
        assert_eq!(left(Some(&a), Some(10), &[]), [7, 8]);
        let reused = ProcessId { start: 1, ..a.clone() };
        assert_eq!(left(Some(&reused), None, &[]), [7, 9, 10], "its session is another's by now");
        let former = ProcessId { boot: "a".into(), ..a };
        assert_eq!(left(Some(&former), None, &[]), [7, 9, 10], "a session of another boot");
    }

    #[test]
    fn what_is_found_by_marker_and_by_saved_state() {
        let processes = Processes {
            boot: "b".into(),
            seen: vec![
                seen(7, 7, Some("me/w/3/a")),
                seen(8, 7, Some("me/w/3/a")),
                Seen { at_gate: true, ..seen(9, 9, Some("me/w/4/b")) },
                Seen { zombie: true, ..seen(10, 10, Some("me/w/3/a")) },
                seen(11, 11, None),
                seen(12, 12, Some("me/v/0/0")),
                Seen { at_gate: true, ..seen(14, 14, Some("me/w/4/b")) },
            ],
        };
        let known = |workload: &str, process: &ProcessId| Known {
            workload: name(workload),
            revision: 5,
            instance: process.handle(77),
        };
        let known = [
            known("v", &process(12)),
            known("cleared", &process(11)),
            known("gone", &process(99)),
            Known { instance: process(14).handle(11), ..known("w", &process(14)) },
            Known {
                instance: Handle {
                    runtime: crate::runtime::RuntimeKind::new("other"),
                    ..process(8).handle(1)
                },
                ..known("else", &process(8))
            },
        ];
        let found = processes.found(&known, |process| process.pid != 99);
        let shown: Vec<_> = found
            .iter()
            .map(|it| (it.workload.as_str(), it.revision, it.order.1, it.role, it.instance.nonce))
            .collect();
        assert_eq!(
            shown,
            [
                ("w", 3, 7, Role::Main, 10),
                ("w", 3, 8, Role::Part, 10),
                ("w", 4, 9, Role::Prepared, 11),
                ("v", 0, 12, Role::Main, 77),
                ("w", 4, 14, Role::Main, 11),
                ("cleared", 5, 11, Role::Main, 77),
            ]
        );
    }

    #[test]
    fn a_marker_comes_through_and_nothing_else_is_one() {
        let marker = Marker { agent: "me".into(), workload: name("w"), revision: 3, nonce: 10 };
        assert_eq!(marker.to_string(), "me/w/3/000000000000000a");
        assert_eq!(Marker::parse(&marker.to_string()), Some(marker));
        for text in ["", "me/w/3", "me/w/3/x", "me/w/x/a", "me/W W/3/a", "me/w/3/a/b"] {
            assert_eq!(Marker::parse(text), None, "{text}");
        }
    }
}
