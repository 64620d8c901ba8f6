//! Operations on workloads besides applying them: rollbacks, restarts and pauses.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::apply::AppliedDocument;

/// Request of `POST /api/v1/workloads/{name}/rollback`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rollback {
    /// Number of the revision whose document is applied again. Default: the last revision that
    /// differs from the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// Resource version of the workload that the rollback is based on. When it is not the present
    /// one, the request is refused as a conflict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<u64>,
}

/// Response to `POST /api/v1/workloads/{name}/rollback`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RolledBack {
    /// Number of the revision whose document was applied again.
    pub to: u64,
    /// Result of the apply: one document.
    pub results: Vec<AppliedDocument>,
}

/// Choice of devices: by name, by labels, or with neither of the two every device that should run
/// the workload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OnDevices {
    /// Names of the devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<String>>,
    /// Label selector, applied to the labels that devices have now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<String>,
}

/// Response to a pause or a resume. At most 100 devices of each list are named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PauseResult {
    /// True when the pause or resume applies everywhere, also to devices that come later.
    pub everywhere: bool,
    /// Names of the devices for which something changed.
    pub devices: Vec<String>,
    /// Number of devices for which something changed.
    pub device_count: u64,
    /// Names of those among `devices` that are offline: they follow when they are back.
    pub offline: Vec<String>,
    /// Number of devices that are offline and follow later.
    pub offline_count: u64,
}

/// Progress of a restart on many devices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RestartProgress {
    /// Number of devices that have replied.
    pub answered: u64,
    /// Number of devices that were asked.
    pub of: u64,
}

/// A device on which a workload was not restarted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotRestarted {
    /// Name of the device.
    pub device: String,
    /// Reason why the workload was not restarted, in words.
    pub reason: String,
}

/// Result of a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestartResult {
    /// Devices that report that the workload was restarted.
    pub restarted: Vec<String>,
    /// Devices that were asked and report that it was not restarted, or did not reply.
    pub failed: Vec<NotRestarted>,
    /// Devices that were not asked: they are offline, or the workload is paused there. It is not
    /// restarted there later.
    pub not_asked: Vec<NotRestarted>,
}

/// One line of the streamed response to a restart: either progress or the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum RestartLine {
    /// Progress so far.
    Progress(RestartProgress),
    /// Result of the restart, the last line.
    Result(RestartResult),
}

/// Author and time of a pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Paused {
    /// Id of the access token that paused the workload.
    pub by: String,
    /// Comment of the access token at that time, by which its holder is known. Absent: it is known
    /// by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_name: Option<String>,
    /// Time of the pause.
    pub at: String,
}

/// Devices on which a workload is paused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadPauses {
    /// Pause on every device, also on those that come later. Absent: it is not paused everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub everywhere: Option<Paused>,
    /// Devices on which it is paused by name, the first 100.
    #[serde(default)]
    pub devices: Vec<PausedOn>,
    /// Number of devices on which it is paused by name.
    #[serde(default)]
    pub device_count: u64,
    /// Devices on which it was resumed although it is paused everywhere, the first 100.
    #[serde(default)]
    pub except: Vec<String>,
    /// Number of devices in `except`, also those that are not named.
    #[serde(default)]
    pub except_count: u64,
}

/// A device on which a workload is paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PausedOn {
    /// Name of the device.
    pub device: String,
    /// Id of the access token that paused the workload.
    pub by: String,
    /// Comment of the access token at that time, by which its holder is known. Absent: it is known
    /// by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_name: Option<String>,
    /// Time of the pause.
    pub at: String,
}
