//! Delivery of a notification's messages, as people read it: the status of its document, and an
//! explanation.

use std::collections::BTreeMap;

use holdfast_base::ids::Name;

use super::Standing;
use crate::model::Model;
use crate::notification::Notification;
use crate::records::PolicyRecord;
use holdfast_api::count::{count, either};
use holdfast_api::time::rfc3339;
use holdfast_api::{Delivery, Explanation, PolicyStatus};

/// Delivery state of each notification, by its name.
pub type Standings = BTreeMap<Name, Standing>;

/// Builds a notification's status: the number of devices that it is about, and the state of its
/// delivery.
pub fn status(
    told: &Standings,
    model: &Model,
    record: &PolicyRecord,
    notification: &Notification,
) -> PolicyStatus {
    let chosen = model.devices.values();
    let chosen = chosen.filter(|device| record.devices.matches(&device.record.labels));
    let devices = chosen.count() as u64;
    let standing = told.get(&record.name).cloned().unwrap_or_default();
    let at = |seconds: u64| (seconds > 0).then(|| rfc3339(seconds));
    let delivery = Delivery {
        receiver: notification.to.word().into(),
        place: notification.to.place(),
        last_success: at(standing.last_success),
        last_failure: at(standing.last_failure),
        last_error: Some(standing.last_error).filter(|why| !why.is_empty()),
        failing_since: at(standing.failing_since),
        queued: standing.queued as u64,
        sent: standing.sent,
        dropped: standing.dropped,
        open: standing.open as u64,
    };
    let problems = u64::from(standing.failing_since > 0);
    PolicyStatus {
        devices,
        applied: devices,
        problems,
        delivery: Some(delivery),
        ..PolicyStatus::default()
    }
}

/// Explains a notification's delivery.
pub fn explain(name: &str, delivery: &Delivery, devices: u64) -> Explanation {
    let mut reasons = Vec::new();
    if let (Some(since), Some(why)) = (&delivery.failing_since, &delivery.last_error) {
        reasons.push(format!("every attempt since {since} failed: {why}"));
    }
    if delivery.queued > 0 {
        let wait = either(delivery.queued, "message waits", "messages wait");
        reasons.push(format!("{wait} to be delivered"));
    }
    if delivery.dropped > 0 {
        let were = either(delivery.dropped, "message was", "messages were");
        reasons.push(format!("{were} given up"));
    }
    if devices == 0 {
        reasons.push("its spec.devices matches the labels of no device".into());
    }
    let reached = match (&delivery.failing_since, &delivery.last_success) {
        (Some(_), _) => "its receiver is not reached".to_owned(),
        (None, Some(at)) => format!("its receiver was last reached at {at}"),
        (None, None) => "nothing was told yet".to_owned(),
    };
    let devices_said = count(devices, "device");
    let summary = format!("alarms of {devices_said} to {}: {reached}", delivery.place);
    let settled = delivery.failing_since.is_none() && devices > 0;
    Explanation {
        kind: "notification".into(),
        name: name.into(),
        settled,
        summary,
        reasons,
        hints: Vec::new(),
    }
}
