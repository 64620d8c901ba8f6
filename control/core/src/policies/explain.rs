//! Status of one policy document, and why it is not in force everywhere.

use std::collections::BTreeMap;

use holdfast_base::ids::Name;

use super::{is_desired, statuses};
use crate::absence;
use crate::alarms::delivery::{self, Standings};
use crate::desired::approved;
use crate::model::Model;
use crate::records::{Policy, PolicyKind, PolicyRecord};
use holdfast_api::count::{count, either};
use holdfast_api::{Explanation, PolicyStatus};

/// Most reasons in an explanation.
const REASONS: usize = 20;

/// Status of the documents of one kind.
#[derive(Debug)]
pub struct Statuses<'a> {
    model: &'a Model,
    /// Delivery states of notifications; empty for other kinds.
    told: &'a Standings,
    /// Status of each document that devices follow.
    followed: BTreeMap<Name, PolicyStatus>,
    now: u64,
}

impl<'a> Statuses<'a> {
    /// Looks at every device once. `told` are the delivery states of notifications (empty for other
    /// kinds), `now` is in seconds since 1970. `only`: of the document with this name.
    pub fn new(
        model: &'a Model,
        told: &'a Standings,
        kind: PolicyKind,
        only: Option<&Name>,
        now: u64,
    ) -> Self {
        Self { model, told, followed: statuses(model, kind, only), now }
    }

    /// Returns the status of a document.
    pub fn of(&mut self, record: &PolicyRecord) -> PolicyStatus {
        match &record.policy {
            Policy::Notification { notification } => {
                delivery::status(self.told, self.model, record, notification)
            }
            Policy::DevicePolicy { .. } => {
                absence::policy_status(self.model, &record.name, self.now)
            }
            Policy::Stream { .. } | Policy::LinkBudget { .. } => {
                self.followed.remove(&record.name).unwrap_or_default()
            }
        }
    }
}

/// Explains why a policy document is not in force everywhere. `told` and `now`: see
/// [`Statuses::new`].
pub fn explain(model: &Model, told: &Standings, record: &PolicyRecord, now: u64) -> Explanation {
    let key = record.key();
    let (kind, name) = &key;
    if *kind == PolicyKind::DevicePolicy {
        return absence::explain_policy(model, record, now);
    }
    let status = Statuses::new(model, told, *kind, Some(name), now).of(record);
    if let Some(delivery) = &status.delivery {
        return delivery::explain(name.as_str(), delivery, status.devices);
    }
    let mut reasons = status.misfits.clone();
    for device in approved(model).filter(|device| is_desired(device, &key)) {
        let on = &device.record.name;
        if device.report.applied.generation != device.desired.generation {
            let state = if device.live.connection == 0 { "offline, " } else { "" };
            reasons.push(format!("{on}: {state}has not applied it yet"));
        }
        if reasons.len() > REASONS {
            break;
        }
    }
    if reasons.len() > REASONS {
        reasons.truncate(REASONS);
        reasons.push("and more".into());
    }
    let settled = status.devices > 0 && status.applied == status.devices && status.problems == 0;
    let summary = format!(
        "in force on {} of {} ({})",
        status.applied,
        count(status.devices, "device"),
        either(status.problems, "reports a problem", "report a problem")
    );
    Explanation {
        kind: kind.word().into(),
        name: name.to_string(),
        settled,
        summary,
        reasons,
        hints: Vec::new(),
    }
}
