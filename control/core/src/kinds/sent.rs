//! What devices get of a document: its place in the desired state, and its size there.

use holdfast_base::ids::Name;
use holdfast_records::DataPolicies;
use serde::Serialize;

use super::Policy;

/// Returns the size of a value in CBOR, in bytes.
pub(crate) fn cbor_len<T: Serialize>(value: &T) -> usize {
    holdfast_base::codec::encode(value).map_or(usize::MAX / 2, |bytes| bytes.len())
}

impl Policy {
    /// Puts the document of this name into the policies of a device's desired state. Kinds that
    /// devices do not get add nothing.
    pub(crate) fn send(&self, name: &Name, to: &mut DataPolicies) {
        match self {
            Self::Stream { policy, .. } => {
                to.streams.insert(name.clone(), policy.clone());
            }
            Self::LinkBudget { budget } => {
                to.link = Some(budget.clone());
                to.link_name = Some(name.clone());
            }
            _ => {}
        }
    }

    /// Returns the size of the document of this name in a desired state, in bytes; 0 for kinds that
    /// devices do not get.
    pub(crate) fn size(&self, name: &Name) -> usize {
        let content = match self {
            Self::Stream { policy, .. } => cbor_len(policy),
            Self::LinkBudget { budget } => cbor_len(budget),
            _ => return 0,
        };
        content + name.as_str().len() + 4
    }
}
