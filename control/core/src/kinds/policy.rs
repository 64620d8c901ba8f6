//! Kinds that have a record of their own ([`PolicyRecord`]) and no revisions: what each has to say,
//! and what all have in common.
//!
//! See decision 0139.

use holdfast_protocol::enrol::Fault;
use serde_json::Value;

use super::Looked;
use crate::admission::At;
use crate::apply::impact;
use crate::desired::{self, Documents};
use crate::model::{Device, Model};
use crate::policies::{self, Reaches};
use crate::records::{Policy, PolicyKey, PolicyRecord};
use holdfast_api::selector::Selector;
use holdfast_api::{ChangedDevices, Explanation, PolicyStatus};

/// Effect of a document, as a dry run shows it.
#[derive(Debug, Default)]
pub(crate) struct Preview {
    /// Devices that gain, lose or update the document.
    pub(crate) changed: ChangedDevices,
    /// Number of streams whose effective policy changes.
    pub(crate) streams: u64,
    /// Warning that another document takes precedence on some of the devices.
    pub(crate) warning: Option<String>,
}

/// Rules of a kind with a record of its own. Methods with a default are for kinds that need
/// more.
pub(crate) trait PolicyRules: Sync {
    /// Form of `spec`: decodes it, or writes its schema. None: faults were noted. A kind that does
    /// not choose devices returns the selector of all.
    fn spec(&self, at: &At<'_>) -> Option<(Selector, Policy)>;

    /// Computes what a document changes; `documents` hold it as it will be.
    fn preview(&self, documents: &Documents<'_>, record: &PolicyRecord) -> Preview {
        Preview { changed: placed(documents, &record.key()), ..Preview::default() }
    }

    /// Describes the effect of a document in words. `devices` counts those that it chooses.
    fn effect(&self, devices: u64, preview: &Preview) -> String;

    /// Replaces hidden secrets of a document by those of the stored one.
    fn keep_secrets(
        &self,
        _written: &mut Value,
        _policy: &mut Policy,
        _known: Option<&Policy>,
    ) -> Result<(), Vec<Fault>> {
        Ok(())
    }

    /// Returns `spec` as it was written, without its secrets.
    fn shown(&self, record: &PolicyRecord) -> Value {
        record.written.clone()
    }

    /// Adds what one device says of the documents of the kind.
    fn gather<'a>(&self, _model: &'a Model, _device: &'a Device, _all: &mut Reaches<'a>) {}

    /// Returns the status of a document; `followed` is that on the devices that got it.
    fn status(
        &self,
        _looked: &Looked<'_>,
        _record: &PolicyRecord,
        followed: PolicyStatus,
    ) -> PolicyStatus {
        followed
    }

    /// Explains why a document is not in force everywhere.
    fn explain(&self, looked: &Looked<'_>, record: &PolicyRecord) -> Explanation {
        let (kind, name) = record.key();
        let mut followed = policies::statuses(
            (looked.model, looked.sight),
            kind,
            Some(&name),
            &|model, device, all| {
                self.gather(model, device, all);
            },
        );
        let status = self.status(looked, record, followed.remove(&name).unwrap_or_default());
        policies::in_force(looked, record, &status)
    }
}

/// Counts and names the approved devices that gain, lose or update a document that devices get.
pub(super) fn placed(documents: &Documents<'_>, key: &PolicyKey) -> ChangedDevices {
    if !key.0.on_devices() {
        return ChangedDevices::default();
    }
    let model = documents.model();
    let of = |data: &[(PolicyKey, u64)]| {
        data.iter().find(|(known, _)| known == key).map(|(_, revision)| *revision)
    };
    impact::changes(model, |device| {
        let present = of(&device.desired.data);
        let wanted = desired::changed_policies(documents, device).map(|data| of(&data));
        (present, wanted.unwrap_or(present))
    })
}

/// Returns the effect of a document that devices get, such as `applies to 4 devices; 2 streams
/// change policy`. `change` says what changes.
pub(super) fn applies(devices: u64, change: String, preview: &Preview) -> String {
    let some = policies::some;
    let mut parts = vec![format!("applies to {}", some(devices, "device")), change];
    if preview.changed.lose_count > 0 {
        parts.push(format!("no longer applies to {}", some(preview.changed.lose_count, "device")));
    }
    parts.join("; ")
}
