//! Alarms, acknowledgements and silences, and the delivery of notifications.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fleet::Severity;

/// Kind of a muting of alarms: an acknowledgement or a silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Muting {
    /// Somebody looks after the alarms that were active then; it ends with them.
    Acknowledgement,
    /// Alarms that match are not notified until it ends, those that begin meanwhile included.
    Silence,
}

/// Notification state of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlarmState {
    /// The alarm is notified.
    Firing,
    /// The alarm is acknowledged: somebody looks after it, and it is not notified until it ends.
    Acknowledged,
    /// The alarm is silenced: it is not notified until a set time.
    Silenced,
}

impl AlarmState {
    /// Returns the state's word in the API, such as `firing`.
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
    /// Name of the device.
    pub device: String,
    /// Labels of the device.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Kind of the alarm: `lost`, `never-seen`, `certificate`, `failing`, `problem` or `waiting`.
    pub kind: String,
    /// Code of the problem, or name of the failing workload. For an expired certificate: `expired`.
    /// Empty for other alarms.
    pub code: String,
    /// Urgency of the alarm.
    pub severity: Severity,
    /// Description of the alarm, in words.
    pub message: String,
    /// Time at which the alarm began.
    pub since: String,
    /// Notification state: firing, acknowledged or silenced.
    pub state: AlarmState,
    /// True when the device cannot be heard now, so that the alarm is as it was when the device was
    /// last heard.
    pub unheard: bool,
    /// Acknowledgement or silence that mutes the alarm. Absent: none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<Silence>,
    /// Names of the notifications whose receiver took a message about the alarm.
    pub told: Vec<String>,
    /// Names of the notifications that have a message about the alarm which their receiver did not
    /// take: it is not reached, or the message was given up.
    #[serde(default)]
    pub undelivered: Vec<String>,
}

/// An acknowledgement or a silence: alarms that are not notified, who asked for that, and until
/// when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Silence {
    /// Id of the entry, by which it is deleted.
    pub id: String,
    /// Kind of the entry: `acknowledgement` or `silence`.
    #[serde(rename = "type")]
    pub muting: Muting,
    /// Kind of alarm that matches. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Code of the alarms that match. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Name of the device whose alarms match. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Label selector of the devices whose alarms match. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<String>,
    /// Id of the access token that created the entry.
    pub by: String,
    /// Comment of the access token at that time, by which its holder is known. Absent: it is known
    /// by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_name: Option<String>,
    /// Note on the reason; may be empty.
    pub note: String,
    /// Time at which the entry was created.
    pub at: String,
    /// Time at which the entry ends. Absent: it ends with the alarms that it matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Number of alarms that the entry mutes now.
    pub alarms: u64,
}

/// Request of `POST /api/v1/alarms/acknowledge` and `POST /api/v1/alarms/silence`.
///
/// At least one of `kind`, `code`, `device` and `labelSelector` must be given. An alarm matches
/// when all that are given do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewSilence {
    /// Kind of alarm that matches, such as `lost`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Code of the alarms that match: a problem's code or a workload's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Name of the device whose alarms match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Label selector of the devices whose alarms match, such as
    /// `key=value,key2!=value,key3,!key4,key5 in (a,b)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<String>,
    /// Note on the reason, for the next shift; at most 1,000 bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Time at which the entry ends, RFC 3339; at most 366 days ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Seconds until the entry ends, in place of `until`. A silence needs one of the two. An
    /// acknowledgement without either ends with its alarms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_seconds: Option<u64>,
}

/// Delivery of a `Notification`: successes, failures and the queue of its receiver.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// Kind of the receiver: `webhook`, `email` or `alertmanager`.
    pub receiver: String,
    /// Address of the receiver, without secrets.
    pub place: String,
    /// Time of the last successful delivery. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<String>,
    /// Time of the last failed attempt. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
    /// Reason of the last failure, in words. Absent: no attempt has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Time since which every attempt has failed. Absent: the last attempt succeeded, or there was
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<String>,
    /// Number of messages that wait for delivery.
    pub queued: u64,
    /// Number of messages delivered.
    pub sent: u64,
    /// Number of messages that were given up after a day, or dropped because 500 were waiting.
    pub dropped: u64,
    /// Number of groups of alarms that were notified and have not ended.
    pub open: u64,
}

/// Response to `POST /api/v1/notifications/{name}/test`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tested {
    /// True when the receiver accepted the test message.
    pub delivered: bool,
    /// Reply of the receiver, or the reason why it was not reached.
    pub answer: String,
    /// Duration of the attempt in milliseconds.
    pub millis: u64,
}
