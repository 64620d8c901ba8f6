//! `DevicePolicy`: whether the absence of devices is expected.

use super::{Facts, Kind, Preview};
use crate::absence::{self as rules, MAX_DEVICE_POLICIES};
use crate::admission::{At, absence};
use crate::apply::impact::CHANGED;
use crate::desired::Documents;
use crate::records::{Policy, PolicyRecord};
use holdfast_api::selector::Selector;

/// Implementation of the kind `DevicePolicy`.
#[derive(Debug)]
pub(super) struct DevicePolicy;

impl Kind for DevicePolicy {
    fn facts(&self) -> Facts {
        Facts {
            document: "DevicePolicy",
            word: "devicepolicy",
            plural: "devicepolicies",
            most: MAX_DEVICE_POLICIES,
            on_devices: false,
            says: "it says whether devices may be away",
        }
    }

    fn decode(&self, spec: &At<'_>) -> Option<(Selector, Policy)> {
        absence::device_policy(spec)
    }

    fn preview(&self, documents: &Documents<'_>, record: &PolicyRecord) -> Preview {
        let model = documents.model();
        Preview {
            changed: rules::changes(model, documents.policies(), &record.name, CHANGED),
            streams: 0,
            warning: rules::shadowed(model, documents.policies(), record),
        }
    }
}
