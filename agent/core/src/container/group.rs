//! Groups of containers: which of them may start now, and what the end of one means for all.
//!
//! See decision 0175.

use std::collections::BTreeMap;

use holdfast_protocol::container::{After, Group, Until};
use holdfast_protocol::workload::{Probe, Stop};
use serde::{Deserialize, Serialize};

use crate::saved::Exit;

/// What is written on a container of its part in the workload's life, so that an agent that was
/// restarted goes on where the former one was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Containers that it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<After>,
    /// True if somebody waits for its end with code 0: such an end is not that of the group.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub completes: bool,
    /// Probe of this container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    /// How it is stopped when another one of the group has ended.
    #[serde(default)]
    pub stop: Stop,
}

/// Order of each container of a group.
pub fn orders(group: &Group, stop: Stop) -> Vec<Order> {
    let order = |name: &str| {
        let waits = |after: &After| after.name.as_str() == name && after.until == Until::Completed;
        group.containers.iter().any(|member| member.after.iter().any(waits))
    };
    let members = group.containers.iter().map(|member| Order {
        after: member.after.clone(),
        completes: order(member.name.as_str()),
        probe: member.probe.clone(),
        stop,
    });
    members.collect()
}

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
pub fn may_start(order: &Order, stages: &BTreeMap<String, Stage>) -> bool {
    order.after.iter().all(|after| {
        let stage = stages.get(after.name.as_str()).copied().unwrap_or(Stage::Waiting);
        match after.until {
            Until::Started => stage != Stage::Waiting,
            Until::Healthy => stage == Stage::Running { healthy: true },
            Until::Completed => stage == Stage::Ended(Exit::Code(0)),
        }
    })
}

/// True if somebody who was not started waits for this container's probe.
pub fn is_awaited<'a>(name: &str, mut others: impl Iterator<Item = (&'a Order, Stage)>) -> bool {
    let waits = |after: &After| after.name.as_str() == name && after.until == Until::Healthy;
    others.any(|(order, stage)| stage == Stage::Waiting && order.after.iter().any(waits))
}

/// True if this end of a container is that of its instance.
pub fn ends(order: &Order, exit: Exit) -> bool {
    !(order.completes && exit == Exit::Code(0))
}

#[cfg(test)]
mod tests {
    use holdfast_base::ids::Digest;
    use holdfast_protocol::container::{Container, Devices, Image, Member, Network};

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

    fn order(after: &[(&str, Until)]) -> Order {
        let member = member("x", after);
        Order { after: member.after, ..Order::default() }
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
            let web = order(&[("db", until)]);
            assert_eq!(may_start(&web, &stages(stage)), may, "{until:?} {stage:?}");
        }
        assert!(may_start(&order(&[]), &BTreeMap::new()));
        assert!(!may_start(&order(&[("db", Until::Started)]), &BTreeMap::new()));
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
        let orders = orders(&group, Stop::default());
        let (ok, bad) = (Exit::Code(0), Exit::Code(1));
        for (at, exit, is_end) in [(0, ok, false), (0, bad, true), (1, ok, true), (2, ok, true)] {
            assert_eq!(ends(&orders[at], exit), is_end, "{at} {exit:?}");
        }
        let awaited = |stage| is_awaited("db", orders.iter().map(|it| (it, stage)));
        assert!(awaited(Stage::Waiting) && !awaited(Stage::Running { healthy: false }));
        assert!(!is_awaited("web", orders.iter().map(|it| (it, Stage::Waiting))));
        let text = serde_json::to_string(&orders[2]).unwrap();
        assert_eq!(serde_json::from_str::<Order>(&text).unwrap(), orders[2]);
    }
}
