//! Applies documents, all or nothing, and places them on devices in the same transaction; deletes
//! workloads. The parts about streams, link budgets and other policies are in `policies.rs`.

use std::collections::BTreeMap;

use holdfast_base::ids::Name;
use holdfast_protocol::workload::WorkloadSpec;

use super::policies::{self, Overlay};
use super::{Failure, Service};
use crate::api::count::count;
use crate::api::selector::Selector;
use crate::api::{Applied, AppliedDocument, ChangedDevices};
use crate::core::admission::{Admitted, What};
use crate::core::change::Change;
use crate::core::model::{Device, Model, Workload, encoded_size, key};
use crate::core::placement::{self, Wanted};
use crate::core::policies as effects;
use crate::core::records::{
    MAX_REVISIONS, Policy, PolicyKey, PolicyKind, PolicyRecord, RevisionRecord, Standing,
    WorkloadRecord,
};
use crate::core::view;

/// Maximum number of selected devices that a result names.
const NAMED: usize = 20;

/// Maximum number of devices that a result names in each of its lists: gain, lose, update.
const CHANGED: usize = 100;

/// Maximum number of devices whose desired state is too large that a failure names.
const FAULTS: usize = 10;

/// Outcome of applying documents, computed before anything is changed.
struct Plan {
    /// New records of the workloads that change, whether their revision is a new one, and the text
    /// for the audit log.
    workloads: Vec<(WorkloadRecord, bool, String)>,
    /// New records of the policies that change, and the text for the audit log.
    policies: Vec<(PolicyRecord, String)>,
    /// Devices whose desired state changes, with their new desired state.
    sets: Vec<(Name, Wanted)>,
    answer: Applied,
}

pub(super) fn approved(model: &Model) -> impl Iterator<Item = &Device> {
    model.devices.values().filter(|device| device.record.standing == Standing::Approved)
}

