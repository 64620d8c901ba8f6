//! Projection of what each device should have (workloads, policies and pauses) from the documents
//! and the device's labels. Every change of a desired state comes from here:
//!
//! - [`project`] says what one device should have, from nothing but the documents and the device.
//! - [`diff`] says which devices a change of documents concerns, and what each should have then. It
//!   looks at the changed documents alone, and comes to the same as [`project`] would.
//! - [`admit_device`] is [`project`] for a device whose labels or standing change.
//!
//! Nothing here changes the model. See decision 0138.

mod documents;
pub mod sealing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use holdfast_base::codec::MAX_MESSAGE;
use holdfast_base::ids::Name;
use holdfast_protocol::enrol::Fault;

use self::sealing::{Content, Sealing};
use super::model::{Device, Model};
use super::pause::Stamp;
use super::placement::{self, Set};
use super::records::{DesiredRecord, Given, GivenBefore, PolicyKey, Standing, WorkloadRecord};

pub use self::documents::Documents;

/// Size of a desired state without its workloads and policies, in bytes: names, version, signature,
/// headers.
const FRAME: usize = 1_024;

/// Most devices whose desired state is too large that are named.
const FAULTS: usize = 10;

/// Workloads, policies and pauses that a device should have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Workloads with their revisions, sorted by name.
    pub workloads: Set,
    /// Policy documents with their revisions, sorted by key.
    pub data: Vec<(PolicyKey, u64)>,
    /// Paused workloads, a subset of `workloads`, with who paused them.
    pub paused: BTreeMap<Name, Stamp>,
    /// Workloads with sealed content, a subset of `workloads`.
    pub sealed: BTreeMap<Name, Content>,
}

impl Wanted {
    /// Takes what a desired state says now.
    pub fn present(desired: &DesiredRecord) -> Self {
        let DesiredRecord { workloads, data, paused, sealed, .. } = desired.clone();
        let content = |given: Given| Content { version: given.version, uses: given.uses };
        let sealed = sealed.into_iter().map(|(name, given)| (name, content(given))).collect();
        Self { workloads, data, paused, sealed }
    }

    /// True if the desired state says this already.
    fn is_in(&self, desired: &DesiredRecord) -> bool {
        self.workloads == desired.workloads
            && self.data == desired.data
            && self.paused == desired.paused
            && self.sealed.len() == desired.sealed.len()
            && self.sealed.iter().all(|(name, content)| {
                desired.sealed.get(name).is_some_and(|given| given.version == content.version)
            })
    }
}

/// New desired states of devices, by the devices' names.
pub type Changed = Vec<(Name, DesiredRecord)>;

/// Returns the devices that may connect.
pub fn approved(model: &Model) -> impl Iterator<Item = &Device> {
    model.devices.values().filter(|device| device.record.standing == Standing::Approved)
}

/// Returns what a device should have. A device that is not approved gets nothing new: it keeps what
/// it had when it was revoked, without what was deleted since.
pub fn project(documents: &Documents<'_>, device: &Device) -> Wanted {
    if device.record.standing != Standing::Approved {
        return kept(documents, device);
    }
    let labels = &device.record.labels;
    let workloads = placement::place(labels, documents.workloads());
    let data = placement::policies(labels, documents.policies());
    let paused = workloads
        .iter()
        .filter_map(|(name, _)| {
            let stamp = documents.workload(name)?.paused.on(&device.record.name)?;
            Some((name.clone(), stamp.clone()))
        })
        .collect();
    let sealed = workloads
        .iter()
        .filter_map(|(name, _)| {
            let sealing = Sealing::of(documents, documents.workload(name)?)?;
            Some((name.clone(), sealing.on(device)))
        })
        .collect();
    Wanted { workloads, data, paused, sealed }
}

/// Returns what a device has, without what was deleted.
fn kept(documents: &Documents<'_>, device: &Device) -> Wanted {
    let mut wanted = Wanted::present(&device.desired);
    wanted.workloads.retain(|(name, _)| documents.workload(name).is_some());
    wanted.data.retain(|(key, _)| documents.policy(key).is_some());
    wanted.paused.retain(|name, _| documents.workload(name).is_some());
    wanted.sealed.retain(|name, _| documents.workload(name).is_some());
    wanted
}

