//! Devices: desired and reported state, and changes of their labels.

use std::collections::BTreeMap;

use holdfast_base::words::{length, size};
use holdfast_protocol::message::{Origin, Phase, Progress};
use holdfast_protocol::neighbours::{Neighbour, Neighbours};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::absence::AbsenceStatus;
use super::document::Metadata;
use super::jobs::Paused;
use super::workload::State;

/// A device: its desired state beside the state that it reports.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Always `holdfast/v1`.
    pub api_version: String,
    /// Always `Device`.
    pub kind: String,
    /// Name and labels of the device.
    pub metadata: Metadata,
    /// Revision that the device should run of each workload, by the workload's name.
    #[serde(default)]
    pub desired: BTreeMap<String, DesiredRevision>,
    /// Reported state of the device, as far as the control plane knows it.
    pub status: DeviceStatus,
}

/// One workload that a device should run.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DesiredRevision {
    /// Number of the desired revision, from 1.
    pub revision: u64,
    /// Pause of the workload on this device: who paused it, and when. Absent: it should run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
}

/// Connection state of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Connection {
    /// The device is connected now.
    Online,
    /// The device was connected before and is not now; `connectionSince` tells since when.
    Offline,
    /// The device has enrolled and was never connected.
    NeverSeen,
    /// The device waits for an operator's approval.
    Pending,
    /// The device is revoked: it may not connect any more.
    Revoked,
}

impl Connection {
    /// Returns the state's word in the API, such as `never-seen`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
            Self::NeverSeen => "never-seen",
            Self::Pending => "pending",
            Self::Revoked => "revoked",
        }
    }
}

/// Overall state of a device. While it is connected: `failing` (a workload fails), else `problem`
/// (it reports a problem), else `progressing` (a workload is not in its desired revision yet), else
/// `healthy`. While it is offline or overdue: `unknown`. Before and after that: `pending`,
/// `never-seen`, `revoked`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HealthState {
    /// Connected; every workload runs, is done or is paused, and the device reports no problem.
    Healthy,
    /// At least one workload fails on the device.
    Failing,
    /// The device reports a problem, and no workload fails.
    Problem,
    /// At least one workload has not reached its desired revision yet.
    Progressing,
    /// The device is offline or overdue: what it reported last need not hold any more.
    #[default]
    Unknown,
    /// The device has enrolled and was never connected.
    NeverSeen,
    /// The device waits for an operator's approval.
    Pending,
    /// The device is revoked: it may not connect any more.
    Revoked,
}

impl HealthState {
    /// Every state, each once.
    pub const ALL: [Self; 8] = [
        Self::Healthy,
        Self::Failing,
        Self::Problem,
        Self::Progressing,
        Self::Unknown,
        Self::NeverSeen,
        Self::Pending,
        Self::Revoked,
    ];

    /// Returns the state's word in the API, such as `never-seen`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Failing => "failing",
            Self::Problem => "problem",
            Self::Progressing => "progressing",
            Self::Unknown => "unknown",
            Self::NeverSeen => "never-seen",
            Self::Pending => "pending",
            Self::Revoked => "revoked",
        }
    }
}

/// Health of a device, computed by the control plane so that lists, pages and commands agree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Overall state of the device.
    pub state: HealthState,
    /// Time at which the state began. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Names of the workloads that fail on the device.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<String>,
    /// Number of problems that the device reports, or reported when it was last heard.
    #[serde(default)]
    #[schema(required)]
    pub problems: u64,
}

/// Reported state of a device, and what the control plane derives from it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceStatus {
    /// Connection state of the device.
    pub connection: Connection,
    /// Time at which the present connection state began: the connect, the disconnect, the enrolment
    /// or the revocation. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_since: Option<String>,
    /// Time of the last packet of any kind from the device. Null: no packet ever came.
    #[serde(default)]
    pub heard_at: Option<String>,
    /// Time by which the device's next packet is due, from the keep-alive of its connection.
    /// Absent: no packet is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_by: Option<String>,
    /// True when `heardBy` has passed while the device is still connected: it hangs, or its link is
    /// broken and the connection has not ended yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overdue: bool,
    /// Rule for the device's absence and its present effect. Absent: the device is not approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absence: Option<AbsenceStatus>,
    /// Health of the device: whether it is as it should be.
    #[serde(default)]
    #[schema(required)]
    pub health: Health,
    /// IP address from which the device last connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Shard of the device, a part of its MQTT topics: a hash of its identity that never changes.
    pub shard: u8,
    /// Epoch of the desired state that the device has applied. 0: none yet.
    pub epoch: u64,
    /// Desired and applied generation of the device's desired state.
    pub generation: Generations,
    /// Workloads that the device reports, by name.
    pub workloads: BTreeMap<String, WorkloadStatus>,
    /// Problems that the device reports, and those that the control plane finds with it.
    #[serde(default)]
    pub problems: Vec<Problem>,
    /// Version of the device's agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Processor architecture of the device, such as `x86_64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// Kernel release of the device, such as `6.1.0-28-arm64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Container engine of the device. Absent: its agent has not said anything about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<Engine>,
    /// Addresses with port at which the device gives files to its neighbours. Absent: it does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub neighbours: Vec<String>,
    /// Number of inputs (messages and documents) that the agent has refused since it started.
    #[serde(default)]
    pub refused: u64,
    /// Time at which the device's certificate expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_not_after: Option<String>,
    /// True: secrets can be sealed to the device. False: its agent is too old for that, and no
    /// workload with secrets can be given to it.
    #[serde(default)]
    pub secrets: bool,
    /// Report of the device about its data: `storage` (its buffer), `link` (its traffic) and
    /// `horizon` (how long the buffer lasts).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// Container engine of a device, as its agent reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Engine {
    /// Name of the engine, such as `docker` or `podman`. Absent: none has answered the agent yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Version of the engine, such as `20.10.24`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Version of the engine's API that the agent speaks, such as `1.41`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// Reason why it cannot be used. Absent: it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl std::fmt::Display for Engine {
    /// Writes name and version, such as `docker 20.10.24`, or `none`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.name, &self.version) {
            (Some(name), Some(version)) => write!(f, "{name} {version}"),
            (Some(name), None) => f.write_str(name),
            (None, _) => f.write_str("none"),
        }
    }
}