/// Computes a workload's next record, the action (`created`, `changed`, `unchanged`), and whether
/// its revision is a new one.
fn next(
    model: &Model,
    admitted: Admitted,
    spec: WorkloadSpec,
    now: u64,
) -> (WorkloadRecord, &'static str, bool) {
    let known = model.workloads.get(&admitted.name).map(|workload| &workload.record);
    let same_spec = known.is_some_and(|known| {
        known.written == admitted.written && known.spec == spec && known.devices == admitted.devices
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
        written: admitted.written,
        paused: known.map(|known| known.paused.clone()).unwrap_or_default(),
    };
    let action = match known {
        None => "created",
        Some(_) if same => "unchanged",
        Some(_) => "changed",
    };
    (record, action, !same_spec)
}

/// Computes what applying these documents would change, without changing anything.
///
/// # Errors
/// Returns [`Failure::Invalid`] when a document stands twice or a device's desired state would be
/// too large, and [`Failure::Conflict`] when a resource version is stale.
fn plan(model: &Model, admitted: Vec<Admitted>, now: u64) -> Result<Plan, Failure> {
    let mut plan = Plan {
        workloads: Vec::new(),
        policies: Vec::new(),
        sets: Vec::new(),
        answer: Applied { results: Vec::new() },
    };
    let mut seen = std::collections::BTreeSet::new();
    let mut stale = Vec::new();
    for document in admitted {
        let expected = document.resource_version;
        let what = document.what.clone();
        let kind = match &what {
            What::Workload(_) => "Workload",
            What::Policy(policy) => policy.kind().document(),
        };
        if !seen.insert((kind, document.name.clone())) {
            let message = format!("{kind} {} stands in more than one document", document.name);
            return Err(Failure::invalid(message));
        }
        let (result, present) = match what {
            What::Workload(spec) => plan.workload(model, document, *spec, now),
            What::Policy(policy) => plan.policy(model, document, *policy, now)?,
        };
        stale.extend(is_stale(expected, present, &result));
        plan.answer.results.push(result);
    }
    if !stale.is_empty() {
        return Err(Failure::Conflict(stale.join("; ")));
    }
    let changed: Vec<&WorkloadRecord> = plan.workloads.iter().map(|(one, ..)| one).collect();
    let policies: Vec<&PolicyRecord> = plan.policies.iter().map(|(one, _)| one).collect();
    plan.sets = sets(model, &changed, &Overlay::with(model, &policies))?;
    Ok(plan)
}

impl Plan {
    /// Plans a workload. Returns its result and its present resource version.
    fn workload(
        &mut self,
        model: &Model,
        document: Admitted,
        spec: WorkloadSpec,
        now: u64,
    ) -> (AppliedDocument, Option<u64>) {
        let known = model.workloads.get(&document.name).map(|known| &known.record);
        let (before, present) = (known.map(view::document), known.map(|known| known.version));
        let (record, action, new_revision) = next(model, document, spec, now);
        let (devices, device_count) = chosen(model, &record.devices);
        let changed = changes(model, &record);
        let result = AppliedDocument {
            effect: effects::workload_effect(device_count, &changed),
            changed_streams: 0,
            kind: "Workload".into(),
            name: record.name.to_string(),
            action: action.into(),
            revision: record.revision,
            warnings: nobody(device_count).into_iter().collect(),
            device_count,
            devices,
            before,
            after: view::document(&record),
            changed_devices: changed,
        };
        if action != "unchanged" {
            let message = format!(
                "{action}, revision {}, for {}",
                record.revision,
                count(device_count, "device")
            );
            self.workloads.push((record, new_revision, message));
        }
        (result, present)
    }

    /// Plans a policy (any document but a workload). Returns its result and its present resource
    /// version.
    fn policy(
        &mut self,
        model: &Model,
        document: Admitted,
        policy: Policy,
        now: u64,
    ) -> Result<(AppliedDocument, Option<u64>), Failure> {
        let (record, action) = policies::next(model, document, policy, now)?;
        let known = model.policies.get(&record.key()).map(|known| &known.record);
        let (devices, device_count) = chosen(model, &record.devices);
        let overlay = Overlay::with(model, &[&record]);
        let mut warnings: Vec<String> = nobody(device_count).into_iter().collect();
        warnings.extend(overlay.shadowed(model, &record));
        let changed = overlay.changes(model, &record.key());
        let kind = record.policy.kind();
        let is_stream = kind == PolicyKind::Stream;
        let streams = if is_stream { overlay.changed_streams(model) } else { 0 };
        let result = AppliedDocument {
            effect: effects::effect(kind, device_count, &changed, streams),
            changed_streams: streams,
            kind: record.policy.kind().document().into(),
            name: record.name.to_string(),
            action: action.into(),
            revision: 0,
            warnings,
            device_count,
            devices,
            before: known.map(view::policy_document),
            after: view::policy_document(&record),
            changed_devices: changed,
        };
        let present = known.map(|known| known.version);
        if action != "unchanged" {
            self.policies
                .push((record, format!("{action}, for {}", count(device_count, "device"))));
        }
        Ok((result, present))
    }
}

/// Returns the names of the first [`NAMED`] approved devices that a selector matches, and the
/// number of all.
fn chosen(model: &Model, selector: &Selector) -> (Vec<String>, u64) {
    let mut matching = approved(model)
        .filter(|device| selector.matches(&device.record.labels))
        .map(|device| device.record.name.to_string());
    let devices: Vec<String> = matching.by_ref().take(NAMED).collect();
    let count = (devices.len() + matching.count()) as u64;
    (devices, count)
}

fn nobody(count: u64) -> Option<String> {
    (count == 0).then(|| "no enrolled and approved device matches spec.devices".to_owned())
}

/// Returns why a document's expected resource version does not fit what is stored. A document that
/// changes nothing is never stale: it may be sent twice.
fn is_stale(
    expected: Option<u64>,
    present: Option<u64>,
    result: &AppliedDocument,
) -> Option<String> {
    let expected = expected?;
    if expected == present.unwrap_or(0) || result.action == "unchanged" {
        return None;
    }
    let (kind, name) = (result.kind.to_lowercase(), &result.name);
    Some(match present {
        Some(present) => format!(
            "{kind} {name} was changed by somebody else meanwhile (its resourceVersion is {present}, the document's {expected}): read it again and make the change on that; nothing was applied"
        ),
        None => format!(
            "{kind} {name} was deleted meanwhile (the document's resourceVersion is {expected}): without metadata.resourceVersion it is made anew; nothing was applied"
        ),
    })
}

/// Counts and names the approved devices that gain, lose or update a workload by this record.
fn changes(model: &Model, record: &WorkloadRecord) -> ChangedDevices {
    let mut all = ChangedDevices::default();
    for device in approved(model) {
        let set = &device.desired.workloads;
        let at = set.binary_search_by(|(known, _)| known.cmp(&record.name));
        let present = at.ok().and_then(|at| set.get(at)).map(|(_, revision)| *revision);
        let wanted = record.devices.matches(&device.record.labels).then_some(record.revision);
        let (names, count) = match (present, wanted) {
            (None, Some(_)) => (&mut all.gain, &mut all.gain_count),
            (Some(_), None) => (&mut all.lose, &mut all.lose_count),
            (Some(present), Some(wanted)) if present != wanted => {
                (&mut all.update, &mut all.update_count)
            }
            _ => continue,
        };
        *count += 1;
        if names.len() < CHANGED {
            names.push(device.record.name.to_string());
        }
    }
    all
}

/// Computes the new desired state of each device that changes, and checks that it fits one message.
fn sets(
    model: &Model,
    changed: &[&WorkloadRecord],
    overlay: &Overlay<'_>,
) -> Result<Vec<(Name, Wanted)>, Failure> {
    let sizes: BTreeMap<&Name, usize> =
        changed.iter().map(|record| (&record.name, encoded_size(record))).collect();
    let size = |name: &Name| {
        sizes.get(name).copied().or_else(|| Some(model.workloads.get(name)?.encoded)).unwrap_or(0)
    };
    let policy = |key: &PolicyKey| overlay.size(model, key);
    let mut sets = Vec::new();
    let mut faults = Vec::new();
    for device in approved(model) {
        let mut set: Option<placement::Set> = None;
        for record in changed {
            let present = set.as_deref().unwrap_or(&device.desired.workloads);
            let labels = &device.record.labels;
            if let Some(next) = placement::replace(present, labels, &record.name, Some(record)) {
                set = Some(next);
            }
        }
        let data = overlay.changed(device);
        if set.is_none() && data.is_none() {
            continue;
        }
        let wanted = Wanted {
            workloads: set.unwrap_or_else(|| device.desired.workloads.clone()),
            data: data.unwrap_or_else(|| device.desired.data.clone()),
        };
        if faults.len() < FAULTS {
            faults.extend(placement::too_large(&device.record.name, &wanted, size, policy));
        }
        sets.push((device.record.name.clone(), wanted));
    }
    if faults.is_empty() {
        Ok(sets)
    } else {
        Err(Failure::Invalid { message: TOO_LARGE.into(), faults })
    }
}

const TOO_LARGE: &str = "a device's desired state would be too large to send";

impl Service {
    /// Applies documents, all or nothing. With `dry_run` it only says what applying them would do.
    ///
    /// # Errors
    /// Returns a [`Failure`]; then nothing was applied.
    pub async fn apply(
        &self,
        admitted: Vec<Admitted>,
        dry_run: bool,
        by: &str,
    ) -> Result<Applied, Failure> {
        self.apply_as(admitted, dry_run, by, None).await
    }

    /// Applies the document of a former revision again. With `dry_run` it only says what that would
    /// do.
    ///
    /// # Errors
    /// Returns a [`Failure`]; then nothing was applied.
    pub async fn apply_again(
        &self,
        admitted: Vec<Admitted>,
        former: u64,
        dry_run: bool,
        by: &str,
    ) -> Result<Applied, Failure> {
        self.apply_as(admitted, dry_run, by, Some(former)).await
    }

    async fn apply_as(
        &self,
        admitted: Vec<Admitted>,
        dry_run: bool,
        by: &str,
        former: Option<u64>,
    ) -> Result<Applied, Failure> {
        if dry_run {
            return plan(&self.model(), admitted, self.now()).map(|plan| plan.answer);
        }
        let kind = |policy: &Policy| policy.kind() == PolicyKind::DevicePolicy;
        let rules = admitted.iter().any(|document| match &document.what {
            What::Policy(policy) => kind(policy),
            What::Workload(_) => false,
        });
        let applied = self.change(|change| {
            let plan = plan(change.model, admitted, change.now)?;
            for (record, new_revision, message) in plan.workloads {
                let (action, message) = match former {
                    None => ("workload.apply", message),
                    Some(former) => {
                        ("workload.rollback", format!("back to revision {former}: {message}"))
                    }
                };
                put_workload(change, record, new_revision, by, (action, message));
            }
            for (record, message) in plan.policies {
                policies::put_policy(change, record, by, message);
            }
            for (device, set) in plan.sets {
                change.set_desired(&device, set);
            }
            Ok(plan.answer)
        });
        let applied = applied.await?;
        if rules {
            self.note_every_due();
        }
        Ok(applied)
    }

    /// Deletes a workload; its devices stop it. When `expected` is given, the workload must still
    /// have this resource version.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`], [`Failure::Conflict`] for another resource version, or a
    /// [`Failure`] when the change cannot be stored.
    pub async fn delete_workload(
        &self,
        name: &str,
        expected: Option<u64>,
        by: &str,
    ) -> Result<(), Failure> {
        self.change(|change| {
            let none = || Failure::no("workload", name);
            let name: Name = name.parse().map_err(|_| none())?;
            let present = change.model.workloads.get(&name).ok_or_else(none)?.record.version;
            if expected.is_some_and(|expected| expected != present) {
                return Err(Failure::Conflict(format!(
                    "workload {name} was changed by somebody else meanwhile (its resourceVersion is {present}): read it again"
                )));
            }
            let workload = change.model.workloads.remove(&name).ok_or_else(none)?;
            change.delete(key::workload(&name));
            for revision in &workload.revisions {
                change.delete(key::revision(&name, revision.revision));
            }
            let last = workload.record.revision;
            change.model.gone.insert(name.clone(), last);
            change.put(key::gone(&name), &last);
            let sets: Vec<_> = change
                .model
                .devices
                .values()
                .filter_map(|device| {
                    let (set, labels) = (&device.desired.workloads, &device.record.labels);
                    let workloads = placement::replace(set, labels, &name, None)?;
                    let wanted = Wanted { workloads, data: device.desired.data.clone() };
                    Some((device.record.name.clone(), wanted))
                })
                .collect();
            for (device, set) in sets {
                change.set_desired(&device, set);
            }
            change.event("workload", name.as_str(), "deleted", format!("deleted by {by}"));
            change.audit(by, "workload.delete", name.as_str(), String::new());
            Ok(())
        })
        .await
    }
}

fn put_workload(
    change: &mut Change<'_>,
    mut record: WorkloadRecord,
    new_revision: bool,
    by: &str,
    (action, message): (&str, String),
) {
    let name = record.name.clone();
    change.event("workload", name.as_str(), "changed", message.clone());
    let made = new_revision.then_some(record.revision);
    change.audit_revision(by, action, name.as_str(), message, made);
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
