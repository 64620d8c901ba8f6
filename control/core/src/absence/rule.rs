//! Rule for the absence of a device: what the `DevicePolicy` documents that select it say together.
//!
//! See decision 0132.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_base::ids::Name;
use serde::{Deserialize, Serialize};

/// Most `DevicePolicy` documents. Each of them is matched against the labels of every device.
pub const MAX_DEVICE_POLICIES: usize = 200;

/// Setting of a `DevicePolicy` for devices that are offline (`whenOffline` in its document).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WhenOffline {
    /// A device may be away for this many seconds; a longer absence is an alarm.
    AlarmAfter(u64),
    /// A device may be away for any length of time.
    Expected,
    /// A device may be away for any length of time, and while it is away it counts as ignored and
    /// has no alarm of any kind.
    Ignore,
}

impl WhenOffline {
    /// Returns the setting as people read it: `alarm after 12 h`, `expected` or `ignored`.
    pub fn words(self) -> String {
        match self {
            Self::AlarmAfter(seconds) => format!("alarm after {}", exactly(seconds)),
            Self::Expected => "expected".to_owned(),
            Self::Ignore => "ignored".to_owned(),
        }
    }
}

/// Formats a duration in seconds in the largest unit that expresses it exactly: `12 h`, `90 min`.
pub(crate) fn exactly(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
    let fits = |(unit, _): &&(u64, &str)| seconds >= *unit && seconds.is_multiple_of(*unit);
    match units.iter().find(fits) {
        Some((unit, word)) => format!("{} {word}", seconds / unit),
        None => format!("{seconds} s"),
    }
}

/// Result of all `DevicePolicy` documents that select a device. Devices selected by the same
/// documents share one rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// Names of the documents that select the device, the one in effect first. Empty if none does.
    pub policies: Vec<Name>,
    /// Setting of the document in effect. `None` if no document selects the device.
    pub when: Option<WhenOffline>,
    /// Names of the other documents that have as many conditions as the one in effect but another
    /// setting.
    pub conflicts: Vec<Name>,
    /// Time at which this control plane began to serve, in seconds since 1970. No device can have
    /// been connected to it before.
    pub started: u64,
}

/// Rules made so far, by the names of the documents that select the devices.
pub type Made = BTreeMap<Vec<Name>, Arc<Rule>>;
