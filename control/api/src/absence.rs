//! Absence of devices: what a `DevicePolicy` says of a device that is not connected.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Assessment of a device that is offline or was never connected: `unexpected` (no `DevicePolicy`
/// allows it to be away, or it is away for longer than allowed), `expected` (a `DevicePolicy`
/// allows it), or `ignored` (a `DevicePolicy` leaves it out of everything while it is away).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Absence {
    /// No `DevicePolicy` allows the device to be away, or it is away for longer than allowed.
    Unexpected,
    /// A `DevicePolicy` allows the device to be away, for this long or always.
    Expected,
    /// A `DevicePolicy` leaves the device out of everything while it is away.
    Ignored,
}

impl Absence {
    /// Every assessment, each once.
    pub const ALL: [Self; 3] = [Self::Unexpected, Self::Expected, Self::Ignored];

    /// Returns the assessment's word in the API, such as `expected`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unexpected => "unexpected",
            Self::Expected => "expected",
            Self::Ignored => "ignored",
        }
    }
}

/// Rule for the absence of a device, and its present effect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AbsenceStatus {
    /// Name of the `DevicePolicy` that applies. Absent: none chooses the device, and the default
    /// applies (an alarm after 5 minutes offline, or 15 minutes without a first connection).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Rule that applies, in words: `alarm after 12 h`, `expected` or `ignored`.
    pub rule: String,
    /// Assessment of the present absence. Absent: the device is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Absence>,
    /// False when the device is away and that is unexpected; true otherwise.
    pub expected: bool,
    /// Time at which the absence becomes an alarm, or became one. Absent: never, or the device is
    /// connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm_at: Option<String>,
    /// Other `DevicePolicy` documents that choose the device. They have fewer conditions, or as
    /// many and a name that comes later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overridden: Vec<String>,
    /// Documents among `overridden` that have as many conditions as the one that applies, and
    /// another rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<String>,
}

/// Devices to which a `DevicePolicy` applies, counted by their absence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyAbsence {
    /// Number of devices to which the document applies.
    pub devices: u64,
    /// Devices that are connected now.
    pub connected: u64,
    /// Devices that are away as expected.
    pub expected: u64,
    /// Devices that are away and ignored.
    pub ignored: u64,
    /// Devices that are away unexpectedly.
    pub unexpected: u64,
    /// Names of the first devices that are away as expected or ignored, at most 20.
    #[serde(default)]
    pub expected_names: Vec<String>,
    /// Names of the first devices that are away unexpectedly, at most 20.
    #[serde(default)]
    pub unexpected_names: Vec<String>,
    /// Number of devices that the document chooses but to which another document applies.
    pub overridden: u64,
    /// Names of those other documents, at most 20.
    #[serde(default)]
    pub overridden_by: Vec<String>,
    /// Number of devices to which the document applies although another one has as many conditions
    /// and another rule.
    pub conflicts: u64,
}
