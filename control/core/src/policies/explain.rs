//! Why a policy document is not in force everywhere.

use super::is_desired;
use crate::desired::approved;
use crate::kinds::Looked;
use crate::records::PolicyRecord;
use holdfast_api::count::{count, either};
use holdfast_api::{Explanation, PolicyStatus};

/// Most reasons in an explanation.
const REASONS: usize = 20;

/// Explains on which devices a document is not in force. A document that chooses no devices is in
/// force unless its status has a problem.
pub(crate) fn in_force(
    looked: &Looked<'_>,
    record: &PolicyRecord,
    status: &PolicyStatus,
) -> Explanation {
    let key = record.key();
    let (kind, name) = &key;
    let chooses = kind.facts().chooses;
    let mut reasons = status.misfits.clone();
    let seen = approved(looked.model).filter(|device| looked.sight.sees(&device.record.labels));
    for device in seen.filter(|device| is_desired(device, &key)) {
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
