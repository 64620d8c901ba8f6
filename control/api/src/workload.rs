//! Workloads and their revisions, with their states.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::document::Metadata;
use super::jobs::WorkloadPauses;

/// State of one workload on one device that should run it. `done` is a job that ended successfully;
/// `unknown` means that the device is offline or does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The workload runs in the desired revision.
    Running,
    /// The workload fails, or failed and has not run well for a minute since.
    Failing,
    /// The desired revision does not run yet.
    Progressing,
    /// The workload is a job that ended successfully.
    Done,
    /// An operator has paused the workload.
    Paused,
    /// The device is offline or does not answer, so the present state is not known.
    Unknown,
}

impl State {
    /// Returns the state's word in the API, such as `running`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Failing => "failing",
            Self::Progressing => "progressing",
            Self::Done => "done",
            Self::Paused => "paused",
            Self::Unknown => "unknown",
        }
    }
}

/// A workload: its document and its state over all devices.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Always `holdfast/v1`.
    pub api_version: String,
    /// Always `Workload`.
    pub kind: String,
    /// Name and labels of the workload.
    pub metadata: Metadata,
    /// Specification of the workload, as it was applied.
    pub spec: Value,
    /// Counts of devices by the workload's state on them.
    pub status: WorkloadSummary,
    /// Devices on which the workload is paused. Absent: it is paused nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<WorkloadPauses>,
}

/// Counts of a workload's devices by its state on them. The counts from `running` to `unknown` add
/// up to `desired`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadSummary {
    /// Number of the workload's newest revision.
    pub revision: u64,
    /// Number of devices that should run the workload.
    pub desired: u64,
    /// Devices on which this revision runs.
    pub running: u64,
    /// Devices that can be reached and do not run this revision yet.
    pub progressing: u64,
    /// Devices on which it fails, or failed and has not run well for a minute since.
    pub failing: u64,
    /// Devices on which it is a job that ended successfully.
    #[serde(default)]
    #[schema(required)]
    pub done: u64,
    /// Devices on which an operator has paused it.
    #[serde(default)]
    #[schema(required)]
    pub paused: u64,
    /// Devices that are offline or do not answer; they catch up when they are back.
    #[serde(default)]
    #[schema(required)]
    pub unknown: u64,
    /// Devices among the `unknown` on which this revision ran, or was done, when they were last
    /// heard.
    #[serde(default)]
    #[schema(required)]
    pub last_running: u64,
    /// Devices among the `unknown` that are away as a `DevicePolicy` expects, or ignored.
    #[serde(default)]
    #[schema(required)]
    pub away: u64,
    /// State of the workload as a whole: the first of `WorkloadState` that applies.
    #[serde(default)]
    #[schema(required)]
    pub state: WorkloadState,
}

/// State of a workload over all its devices. The first of these that applies is taken, so that one
/// failing device makes the whole workload `failing`: `unplaced` (no device should run it),
/// `failing`, `progressing`, `unknown` (a device is offline), `paused`, `done` (a job that ended
/// successfully), `running`. Devices that are away as expected do not count while others run it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WorkloadState {
    /// No device should run the workload.
    #[default]
    Unplaced,
    /// The workload fails on at least one device.
    Failing,
    /// At least one device does not run the desired revision yet.
    Progressing,
    /// At least one device is offline that no `DevicePolicy` expects to be, or all are away.
    Unknown,
    /// The workload is paused on at least one device.
    Paused,
    /// The workload runs, or is done, on all its devices that are not away as expected.
    Running,
    /// The workload is a job that ended successfully on all its devices that are not away as
    /// expected.
    Done,
}

/// One immutable revision of a workload.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// Always `holdfast/v1`.
    pub api_version: String,
    /// Always `Revision`.
    pub kind: String,
    /// Name of the revision, `<workload>.<number>`, and the time at which it was created.
    pub metadata: Metadata,
    /// Name of the workload.
    pub workload: String,
    /// Number of the revision within its workload, from 1.
    pub revision: u64,
    /// Id of the access token that applied the revision.
    pub created_by: String,
    /// Comment of the access token at that time, by which its holder is known. Absent: it is known
    /// by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by_name: Option<String>,
    /// True for the workload's present revision.
    #[serde(default)]
    pub current: bool,
    /// Number of devices that report this revision.
    #[serde(default)]
    pub devices: u64,
    /// Paths in `spec` that differ from the revision before, at most 20. Empty for the oldest
    /// revision that is kept.
    #[serde(default)]
    pub changed: Vec<String>,
    /// Specification of the workload, as it was applied.
    pub spec: Value,
}
