//! `Config`: values for workloads.
//!
//! See decision 0163.

use super::values::{self, effect};
use super::{Looked, PolicyRules, Preview};
use crate::admission::{At, secret};
use crate::desired::Documents;
use crate::model::{Device, Model};
use crate::policies::Reaches;
use crate::records::{Policy, PolicyKind, PolicyRecord};
use holdfast_api::selector::Selector;
use holdfast_api::{Explanation, PolicyStatus};

/// Implementation of the kind `Config`.
#[derive(Debug)]
pub(super) struct Config;

impl PolicyRules for Config {
    fn spec(&self, at: &At<'_>) -> Option<(Selector, Policy)> {
        secret::config(at)
    }

    fn preview(&self, documents: &Documents<'_>, record: &PolicyRecord) -> Preview {
        values::preview(documents, record)
    }

    fn effect(&self, _devices: u64, preview: &Preview) -> String {
        effect(preview)
    }

    fn gather<'a>(&self, model: &'a Model, device: &'a Device, all: &mut Reaches<'a>) {
        values::gather(PolicyKind::Config, model, device, all);
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
