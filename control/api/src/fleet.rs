//! The fleet at a glance, and one device's past and differences.

use std::collections::BTreeMap;

use holdfast_protocol::message::Phase;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /api/v1/fleet`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fleet {
    /// True when nothing needs a look: every device that is expected is online and healthy, and
    /// every workload runs or is done.
    pub settled: bool,
    /// That, in a sentence.
    pub summary: String,
    /// Devices by state.
    pub devices: DeviceCounts,
    /// Workloads by health.
    pub workloads: WorkloadCounts,
    /// What needs a person, most urgent first; at most 50.
    pub attention: Vec<AttentionItem>,
    /// How many more need one.
    pub more_attention: u64,
    /// By the label `site`, biggest trouble first; at most 500.
    pub sites: Vec<Site>,
    /// How many more sites there are.
    pub more_sites: u64,
}

/// Devices by state. Each is one of online, offline, never seen, away as expected, ignored, pending
/// and revoked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceCounts {
    /// All of them.
    pub total: u64,
    /// Connected now.
    pub online: u64,
    /// Not connected, and were before; no `DevicePolicy` expects that.
    pub offline: u64,
    /// Wait for approval.
    pub pending: u64,
    /// May not connect any more.
    pub revoked: u64,
    /// Enrolled, and were never connected; no `DevicePolicy` expects that.
    pub never_seen: u64,
    /// Not connected, or never, as a `DevicePolicy` expects.
    #[serde(default)]
    #[schema(required)]
    pub expected_away: u64,
    /// Not connected, or never, and left out by a `DevicePolicy`.
    #[serde(default)]
    #[schema(required)]
    pub ignored: u64,
    /// Of those online: not heard for longer than their keep-alive.
    #[serde(default)]
    #[schema(required)]
    pub overdue: u64,
    /// Of those online: a workload fails on them, or they report a problem.
    pub unhealthy: u64,
}

/// Workloads by health.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkloadCounts {
    /// All of them.
    pub total: u64,
    /// Run, or are done, on all their devices.
    pub healthy: u64,
    /// Are not there yet on some device.
    pub progressing: u64,
    /// Fail somewhere.
    pub failing: u64,
    /// Neither fail nor progress, and some device is offline that is not expected to be, or all are
    /// away as expected.
    pub unknown: u64,
    /// Are paused on some device, and neither fail nor progress.
    pub paused: u64,
    /// No device is to run them.
    pub unplaced: u64,
}

/// How urgent something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something does not work.
    Critical,
    /// Something will not work.
    Warning,
    /// Somebody waits.
    Info,
}

impl Severity {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }

    /// From its word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Critical, Self::Warning, Self::Info].into_iter().find(|one| one.as_str() == word)
    }
}

/// Something that needs a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttentionItem {
    /// `problem`, `lost`, `never-seen`, `certificate`, `waiting` or `failing`; `notification`: its
    /// receiver, named by `code`, is not reached.
    pub kind: String,
    /// Of a problem its code, of what fails the workload's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// How urgent it is.
    pub severity: Severity,
    /// In words.
    pub message: String,
    /// When the first of them began. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// How many devices it is about.
    pub count: u64,
    /// Of those: are offline, so that it was so when they were last heard.
    #[serde(default)]
    #[schema(required)]
    pub unknown: u64,
    /// Of those: somebody acknowledged it, see `GET /api/v1/silences`.
    #[serde(default)]
    #[schema(required)]
    pub acknowledged: u64,
    /// Of those: it is silenced for a time.
    #[serde(default)]
    #[schema(required)]
    pub silenced: u64,
    /// The first five of them.
    pub devices: Vec<String>,
    /// Query parameters of `GET /api/v1/devices` that list them.
    pub query: BTreeMap<String, String>,
}

/// Those who share a place and a link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Site {
    /// Value of the label `site`; empty: of those without it.
    pub site: String,
    /// Its devices.
    pub total: u64,
    /// Of those: connected now.
    pub online: u64,
    /// Of those: approved and not connected against expectation, those never seen among them.
    pub offline: u64,
    /// Of those: away as a `DevicePolicy` expects.
    #[serde(default)]
    #[schema(required)]
    pub expected_away: u64,
    /// Of those: away and left out by a `DevicePolicy`.
    #[serde(default)]
    #[schema(required)]
    pub ignored: u64,
    /// Of those online: a workload fails on them, or they report a problem.
    pub unhealthy: u64,
    /// Of the unhealthy: a workload fails on them.
    pub failing: u64,
}

/// `GET /api/v1/labels`: the labels of devices, for suggestions.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = LabelsInUse)]
pub struct Labels {
    /// The most used first; at most 500.
    pub items: Vec<LabelKey>,
}

/// A label's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelKey {
    /// The key.
    pub key: String,
    /// Devices that have it.
    pub devices: u64,
    /// Its values, the most used first; at most 50.
    pub values: Vec<LabelValue>,
    /// How many more there are.
    pub more_values: u64,
}

/// A label's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LabelValue {
    /// The value.
    pub value: String,
    /// Devices that have it.
    pub devices: u64,
}

/// `GET /api/v1/devices/{name}/differences`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Differences {
    /// Every workload that is desired of the device or reported by it, by name.
    pub items: Vec<Difference>,
}

/// One workload on one device: what is desired beside what is reported.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Its name.
    pub workload: String,
    /// Absent: not desired any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_revision: Option<u64>,
    /// Absent: not reported (yet).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_revision: Option<u64>,
    /// `pending|fetching|starting|running|unhealthy|backoff|stopped|failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub phase: Option<Phase>,
    /// How it is and why, in words.
    pub reason: String,
    /// Whether that is what is desired, by what is known now.
    pub as_desired: bool,
    /// The state by what is known now. Absent: it is not desired any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<crate::State>,
    /// Of an unknown state: the state when the device was last heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_state: Option<crate::State>,
    /// When the state began. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}
