//! Messages to receivers: one message is about the alarms of one group.

use serde::{Deserialize, Serialize};

use super::known::Known;
use holdfast_api::Severity;
use holdfast_api::time::rfc3339;
use holdfast_base::ids::Name;

/// Most alarms that a message lists; the rest is only counted.
pub const LISTED: usize = 20;

/// Most devices that a title names.
const NAMED: usize = 3;

/// Longest text of an alarm in a message, in bytes.
const MAX_TEXT: usize = 500;

/// Type of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The group has alarms.
    Firing,
    /// The last alarm of the group has ended.
    Resolved,
    /// A person tries the notification; there are no alarms.
    Test,
}

impl Status {
    /// Returns the word of the type in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
            Self::Test => "test",
        }
    }
}

/// Alarm as a message lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Name of the device.
    pub device: String,
    /// Kind of the alarm, such as `lost` or `failing`.
    pub kind: String,
    /// Code of a problem, or name of a failing workload. Empty for other kinds.
    pub code: String,
    /// Urgency of the alarm.
    pub severity: Severity,
    /// Sentence about the alarm. Empty in a message about its end.
    pub message: String,
    /// Start of the alarm, RFC 3339.
    pub since: String,
}

impl Listed {
    pub(super) fn of(device: &Name, alarm: &Known) -> Self {
        let mut message = alarm.message.clone();
        crate::records::cut(&mut message, MAX_TEXT);
        Self {
            device: device.to_string(),
            kind: alarm.kind.clone(),
            code: alarm.code.clone(),
            severity: alarm.severity,
            message,
            since: rfc3339(alarm.since),
        }
    }
}

/// Message to a receiver: the body of a webhook, and the content of mail and alerts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Id of the message. It is the same in every attempt, so a receiver can recognize duplicates.
    pub id: String,
    /// Version of this format.
    pub version: u8,
    /// Name of the `Notification` document.
    pub notification: String,
    /// Type of the message.
    pub status: Status,
    /// Severity of the most urgent alarm.
    pub severity: Severity,
    /// Values that the alarms have in common, by the words of `groupBy`.
    pub group: std::collections::BTreeMap<String, String>,
    /// Title of one line for people.
    pub title: String,
    /// Text for people: the title, then a line for each listed alarm.
    pub text: String,
    /// Number of alarms that last.
    pub count: usize,
    /// Number of alarms that are reported for the first time.
    pub new: usize,
    /// Number of alarms that ended since the previous message of the group.
    pub ended: usize,
    /// Start of the oldest alarm, RFC 3339.
    pub since: String,
    /// Time at which the message was made, RFC 3339.
    pub at: String,
    /// Alarms of the group, at most 20: new ones first, then the most urgent.
    pub alarms: Vec<Listed>,
    /// Address of the dashboard's page about notifications.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// Inputs of a message.
pub(super) struct Parts<'a> {
    pub(super) id: String,
    pub(super) notification: &'a Name,
    pub(super) status: Status,
    pub(super) group: &'a [(String, String)],
    pub(super) alarms: Vec<Listed>,
    pub(super) severity: Severity,
    pub(super) count: usize,
    pub(super) new: usize,
    pub(super) ended: usize,
    pub(super) since: u64,
    pub(super) now: u64,
    pub(super) link: Option<&'a str>,
}

impl Message {
    pub(super) fn new(parts: Parts<'_>) -> Self {
        let title = title(&parts);
        let mut text = title.clone();
        for alarm in &parts.alarms {
            let said = if alarm.message.is_empty() {
                String::new()
            } else {
                format!(": {}", alarm.message)
            };
            let code =
                if alarm.code.is_empty() { String::new() } else { format!(" {}", alarm.code) };
            let (device, kind, since) = (&alarm.device, &alarm.kind, &alarm.since);
            text.push_str(&format!("\n- {device}: {kind}{code}{said} (since {since})"));
        }
        let total = parts.count.max(if parts.status == Status::Resolved { parts.ended } else { 0 });
        if total > parts.alarms.len() {
            text.push_str(&format!("\nand {} more", total - parts.alarms.len()));
        }
        let link = parts.link.map(page);
        if let Some(link) = &link {
            text.push_str(&format!("\n{link}"));
        }
        Self {
            id: parts.id,
            version: 1,
            notification: parts.notification.to_string(),
            status: parts.status,
            severity: parts.severity,
            group: parts.group.iter().cloned().collect(),
            title,
            text,
            count: parts.count,
            new: parts.new,
            ended: parts.ended,
            since: rfc3339(parts.since),
            at: rfc3339(parts.now),
            alarms: parts.alarms,
            link,
        }
    }

    /// Creates a test message, which shows that the receiver can be reached. `by` is the person who
    /// asked for it.
    pub fn test(id: String, notification: &Name, by: &str, now: u64, link: Option<&str>) -> Self {
        let title = format!("Test: notification {notification} reaches you");
        Self {
            id,
            version: 1,
            notification: notification.to_string(),
            status: Status::Test,
            severity: Severity::Info,
            group: [("kind".to_owned(), "test".to_owned())].into(),
            text: format!("{title}\nSent by {by}. There is no alarm."),
            title,
            count: 0,
            new: 0,
            ended: 0,
            since: rfc3339(now),
            at: rfc3339(now),
            alarms: Vec::new(),
            link: link.map(page),
        }
    }
}

/// Returns the address of the page about notifications below the dashboard's address.
fn page(link: &str) -> String {
    format!("{}/notifications", link.trim_end_matches('/'))
}

/// Returns a title such as `Critical: 3000 alarms, the first on gw-1, gw-2, gw-3 (lost, site
/// berlin)`.
fn title(parts: &Parts<'_>) -> String {
    let word = match (parts.status, parts.severity) {
        (Status::Resolved, _) => "Resolved",
        (_, Severity::Critical) => "Critical",
        (_, Severity::Warning) => "Warning",
        (_, Severity::Info) => "Info",
    };
    let said = |(key, value): &(String, String)| match key.as_str() {
        "kind" => value.clone(),
        key => format!("{key} {value}"),
    };
    let group: Vec<String> = parts
        .group
        .iter()
        .filter(|(key, value)| !value.is_empty() && key != "severity")
        .map(said)
        .collect();
    let group = if group.is_empty() { String::new() } else { format!(" ({})", group.join(", ")) };
    let count = if parts.status == Status::Resolved { parts.ended } else { parts.count };
    if let ([only], 1) = (parts.alarms.as_slice(), count) {
        let what = if only.message.is_empty() {
            format!("{} {}", only.kind, only.code).trim_end().to_owned()
        } else {
            only.message.clone()
        };
        return format!("{word}: {}: {what}{group}", only.device);
    }
    let mut names: Vec<&str> = Vec::new();
    for alarm in &parts.alarms {
        if !names.contains(&alarm.device.as_str()) && names.len() < NAMED {
            names.push(&alarm.device);
        }
    }
    let first = match names.as_slice() {
        [] => String::new(),
        names => format!(", the first on {}", names.join(", ")),
    };
    format!("{word}: {count} alarms{first}{group}")
}
