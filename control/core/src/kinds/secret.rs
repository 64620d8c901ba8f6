//! `Secret`: values that nobody reads back, for workloads and notifications.
//!
//! See decision 0163.

use holdfast_protocol::enrol::Fault;
use serde_json::Value;

use super::values::{self, effect};
use super::{Looked, PolicyRules, Preview};
use crate::admission::{At, secret};
use crate::desired::Documents;
use crate::model::{Device, Model};
use crate::policies::Reaches;
use crate::records::{Policy, PolicyKind, PolicyRecord};
use holdfast_api::selector::Selector;
use holdfast_api::{Explanation, PolicyStatus};

/// Implementation of the kind `Secret`.
#[derive(Debug)]
pub(super) struct Secret;

impl PolicyRules for Secret {
    fn spec(&self, at: &At<'_>) -> Option<(Selector, Policy)> {
        secret::secret(at)
    }

    fn preview(&self, documents: &Documents<'_>, record: &PolicyRecord) -> Preview {
        values::preview(documents, record)
    }

    fn effect(&self, _devices: u64, preview: &Preview) -> String {
        effect(preview)
    }

    fn keep_secrets(
        &self,
        written: &mut Value,
        policy: &mut Policy,
        known: Option<&Policy>,
    ) -> Result<(), Vec<Fault>> {
        let Policy::Secret { secret } = policy else { return Ok(()) };
        let known = known.and_then(|known| match known {
            Policy::Secret { secret } => Some(secret),
            _ => None,
        });
        secret.settle(written, known)
    }

    fn gather<'a>(&self, model: &'a Model, device: &'a Device, all: &mut Reaches<'a>) {
        values::gather(PolicyKind::Secret, model, device, all);
    }

    fn status(
        &self,
        looked: &Looked<'_>,
        record: &PolicyRecord,
        followed: PolicyStatus,
    ) -> PolicyStatus {
        values::status(looked.model, record, followed)
    }

    fn explain(&self, looked: &Looked<'_>, record: &PolicyRecord) -> Explanation {
        values::explain(looked.model, record)
    }
}
