//! `Workload`: a program that devices run. It has revisions and pauses, and so a record and a plan
//! of its own.

use holdfast_base::ids::Name;

use super::{Facts, Kind, Looked};
use crate::admission::{Admitted, At, Stored, What, workload};
use crate::apply::{self, Planned, Refusal};
use crate::explain;
use crate::model::{self, BadRecord, Model};
use crate::records::WorkloadRecord;
use holdfast_api::Explanation;
use holdfast_api::kinds::WORKLOAD;
use holdfast_api::selector::Selector;

/// Implementation of the kind `Workload`.
#[derive(Debug)]
pub(super) struct Workload;

impl Kind for Workload {
    fn facts(&self) -> Facts {
        let about = "Program to run, and the devices that run it.";
        let facts = Facts::of(&WORKLOAD, usize::MAX, about, "it says what to run, and where");
        Facts { on_devices: true, ..facts }
    }

    fn spec(&self, at: &At<'_>, stored: &Stored<'_>) -> Option<(Selector, What)> {
        let (devices, spec) = workload::spec(at, stored)?;
        Some((devices, What::Workload(Box::new(spec))))
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

    fn explain(&self, looked: &Looked<'_>, name: &Name) -> Option<Explanation> {
        let known = looked.model.workloads.get(name)?;
        Some(explain::workload(looked.model, known, looked.now))
    }
}
