//! Description of a workload as a device gets it: every unit resolved, every default explicit or
//! absent.
//!
//! Operators write documents with units (`64Mi`, `500m`, `10s`); the control plane's admission
//! turns them into these values once, so that an agent never parses a unit.

use std::collections::BTreeMap;

use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::absent::is_default;
pub use crate::artifact::Artifact;
use crate::container::{Container, Group, Platform};
pub use crate::health::{Health, Probe};

/// Complete description of one revision of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadSpec {
    /// Program to run, and how.
    pub run: Run,
    /// Files laid into the workload's folder before the start: relative path to content.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
    /// Upper bounds on processor, memory and processes.
    #[serde(default, skip_serializing_if = "Resources::is_unlimited")]
    pub resources: Resources,
    /// Restart policy and back-off.
    #[serde(default, skip_serializing_if = "is_default")]
    pub restart: Restart,
    /// Health check. None: the workload counts as working while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Signal and grace period for stopping.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stop: Stop,
    /// Rights on the local bus beyond the workload's own topics.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bus: Bus,
    /// Times at which the device fetches what a revision needs, and turns to it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub windows: Windows,
}

/// Times at which a device may act on another revision of a workload, in the device's own time zone.
/// They are no part of what runs: a workload of which nothing else is changed goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windows {
    /// Windows within which the device downloads what the workload needs. Empty: at any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub download: Vec<Window>,
    /// Windows within which the device replaces a revision by another one. Empty: at any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub switch: Vec<Window>,
}

/// Time of the day, on some days of the week, in a device's own time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Begin in minutes since midnight, 0 to 1439.
    pub from: u16,
    /// End in minutes since midnight, 1 to 1440. Not after `from`: it ends on the next day.
    pub to: u16,
    /// Days of the week on which it begins: bit 0 is Monday, bit 6 Sunday. Absent: each day.
    #[serde(default = "every_day", skip_serializing_if = "is_every_day")]
    pub days: u8,
}

/// All days of a week, as [`Window::days`].
pub const EVERY_DAY: u8 = 0x7f;

/// Most windows of each sort in a workload: two for each day of a week.
pub const MAX_WINDOWS: usize = 14;

fn every_day() -> u8 {
    EVERY_DAY
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_every_day(days: &u8) -> bool {
    *days == EVERY_DAY
}

/// Rights of a workload on its device's local bus beyond its own topics, as MQTT filters. A filter
/// `NAME/TOPIC` stands for the topic `TOPIC` of the workload `NAME`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bus {
    /// Filters that the workload may subscribe to, as `workloads/NAME/TOPIC`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscribe: Vec<String>,
    /// Filters that the workload may publish to, as `workloads/NAME/TOPIC`: the message is
    /// delivered, never stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<String>,
}

/// Kind of a workload. On the wire it is a map with one entry, whose key is the kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// Process of the device's own operating system.
    Process(Process),
    /// Container of the device's engine.
    Container(Box<Container>),
    /// Several containers as one workload.
    Group(Box<Group>),
    /// Kind that this program does not know, with its word. Only a workload of this kind cannot run:
    /// the rest of a desired state is followed.
    Unknown(String),
}

impl Run {
    /// Word for the kind, such as `process`.
    pub fn kind(&self) -> &str {
        match self {
            Self::Process(_) => "process",
            Self::Container(_) => "container",
            Self::Group(_) => "group",
            Self::Unknown(kind) => kind,
        }
    }

    /// Returns the containers of the workload, in the order of their starts.
    pub fn containers(&self) -> impl Iterator<Item = &Container> {
        let (one, group) = match self {
            Self::Container(container) => (Some(&**container), None),
            Self::Group(group) => (None, Some(&group.containers)),
            Self::Process(_) | Self::Unknown(_) => (None, None),
        };
        one.into_iter().chain(group.into_iter().flatten().map(|member| &member.container))
    }

    /// Returns the artifact that a process executes, if it is one.
    pub fn program(&self) -> Option<&Artifact> {
        match self {
            Self::Process(Process { executable: Executable::Artifact(artifact), .. }) => {
                Some(artifact)
            }
            _ => None,
        }
    }

    /// Returns every file that is downloaded for the workload, on a device of any architecture: its
    /// program, and the configurations and layers of its images. One may come more than once.
    pub fn artifacts(&self) -> impl Iterator<Item = &Artifact> {
        let platforms = self.containers().flat_map(|container| &container.image.platforms);
        self.program().into_iter().chain(platforms.flat_map(Platform::files))
    }
}

