//! Overview of the fleet, labels in use, and differences between desired and reported state.

use std::collections::BTreeMap;

use holdfast_protocol::message::Phase;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Response to `GET /api/v1/fleet`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fleet {
    /// True when nothing needs a look: every device that should be there is online and healthy, and
    /// every workload runs or is done.
    pub settled: bool,
    /// State of the fleet in one sentence.
    pub summary: String,
    /// Number of devices by state.
    pub devices: DeviceCounts,
    /// Number of workloads by state.
    pub workloads: WorkloadCounts,
    /// Things that need a person, the most urgent first; at most 50.
    pub attention: Vec<AttentionItem>,
    /// Number of further things that need a person and are not listed.
    pub more_attention: u64,
    /// Devices by the label `site`, the sites with most trouble first; at most 500.
    pub sites: Vec<Site>,
    /// Number of further sites that are not listed.
    pub more_sites: u64,
}

/// Number of devices by state. Each device is counted in one of `online`, `offline`, `neverSeen`,
/// `expectedAway`, `ignored`, `pending` and `revoked`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceCounts {
    /// Number of all devices.
    pub total: u64,
    /// Devices that are connected now.
    pub online: u64,
    /// Devices that were connected before and are not now, without a `DevicePolicy` that expects
    /// it.
    pub offline: u64,
    /// Devices that wait for approval.
    pub pending: u64,
    /// Devices that are revoked and may not connect any more.
    pub revoked: u64,
    /// Devices that have enrolled and were never connected, without a `DevicePolicy` that expects
    /// it.
    pub never_seen: u64,
    /// Devices that are offline or were never connected, as a `DevicePolicy` expects.
    #[serde(default)]
    #[schema(required)]
    pub expected_away: u64,
    /// Devices that are offline or were never connected, and that a `DevicePolicy` leaves out.
    #[serde(default)]
    #[schema(required)]
    pub ignored: u64,
    /// Devices among `online`, and not among `unhealthy`, that were not heard for longer than their
    /// keep-alive allows: their state is unknown.
    #[serde(default)]
    #[schema(required)]
    pub overdue: u64,
    /// Devices among `online` on which a workload fails, or that report a problem.
    pub unhealthy: u64,
}

/// Number of workloads by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkloadCounts {
    /// Number of all workloads.
    pub total: u64,
    /// Workloads that run on all their devices, or run on some and are done on the others.
    pub running: u64,
    /// Workloads that are done on all their devices.
    pub done: u64,
    /// Workloads that do not run the desired revision on some device yet.
    pub progressing: u64,
    /// Workloads that fail on at least one device.
    pub failing: u64,
    /// Workloads that neither fail nor progress, and of which a device is offline unexpectedly, or
    /// all devices are away as expected.
    pub unknown: u64,
    /// Workloads that are paused on some device, and neither fail nor progress.
    pub paused: u64,
    /// Workloads that no device should run.
    pub unplaced: u64,
}

/// Urgency of an alarm: `critical` (something does not work), `warning` (something will stop
/// working if nobody acts) or `info` (somebody waits, such as a device for its approval).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something does not work.
    Critical,
    /// Something will stop working if nobody acts.
    Warning,
    /// Somebody waits, such as a device for its approval.
    Info,
}

impl Severity {
    /// Returns the urgency's word in the API, such as `critical`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }

    /// Reads an urgency from its word in the API. None: there is no such word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Critical, Self::Warning, Self::Info].into_iter().find(|one| one.as_str() == word)
    }
}

/// Something that needs a person, with the devices that it concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttentionItem {
    /// Kind: `problem`, `lost`, `never-seen`, `certificate`, `waiting` or `failing`, each as of an
    /// alarm; or `notification`, whose receiver cannot be reached.
    pub kind: String,
    /// Code of the problem, or name of the failing workload or of the notification. Absent for
    /// other kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Greatest urgency among the devices.
    pub severity: Severity,
    /// Description in words.
    pub message: String,
    /// Time at which the first of the alarms began. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Number of devices that it concerns.
    pub count: u64,
    /// Devices that are offline, so that the description is as of when they were last heard.
    #[serde(default)]
    #[schema(required)]
    pub unknown: u64,
    /// Devices whose alarm is acknowledged; see `GET /api/v1/silences`.
    #[serde(default)]
    #[schema(required)]
    pub acknowledged: u64,
    /// Devices whose alarm is silenced until a set time.
    #[serde(default)]
    #[schema(required)]
    pub silenced: u64,
    /// Names of the first five devices.
    pub devices: Vec<String>,
    /// Query parameters of `GET /api/v1/devices` that list the devices.
    pub query: BTreeMap<String, String>,
}

/// Devices with the same value of the label `site`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Site {
    /// Value of the label `site`. Empty: devices without the label.
    pub site: String,
    /// Number of devices at the site.
    pub total: u64,
    /// Devices that are connected now.
    pub online: u64,
    /// Approved devices that are unexpectedly offline, also those that were never connected.
    pub offline: u64,
    /// Devices that are away as a `DevicePolicy` expects.
    #[serde(default)]
    #[schema(required)]
    pub expected_away: u64,
    /// Devices that are away and that a `DevicePolicy` leaves out.
    #[serde(default)]
    #[schema(required)]
    pub ignored: u64,
    /// Devices among `online` on which a workload fails, or that report a problem.
    pub unhealthy: u64,
    /// Devices among `unhealthy` on which a workload fails.
    pub failing: u64,
    /// Devices among `online`, and not among `unhealthy`, that were not heard for longer than their
    /// keep-alive allows.
    #[serde(default)]
    #[schema(required)]
    pub overdue: u64,
}

/// Response to `GET /api/v1/labels`: labels that devices have, for suggestions.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = LabelsInUse)]
pub struct Labels {
    /// Keys of labels, the most used first; at most 500.
    pub items: Vec<LabelKey>,
}

/// A label key, and its values in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelKey {
    /// Key of the label.
    pub key: String,
    /// Number of devices that have the label.
    pub devices: u64,
    /// Values of the label, the most used first; at most 50.
    pub values: Vec<LabelValue>,
    /// Number of further values that are not listed.
    pub more_values: u64,
}

/// A label value, and its use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LabelValue {
    /// Value of the label.
    pub value: String,
    /// Number of devices that have this value.
    pub devices: u64,
}

/// Response to `GET /api/v1/devices/{name}/differences`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Differences {
    /// Workloads that are desired of the device or reported by it, ordered by name.
    pub items: Vec<Difference>,
}

/// One workload on one device: the desired revision beside the reported one.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Name of the workload.
    pub workload: String,
    /// Revision that the device should run. Absent: the workload is not desired any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_revision: Option<u64>,
    /// Revision that the device reports. Absent: none is reported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_revision: Option<u64>,
    /// Phase that the device reports: `pending`, `fetching`, `starting`, `running`, `unhealthy`,
    /// `backoff`, `stopped`, `failed` or `paused`. Absent: none is reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub phase: Option<Phase>,
    /// State of the workload and its reason, in words.
    pub reason: String,
    /// True when the workload is as desired, as far as it is known now.
    pub as_desired: bool,
    /// State as far as it is known now. Absent: the workload is not desired any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<crate::workload::State>,
    /// State when the device was last heard, given while `state` is `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_state: Option<crate::workload::State>,
    /// Time at which the state began. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}
