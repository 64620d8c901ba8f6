//! Alarms that the engine keeps, and what it is given in a turn.

use holdfast_base::ids::{Labels, Name};

use super::silence::Silence;
use crate::notification::Notification;
use holdfast_api::Severity;
use holdfast_api::selector::Selector;

/// Alarm of a device as it is shown to the engine in a pass.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Kind of the alarm, such as `lost` or `failing`.
    pub kind: &'a str,
    /// Code of a problem, or name of a failing workload. Empty for other kinds.
    pub code: &'a str,
    /// Urgency of the alarm.
    pub severity: Severity,
    /// Sentence about the alarm for people.
    pub message: &'a str,
    /// Start of the alarm, in seconds since 1970. 0: not known.
    pub since: u64,
    /// False if the device is offline, so that this is its state when it was last heard.
    pub is_known: bool,
}

/// Alarm that the engine keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Kind of the alarm, such as `lost` or `failing`.
    pub kind: String,
    /// Code of a problem, or name of a failing workload. Empty for other kinds.
    pub code: String,
    /// Urgency of the alarm.
    pub severity: Severity,
    /// Sentence about the alarm for people.
    pub message: String,
    /// Start of the alarm, in seconds since 1970.
    pub since: u64,
    /// Number of the pass in which it was seen last.
    pub(super) pass: u64,
    /// Time since which the alarm is not seen any more, in seconds since 1970. `None` while it
    /// lasts.
    pub gone: Option<u64>,
    /// True if the device is offline, so that the alarm may be over already.
    pub unheard: bool,
    /// True if an acknowledgement or a silence applies to the alarm.
    pub(super) muted: bool,
}

/// Alarms of one device.
#[derive(Debug, Clone, Default)]
pub struct Tracked {
    pub(super) labels: Labels,
    pub(super) alarms: Vec<Known>,
}

impl Known {
    pub(super) fn is(&self, kind: &str, code: &str) -> bool {
        self.kind == kind && self.code == code
    }

    /// Updates the alarm with what is seen of it in this pass. Returns true if something has
    /// changed that people see.
    pub(super) fn renew(&mut self, seen: Seen<'_>, pass: u64, now: u64) -> bool {
        // A device may report the same code twice; the first one counts.
        if self.pass == pass {
            return false;
        }
        self.pass = pass;
        let since = if seen.since == 0 {
            // An alarm that was gone and returns begins now.
            if self.gone.is_some() { now } else { self.since }
        } else {
            seen.since.min(now)
        };
        let changed = self.gone.is_some()
            || self.unheard == seen.is_known
            || self.severity != seen.severity
            || self.since != since;
        if changed || self.message != seen.message {
            self.severity = seen.severity;
            self.message = seen.message.into();
            self.since = since;
            self.gone = None;
            self.unheard = !seen.is_known;
        }
        changed
    }
}

/// Presence of a device of which an alarm was not seen in a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// The device is heard, so alarms that it does not report are over.
    Heard,
    /// The device is not heard, so nothing is known about its alarms.
    Silent,
    /// The device was deleted or revoked.
    Gone,
}

/// Write to the store: a key and its value. `None` deletes the key.
pub type Write = (String, Option<Vec<u8>>);

/// `Notification` document as the engine needs it.
#[derive(Debug, Clone)]
pub struct Document {
    /// Name of the document.
    pub name: Name,
    /// Devices whose alarms are reported.
    pub devices: Selector,
    /// Settings of the document.
    pub notification: Notification,
}

/// Inputs of a turn.
pub struct Turn<'a> {
    /// Time of the turn, in seconds since 1970.
    pub now: u64,
    /// All `Notification` documents.
    pub documents: &'a [Document],
    /// All acknowledgements and silences.
    pub silences: &'a [Silence],
    /// Function that returns the presence of a device.
    pub presence: &'a dyn Fn(&Name) -> Presence,
}

/// Returns the next id of a message, from a random number and the count of those before.
pub(super) fn fresh((seed, next): &mut (u64, u64)) -> String {
    *next += 1;
    format!("{seed:016x}-{next}")
}
