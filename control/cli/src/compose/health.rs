//! `healthcheck` of a service: the probe of its container.

use serde_json::{Map, Value, json};

use super::node::{Item, Tree};
use super::notes::Level::Warning;
use super::quantity::{duration, write_duration};

/// Interval and timeout of Compose, in milliseconds.
const USUAL: u64 = 30_000;
/// Shortest time that the control plane takes, in milliseconds.
const SHORTEST: u64 = 10;
/// Longest time that the control plane takes, in milliseconds: a day.
const LONGEST: u64 = 24 * 3_600_000;

/// Reads a health check; returns it as a document has it. None: there is none, or it is switched off.
pub(super) fn health(item: &Item<'_>) -> Option<Value> {
    let fields = item.fields();
    let off = fields.get("disable").and_then(|item| item.flag()).unwrap_or(false);
    let test = fields.get("test");
    let time = |key: &str, usual: u64, least: u64| {
        let Some(item) = fields.get(key) else { return usual };
        match item.parsed("a duration, such as 30s", duration) {
            // Compose takes 0 for "the default".
            Some(0) => usual,
            Some(millis) => millis.clamp(least, LONGEST),
            None => usual,
        }
    };
    let (interval, timeout) = (time("interval", USUAL, SHORTEST), time("timeout", USUAL, SHORTEST));
    let start = time("start_period", 0, 0);
    let retries = fields.get("retries").and_then(|item| {
        item.parsed("a number, 1 to 1000", |text| {
            text.parse::<u32>().ok().filter(|number| *number <= 1_000)
        })
    });
    fields.end(&[(
        "start_interval",
        Warning,
        "not honoured: the probe is asked at its interval from the start",
    )]);
    if off {
        return None;
    }
    let Some(test) = test else {
        item.unsupported("not honoured without test: the health check of the image is not used here; write it as test");
        return None;
    };
    let command = command(&test)?;
    let mut health = Map::new();
    health.insert("exec".into(), json!({ "command": command }));
    health.insert("interval".into(), write_duration(interval));
    health.insert("timeout".into(), write_duration(timeout));
    health.insert("failures".into(), retries.filter(|number| *number > 0).unwrap_or(3).into());
    if start > 0 {
        health.insert("startPeriod".into(), write_duration(start));
    }
    Some(Value::Object(health))
}

/// Reads the command of a test. None: it is `NONE`, or a fault was noted.
fn command(test: &Item<'_>) -> Option<Vec<String>> {
    let shell = |text: &str| vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()];
    if let Tree::Text(text) = &test.node.tree {
        return Some(shell(text));
    }
    let words: Vec<&str> = test.list().iter().filter_map(|item| item.text()).collect();
    match words.as_slice() {
        ["NONE", ..] => None,
        ["CMD", program @ ..] if !program.is_empty() => {
            Some(program.iter().map(|word| (*word).to_owned()).collect())
        }
        ["CMD-SHELL", text] => Some(shell(text)),
        _ => {
            test.fault("expected a text, or a list that begins with CMD, CMD-SHELL or NONE and has a command behind it");
            None
        }
    }
}