/// Longest word of an unknown kind in bytes; what is longer is cut.
const MAX_KIND: usize = 32;

impl Serialize for Run {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::Process(process) => map.serialize_entry("process", process)?,
            Self::Container(container) => map.serialize_entry("container", container)?,
            Self::Group(group) => map.serialize_entry("group", group)?,
            Self::Unknown(kind) => map.serialize_entry(kind, &())?,
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Run {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RunVisitor)
    }
}

/// Reader of a [`Run`], which passes over the content of an unknown kind.
struct RunVisitor;

impl<'de> Visitor<'de> for RunVisitor {
    type Value = Run;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a map with one entry: the kind of the workload")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Run, A::Error> {
        let Some(kind) = map.next_key::<String>()? else {
            return Err(A::Error::custom("no kind of workload"));
        };
        let run = match kind.as_str() {
            "process" => Run::Process(map.next_value()?),
            "container" => Run::Container(map.next_value()?),
            "group" => Run::Group(map.next_value()?),
            _ => {
                map.next_value::<IgnoredAny>()?;
                Run::Unknown(kind.chars().take(MAX_KIND).collect())
            }
        };
        if map.next_key::<IgnoredAny>()?.is_some() {
            return Err(A::Error::custom("more than one kind of workload"));
        }
        Ok(run)
    }
}

/// Process of the device's operating system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Program that is executed.
    pub executable: Executable,
    /// Arguments of the program, without its own name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment variables, in addition to the few that the agent sets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// User name or number that the process runs as. None: an unprivileged user of the workload's
    /// own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Working folder; a relative path is below the workload's folder. None: that folder itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
}

/// Program that a process executes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Executable {
    /// Artifact that the device downloads and checks against its digest.
    Artifact(Artifact),
    /// Absolute path of a program on the device.
    Path(String),
}

/// Upper bounds on what a workload may use. Absent: unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Processor time in thousandths of a core: 1500 is one and a half cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u32>,
    /// Most memory in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Number of processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
}

impl Resources {
    /// Returns true if nothing is limited.
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

/// Restart policy of a workload and the waits between its starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// Kinds of end after which the workload is started again.
    pub policy: RestartPolicy,
    /// First wait before a restart, in milliseconds; it doubles with each restart up to
    /// `backoff_max_ms`.
    pub backoff_initial_ms: u64,
    /// Longest wait before a restart, in milliseconds.
    pub backoff_max_ms: u64,
}

impl Default for Restart {
    fn default() -> Self {
        Self { policy: RestartPolicy::Always, backoff_initial_ms: 1_000, backoff_max_ms: 60_000 }
    }
}

/// Kinds of end after which a workload is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Every end, also one with code 0.
    Always,
    /// An end with a non-zero code, by a signal, or one that nobody observed.
    OnFailure,
    /// No end: the workload stays `stopped` or `failed`.
    Never,
}

/// Signal and grace period for stopping a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Number of the signal sent to the process group, as on Linux: 15 is SIGTERM.
    pub signal: u8,
    /// Milliseconds after the signal until the remaining processes are killed.
    pub grace_ms: u64,
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: 15, grace_ms: 10_000 }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_base::codec;

    use super::*;

    /// What is decoded has a version.
    #[derive(Serialize, Deserialize)]
    struct Message {
        v: u8,
        run: Run,
    }

    fn read(run: &[u8]) -> Result<Run, codec::CodecError> {
        let message = [b"\xa2\x61v\x01\x63run", run].concat();
        codec::decode::<Message>(&message).map(|message| message.run)
    }

    #[test]
    fn a_kind_that_is_not_known_is_passed_over_and_kept_by_its_word() {
        // { "wasm": { "module": [1, 2, { "a": null }] } }, as a later control plane might say it.
        let run = read(b"\xa1\x64wasm\xa1\x66module\x83\x01\x02\xa1\x61a\xf6").unwrap();
        assert_eq!(run, Run::Unknown("wasm".into()));
        assert_eq!((run.kind(), run.artifacts().count(), run.containers().count()), ("wasm", 0, 0));
        let saved = codec::encode(&Message { v: 1, run: run.clone() }).unwrap();
        assert_eq!(codec::decode::<Message>(&saved).unwrap().run, run, "as a saved state has it");
    }

    #[test]
    fn a_workload_is_of_one_kind() {
        for bytes in [&b"\xa0"[..], b"\xa2\x61a\xf6\x61b\xf6", b"\x61a", b"\xa1\x01\xf6"] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
    }
}
