//! `Notification`: who is told of which alarms.

use holdfast_protocol::enrol::Fault;
use serde_json::Value;

use super::{Looked, PolicyRules, Preview};
use crate::admission::{At, notification};
use crate::alarms::delivery;
use crate::notification::shown;
use crate::policies::some;
use crate::records::{Policy, PolicyRecord};
use holdfast_api::selector::Selector;
use holdfast_api::{Explanation, PolicyStatus};

/// Implementation of the kind `Notification`.
#[derive(Debug)]
pub(super) struct Notification;

impl PolicyRules for Notification {
    fn spec(&self, at: &At<'_>) -> Option<(Selector, Policy)> {
        notification::notification(at)
    }

    fn effect(&self, devices: u64, _preview: &Preview) -> String {
        format!("sends alarms of {}", some(devices, "device"))
    }

    fn keep_secrets(
        &self,
        written: &mut Value,
        policy: &mut Policy,
        known: Option<&Policy>,
    ) -> Result<(), Vec<Fault>> {
        let Policy::Notification { notification } = policy else { return Ok(()) };
        let stored = known.and_then(|known| match known {
            Policy::Notification { notification } => Some(&**notification),
            _ => None,
        });
        notification.keep_secrets(written, stored)
    }

    fn shown(&self, record: &PolicyRecord) -> Value {
        shown(&record.written)
    }

    fn status(
        &self,
        looked: &Looked<'_>,
        record: &PolicyRecord,
        followed: PolicyStatus,
    ) -> PolicyStatus {
        match &record.policy {
            Policy::Notification { notification } => {
                delivery::status(looked.told, looked.model, record, notification)
            }
            _ => followed,
        }
    }

    fn explain(&self, looked: &Looked<'_>, record: &PolicyRecord) -> Explanation {
        let status = self.status(looked, record, PolicyStatus::default());
        let delivery = status.delivery.unwrap_or_default();
        delivery::explain(record.name.as_str(), &delivery, status.devices)
    }
}
