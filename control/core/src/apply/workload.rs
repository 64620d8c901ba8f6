//! Workloads in a plan: the next record and revision, and their deletion.

use holdfast_base::ids::Name;
use holdfast_protocol::workload::WorkloadSpec;

use super::impact;
use super::planned::{Next, Planned, PlannedWorkload, Refusal};
use crate::admission::{Admitted, What};
use crate::audit::digest;
use crate::change::{Change, Was};
use crate::desired::{self, Documents};
use crate::model::{Model, Workload, key};
use crate::policies;
use crate::records::{MAX_REVISIONS, RevisionRecord, WorkloadRecord};
use crate::secrets::references::References;
use crate::view;
use holdfast_api::count::count;
use holdfast_api::{AppliedAction, AppliedDocument};

/// Computes a workload's next record, the action, and whether its revision is a new one.
pub(super) fn next(
    model: &Model,
    admitted: Admitted,
    (spec, references): (WorkloadSpec, References),
    now: u64,
) -> (WorkloadRecord, AppliedAction, bool) {
    let known = model.workloads.get(&admitted.name).map(|workload| &workload.record);
    let same_spec = known.is_some_and(|known| {
        known.written == admitted.written
            && known.spec == spec
            && known.references == references
            && known.devices == admitted.devices
    });
    let same = same_spec && known.is_some_and(|known| known.labels == admitted.labels);
    let before = known
        .map(|known| known.revision)
        .or_else(|| model.gone.get(&admitted.name).copied())
        .unwrap_or(0);
    let record = WorkloadRecord {
        created_at: known.map_or(now, |known| known.created_at),
        updated_at: now,
        version: known.map_or(0, |known| known.version),
        revision: if same_spec { before } else { before + 1 },
        name: admitted.name,
        labels: admitted.labels,
        devices: admitted.devices,
        spec,
        references,
        written: admitted.written,
        paused: known.map(|known| known.paused.clone()).unwrap_or_default(),
    };
    let action = match known {
        None => AppliedAction::Created,
        Some(_) if same => AppliedAction::Unchanged,
        Some(_) => AppliedAction::Changed,
    };
    (record, action, !same_spec)
}

/// Plans a workload: its result, and its new record unless it is unchanged.
pub(crate) fn plan(model: &Model, document: Admitted, now: u64) -> Result<Planned, Refusal> {
    let What::Workload(spec, references) = document.what.clone() else {
        return Err(Refusal::unknown("workload", document.name.as_str()));
    };
    let before = model.workloads.get(&document.name).map(|known| view::document(&known.record));
    let (record, action, new_revision) = next(model, document, (*spec, *references), now);
    let (devices, device_count) = impact::chosen(model, &record.devices);
    let changed = impact::changes(model, |device| desired::revisions(&record, device));
    let result = AppliedDocument {
        effect: policies::workload_effect(device_count, &changed),
        changed_streams: 0,
        kind: "Workload".into(),
        name: record.name.to_string(),
        action,
        revision: record.revision,
        warnings: impact::nobody(device_count).into_iter().collect(),
        device_count,
        devices,
        before,
        after: view::document(&record),
        changed_devices: changed,
    };
    let message = format!(
        "{}, revision {}, for {}",
        action.as_str(),
        record.revision,
        count(device_count, "device")
    );
    let planned = PlannedWorkload { record, new_revision, message };
    let next = (action != AppliedAction::Unchanged).then_some(Next::Workload(Box::new(planned)));
    Ok(Planned { result, next })
}

/// Puts a workload and its new revision into a change. The desired states are set apart from it.
pub(super) fn put(
    change: &mut Change<'_>,
    planned: PlannedWorkload,
    by: &str,
    former: Option<u64>,
) {
    let PlannedWorkload { mut record, new_revision, message } = planned;
    let (action, message) = match former {
        None => ("workload.apply", message),
        Some(former) => ("workload.rollback", format!("back to revision {former}: {message}")),
    };
    let name = record.name.clone();
    change.event("workload", name.as_str(), "changed", message.clone());
    let was = change.model.workloads.get(&name).map(|known| known.record.devices.clone());
    if let Some(devices) = was {
        change.event_was(Was::Document(devices));
    }
    let made = new_revision.then_some(record.revision);
    let before = change.model.workloads.get(&name).and_then(|it| digest(&it.record.written));
    let entry = change.audit(by, action, name.as_str(), message);
    (entry.revision, entry.before, entry.after) = (made, before, digest(&record.written));
    record.version = change.version();
    change.put(key::workload(&name), &record);
    if change.model.gone.remove(&name).is_some() {
        change.delete(key::gone(&name));
    }
    let revision = new_revision.then(|| RevisionRecord {
        workload: name.clone(),
        revision: record.revision,
        created_at: change.now,
        created_by: by.into(),
        created_by_name: change.name_of(by),
        version: record.version,
        labels: record.labels.clone(),
        written: record.written.clone(),
    });
    let mut workload = Workload::new(record);
    if let Some(known) = change.model.workloads.remove(&name) {
        workload.revisions = known.revisions;
    }
    if let Some(revision) = revision {
        change.put(key::revision(&name, revision.revision), &revision);
        workload.revisions.push_back(revision);
    }
    while workload.revisions.len() > MAX_REVISIONS {
        if let Some(oldest) = workload.revisions.pop_front() {
            change.delete(key::revision(&name, oldest.revision));
        }
    }
    change.model.workloads.insert(name, workload);
}

/// Deletes a workload; its devices stop it. `expected` is the resource version that it must have,
/// if that matters. Its last revision is kept, because no number is used twice for one name.
///
/// # Errors
/// [`Refusal::Unknown`] or [`Refusal::Changed`].
pub fn delete(
    change: &mut Change<'_>,
    name: &str,
    expected: Option<u64>,
    by: &str,
) -> Result<(), Refusal> {
    let unknown = || Refusal::unknown("workload", name);
    let name: Name = name.parse().map_err(|_| unknown())?;
    let present = change.model.workloads.get(&name).ok_or_else(unknown)?.record.version;
    if expected.is_some_and(|expected| expected != present) {
        return Err(Refusal::Changed { kind: "workload", name, present });
    }
    let desired = desired::diff(&Documents::of(change.model).without_workload(&name));
    let workload = change.model.workloads.remove(&name).ok_or_else(unknown)?;
    change.delete(key::workload(&name));
    for revision in &workload.revisions {
        change.delete(key::revision(&name, revision.revision));
    }
    let last = workload.record.revision;
    change.model.gone.insert(name.clone(), last);
    change.put(key::gone(&name), &last);
    change.set_all_desired(desired);
    change.event("workload", name.as_str(), "deleted", format!("deleted by {by}"));
    let before = digest(&workload.record.written);
    change.event_was(Was::Document(workload.record.devices));
    let entry = change.audit(by, "workload.delete", name.as_str(), String::new());
    entry.before = before;
    Ok(())
}
