//! Delivery to Alertmanager's API v2. A group of alarms is one alert. It is sent repeatedly while
//! it fires, and ends by itself when the control plane is gone for long.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::tls;
use crate::api::time::rfc3339;
use crate::core::alarms::{Message, Outcome, Status};
use crate::core::notification::Alertmanager;

/// Number of repetitions that may be lost before an alert ends by itself, as in Prometheus.
const REPEATS: u64 = 4;

/// Life of a test message's alert, in seconds.
const TEST: u64 = 60;

pub(super) async fn deliver(
    receiver: &Alertmanager,
    message: &Message,
    now: u64,
    since: u64,
    repeat: u64,
) -> Outcome {
    let url = format!("{}/api/v2/alerts", receiver.url);
    let client = tls::client(&url, receiver.ca.as_deref())?;
    let body = json!([alert(receiver, message, now, since, repeat)]);
    let mut request = client.post(&url).json(&body);
    for (name, value) in &receiver.headers {
        request = request.header(name, value);
    }
    tls::send(request, "the Alertmanager").await
}

/// Converts a message to an alert.
fn alert(receiver: &Alertmanager, message: &Message, now: u64, since: u64, repeat: u64) -> Value {
    let mut labels: BTreeMap<String, String> = receiver.labels.clone();
    let kind = message.group.get("kind").map_or("alarm", String::as_str);
    labels.insert("alertname".into(), format!("Holdfast{}", capital(kind)));
    labels.insert("notification".into(), message.notification.clone());
    labels.insert("severity".into(), message.severity.as_str().into());
    // Alertmanager treats an empty label as a missing one.
    let group = message.group.iter().filter(|(_, value)| !value.is_empty());
    labels.extend(group.map(|(key, value)| (label(key), value.clone())));
    let end = match message.status {
        Status::Firing => now.saturating_add(repeat.saturating_mul(REPEATS)),
        Status::Resolved => now,
        Status::Test => now + TEST,
    };
    let starts = if since == 0 { now } else { since };
    let mut annotations = json!({ "summary": message.title, "description": message.text });
    let devices: Vec<&str> = message.alarms.iter().map(|alarm| alarm.device.as_str()).collect();
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.insert("count".into(), message.count.to_string().into());
        annotations.insert("devices".into(), devices.join(", ").into());
    }
    let mut alert = json!({
        "labels": labels, "annotations": annotations,
        "startsAt": rfc3339(starts), "endsAt": rfc3339(end),
    });
    if let (Some(link), Some(alert)) = (&message.link, alert.as_object_mut()) {
        alert.insert("generatorURL".into(), link.clone().into());
    }
    alert
}

/// Converts a key to a valid name of a Prometheus label.
fn label(key: &str) -> String {
    let good = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    let mut label: String = key.chars().map(good).collect();
    if label.starts_with(|c: char| c.is_ascii_digit()) {
        label.insert(0, '_');
    }
    label
}

/// Converts a word such as `never-seen` to `NeverSeen`.
fn capital(word: &str) -> String {
    let mut out = String::new();
    for part in word.split('-') {
        let mut letters = part.chars();
        out.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        out.extend(letters);
    }
    out
}
