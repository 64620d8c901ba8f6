//! The fleet over the last day, and devices grouped by a label.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /api/v1/fleet/trend`: counts of devices over the last 24 hours. They are kept in memory:
/// nothing is known of the time before the control plane started, and where two points are further
/// apart than usual nobody counted in between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trend {
    /// When counting began: the start of the control plane.
    pub since: String,
    /// Seconds between two points, where nothing was left out.
    pub every_seconds: u64,
    /// Oldest first; none in the first minute, while devices come back.
    pub items: Vec<TrendPoint>,
}

/// Devices at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrendPoint {
    /// When.
    pub at: String,
    /// Connected.
    pub online: u64,
    /// Of those: a workload failed on them, or they reported a problem.
    pub unhealthy: u64,
    /// Not connected, and were before.
    pub offline: u64,
    /// Enrolled, and were never connected.
    pub never_seen: u64,
}

/// `GET /api/v1/groups`: devices by the values of a label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeviceGroups {
    /// The label's key.
    pub by: String,
    /// The most trouble first (failing, with a problem, unknown, never seen); at most 500.
    pub items: Vec<DeviceGroup>,
    /// How many more groups there are.
    pub more: u64,
}

/// The devices with one value of a label, by state: each device is in one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceGroup {
    /// The value. Null: of the devices without this label.
    pub value: Option<String>,
    /// All of them.
    pub devices: u64,
    /// Connected, everything runs or is done, and no problem is reported.
    pub healthy: u64,
    /// A workload fails on them.
    pub failing: u64,
    /// They report a problem, and no workload fails.
    pub problem: u64,
    /// A workload is not there yet.
    pub progressing: u64,
    /// Offline.
    pub unknown: u64,
    /// Enrolled, and were never connected.
    pub never_seen: u64,
    /// Wait for approval.
    pub pending: u64,
    /// May not connect any more.
    pub revoked: u64,
}