/// Container of a workload on one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerStatus {
    /// Id of the container at its engine, the first 12 digits; of a group that of its first one.
    pub id: String,
    /// Ports that the device has assigned, by their names in the document.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, u16>,
}

/// Result of asking a device for a sign of life.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ping {
    /// Connection state of the device.
    pub connection: Connection,
    /// True: the device sent something after it was asked, or within 10 s before. False: it has
    /// sent nothing for 15 s after it was asked. Null: it is not connected, cannot be asked, or has
    /// not replied yet.
    pub answers: Option<bool>,
    /// Time of the first question that the device has not answered. Absent: none is unanswered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_since: Option<String>,
    /// Milliseconds until the sign of life came. Absent: none came, or none was waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<u64>,
}

/// Generations of a device's desired state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Generations {
    /// Newest generation that the control plane wants. 0: nothing was ever desired of the device.
    pub desired: u64,
    /// Newest generation that the device has applied, within `status.epoch`.
    pub applied: u64,
}

/// One workload on one device, as the device reports it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadStatus {
    /// Number of the revision that the device reports.
    pub revision: u64,
    /// Phase that the device reports: `pending`, `fetching`, `starting`, `running`, `unhealthy`,
    /// `backoff`, `stopped`, `failed` or `paused`.
    #[schema(value_type = String)]
    pub phase: Phase,
    /// Number of restarts of this revision on the device.
    pub restarts: u32,
    /// Process id of the workload's main process. Null: no process runs, or the workload is not run
    /// as a process.
    pub pid: Option<u32>,
    /// Container of the workload. Absent: none is there, or the workload is not run as a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerStatus>,
    /// Reason for the phase in words, as the device reports it; may be empty.
    pub reason: String,
    /// Progress of a download that takes long, at the last report. Absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download: Option<Download>,
    /// State as far as it is known now. Absent: the workload is not desired any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Time at which the state began. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Time at which the phase was first reported. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase_since: Option<String>,
    /// State when the device was last heard, given while `state` is `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_state: Option<State>,
}

/// Devices of a device's site that share downloads with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NeighbourList {
    /// The devices, at most 64.
    pub neighbours: Vec<NeighbourOfSite>,
}

/// Another device of a site, which shares downloads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NeighbourOfSite {
    /// Name of the device.
    pub device: String,
    /// Addresses with port at which it serves its neighbours, as it reported them.
    pub addresses: Vec<String>,
}

impl From<Neighbours> for NeighbourList {
    fn from(list: Neighbours) -> Self {
        let one = |it: Neighbour| NeighbourOfSite {
            device: it.device.to_string(),
            addresses: it.addresses,
        };
        Self { neighbours: list.neighbours.into_iter().map(one).collect() }
    }
}

/// Progress of what a device downloads for a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Download {
    /// Number of bytes that are on the device.
    pub done: u64,
    /// Number of bytes in all.
    pub total: u64,
    /// Bytes a second.
    pub rate: u64,
    /// Seconds that are left at this rate. Absent: nothing came lately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
    /// Place that the bytes come from: `whole` (the control plane), `delta` (the control plane, the
    /// difference alone), `neighbour` (another device of the site) or `other`.
    #[schema(value_type = String)]
    pub from: Origin,
}

impl From<Progress> for Download {
    fn from(progress: Progress) -> Self {
        let Progress { done, total, rate, from } = progress;
        Self { done, total, rate, seconds_left: progress.seconds_left(), from }
    }
}

impl std::fmt::Display for Download {
    /// Writes `42% of 191Mi, 12Ki/s, 2h left, from a neighbour`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = u128::from(self.done) * 100 / u128::from(self.total.max(1));
        write!(f, "{percent}% of {}, {}/s", size(self.total), size(self.rate))?;
        if let Some(seconds) = self.seconds_left {
            write!(f, ", {} left", length(seconds))?;
        }
        match self.from {
            Origin::Whole | Origin::Other => Ok(()),
            Origin::Delta => f.write_str(", as a delta"),
            Origin::Neighbour => f.write_str(", from a neighbour"),
        }
    }
}

/// A problem of a device that an operator should know of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Stable word for programs, such as `link-budget`.
    pub code: String,
    /// Description of the problem, in words.
    pub message: String,
    /// Time at which the problem was first reported. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Consequences of the problem, in words, one for each item.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consequences: Vec<String>,
    /// Text that says what a person can do about the problem. Absent: the control plane does not
    /// know the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
    /// Part of the device that the problem is about. Absent: the control plane does not know the
    /// code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub area: Option<ProblemArea>,
}

/// Part of a device that a problem is about: where more is shown of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemArea {
    /// The agent, its disk, its clock or its identity.
    Device,
    /// The link and its budget.
    Link,
    /// Data streams: their ways in, the buffer, their policies.
    Streams,
}

/// Request of `PATCH /api/v1/devices/{name}`: labels to set or remove.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelPatch {
    /// Labels to set, by key. A null value removes the label.
    pub labels: BTreeMap<String, Option<String>>,
    /// Resource version of the device that the change is based on. When it is not the present one,
    /// the request is refused as a conflict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<u64>,
}
