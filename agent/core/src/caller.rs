//! Callers of the local bus and the data socket: whose program a connection may be of, by the user
//! that the kernel names, and how many connections each may have.
//!
//! See decisions 0053 and 0078.

use std::collections::BTreeMap;

use holdfast_base::ids::Name;

/// Connections kept free for each known name, where there are enough for all.
const KEPT: usize = 4;

/// Length of a container's id in hexadecimal digits.
const ID: usize = 64;

/// User at the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// A program of this user.
    User(u32),
    /// A program in a container, as this user; of which workload, if it is a container of this
    /// agent. Its user says nothing of who it is: it is the image's, and others have it, too.
    Inside(u32, Option<Name>),
    /// Closed already: the kernel no longer tells whose it was.
    Gone,
    /// The kernel does not tell.
    Unknown,
}

impl Peer {
    /// User, where the kernel names one.
    pub fn user(&self) -> Option<u32> {
        match self {
            Self::User(user) | Self::Inside(user, _) => Some(*user),
            Self::Gone | Self::Unknown => None,
        }
    }

    /// Workload whose container the program is in; `None`: it is in none of this agent.
    pub fn inside(&self) -> Option<&Name> {
        match self {
            Self::Inside(_, workload) => workload.as_ref(),
            Self::User(_) | Self::Gone | Self::Unknown => None,
        }
    }

    /// True if this may be a program of a workload whose folder belongs to `owner`; None: it has no
    /// folder yet. A process that root started may have become any user. `agent`: user that the
    /// agent runs as.
    pub fn may_be(&self, owner: Option<u32>, agent: u32) -> bool {
        let Some(owner) = owner else { return true };
        match self {
            Self::User(user) | Self::Inside(user, _) => {
                owner == 0 || [owner, agent, 0].contains(user)
            }
            Self::Gone => owner == 0,
            Self::Unknown => true,
        }
    }
}

/// Id of the container that a process is in, by its control groups (`/proc/PID/cgroup`). `own`: those
/// of this agent, which may be in a container itself.
pub fn container(groups: &str, own: &str) -> Option<String> {
    let ids = |text: &'_ str| -> Vec<String> {
        let words = text.split(|it: char| !it.is_ascii_hexdigit());
        words.filter(|word| word.len() == ID).map(str::to_owned).collect()
    };
    let own = ids(own);
    // The last one of a path is the innermost.
    ids(groups).into_iter().rfind(|id| !own.contains(id))
}

/// Workload that this user belongs to, if it belongs to no other: its user alone then says who a
/// caller is. `owners`: owner of each workload's folder. `agent`: user that the agent runs as, who
/// is nobody's own, as root is not.
pub fn sole_workload(user: u32, agent: u32, owners: &BTreeMap<Name, u32>) -> Option<&Name> {
    if user == 0 || user == agent {
        return None;
    }
    let mut mine = owners.iter().filter(|(_, owner)| **owner == user);
    match (mine.next(), mine.next()) {
        (Some((name, _)), None) => Some(name),
        _ => None,
    }
}

