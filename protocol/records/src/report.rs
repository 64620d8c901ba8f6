//! What a device says of its streams, its link and its horizon, within its state report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::name::StreamName;
use super::policy::{Period, TrafficClass};
use holdfast_base::ids::Name;

/// Most streams that a report tells of; the busiest.
pub const MAX_REPORTED_STREAMS: usize = 200;

/// Everything about data; replaces what was reported before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataReport {
    /// At most [`MAX_REPORTED_STREAMS`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub streams: BTreeMap<StreamName, StreamReport>,
    /// The buffer.
    pub storage: Storage,
    /// The link's use in the present period.
    pub link: LinkUse,
    /// Until when the device can go on alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon: Option<Horizon>,
}

/// One stream on its device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamReport {
    /// The document whose policy holds; absent: the default's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Name>,
    /// The last sequence number given.
    pub last: u64,
    /// Records that are to be shipped and are not acknowledged yet.
    pub waiting: u64,
    /// Bytes on disk, shipped or not.
    pub bytes: u64,
    /// Time of the oldest record on the device, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<u64>,
    /// Why the policy does not do what it says, in words (a field that records do not have).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub problem: String,
}

/// The buffer of a device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// Bytes in use.
    pub used: u64,
    /// Bytes that it may use.
    pub quota: u64,
    /// Bytes written to flash since the buffer was made, for whatever cause.
    pub written: u64,
    /// Years that the configured endurance lasts at the present rate, in hundredths; absent: not
    /// configured, or not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_years_hundredths: Option<u32>,
}

/// The link in the present period of its budget (without one: the day).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkUse {
    /// When the period began, in seconds since 1970.
    pub since: u64,
    /// Which period it is; absent: an agent that does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
    /// When the figures are of, in seconds since 1970; 0: an agent that does not say it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub at: u64,
    /// How long [`ClassUse::recent`] was counted, in seconds: about an hour, less after the agent's
    /// start.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub watched: u64,
    /// Bytes that may be used; absent: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<u64>,
    /// By class.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub classes: BTreeMap<TrafficClass, ClassUse>,
}

/// Bytes of one class, headers estimated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassUse {
    /// Sent by the device.
    pub sent: u64,
    /// Received by it.
    pub received: u64,
    /// Its share of the budget, both directions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<u64>,
    /// What of both counts against the budget, by what the interface costs; absent: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charged: Option<u64>,
    /// Of that: what was counted in the last hour, see [`LinkUse::watched`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub recent: u64,
    /// It waits for the budget until then, in seconds since 1970; 0: it goes on little by little as
    /// its share fills; [`NEVER`]: not with this share. Absent: it does not wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<u64>,
}

/// See [`ClassUse::waits`].
pub const NEVER: u64 = u64::MAX;

impl ClassUse {
    /// Bytes that count against the budget.
    pub fn used(&self) -> u64 {
        self.charged.unwrap_or_else(|| self.sent.saturating_add(self.received))
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Until when a device can go on alone, and what ends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Horizon {
    /// Seconds since 1970.
    pub until: u64,
    /// What ends it.
    pub cause: HorizonCause,
    /// Which stream or store, in words; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// What ends a device's life alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HorizonCause {
    /// Its certificate ends: it can still be renewed, workloads go on.
    Certificate,
    /// A quota will be used up by records that are not shipped.
    Buffer,
    /// The disk will be full.
    Disk,
    /// Its clock cannot be relied on.
    Clock,
}

impl HorizonCause {
    /// The word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Buffer => "buffer",
            Self::Disk => "disk",
            Self::Clock => "clock",
        }
    }
}
