//! `LinkBudget`: bytes that a device's link may carry in a period.

use super::{Facts, Kind, Preview, placed};
use crate::admission::{At, data};
use crate::desired::{Documents, approved};
use crate::records::{MAX_POLICIES, Policy, PolicyKind, PolicyRecord};
use holdfast_api::selector::Selector;

/// Implementation of the kind `LinkBudget`.
#[derive(Debug)]
pub(super) struct LinkBudget;

impl Kind for LinkBudget {
    fn facts(&self) -> Facts {
        Facts {
            document: "LinkBudget",
            word: "linkbudget",
            plural: "linkbudgets",
            most: MAX_POLICIES,
            on_devices: true,
            says: "it says how much, and where",
        }
    }

    fn decode(&self, spec: &At<'_>) -> Option<(Selector, Policy)> {
        data::link_budget(spec)
    }

    fn preview(&self, documents: &Documents<'_>, record: &PolicyRecord) -> Preview {
        let changed = placed(documents, &record.key());
        Preview { changed, streams: 0, warning: shadowed(documents, record) }
    }
}

/// Returns a warning when another budget takes precedence on some of the devices.
fn shadowed(documents: &Documents<'_>, record: &PolicyRecord) -> Option<String> {
    let model = documents.model();
    let mut names: Vec<&str> = Vec::new();
    let mut count = 0;
    for device in approved(model) {
        let labels = &device.record.labels;
        if !record.devices.matches(labels) {
            continue;
        }
        let first = documents.policies().find(|other| {
            other.policy.kind() == PolicyKind::LinkBudget && other.devices.matches(labels)
        });
        if let Some(first) = first.filter(|first| first.name != record.name) {
            count += 1;
            if !names.contains(&first.name.as_str()) && names.len() < 5 {
                names.push(first.name.as_str());
            }
        }
    }
    (count > 0).then(|| {
        format!(
            "on {count} of its devices another budget holds, the first by name: {}",
            names.join(", ")
        )
    })
}