/// True when one more connection of `name` leaves each of the others its share of `places`. `known`
/// holds the number of connections of everybody who may connect.
pub fn has_slot(known: &BTreeMap<Name, usize>, name: &Name, places: usize, of_one: usize) -> bool {
    // Example: 64 places and 10 names keep 4 each. A name with 4 connections may open a fifth only
    // while it has fewer than `of_one`, and the others still find their 4: 9 * 4 = 36 are reserved,
    // 28 are left for it.
    let kept = (places / known.len().max(1)).clamp(1, KEPT);
    let mine = known.get(name).copied().unwrap_or_default();
    let taken: usize =
        known.iter().map(|(of, count)| if of == name { *count } else { kept.max(*count) }).sum();
    mine < kept || mine < of_one && taken < places
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: u32 = 990;
    const OWNER: u32 = 61_200;
    const OTHER: u32 = 65_534;

    #[test]
    fn a_password_serves_its_own_user_the_agents_and_root() {
        for (peer, owner, may) in [
            (Peer::User(OWNER), Some(OWNER), true),
            (Peer::User(AGENT), Some(OWNER), true),
            (Peer::User(0), Some(OWNER), true),
            (Peer::User(OTHER), Some(OWNER), false),
            (Peer::User(OWNER), Some(AGENT), false),
            // The workload of root may be anybody by now.
            (Peer::User(OTHER), Some(0), true),
            (Peer::Gone, Some(OWNER), false),
            (Peer::Gone, Some(0), true),
            // The password alone tells.
            (Peer::Unknown, Some(OWNER), true),
            (Peer::User(OTHER), None, true),
            (Peer::Gone, None, true),
        ] {
            assert_eq!(peer.may_be(owner, AGENT), may, "{peer:?} of {owner:?}");
        }
    }

    #[test]
    fn a_container_is_told_by_its_control_group() {
        let (a, b) = ("a1".repeat(32), "b2".repeat(32));
        let own = format!("4:memory:/docker/{a}\n0::/\n");
        for (groups, own, expected) in [
            (format!("0::/system.slice/docker-{a}.scope\n"), "0::/\n", Some(&a)),
            (format!("8:pids:/docker/{a}\n0::/\n"), "0::/\n", Some(&a)),
            (format!("0::/libpod_parent/libpod-{a}/container\n"), "0::/\n", Some(&a)),
            ("0::/user.slice/session-3.scope\n".into(), "0::/\n", None),
            // An agent in a container: a process beside it, and a container within.
            (format!("4:memory:/docker/{a}/workload-w\n"), &own, None),
            (format!("4:memory:/docker/{a}/docker/{b}\n"), &own, Some(&b)),
        ] {
            assert_eq!(container(&groups, own).as_ref(), expected, "{groups}");
        }
        let inside = Peer::Inside(OWNER, Some("pump".parse().unwrap()));
        assert_eq!(inside.inside().map(Name::as_str), Some("pump"));
        assert_eq!((Peer::Inside(OWNER, None).inside(), inside.user()), (None, Some(OWNER)));
    }

    #[test]
    fn a_user_says_who_calls_only_if_it_is_one_workloads_alone() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let owners = |list: &[(&str, u32)]| -> BTreeMap<Name, u32> {
            list.iter().map(|(of, owner)| (name(of), *owner)).collect()
        };
        for (user, of, sole) in [
            (OWNER, owners(&[("pump", OWNER), ("fan", OTHER)]), Some("pump")),
            (OTHER, owners(&[("pump", OWNER), ("fan", OTHER)]), Some("fan")),
            (OWNER, owners(&[("pump", OWNER), ("fan", OWNER)]), None),
            (OWNER, owners(&[("pump", OTHER)]), None),
            (OWNER, owners(&[]), None),
            (0, owners(&[("pump", 0)]), None),
            (AGENT, owners(&[("pump", AGENT)]), None),
        ] {
            let found = sole_workload(user, AGENT, &of).map(Name::as_str);
            assert_eq!(found, sole, "{user} of {of:?}");
        }
    }

    #[test]
    fn each_has_its_share_however_greedy_the_others_are() {
        for count in [1, 2, 3, 10, 64, 200] {
            let name = |number: usize| format!("w{number}").parse::<Name>().unwrap();
            let mut known: BTreeMap<Name, usize> = (0..count).map(|it| (name(it), 0)).collect();
            // All but the last take what they get, one after the other.
            for greedy in 0..count - 1 {
                while has_slot(&known, &name(greedy), 64, 32) {
                    *known.get_mut(&name(greedy)).unwrap() += 1;
                }
            }
            assert!(known.values().all(|taken| *taken <= 32));
            assert!(known.values().sum::<usize>() < 64.max(count), "{count}");
            assert!(has_slot(&known, &name(count - 1), 64, 32), "{count}");
        }
    }
}
