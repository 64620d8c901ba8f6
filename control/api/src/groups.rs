//! Counts of devices over the last day, and by the values of a label.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Response to `GET /api/v1/fleet/trend`: counts of devices over the last 24 hours.
///
/// The counts are kept in memory: nothing is known of the time before the control plane started,
/// and nobody counted between two points that are further apart than `everySeconds`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trend {
    /// Time at which counting began: the start of the control plane.
    pub since: String,
    /// Seconds between two points when none was missed.
    pub every_seconds: u64,
    /// Points, the oldest first. Counting begins a minute after the start, when devices have had
    /// time to reconnect.
    pub items: Vec<TrendPoint>,
}

/// Number of devices by state at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrendPoint {
    /// Time of the count.
    pub at: String,
    /// Devices that were connected.
    pub online: u64,
    /// Devices among `online` on which a workload failed, or that reported a problem.
    pub unhealthy: u64,
    /// Devices that were offline after having been connected.
    pub offline: u64,
    /// Devices that had enrolled and were never connected.
    pub never_seen: u64,
}

/// Response to `GET /api/v1/groups`: devices by the values of a label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeviceGroups {
    /// Key of the label.
    pub by: String,
    /// Groups, those with most trouble first: the most devices that fail, have a problem, are
    /// unknown or were never seen. At most 500.
    pub items: Vec<DeviceGroup>,
    /// Number of further groups that are not listed.
    pub more: u64,
}

/// Devices with one value of a label, counted by their state. Each device is in one of the counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceGroup {
    /// Value of the label. Null: the devices without the label.
    pub value: Option<String>,
    /// Number of devices in the group.
    pub devices: u64,
    /// Devices that are connected, on which everything runs or is done, and that report no problem.
    pub healthy: u64,
    /// Devices on which a workload fails.
    pub failing: u64,
    /// Devices that report a problem, and on which no workload fails.
    pub problem: u64,
    /// Devices on which a workload is not in its desired revision yet.
    pub progressing: u64,
    /// Devices that are offline.
    pub unknown: u64,
    /// Devices that have enrolled and were never connected.
    pub never_seen: u64,
    /// Devices that wait for approval.
    pub pending: u64,
    /// Devices that are revoked and may not connect any more.
    pub revoked: u64,
}
