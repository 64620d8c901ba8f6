//! `Stream`: storing, shipping and retention of streams.

use super::{Facts, Kind, Preview, placed};
use crate::admission::{At, data};
use crate::desired::{self, Documents, approved};
use crate::model::Device;
use crate::policies;
use crate::records::{MAX_POLICIES, Policy, PolicyRecord};
use holdfast_api::selector::Selector;

/// Implementation of the kind `Stream`.
#[derive(Debug)]
pub(super) struct Stream;

impl Kind for Stream {
    fn facts(&self) -> Facts {
        Facts {
            document: "Stream",
            word: "stream",
            plural: "streams",
            most: MAX_POLICIES,
            on_devices: true,
            says: "it says which streams, and what of them",
        }
    }

    fn decode(&self, spec: &At<'_>) -> Option<(Selector, Policy)> {
        data::stream(spec)
    }

    fn preview(&self, documents: &Documents<'_>, record: &PolicyRecord) -> Preview {
        let changed = placed(documents, &record.key());
        Preview { changed, streams: changed_streams(documents), warning: None }
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
