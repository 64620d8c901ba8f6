//! Status of one policy document, and why it is not in force everywhere.

use std::collections::BTreeMap;

use holdfast_base::ids::Name;

use super::{is_desired, statuses};
use crate::desired::approved;
use crate::kinds::Looked;
use crate::records::{PolicyKind, PolicyRecord};
use holdfast_api::count::{count, either};
use holdfast_api::{Explanation, PolicyStatus};

/// Most reasons in an explanation.
const REASONS: usize = 20;

/// Status of the documents of one kind.
#[derive(Debug)]
pub struct Statuses<'a> {
    looked: Looked<'a>,
    /// Status of each document on the devices that got it.
    followed: BTreeMap<Name, PolicyStatus>,
}

impl<'a> Statuses<'a> {
    /// Looks at every device once. `only`: of the document with this name.
    pub fn new(looked: Looked<'a>, kind: PolicyKind, only: Option<&Name>) -> Self {
        Self { looked, followed: statuses(looked.model, kind, only) }
    }

    /// Returns the status of a document.
    pub fn of(&mut self, record: &PolicyRecord) -> PolicyStatus {
        let followed = self.followed.remove(&record.name).unwrap_or_default();
        record.policy.kind().rules().status(&self.looked, record, followed)
    }
}

/// Explains on which devices a document is not in force. A document that chooses no devices is in
/// force unless its status has a problem.
pub(crate) fn in_force(looked: &Looked<'_>, record: &PolicyRecord) -> Explanation {
    let key = record.key();
    let (kind, name) = &key;
    let (model, chooses) = (looked.model, kind.facts().chooses);
    let status = Statuses::new(*looked, *kind, Some(name)).of(record);
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
    let everywhere = !chooses || (status.devices > 0 && status.applied == status.devices);
    let settled = everywhere && status.problems == 0;
    let summary = match (chooses, settled) {
        (true, _) => format!(
            "in force on {} of {} ({})",
            status.applied,
            count(status.devices, "device"),
            either(status.problems, "reports a problem", "report a problem")
        ),
        (false, true) => "in force".to_owned(),
        (false, false) => "not in force".to_owned(),
    };
    Explanation {
        kind: kind.word().into(),
        name: name.to_string(),
        settled,
        summary,
        reasons,
        hints: Vec::new(),
    }
}
