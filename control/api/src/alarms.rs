//! Alarms, what mutes them, and how those who are told of them are reached.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Severity;

/// Which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Muting {
    /// Somebody looks after the alarms that were active then; it ends with them.
    Acknowledgement,
    /// Alarms that match are not notified until it ends, those that begin meanwhile included.
    Silence,
}

/// Whether anybody is told of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlarmState {
    /// It is told to whomever a notification names.
    Firing,
    /// Somebody looks after it.
    Acknowledged,
    /// It is not told for a time.
    Silenced,
}

impl AlarmState {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Acknowledged => "acknowledged",
            Self::Silenced => "silenced",
        }
    }
}

/// Something about one device that needs a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alarm {
    /// The device.
    pub device: String,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// `lost`, `never-seen`, `certificate`, `failing`, `problem` or `waiting`.
    pub kind: String,
    /// Of a problem its code, of what fails the workload's name; empty: it has none.
    pub code: String,
    /// How urgent it is.
    pub severity: Severity,
    /// In words.
    pub message: String,
    /// Since when.
    pub since: String,
    /// Whether anybody is told.
    pub state: AlarmState,
    /// The device is not heard now: the alarm is as it was when it was heard last.
    pub unheard: bool,
    /// What mutes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<Silence>,
    /// Notifications that have told of it.
    pub told: Vec<String>,
}

/// An acknowledgement or a silence: which alarms are not told, by whom and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Silence {
    /// Its id.
    pub id: String,
    /// Which of the two.
    #[serde(rename = "type")]
    pub muting: Muting,
    /// Alarms of this kind alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Alarms with this code alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Alarms of this device alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Alarms of devices with these labels alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<String>,
    /// Who made it: the id of an access token.
    pub by: String,
    /// Why; may be empty.
    pub note: String,
    /// When it was made.
    pub at: String,
    /// When it ends; absent: with the alarms that it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Alarms that it mutes now.
    pub alarms: u64,
}

/// `POST /api/v1/alarms/acknowledge` and `/silence`: which alarms, and why. At least one of `kind`,
/// `code`, `device` and `labelSelector` is given; all that are given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewSilence {
    /// Alarms of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Alarms with this code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Alarms of this device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Alarms of devices with these labels: `key=value,key2!=value,key3,!key4,key5 in (a,b)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<String>,
    /// Why, for the next shift; at most 1,000 bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// When it ends, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// In how many seconds it ends, in the place of `until`. A silence needs one of the two; an
    /// acknowledgement ends with its alarms otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_seconds: Option<u64>,
}

/// How those whom a `Notification` names are reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// `webhook`, `email` or `alertmanager`.
    pub receiver: String,
    /// Where it leads, without secrets.
    pub place: String,
    /// When a message was last delivered; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<String>,
    /// When an attempt last failed; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
    /// Why it failed, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Since when every attempt fails; absent: the last one did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<String>,
    /// Messages that wait to be delivered.
    pub queued: u64,
    /// Messages delivered.
    pub sent: u64,
    /// Messages that were given up after a day, or dropped because 500 waited.
    pub dropped: u64,
    /// Groups of alarms that were told and last still.
    pub open: u64,
}

/// The answer to `POST /api/v1/notifications/{name}/test`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tested {
    /// Whether the receiver took the message.
    pub delivered: bool,
    /// What it said, or why it was not reached.
    pub answer: String,
    /// How long that took, in milliseconds.
    pub millis: u64,
}
