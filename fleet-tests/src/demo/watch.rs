//! Live changes from the control plane's event stream, which is opened again whenever it breaks.

use std::sync::mpsc::Sender;
use std::time::Duration;

use serde_json::Value;

use super::inbox::{Change, Happening};
use crate::harness::Https;

/// Pause before the stream is opened again.
const RETRY: Duration = Duration::from_millis(300);

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
