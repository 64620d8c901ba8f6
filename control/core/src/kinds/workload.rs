//! `Workload`: a program that devices run. It has revisions and pauses, and so a record and a plan
//! of its own.

use holdfast_base::ids::Name;

use super::kind::Kind;
use super::{Looked, Page, Shown};
use crate::admission::{Admitted, At, Stored, What, workload};
use crate::apply::{self, Planned, Refusal};
use crate::explain;
use crate::model::{self, BadRecord, Model};
use crate::records::WorkloadRecord;
use crate::seen::Seen;
use crate::view;
use holdfast_api::Explanation;
use holdfast_api::selector::Selector;

/// Implementation of the kind `Workload`.
#[derive(Debug)]
pub(super) struct Workload;

impl Kind for Workload {
    fn spec(&self, at: &At<'_>, stored: &Stored<'_>) -> Option<(Selector, What)> {
        let (devices, spec, references) = workload::spec(at, stored)?;
        Some((devices, What::Workload(Box::new(spec), Box::new(references))))
    }

    fn plan(&self, model: &Model, document: Admitted, now: u64) -> Result<Planned, Refusal> {
        apply::plan_workload(model, document, now)
    }

    fn version(&self, model: &Model, name: &Name) -> Option<u64> {
        Some(model.workloads.get(name)?.record.version)
    }

    fn load(&self, model: &mut Model, key: &str, value: &[u8]) -> Result<(), BadRecord> {
        let record: WorkloadRecord = model::read(key, value)?;
        model.workloads.insert(record.name.clone(), model::Workload::new(record));
        Ok(())
    }

    fn list(&self, looked: &Looked<'_>, page: &Page<'_>) -> Vec<(String, Shown)> {
        let summaries = view::summaries(looked.model, looked.sight, None, looked.now);
        let seen = Seen::new(looked.model, looked.sight);
        let all = looked.model.workloads.iter();
        all.filter(|(name, known)| name.as_str() > page.after && page.chooses(&known.record.labels))
            .filter(|(_, known)| seen.chooses(&known.record.devices))
            .take(page.limit)
            .map(|(name, known)| {
                let summary = summaries.get(name).copied().unwrap_or_default();
                (name.to_string(), Shown::Workload(Box::new(view::workload(known, summary, &seen))))
            })
            .collect()
    }

    fn show(&self, looked: &Looked<'_>, name: &Name) -> Option<Shown> {
        let seen = Seen::new(looked.model, looked.sight);
        let known = looked.model.workloads.get(name)?;
        if !seen.chooses(&known.record.devices) {
            return None;
        }
        let mut summaries = view::summaries(looked.model, looked.sight, Some(name), looked.now);
        let summary = summaries.remove(name).unwrap_or_default();
        Some(Shown::Workload(Box::new(view::workload(known, summary, &seen))))
    }

    fn explain(&self, looked: &Looked<'_>, name: &Name) -> Option<Explanation> {
        let known = looked.model.workloads.get(name)?;
        let seen = Seen::new(looked.model, looked.sight);
        let explain = || explain::workload(looked.model, looked.sight, known, looked.now);
        seen.chooses(&known.record.devices).then(explain)
    }
}
