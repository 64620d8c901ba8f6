//! Devices that are away, and what is to be thought of that.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is to be thought of a device that is offline or was never connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Absence {
    /// Nothing says that it may be away, or it is away for longer than it may.
    Unexpected,
    /// A `DevicePolicy` says that it may be away, still or always.
    Expected,
    /// A `DevicePolicy` says that it is to be left out while it is away.
    Ignored,
}

impl Absence {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Unexpected, Self::Expected, Self::Ignored];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unexpected => "unexpected",
            Self::Expected => "expected",
            Self::Ignored => "ignored",
        }
    }
}

/// What holds for a device's absence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AbsenceStatus {
    /// Name of the `DevicePolicy` that holds. Absent: none chooses the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// What it says, such as `alarm after 12 h`, `expected` or `ignored`.
    pub rule: String,
    /// What is to be thought of its absence. Absent: it is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Absence>,
    /// False when it is away against expectation.
    pub expected: bool,
    /// When its absence becomes an alarm, or became one. Absent: never, or it is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm_at: Option<String>,
    /// Further documents that choose it: they have fewer conditions, or come later by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overridden: Vec<String>,
    /// Of those: as many conditions as the one that holds, and another rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<String>,
}

/// The devices on which a `DevicePolicy` holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyAbsence {
    /// How many those are.
    pub devices: u64,
    /// Of those: connected now.
    pub connected: u64,
    /// Of those: away as expected.
    pub expected: u64,
    /// Of those: away and ignored.
    pub ignored: u64,
    /// Of those: away against expectation.
    pub unexpected: u64,
    /// The first of those that are away as expected, or ignored; at most 20.
    #[serde(default)]
    pub expected_names: Vec<String>,
    /// The first of those that are away against expectation; at most 20.
    #[serde(default)]
    pub unexpected_names: Vec<String>,
    /// Devices that it chooses and on which another document holds.
    pub overridden: u64,
    /// Those documents; at most 20.
    #[serde(default)]
    pub overridden_by: Vec<String>,
    /// Devices on which it holds though another one has as many conditions and says something else.
    pub conflicts: u64,
}
