//! What is written on containers, networks and volumes: labels by which this agent finds its own
//! again, and their names. What carries no label of this agent is never touched.
//!
//! See decision 0175.

use std::collections::BTreeMap;

use holdfast_base::ids::Name;
use serde_json::Value;

/// Label with the id of the agent that made something.
pub const AGENT: &str = "holdfast.agent";
/// Label with the workload's name.
pub const WORKLOAD: &str = "holdfast.workload";
/// Label with the number of the revision.
pub const REVISION: &str = "holdfast.revision";
/// Label with the nonce of the instance, in 16 hexadecimal digits.
pub const NONCE: &str = "holdfast.nonce";
/// Label with the hash of what the engine was asked for.
pub const SPEC: &str = "holdfast.spec";
/// Label with the id of the boot in which a container was made.
pub const BOOT: &str = "holdfast.boot";
/// Label with place, number and name of a container of a group: `0/2 db`.
pub const MEMBER: &str = "holdfast.member";
/// Label with the part that a container of a group plays, as JSON: see
/// [`Order`](super::group::Order).
pub const ORDER: &str = "holdfast.order";
/// Label of a volume with its name within the workload.
pub const VOLUME: &str = "holdfast.volume";
/// Label with the ports of the device that were assigned: `NAME=PORT NAME=PORT`.
pub const PORTS: &str = "holdfast.ports";

/// Place of a container within its instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Number of the container in the order of the starts, from 0.
    pub at: usize,
    /// Number of containers of the instance.
    pub of: usize,
    /// Name within the group. Empty: the instance is one container.
    pub name: String,
}

impl Member {
    /// Place of a container that is alone.
    pub fn alone() -> Self {
        Self { at: 0, of: 1, name: String::new() }
    }
}

impl std::fmt::Display for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{} {}", self.at, self.of, self.name)
    }
}

/// What is written on a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Id of the agent.
    pub agent: String,
    /// Workload of the container.
    pub workload: Name,
    /// Number of the revision.
    pub revision: u64,
    /// Nonce of the instance.
    pub nonce: u64,
    /// Boot in which the container was made.
    pub boot: String,
    /// Place in its instance.
    pub member: Member,
}

impl Mark {
    /// Labels of the container.
    pub fn labels(&self) -> BTreeMap<String, String> {
        [
            (AGENT, self.agent.clone()),
            (WORKLOAD, self.workload.to_string()),
            (REVISION, self.revision.to_string()),
            (NONCE, format!("{:016x}", self.nonce)),
            (BOOT, self.boot.clone()),
            (MEMBER, self.member.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    /// Reads the labels of a container. `None`: it is not of this agent, or damaged.
    pub fn read(labels: &Value, agent: &str) -> Option<Self> {
        let text = |key: &str| labels.get(key).and_then(Value::as_str);
        let agent = text(AGENT).filter(|it| *it == agent)?.to_owned();
        let mut member = text(MEMBER)?.splitn(2, ' ');
        let (at, of) = member.next()?.split_once('/')?;
        let (at, of) = (at.parse().ok()?, of.parse().ok()?);
        let member = Member { at, of, name: member.next().unwrap_or_default().to_owned() };
        Some(Self {
            agent,
            workload: text(WORKLOAD)?.parse().ok()?,
            revision: text(REVISION)?.parse().ok()?,
            nonce: u64::from_str_radix(text(NONCE)?, 16).ok()?,
            boot: text(BOOT)?.to_owned(),
            member,
        })
    }

    /// Name of the container. It ends with the random half of the nonce, and is never used again.
    pub fn container(&self) -> String {
        let (name, random) = (&self.workload, self.nonce >> 32);
        match self.member.name.as_str() {
            "" => format!("hf-{name}-{random:08x}"),
            member => format!("hf-{name}-{member}-{random:08x}"),
        }
    }
}

/// Name of a workload's volume at the engine. A dot, which no name has, ends the workload's: `a-b`
/// and `c` are told from `a` and `b-c`.
pub fn volume(workload: &Name, volume: &Name) -> String {
    format!("hf-{workload}.{volume}")
}

/// Name of a network that workloads share.
pub fn shared_network(network: &Name) -> String {
    format!("hf-{network}")
}

/// Name of the network of a group of containers.
pub fn group_network(workload: &Name) -> String {
    format!("hf-group.{workload}")
}

/// Writes assigned ports as a label.
pub fn ports_text(ports: &BTreeMap<Name, u16>) -> String {
    ports.iter().map(|(name, port)| format!("{name}={port}")).collect::<Vec<_>>().join(" ")
}

/// Reads assigned ports from the labels of a container.
pub fn ports(labels: &Value) -> BTreeMap<Name, u16> {
    let text = labels.get(PORTS).and_then(Value::as_str).unwrap_or_default();
    let pairs = text.split(' ').filter_map(|pair| pair.split_once('='));
    let mut ports = BTreeMap::new();
    for (name, port) in pairs {
        if let (Ok(name), Ok(port)) = (name.parse(), port.parse()) {
            ports.insert(name, port);
        }
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(member: Member) -> Mark {
        Mark {
            agent: "0123456789abcdef".into(),
            workload: "till".parse().unwrap(),
            revision: 3,
            nonce: 0x89ab_cdef_0000_0001,
            boot: "6f1c-33".into(),
            member,
        }
    }

    #[test]
    fn a_container_is_known_by_its_labels_and_never_anothers() {
        for member in [Member::alone(), Member { at: 1, of: 2, name: "db".into() }] {
            let mark = mark(member);
            let labels = serde_json::to_value(mark.labels()).unwrap();
            assert_eq!(Mark::read(&labels, &mark.agent), Some(mark.clone()));
            assert_eq!(Mark::read(&labels, "fedcba9876543210"), None);
            for key in [AGENT, WORKLOAD, REVISION, NONCE, BOOT, MEMBER] {
                let mut lacking = labels.clone();
                lacking.as_object_mut().unwrap().remove(key);
                assert_eq!(Mark::read(&lacking, &mark.agent), None, "{key}");
            }
        }
        assert_eq!(Mark::read(&Value::Null, ""), None);
    }

    #[test]
    fn names_tell_workloads_members_and_runs_apart() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        assert_eq!(mark(Member::alone()).container(), "hf-till-89abcdef");
        let member = Member { at: 1, of: 2, name: "db".into() };
        assert_eq!(mark(member).container(), "hf-till-db-89abcdef");
        assert_ne!(volume(&name("a-b"), &name("c")), volume(&name("a"), &name("b-c")));
        let ports = BTreeMap::from([(name("http"), 20_000), (name("a-b"), 1)]);
        let labels = serde_json::json!({ PORTS: ports_text(&ports) });
        assert_eq!(super::ports(&labels), ports);
        assert!(super::ports(&serde_json::json!({ PORTS: "x y=z a=70000" })).is_empty());
    }
}
