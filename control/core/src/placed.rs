//! What is placed on the devices of a tenant, by the limits of its workloads, against the tenant's
//! quotas of processor time and memory.
//!
//! See decision 0168.

use std::collections::BTreeMap;

use holdfast_base::ids::Name;
use holdfast_protocol::enrol::Fault;
use holdfast_protocol::workload::Resources;

use crate::desired::{Changed, Documents, approved};
use crate::model::{Device, Model};
use crate::placement::Set;
use crate::quota::{Over, Quota, Quotas};
use crate::records::{DesiredRecord, WorkloadRecord};

/// Processor time and memory that workloads on devices may use by their own limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Placed {
    /// Processor time in thousandths of a core.
    pub cpu: u64,
    /// Memory in bytes.
    pub memory: u64,
}

impl Placed {
    fn add(&mut self, resources: Option<&Resources>) {
        let Some(resources) = resources else { return };
        self.cpu = self.cpu.saturating_add(resources.cpu_millis.unwrap_or(0).into());
        self.memory = self.memory.saturating_add(resources.memory_bytes.unwrap_or(0));
    }

    /// Checks what is placed after a change against the quotas. What does not grow is let in, so
    /// that a tenant whose limit was lowered can still shrink.
    fn check(self, before: Self, quotas: &Quotas) -> Result<(), Over> {
        for (quota, used, after) in
            [(Quota::Cpu, before.cpu, self.cpu), (Quota::Memory, before.memory, self.memory)]
        {
            if let Some(more) = after.checked_sub(used).filter(|more| *more > 0) {
                quotas.check(quota, used, more)?;
            }
        }
        Ok(())
    }
}

fn sum<'a>(set: &Set, resources: impl Fn(&Name) -> Option<&'a Resources>) -> Placed {
    let mut placed = Placed::default();
    set.iter().for_each(|(name, _)| placed.add(resources(name)));
    placed
}

/// Returns what is placed on the approved devices of a tenant.
pub fn placed(model: &Model) -> Placed {
    let mut all = Placed::default();
    for device in approved(model) {
        let one = on_device(model, &device.desired);
        all.cpu = all.cpu.saturating_add(one.cpu);
        all.memory = all.memory.saturating_add(one.memory);
    }
    all
}

/// Returns what a desired state places on its device.
fn on_device(model: &Model, desired: &DesiredRecord) -> Placed {
    sum(&desired.workloads, |name| Some(&model.workloads.get(name)?.record.spec.resources))
}

/// Returns what is placed after a change of documents.
fn placed_after(documents: &Documents<'_>, changed: &Changed) -> Placed {
    let next: BTreeMap<&Name, &DesiredRecord> =
        changed.iter().map(|(name, desired)| (name, desired)).collect();
    let mut all = Placed::default();
    for device in approved(documents.model()) {
        let desired = next.get(&device.record.name).copied().unwrap_or(&device.desired);
        let of = |name: &Name| Some(&documents.workload(name)?.spec.resources);
        let one = sum(&desired.workloads, of);
        all.cpu = all.cpu.saturating_add(one.cpu);
        all.memory = all.memory.saturating_add(one.memory);
    }
    all
}

/// Checks a change of documents against the quotas of what is placed. Costs a look at every device
/// of a tenant that has such a quota, and nothing for any other.
///
/// # Errors
/// [`Over`].
pub fn check_documents(documents: &Documents<'_>, changed: &Changed) -> Result<(), Over> {
    let model = documents.model();
    if !model.quotas.limits_placing() {
        return Ok(());
    }
    placed_after(documents, changed).check(placed(model), &model.quotas)
}

/// Checks a device with its next desired state against the quotas of what is placed. None: its
/// desired state stays.
///
/// # Errors
/// [`Over`].
pub fn check_device(
    model: &Model,
    device: &Device,
    next: Option<&DesiredRecord>,
) -> Result<(), Over> {
    if !model.quotas.limits_placing() {
        return Ok(());
    }
    let before = placed(model);
    let known = approved(model).find(|known| known.record.name == device.record.name);
    let had = known.map(|known| on_device(model, &known.desired)).unwrap_or_default();
    let has = on_device(model, next.unwrap_or(&device.desired));
    let after = |all: u64, had: u64, has: u64| all.saturating_sub(had).saturating_add(has);
    let after = Placed {
        cpu: after(before.cpu, had.cpu, has.cpu),
        memory: after(before.memory, had.memory, has.memory),
    };
    after.check(before, &model.quotas)
}

/// Returns the faults of a workload that lacks a limit which its tenant's quotas count by.
pub fn lacking(quotas: &Quotas, record: &WorkloadRecord) -> Vec<Fault> {
    let resources = &record.spec.resources;
    let fault = |quota: Quota| Fault {
        path: format!("spec.resources.{}", quota.word()),
        message: format!(
            "workload {}: is missing; the tenant has a quota of {}, which counts the limits of workloads, so each needs one",
            record.name,
            quota.word()
        ),
        of_key: false,
    };
    let mut faults = Vec::new();
    if quotas.cpu.is_some() && resources.cpu_millis.is_none() {
        faults.push(fault(Quota::Cpu));
    }
    if quotas.memory.is_some() && resources.memory_bytes.is_none() {
        faults.push(fault(Quota::Memory));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_above_a_lowered_limit_may_shrink_and_not_grow() {
        let quotas = Quotas { cpu: Some(10), ..Quotas::default() };
        let of = |cpu| Placed { cpu, memory: 0 };
        assert_eq!(of(15).check(of(20), &quotas), Ok(()));
        assert_eq!(of(20).check(of(20), &quotas), Ok(()));
        assert_eq!(of(21).check(of(20), &quotas).unwrap_err().limit, 10);
        assert_eq!(of(10).check(of(0), &quotas), Ok(()));
    }
}
