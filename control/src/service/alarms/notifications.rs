//! Notifications among the documents of a tenant.

use crate::core::alarms::Document;
use crate::core::model::Model;
use crate::core::notification::Notification;
use crate::core::records::{Policy, PolicyKind};

/// Returns the notifications among the documents.
pub(super) fn documents(model: &Model) -> Vec<Document> {
    let records = model.policies.values().map(|known| &known.record);
    records
        .filter_map(|record| match &record.policy {
            Policy::Notification { notification } => Some(Document {
                name: record.name.clone(),
                devices: record.devices.clone(),
                notification: (**notification).clone(),
            }),
            _ => None,
        })
        .collect()
}

pub(super) fn notification(model: &Model, name: &str) -> Option<Notification> {
    let key = (PolicyKind::Notification, name.parse().ok()?);
    match &model.policies.get(&key)?.record.policy {
        Policy::Notification { notification } => Some((**notification).clone()),
        _ => None,
    }
}
