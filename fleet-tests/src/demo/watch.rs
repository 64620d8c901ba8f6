//! Live changes from the control plane's event stream, which is opened again whenever it breaks.

use std::sync::mpsc::Sender;
use std::time::Duration;

use serde_json::Value;

use super::Happening;
use crate::harness::Https;

/// Pause before the stream is opened again.
const RETRY: Duration = Duration::from_millis(300);

/// Event of the control plane, as the demo shows it.
#[derive(Debug)]
pub(super) struct Change {
    at: String,
    kind: String,
    name: String,
    what: String,
}

impl Change {
    fn of(event: &Value) -> Self {
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        // Only the time of `2026-11-23T22:39:14Z` is shown: the day is known.
        let at = text("at").get(11..19).unwrap_or("--:--:--").to_owned();
        Self { at, kind: text("type"), name: text("name"), what: text("message") }
    }

    /// Returns the event as one line.
    pub(super) fn line(&self) -> String {
        format!("{}  {:<8}  {:<12}  {}", self.at, self.kind, self.name, self.what)
    }
}

/// Sends every change from about now on to the demo, from a thread that ends with the program.
pub(super) fn start(https: Https, tell: Sender<Happening>) {
    std::thread::spawn(move || {
        let mut heard = true;
        while heard {
            // The stream of a control plane that was stopped ends; it is opened again.
            let _broken = https.lines("/api/v1/events", |line| {
                let event = line.strip_prefix("data: ").map(serde_json::from_str::<Value>);
                // A heartbeat tells no change: it has a time alone.
                let is_change = |event: &Value| event["type"].is_string();
                if let Some(Ok(event)) = event
                    && is_change(&event)
                {
                    heard = tell.send(Happening::Changed(Change::of(&event))).is_ok();
                }
                heard
            });
            std::thread::sleep(RETRY);
        }
    });
}
