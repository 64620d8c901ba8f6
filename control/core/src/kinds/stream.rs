//! `Stream`: storing, shipping and retention of streams.

use super::policy::{applies, placed};
use super::{PolicyRules, Preview};
use crate::admission::{At, data};
use crate::desired::{self, Documents, approved};
use crate::model::{Device, Model};
use crate::policies::{self, Reaches, some};
use crate::records::{Policy, PolicyRecord};
use holdfast_api::selector::Selector;

/// Implementation of the kind `Stream`.
#[derive(Debug)]
pub(super) struct Stream;

impl PolicyRules for Stream {
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

    fn gather<'a>(&self, model: &'a Model, device: &'a Device, all: &mut Reaches<'a>) {
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
