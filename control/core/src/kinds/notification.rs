//! `Notification`: who is told of which alarms.

use super::{Facts, Kind};
use crate::admission::{At, notification};
use crate::notification::MAX_NOTIFICATIONS;
use crate::records::Policy;
use holdfast_api::selector::Selector;

/// Implementation of the kind `Notification`.
#[derive(Debug)]
pub(super) struct Notification;

impl Kind for Notification {
    fn facts(&self) -> Facts {
        Facts {
            document: "Notification",
            word: "notification",
            plural: "notifications",
            most: MAX_NOTIFICATIONS,
            on_devices: false,
            says: "it says of which alarms, and where to",
        }
    }

    fn decode(&self, spec: &At<'_>) -> Option<(Selector, Policy)> {
        notification::notification(spec)
    }
}
