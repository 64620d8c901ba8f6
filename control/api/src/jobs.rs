//! What operators have done with workloads besides applying them: going back to a former
//! revision, restarts, pauses.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::AppliedDocument;

/// `POST /api/v1/workloads/{name}/rollback`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rollback {
    /// Number of the revision whose document is applied again; the last one that differs from the
    /// present one unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// When given and not the workload's present one: refused as a conflict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<u64>,
}

/// The answer to [`Rollback`]: as [`super::Applied`], and which revision it was.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RolledBack {
    /// Number of the revision whose document was applied again.
    pub to: u64,
    /// What became of it: one document.
    pub results: Vec<AppliedDocument>,
}

/// On which devices: named ones, those with certain labels, or, with neither, every device that
/// should run the workload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OnDevices {
    /// These devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<String>>,
    /// The devices that have these labels now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<String>,
}

/// The answer to a pause or its end; the first hundred devices of each list are named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PauseResult {
    /// Whether it holds everywhere, also on devices that come later.
    pub everywhere: bool,
    /// Devices for which something changed.
    pub devices: Vec<String>,
    /// How many those are.
    pub device_count: u64,
    /// Those of them that are offline: they follow when they are back.
    pub offline: Vec<String>,
    /// How many those are.
    pub offline_count: u64,
}

/// How far a restart of many devices is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RestartProgress {
    /// Devices that have answered.
    pub answered: u64,
    /// Devices that are asked.
    pub of: u64,
}

/// A device on which a workload was not restarted, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotRestarted {
    /// The device.
    pub device: String,
    /// Why, in words.
    pub reason: String,
}

/// What became of a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestartResult {
    /// Devices that say that it was restarted.
    pub restarted: Vec<String>,
    /// Devices that were asked and say that it was not, or say nothing.
    pub failed: Vec<NotRestarted>,
    /// Devices that were not asked: offline, or paused there. It is not restarted there later.
    pub not_asked: Vec<NotRestarted>,
}

/// A line of a streamed answer: one of both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum RestartLine {
    /// How far it is.
    Progress(RestartProgress),
    /// What became of it; the last line.
    Result(RestartResult),
}

/// That a workload is paused: who did it, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Paused {
    /// The access token's id.
    pub by: String,
    /// When.
    pub at: String,
}

/// Where a workload is paused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadPauses {
    /// On every device, also on those that come later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub everywhere: Option<Paused>,
    /// On single devices, the first hundred by name.
    #[serde(default)]
    pub devices: Vec<PausedOn>,
    /// How many those are.
    #[serde(default)]
    pub device_count: u64,
    /// Devices on which it was resumed though it is paused everywhere, the first hundred.
    #[serde(default)]
    pub except: Vec<String>,
    /// How many those are.
    #[serde(default)]
    pub except_count: u64,
}

/// A device on which a workload is paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PausedOn {
    /// The device.
    pub device: String,
    /// The access token's id.
    pub by: String,
    /// When.
    pub at: String,
}
