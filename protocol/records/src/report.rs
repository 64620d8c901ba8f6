//! Data part of a state report: a device's streams, buffer, link and horizon.
//!
//! See decision 0121.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::name::StreamName;
use super::policy::{Period, TrafficClass};
use holdfast_base::ids::Name;

/// Most streams in a report; the busiest are kept.
pub const MAX_REPORTED_STREAMS: usize = 200;

/// State of a device's data; replaces what was reported before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataReport {
    /// Streams by name, at most [`MAX_REPORTED_STREAMS`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub streams: BTreeMap<StreamName, StreamReport>,
    /// State of the device's buffer.
    pub storage: Storage,
    /// Use of the link in the present period.
    pub link: LinkUse,
    /// Time until which the device can go on without the control plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon: Option<Horizon>,
}

/// State of one stream on its device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamReport {
    /// Document whose policy applies to the stream; absent: the default policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Name>,
    /// Last sequence number that was assigned.
    pub last: u64,
    /// Number of records that are to be shipped and not yet acknowledged.
    pub waiting: u64,
    /// Bytes of the stream on disk, shipped or not.
    pub bytes: u64,
    /// Time of the oldest record on the device, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<u64>,
    /// Reason, in words, why the policy has not its full effect, such as a field that the records
    /// do not have; empty: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub problem: String,
}

/// State of a device's buffer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// Bytes in use on the device's disk.
    pub used: u64,
    /// Most bytes that the buffer may use.
    pub quota: u64,
    /// Bytes written to flash since the buffer was created, for any purpose.
    pub written: u64,
    /// Years for which the configured flash endurance lasts at the present rate, in hundredths;
    /// absent: not configured, or not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_years_hundredths: Option<u32>,
}

/// Use of the link in the present period of its budget; without a budget the period is a day.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkUse {
    /// Start of the period, in seconds since 1970.
    pub since: u64,
    /// Kind of period; absent: the agent does not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
    /// Time of the figures, in seconds since 1970; 0: the agent does not tell it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub at: u64,
    /// Seconds for which [`ClassUse::recent`] was counted: about an hour, less after the agent's
    /// start.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub watched: u64,
    /// Bytes that may be used in the period; absent: unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<u64>,
    /// Use of the link by class.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub classes: BTreeMap<TrafficClass, ClassUse>,
}

/// Bytes of one traffic class in the present period, headers estimated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassUse {
    /// Bytes sent by the device.
    pub sent: u64,
    /// Bytes received by the device.
    pub received: u64,
    /// Share of the budget in bytes, both directions together; absent: unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<u64>,
    /// Bytes that count against the budget, weighted by the cost of the interface; absent: `sent`
    /// and `received` together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charged: Option<u64>,
    /// Bytes of `charged` counted in the last hour, see [`LinkUse::watched`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub recent: u64,
    /// Time until which the class waits for the budget, in seconds since 1970; 0: it continues
    /// little by little as its share fills; [`NEVER`]: this share is too small for it ever to
    /// continue. Absent: it does not wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<u64>,
}

/// Value of [`ClassUse::waits`] for a share too small to continue with.
pub const NEVER: u64 = u64::MAX;

impl ClassUse {
    /// Returns the bytes that count against the budget.
    pub fn used(&self) -> u64 {
        self.charged.unwrap_or_else(|| self.sent.saturating_add(self.received))
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Horizon of a device: the time until which it can go on alone, and what ends that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Horizon {
    /// End of the horizon, in seconds since 1970.
    pub until: u64,
    /// Event that ends the horizon.
    pub cause: HorizonCause,
    /// Stream or store concerned, in words; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// Event that ends the time for which a device can go on alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HorizonCause {
    /// The device's certificate ends. It can still be renewed; workloads go on.
    Certificate,
    /// A quota will be used up by records that are not shipped.
    Buffer,
    /// The disk will be full.
    Disk,
    /// The device's clock is not reliable.
    Clock,
}

impl HorizonCause {
    /// Returns the word for the cause on the wire, in the API and on the command line, such as
    /// `certificate`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Buffer => "buffer",
            Self::Disk => "disk",
            Self::Clock => "clock",
        }
    }
}
