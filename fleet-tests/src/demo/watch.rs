//! Live changes: the control plane's own event stream, read anew whenever it breaks.

use std::sync::mpsc::Sender;
use std::time::Duration;

use serde_json::Value;

use super::Happening;
use crate::harness::Https;

/// Pause before the stream is asked for again.
const RETRY: Duration = Duration::from_millis(300);

/// One event.
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
        // `2026-11-23T22:39:14Z`: the day is known.
        let at = text("at").get(11..19).unwrap_or("--:--:--").to_owned();
        Self { at, kind: text("type"), name: text("name"), what: text("message") }
    }

    /// As a line.
    pub(super) fn line(&self) -> String {
        format!("{}  {:<8}  {:<12}  {}", self.at, self.kind, self.name, self.what)
    }
}

/// Tells of every change from about now on, in a thread of its own, until the program ends.
pub(super) fn start(https: Https, tell: Sender<Happening>) {
    std::thread::spawn(move || {
        let mut heard = true;
        while heard {
            // A control plane that was stopped ends the stream; it comes back.
            let _broken = https.lines("/api/v1/events", |line| {
                let event = line.strip_prefix("data: ").map(serde_json::from_str::<Value>);
                if let Some(Ok(event)) = event {
                    heard = tell.send(Happening::Changed(Change::of(&event))).is_ok();
                }
                heard
            });
            std::thread::sleep(RETRY);
        }
    });
}
