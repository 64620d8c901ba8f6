//! What to run, as a device gets it: every unit resolved, every default explicit or absent.
//!
//! Operators write documents with units (`64Mi`, `500m`, `10s`); the control plane's admission
//! turns them into these values once, so that an agent never parses a unit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use holdfast_base::ids::Digest;

/// One revision of a workload, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadSpec {
    /// How it runs.
    pub run: Run,
    /// Files laid into the workload's folder before it starts: relative path to content.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
    /// What it may use.
    #[serde(default, skip_serializing_if = "Resources::is_unlimited")]
    pub resources: Resources,
    /// What happens when it ends.
    #[serde(default, skip_serializing_if = "is_default")]
    pub restart: Restart,
    /// How to tell that it works. None: it works while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// How it is asked to end.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stop: Stop,
    /// What it may do on the local bus beyond its own topics.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bus: Bus,
}

/// What a workload may do on its device's local bus beyond its own topics: MQTT filters over
/// `NAME/TOPIC`, the topic of another workload behind that one's name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bus {
    /// It may subscribe to these, as `workloads/NAME/TOPIC`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscribe: Vec<String>,
    /// It may publish to these, as `workloads/NAME/TOPIC`: delivered, never stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<String>,
}

/// How a workload runs. Containers and functions will be further variants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Run {
    /// A process of the device's own system.
    Process(Process),
}

impl Run {
    /// The artifacts that must be on the device before it can start.
    pub fn artifacts(&self) -> impl Iterator<Item = &Artifact> {
        let Self::Process(process) = self;
        match &process.executable {
            Executable::Artifact(artifact) => Some(artifact),
            Executable::Path(_) => None,
        }
        .into_iter()
    }
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// What is executed.
    pub executable: Executable,
    /// Arguments after the program's name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment variables, beside the few that the agent sets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// User name or number. None: an unprivileged user of the workload's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Working folder. None: the workload's own folder. Relative: under that folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
}

/// What a process executes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Executable {
    /// An artifact, fetched and checked against its digest.
    Artifact(Artifact),
    /// An absolute path on the device.
    Path(String),
}

/// Bytes that a device fetches from the control plane, named by what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// sha256 of the bytes.
    pub digest: Digest,
    /// Length in bytes.
    pub size: u64,
}

/// Upper bounds on what a workload may use. Absent: unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Thousandths of a processor core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u32>,
    /// Bytes of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Number of processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
}

impl Resources {
    /// True when nothing is limited.
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

/// What happens when the workload ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// When it is started again.
    pub policy: RestartPolicy,
    /// First wait before a restart, in milliseconds; doubles up to `backoff_max_ms`.
    pub backoff_initial_ms: u64,
    /// Longest wait before a restart, in milliseconds.
    pub backoff_max_ms: u64,
}

impl Default for Restart {
    fn default() -> Self {
        Self { policy: RestartPolicy::Always, backoff_initial_ms: 1_000, backoff_max_ms: 60_000 }
    }
}

/// When a workload that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Whenever it ended.
    Always,
    /// When it ended with a non-zero code, by a signal, or nobody could see how.
    OnFailure,
    /// Never: it stays `stopped` or `failed`.
    Never,
}

/// How to tell that a workload works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// What is tried.
    pub probe: Probe,
    /// Failures within this many milliseconds of the start do not count.
    pub start_period_ms: u64,
    /// Milliseconds from the end of a probe to the next.
    pub interval_ms: u64,
    /// A probe that takes longer, in milliseconds, has failed.
    pub timeout_ms: u64,
    /// After this many failures in a row the workload is unhealthy and is restarted.
    pub failures: u32,
}

/// A probe of a workload's health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// `GET` answers with a status of 200 to 399.
    Http {
        /// Host or address; None: 127.0.0.1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        /// TCP port.
        port: u16,
        /// Path with query, beginning with `/`.
        path: String,
    },
    /// A TCP connection opens.
    Tcp {
        /// Host or address; None: 127.0.0.1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        /// TCP port.
        port: u16,
    },
    /// A command, in the workload's folder and as its user, ends with code 0.
    Exec {
        /// Program and arguments.
        command: Vec<String>,
    },
}

/// How a workload is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Signal number, sent to the process group. Linux numbers: 15 is SIGTERM.
    pub signal: u8,
    /// Milliseconds until whoever is left is killed.
    pub grace_ms: u64,
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: 15, grace_ms: 10_000 }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
