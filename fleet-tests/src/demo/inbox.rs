//! What reaches the demo from outside: signals, and changes that the control plane tells.

use std::cell::Cell;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::end::{End, Outcome, failed};

/// Event of the control plane, as the demo shows it.
#[derive(Debug)]
pub(super) struct Change {
    at: String,
    kind: String,
    name: String,
    what: String,
}

impl Change {
    /// Reads an event of `/api/v1/events`.
    pub(super) fn of(event: &Value) -> Self {
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

/// Event that reaches the demo from outside.
#[derive(Debug)]
pub(super) enum Happening {
    /// Request to end; with the signal's name.
    Stop(&'static str),
    /// Event read from `/api/v1/events`.
    Changed(Change),
}

/// Queue of the events that reach the demo, in order.
#[derive(Debug)]
pub(super) struct Inbox {
    happenings: Receiver<Happening>,
    pub(super) sender: Sender<Happening>,
    /// Number of changes so far.
    pub(super) changes: Cell<usize>,
}

impl Inbox {
    /// Creates an empty queue.
    pub(super) fn new() -> Self {
        let (sender, happenings) = mpsc::channel();
        Self { happenings, sender, changes: Cell::new(0) }
    }

    /// Returns the next change, or None if none comes within this time.
    pub(super) fn next(&self, within: Duration) -> Outcome<Option<Change>> {
        match self.happenings.recv_timeout(within) {
            Ok(Happening::Changed(change)) => {
                self.changes.set(self.changes.get() + 1);
                Ok(Some(change))
            }
            Ok(Happening::Stop(signal)) => Err(End::Asked(signal)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => failed("nobody listens for signals any more"),
        }
    }

    /// Waits; changes that come meanwhile are not shown.
    pub(super) fn pause(&self, time: Duration) -> Outcome<()> {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            let _not_shown = self.next(left)?;
        }
        Ok(())
    }
}
