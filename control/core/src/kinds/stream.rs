//! `Stream`: storing, shipping and retention of streams.

use std::collections::BTreeMap;

use holdfast_base::ids::Name;
use holdfast_records::DataPolicies;

use super::policy::{applies, placed};
use super::{Facts, PolicyRules, Preview};
use crate::admission::{At, data};
use crate::desired::{self, Documents, approved};
use crate::model::{Device, Model, cbor_len};
use crate::policies::{self, Reach, some};
use crate::records::{MAX_POLICIES, Policy, PolicyRecord};
use holdfast_api::kinds::STREAM;
use holdfast_api::selector::Selector;

/// Implementation of the kind `Stream`.
#[derive(Debug)]
pub(super) struct Stream;

impl PolicyRules for Stream {
    fn facts(&self) -> Facts {
        let about = "States how devices store and ship streams of records.";
        let says = "it says which streams, and what of them";
        Facts { on_devices: true, ..Facts::of(&STREAM, MAX_POLICIES, about, says) }
    }

    fn spec(&self, at: &At<'_>) -> Option<(Selector, Policy)> {
        data::stream(at)
    }

    fn preview(&self, documents: &Documents<'_>, record: &PolicyRecord) -> Preview {
        let changed = placed(documents, &record.key());
        Preview { changed, streams: changed_streams(documents), warning: None }
    }

    fn effect(&self, devices: u64, preview: &Preview) -> String {
        let change = match preview.streams {
            0 => "no stream changes policy".into(),
            1 => "1 stream changes policy".into(),
            more => format!("{} change policy", some(more, "stream")),
        };
        applies(devices, change, preview)
    }

    fn send(&self, record: &PolicyRecord, to: &mut DataPolicies) {
        if let Policy::Stream { policy, .. } = &record.policy {
            to.streams.insert(record.name.clone(), policy.clone());
        }
    }

    fn size(&self, record: &PolicyRecord) -> usize {
        match &record.policy {
            Policy::Stream { policy, .. } => cbor_len(policy) + record.name.as_str().len() + 4,
            _ => 0,
        }
    }

    fn gather<'a>(
        &self,
        model: &'a Model,
        device: &'a Device,
        all: &mut BTreeMap<&'a Name, Reach<'a>>,
    ) {
        policies::streams(model, device, all);
    }
}

/// Returns the number of streams on devices whose effective policy changes.
fn changed_streams(documents: &Documents<'_>) -> u64 {
    let model = documents.model();
    let of = |device: &Device| {
        let data = desired::changed_policies(documents, device)?;
        let next: Vec<&PolicyRecord> =
            data.iter().filter_map(|(key, _)| documents.policy(key)).collect();
        Some(policies::changed_streams(model, device, &next))
    };
    approved(model).filter_map(of).sum()
}