/// Returns the new desired states of all devices for which the changed documents change anything.
pub fn diff(documents: &Documents<'_>) -> Changed {
    let (model, removes) = (documents.model(), documents.removes_any());
    let touched = sealing::touched(documents);
    let changed = |device: &Device| {
        let wanted = match device.record.standing {
            Standing::Approved => amended(documents, &touched, device)?,
            Standing::Pending | Standing::Revoked if !removes => return None,
            Standing::Pending | Standing::Revoked => kept(documents, device),
        };
        if wanted.is_in(&device.desired) {
            return None;
        }
        Some((device.record.name.clone(), following(model, &device.desired, wanted)))
    };
    model.devices.values().filter_map(changed).collect()
}

/// Returns what a device should have if its desired state was that of the documents before the
/// change: the same as [`project`], which would compare the labels of every device with the
/// selector of every document. None: no changed document concerns the device.
fn amended(
    documents: &Documents<'_>,
    touched: &BTreeMap<Name, Option<Sealing<'_>>>,
    device: &Device,
) -> Option<Wanted> {
    let (labels, desired) = (&device.record.labels, &device.desired);
    let mut workloads: Option<Set> = None;
    let mut paused: Option<BTreeMap<Name, Stamp>> = None;
    for name in documents.changed_workloads() {
        let record = documents.workload(name);
        let present = workloads.as_deref().unwrap_or(&desired.workloads);
        if let Some(next) = placement::replace(present, labels, name, record) {
            workloads = Some(next);
        }
        let chosen = record.filter(|record| record.devices.matches(labels));
        let pause = chosen.and_then(|record| record.paused.on(&device.record.name));
        let present = paused.as_ref().unwrap_or(&desired.paused);
        if present.get(name) != pause {
            let mut next = present.clone();
            match pause {
                Some(stamp) => drop(next.insert(name.clone(), stamp.clone())),
                None => drop(next.remove(name)),
            }
            paused = Some(next);
        }
    }
    let data = changed_policies(documents, device);
    let sealed = amended_sealed(touched, workloads.as_deref(), device);
    if workloads.is_none() && paused.is_none() && data.is_none() && sealed.is_none() {
        return None;
    }
    let mut wanted = Wanted::present(desired);
    wanted.workloads = workloads.unwrap_or(wanted.workloads);
    wanted.data = data.unwrap_or(wanted.data);
    wanted.paused = paused.unwrap_or(wanted.paused);
    wanted.sealed = sealed.unwrap_or(wanted.sealed);
    Some(wanted)
}

/// Returns the sealed contents of a device after the change. None: they stay as they are.
/// `workloads` are the workloads after the change, if they change.
fn amended_sealed(
    touched: &BTreeMap<Name, Option<Sealing<'_>>>,
    workloads: Option<&[(Name, u64)]>,
    device: &Device,
) -> Option<BTreeMap<Name, Content>> {
    let desired = &device.desired;
    let set = workloads.unwrap_or(&desired.workloads);
    let runs = |name: &Name| set.binary_search_by(|(known, _)| known.cmp(name)).is_ok();
    let mut next: Option<BTreeMap<Name, Content>> = None;
    for (name, sealing) in touched {
        let content = sealing.as_ref().filter(|_| runs(name)).map(|sealing| sealing.on(device));
        let present = desired.sealed.get(name).map(|given| given.version);
        if content.as_ref().map(|content| content.version) == present {
            continue;
        }
        let next = next.get_or_insert_with(|| Wanted::present(desired).sealed);
        match content {
            Some(content) => drop(next.insert(name.clone(), content)),
            None => drop(next.remove(name)),
        }
    }
    next
}

