//! What a receiver is told: one message about the alarms of a group.

use serde::{Deserialize, Serialize};

use super::Known;
use holdfast_api::Severity;
use holdfast_api::time::rfc3339;
use holdfast_base::ids::Name;

/// Alarms that a message lists one by one; the others are a number.
pub const LISTED: usize = 20;

/// Devices that a title names.
const NAMED: usize = 3;

/// Longest text of an alarm in a message, in bytes.
const MAX_TEXT: usize = 500;

/// What a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// There are alarms.
    Firing,
    /// There are none any more.
    Resolved,
    /// Somebody tries the notification.
    Test,
}

impl Status {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
            Self::Test => "test",
        }
    }
}

/// One alarm in a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The device.
    pub device: String,
    /// `lost`, `failing` and so on.
    pub kind: String,
    /// Of a problem its code, of what fails the workload's name; may be empty.
    pub code: String,
    /// How urgent it is.
    pub severity: Severity,
    /// In words.
    pub message: String,
    /// Since when, RFC 3339.
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

/// A message: the body of a webhook, and what mail and alerts are made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// The same in every attempt to deliver it: whoever gets it twice knows it by this.
    pub id: String,
    /// Version of this shape.
    pub version: u8,
    /// The notification's name.
    pub notification: String,
    /// Firing, resolved or a test.
    pub status: Status,
    /// That of the most urgent alarm.
    pub severity: Severity,
    /// What the alarms have in common, by the words of `groupBy`.
    pub group: std::collections::BTreeMap<String, String>,
    /// One line for people.
    pub title: String,
    /// Several lines for people: the title and each listed alarm.
    pub text: String,
    /// How many alarms there are now.
    pub count: usize,
    /// How many of them are told for the first time.
    pub new: usize,
    /// How many have ended since the message before.
    pub ended: usize,
    /// Since when the oldest of them lasts, RFC 3339.
    pub since: String,
    /// When the message was made, RFC 3339.
    pub at: String,
    /// The first of the alarms, at most 20: new ones first, then the most urgent.
    pub alarms: Vec<Listed>,
    /// Where people look further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// What a message is made from.
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

    /// A message that only shows that the way to the receiver works.
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

/// The page of alarms below an address.
fn page(link: &str) -> String {
    format!("{}/notifications", link.trim_end_matches('/'))
}

/// `Critical: 3000 alarms, the first on gw-1, gw-2, gw-3 (lost, site berlin)`.
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
