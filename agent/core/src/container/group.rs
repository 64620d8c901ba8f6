//! Groups of containers: which of them may start now, and what the end of one means for all.
//!
//! See decision 0175.

use std::collections::BTreeMap;

use holdfast_protocol::container::{Group, Member, Until};

use crate::saved::Exit;

/// State of a container of a group in the course of its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It was not started yet.
    Waiting,
    /// It runs.
    Running {
        /// True once its probe succeeded.
        healthy: bool,
    },
    /// It has ended.
    Ended(Exit),
}

/// True if a container may start: everything that it waits for is as it should be.
pub fn may_start(member: &Member, stages: &BTreeMap<String, Stage>) -> bool {
    member.after.iter().all(|after| {
        let stage = stages.get(after.name.as_str()).copied().unwrap_or(Stage::Waiting);
        match after.until {
            Until::Started => stage != Stage::Waiting,
            Until::Healthy => stage == Stage::Running { healthy: true },
            Until::Completed => stage == Stage::Ended(Exit::Code(0)),
        }
    })
}

/// True if somebody waits for this container's end with code 0: such an end is not that of the group.
pub fn may_complete(group: &Group, name: &str) -> bool {
    let waits = |member: &Member| {
        let mut after = member.after.iter();
        after.any(|it| it.name.as_str() == name && it.until == Until::Completed)
    };
    group.containers.iter().any(waits)
}

/// True if somebody waits for this container's probe.
pub fn is_probed(group: &Group, name: &str) -> bool {
    let waits = |member: &Member| {
        member.after.iter().any(|it| it.name.as_str() == name && it.until == Until::Healthy)
    };
    group.containers.iter().any(waits)
}

/// End of the group, if the end of this container is one.
pub fn ends(group: &Group, name: &str, exit: Exit) -> Option<Exit> {
    let completed = exit == Exit::Code(0) && may_complete(group, name);
    (!completed).then_some(exit)
}

#[cfg(test)]
mod tests {
    use holdfast_base::ids::Digest;
    use holdfast_protocol::container::{After, Container, Devices, Image, Network};

    use super::*;

    fn member(name: &str, after: &[(&str, Until)]) -> Member {
        let after =
            after.iter().map(|(name, until)| After { name: name.parse().unwrap(), until: *until });
        let container = Container {
            image: Image { name: "x".into(), digest: Digest([1; 32]), platforms: vec![] },
            command: vec![],
            args: vec![],
            env: BTreeMap::new(),
            workdir: None,
            user: None,
            ports: vec![],
            mounts: vec![],
            devices: Devices::default(),
            network: Network::Host,
            writable_root: false,
            capabilities: vec![],
            seccomp_off: false,
            time_zone: None,
            dns: vec![],
            hosts: BTreeMap::new(),
            init: false,
        };
        let name = name.parse().unwrap();
        Member { name, container, probe: None, after: after.collect() }
    }

    #[test]
    fn a_container_starts_when_all_that_it_waits_for_is_so() {
        let stages = |stage| BTreeMap::from([("db".to_owned(), stage)]);
        let (ok, bad) = (Stage::Ended(Exit::Code(0)), Stage::Ended(Exit::Code(1)));
        let (up, well) = (Stage::Running { healthy: false }, Stage::Running { healthy: true });
        for (until, stage, may) in [
            (Until::Started, Stage::Waiting, false),
            (Until::Started, up, true),
            (Until::Started, ok, true),
            (Until::Healthy, up, false),
            (Until::Healthy, well, true),
            (Until::Completed, well, false),
            (Until::Completed, ok, true),
            (Until::Completed, bad, false),
        ] {
            let web = member("web", &[("db", until)]);
            assert_eq!(may_start(&web, &stages(stage)), may, "{until:?} {stage:?}");
        }
        assert!(may_start(&member("web", &[]), &BTreeMap::new()));
        assert!(!may_start(&member("web", &[("db", Until::Started)]), &BTreeMap::new()));
    }

    #[test]
    fn the_end_of_one_is_the_end_of_all_unless_somebody_waits_for_it() {
        let group = Group {
            containers: vec![
                member("migrate", &[]),
                member("db", &[]),
                member("web", &[("migrate", Until::Completed), ("db", Until::Healthy)]),
            ],
        };
        assert_eq!(ends(&group, "migrate", Exit::Code(0)), None);
        assert_eq!(ends(&group, "migrate", Exit::Code(1)), Some(Exit::Code(1)));
        assert_eq!(ends(&group, "db", Exit::Code(0)), Some(Exit::Code(0)));
        assert!(is_probed(&group, "db") && !is_probed(&group, "web"));
    }
}