/// Returns the policies that a device should follow after the change. None: the same as now.
pub(super) fn changed_policies(
    documents: &Documents<'_>,
    device: &Device,
) -> Option<Vec<(PolicyKey, u64)>> {
    let labels = &device.record.labels;
    let concerned = documents.changed_policies().filter(|key| key.0.on_devices()).any(|key| {
        documents.policy(key).is_some_and(|record| record.devices.matches(labels))
            || device.desired.data.iter().any(|(known, _)| known == key)
    });
    if !concerned {
        return None;
    }
    let data = placement::policies(labels, documents.policies());
    (data != device.desired.data).then_some(data)
}

/// Returns the revisions of a workload on a device, now and after the change. None: it is not to
/// run there.
pub(super) fn revisions(record: &WorkloadRecord, device: &Device) -> (Option<u64>, Option<u64>) {
    let set = &device.desired.workloads;
    let at = set.binary_search_by(|(known, _)| known.cmp(&record.name));
    let present = at.ok().and_then(|at| set.get(at)).map(|(_, revision)| *revision);
    let wanted = record.devices.matches(&device.record.labels).then_some(record.revision);
    (present, wanted)
}

/// Returns the new desired state of a device whose labels or standing change; `device` is the
/// device after that. None: it should have what it has, or is not approved.
///
/// # Errors
/// The desired state would be too large to send, or a workload refers to something that the device
/// lacks.
pub fn admit_device(model: &Model, device: &Device) -> Result<Option<DesiredRecord>, Fault> {
    if device.record.standing != Standing::Approved {
        return Ok(None);
    }
    let documents = Documents::of(model);
    let wanted = project(&documents, device);
    let next = following(model, &device.desired, wanted);
    if let Some(fault) = sealing::missing(&documents, device, &next) {
        return Err(fault);
    }
    if let Some(fault) = too_large(&documents, &device.record.name, &next) {
        return Err(fault);
    }
    // A device that was deleted and enrols again may have an old desired state on its disk. An
    // empty one is then something to send, see `Meta::generation_floor`.
    let unsaid = device.desired.generation == 0 && model.meta.generation_floor > 0;
    let same = Wanted::present(&next).is_in(&device.desired);
    Ok((!same || unsaid).then_some(next))
}

/// Returns the desired state that says this, with the next generation.
fn following(model: &Model, desired: &DesiredRecord, wanted: Wanted) -> DesiredRecord {
    let Wanted { mut workloads, mut data, paused, sealed } = wanted;
    workloads.shrink_to_fit();
    data.shrink_to_fit();
    let generation = desired.generation.max(model.meta.generation_floor) + 1;
    let given = |(name, content): (Name, Content)| {
        let before = desired.sealed.get(&name);
        let given = match before.filter(|before| before.version == content.version) {
            Some(same) => same.clone(),
            None => Given {
                version: content.version,
                since: generation,
                uses: content.uses,
                before: before.map(|before| {
                    Box::new(GivenBefore { since: before.since, uses: before.uses.clone() })
                }),
            },
        };
        (name, given)
    };
    let sealed = sealed.into_iter().map(given).collect();
    DesiredRecord { generation, workloads, data, paused, sealed }
}

/// Returns a fault for each of the first ten devices whose new desired state does not fit into one
/// message.
pub fn faults(documents: &Documents<'_>, changed: &Changed) -> Vec<Fault> {
    let each = changed.iter().filter_map(|(name, desired)| too_large(documents, name, desired));
    each.take(FAULTS).collect()
}

/// Returns the fault if a desired state does not fit into one message to the device.
fn too_large(documents: &Documents<'_>, device: &Name, desired: &DesiredRecord) -> Option<Fault> {
    let workloads = desired.workloads.iter().map(|(name, _)| documents.workload_size(name));
    let policies = desired.data.iter().map(|(key, _)| documents.policy_size(key));
    let sealed = desired.sealed.keys().map(|name| sealing::size(documents, name));
    let bytes = workloads.chain(policies).chain(sealed).fold(FRAME, usize::saturating_add);
    (bytes > MAX_MESSAGE).then(|| Fault {
        path: format!("devices.{device}"),
        message: format!(
            "its {} workloads, their secrets and files, and what it should do with data together need {bytes} bytes, a device's desired state has {MAX_MESSAGE} at most: give it fewer, or move large configuration into artifacts",
            desired.workloads.len()
        ),
        of_key: false,
    })
}
