//! Kinds of policy documents. Everything that differs from kind to kind in admission and in the
//! plan of an apply is behind the trait [`Kind`], with one file for each kind.
//!
//! See decision 0139.

mod device_policy;
mod link_budget;
mod notification;
mod stream;
#[cfg(test)]
mod tests;

use crate::admission::At;
use crate::apply::impact;
use crate::desired::{self, Documents};
use crate::records::{Policy, PolicyKey, PolicyKind, PolicyRecord};
use holdfast_api::ChangedDevices;
use holdfast_api::selector::Selector;

/// Words and bounds of a kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// Value of `kind` in documents, such as `LinkBudget`.
    pub(crate) document: &'static str,
    /// Singular word, which is also the prefix of its keys in the store.
    pub(crate) word: &'static str,
    /// Plural word, as in paths of the API.
    pub(crate) plural: &'static str,
    /// Largest number of documents of the kind.
    pub(crate) most: usize,
    /// True if devices get documents of the kind. The others are carried out by the control plane
    /// alone.
    pub(crate) on_devices: bool,
    /// Content of `spec` in words, for a document that lacks it.
    pub(crate) says: &'static str,
}

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

/// One kind of policy document.
pub(crate) trait Kind: Sync {
    /// Returns the words and bounds of the kind.
    fn facts(&self) -> Facts;

    /// Decodes `spec`. None: faults were added.
    fn decode(&self, spec: &At<'_>) -> Option<(Selector, Policy)>;

    /// Computes what a document changes; `documents` hold it as it will be.
    fn preview(&self, documents: &Documents<'_>, record: &PolicyRecord) -> Preview {
        Preview { changed: placed(documents, &record.key()), ..Preview::default() }
    }
}

/// Returns the kind behind its name.
pub(crate) fn of(kind: PolicyKind) -> &'static dyn Kind {
    match kind {
        PolicyKind::Stream => &stream::Stream,
        PolicyKind::LinkBudget => &link_budget::LinkBudget,
        PolicyKind::Notification => &notification::Notification,
        PolicyKind::DevicePolicy => &device_policy::DevicePolicy,
    }
}

/// Counts and names the approved devices that gain, lose or update a document that
/// devices get.
fn placed(documents: &Documents<'_>, key: &PolicyKey) -> ChangedDevices {
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
