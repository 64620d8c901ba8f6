//! Actions of operators on workloads besides applying them: rollback, pause, restart. A pause is
//! part of the desired state and holds without a link. A restart is requested from the devices that
//! are connected now, and from no other one later.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;
use holdfast_base::ids::Name;
use holdfast_protocol::message::Method;

use super::apply::approved;
use super::calls::NoAnswer;
use super::change::Change;
use super::{Failure, Service};
use crate::api::selector;
use crate::api::time::rfc3339;
use crate::api::{NotRestarted, OnDevices, PauseResult, RestartProgress, RestartResult, Rollback};
use crate::core::model::{Model, Workload, key};
use crate::core::pause::{MAX_NAMED, Stamp};
use crate::core::placement::Wanted;
use crate::core::revisions;

/// Maximum number of devices that a result names in each of its lists.
const NAMED: usize = 100;

/// Maximum number of devices that restart at the same time, so that the fleet is never down as a
/// whole.
const AT_ONCE: usize = 64;

/// Maximum size of a device's reply to a restart, in bytes. The reply is empty.
const ANSWER: usize = 1_024;

/// Removes a deleted device from all pauses, because another device may get its name.
pub(super) fn forget(change: &mut Change<'_>, device: &Name) {
    let named: Vec<Name> = change
        .model
        .workloads
        .iter()
        .filter(|(_, known)| known.record.paused.names(device))
        .map(|(name, _)| name.clone())
        .collect();
    for name in named {
        if let Some(known) = change.model.workloads.get_mut(&name) {
            known.record.paused.forget(device);
            let record = known.record.clone();
            change.put(key::workload(&name), &record);
        }
    }
}

fn known<'a>(model: &'a Model, name: &str) -> Result<(&'a Name, &'a Workload), Failure> {
    model.workloads.get_key_value(name).ok_or_else(|| Failure::no("workload", name))
}

/// Returns the devices that a request selects, `None` for every device that should run the
/// workload.
///
/// # Errors
/// Returns a [`Failure`] when a selected device is unknown or should not run the workload.
fn chosen(model: &Model, workload: &Name, on: &OnDevices) -> Result<Option<Vec<Name>>, Failure> {
    let runs = |device: &Name| {
        model.devices.get(device).is_some_and(|device| {
            let set = &device.desired.workloads;
            set.binary_search_by(|(known, _)| known.cmp(workload)).is_ok()
        })
    };
    match (&on.devices, &on.label_selector) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => {
            Err(Failure::invalid("devices and labelSelector: give only one of them"))
        }
        (Some(devices), None) => {
            if devices.is_empty() {
                let text = "devices: the list is empty; leave it out to select every device that should run the workload";
                return Err(Failure::invalid(text));
            }
            let mut chosen = BTreeSet::new();
            for device in devices {
                let (name, _) = model
                    .devices
                    .get_key_value(device.as_str())
                    .ok_or_else(|| Failure::no("device", device))?;
                if !runs(name) {
                    return Err(Failure::NotFound(format!(
                        "device {name} is not to run workload {workload}"
                    )));
                }
                chosen.insert(name.clone());
            }
            Ok(Some(chosen.into_iter().collect()))
        }
        (None, Some(text)) => {
            let selector = selector::parse(text)
                .map_err(|error| Failure::invalid(format!("labelSelector: {error}")))?;
            if selector.is_empty() {
                let text = "labelSelector: it has no conditions; leave it out to select every device that should run the workload";
                return Err(Failure::invalid(text));
            }
            let fitting = approved(model).filter(|device| selector.matches(&device.record.labels));
            let chosen: Vec<Name> = fitting
                .map(|device| device.record.name.clone())
                .filter(|name| runs(name))
                .collect();
            if chosen.is_empty() {
                return Err(Failure::NotFound(format!(
                    "no device with the labels {text} is to run workload {workload}"
                )));
            }
            Ok(Some(chosen))
        }
    }
}

/// Returns the approved devices that should run a workload, or those of them that are selected.
fn concerned(model: &Model, workload: &Name, chosen: Option<&[Name]>) -> Vec<Name> {
    let runs = |set: &[(Name, u64)]| set.binary_search_by(|(it, _)| it.cmp(workload)).is_ok();
    approved(model)
        .filter(|device| runs(&device.desired.workloads))
        .map(|device| device.record.name.clone())
        .filter(|name| chosen.is_none_or(|chosen| chosen.binary_search(name).is_ok()))
        .collect()
}

fn where_to(chosen: Option<&[Name]>) -> String {
    match chosen {
        None => "everywhere".into(),
        Some([one]) => format!("on {one}"),
        Some(many) => format!("on {} devices", many.len()),
    }
}

/// Restart that is about to begin. Dropping its run leaves out the devices that were not asked by
/// then.
#[derive(Debug)]
pub struct Restarting {
    service: Arc<Service>,
    workload: Name,
    devices: Vec<Name>,
    not_asked: Vec<NotRestarted>,
}

impl Service {
    /// Returns a former revision's number and its document, with the resource version that the
    /// workload must have. Without a number it is the newest revision that differs from the present
    /// one.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] when the workload is unknown or the revision is no longer
    /// stored.
    pub fn former(
        &self,
        name: &str,
        wanted: &Rollback,
    ) -> Result<(u64, serde_json::Value), Failure> {
        let model = self.model();
        let (name, workload) = known(&model, name)?;
        let present = &workload.record;
        let kept = &workload.revisions;
        let found = match wanted.to {
            Some(number) => kept.iter().find(|it| it.revision == number).ok_or_else(|| {
                let oldest = kept.front().map_or(present.revision, |it| it.revision);
                Failure::NotFound(format!(
                    "workload {name} has no revision {number}: those from {oldest} to {} are kept",
                    present.revision
                ))
            }),
            None => {
                let differs = |written: &serde_json::Value| *written != present.written;
                kept.iter().rev().find(|it| differs(&it.written)).ok_or_else(|| {
                    Failure::NotFound(format!(
                        "workload {name} has no former revision: there is nothing to go back to"
                    ))
                })
            }
        }?;
        Ok((found.revision, revisions::document(found, wanted.resource_version)))
    }

    /// Pauses a workload or resumes it, on all of its devices or on selected ones.
    ///
    /// # Errors
    /// Returns a [`Failure`]; then nothing was changed.
    pub async fn pause(
        &self,
        name: &str,
        on: &OnDevices,
        paused: bool,
        by: &str,
    ) -> Result<PauseResult, Failure> {
        self.change(|change| {
            let (name, workload) = known(change.model, name)?;
            let name = name.clone();
            let chosen = chosen(change.model, &name, on)?;
            let stamp = Stamp { by: by.into(), at: change.now };
            let mut record = workload.record.clone();
            let done = match paused {
                true => record.paused.pause(chosen.as_deref(), &stamp),
                false => record.paused.resume(chosen.as_deref()),
            };
            done.map_err(|_| {
                Failure::invalid(format!(
                    "more than {MAX_NAMED} devices would be paused or excepted by name: do it everywhere instead"
                ))
            })?;
            let mut result = PauseResult { everywhere: chosen.is_none(), ..Default::default() };
            if record.paused == workload.record.paused {
                return Ok(result);
            }
            let mut sets = Vec::new();
            for device in concerned(change.model, &name, chosen.as_deref()) {
                let Some(known) = change.model.devices.get(&device) else { continue };
                if known.desired.paused.contains_key(&name) == record.paused.on(&device).is_some() {
                    continue;
                }
                note(&mut result.devices, &mut result.device_count, &device);
                if known.live.connection == 0 {
                    note(&mut result.offline, &mut result.offline_count, &device);
                }
                let (workloads, data) =
                    (known.desired.workloads.clone(), known.desired.data.clone());
                sets.push((device, Wanted { workloads, data }));
            }
            change.put(key::workload(&name), &record);
            if let Some(known) = change.model.workloads.get_mut(&name) {
                known.record = record;
            }
            for (device, set) in sets {
                change.set_desired(&device, set);
            }
            let (word, verb) = if paused { ("paused", "pause") } else { ("resumed", "resume") };
            let message = format!("{word} {}", where_to(chosen.as_deref()));
            change.event("workload", name.as_str(), "changed", message.clone());
            change.audit(by, &format!("workload.{verb}"), name.as_str(), message);
            Ok(result)
        })
        .await
    }

    /// Determines the devices on which a workload is restarted, and adds an entry to the audit log.
    ///
    /// # Errors
    /// Returns a [`Failure`] when the workload or a device is unknown, or when it is paused on all
    /// of them.
    pub async fn restart(
        self: &Arc<Self>,
        name: &str,
        on: &OnDevices,
        by: &str,
    ) -> Result<Restarting, Failure> {
        let (workload, devices, not_asked) = self
            .change(|change| {
                let (name, _) = known(change.model, name)?;
                let name = name.clone();
                let chosen = chosen(change.model, &name, on)?;
                let (mut devices, mut not_asked) = (Vec::new(), Vec::new());
                let mut pause = None;
                for device in concerned(change.model, &name, chosen.as_deref()) {
                    let Some(known) = change.model.devices.get(&device) else { continue };
                    let paused = known.desired.paused.get(&name);
                    pause = pause.or(paused.cloned());
                    let reason = match paused {
                        Some(_) => "paused",
                        None if known.live.connection == 0 => "offline",
                        None => {
                            devices.push(device);
                            continue;
                        }
                    };
                    let device = device.to_string();
                    not_asked.push(NotRestarted { device, reason: reason.into() });
                }
                let all_paused = not_asked.iter().all(|it| it.reason == "paused");
                if let Some(pause) = pause.filter(|_| devices.is_empty() && all_paused) {
                    return Err(Failure::Conflict(format!(
                        "workload {name} is paused there, by {} since {}: resume it, which starts it",
                        pause.by,
                        rfc3339(pause.at)
                    )));
                }
                let message = match (devices.len(), not_asked.len()) {
                    (asked, 0) => format!("asked {asked} devices"),
                    (asked, not) => format!("asked {asked} devices; {not} offline or paused"),
                };
                let message = format!("{}: {message}", where_to(chosen.as_deref()));
                change.audit(by, "workload.restart", name.as_str(), message);
                Ok((name, devices, not_asked))
            })
            .await?;
        Ok(Restarting { service: Arc::clone(self), workload, devices, not_asked })
    }
}

/// Counts a device, and adds its name while the list has fewer than [`NAMED`].
fn note(names: &mut Vec<String>, count: &mut u64, device: &Name) {
    *count += 1;
    if names.len() < NAMED {
        names.push(device.to_string());
    }
}

impl Restarting {
    /// Asks the devices, at most 64 at a time, and waits for their replies. Calls `tell`
    /// with the progress after each.
    pub async fn run(self, mut tell: impl FnMut(RestartProgress)) -> RestartResult {
        let of = self.devices.len() as u64;
        let mut result = RestartResult { not_asked: self.not_asked, ..Default::default() };
        let (service, workload) = (&self.service, &self.workload);
        tell(RestartProgress { answered: 0, of });
        let asked = stream::iter(self.devices)
            .map(|device| async move {
                let answer = one(service, &device, workload).await;
                (device.to_string(), answer)
            })
            .buffer_unordered(AT_ONCE);
        futures_util::pin_mut!(asked);
        let mut answered = 0;
        while let Some((device, answer)) = asked.next().await {
            answered += 1;
            match answer {
                Ok(()) => result.restarted.push(device),
                Err((true, reason)) => result.failed.push(NotRestarted { device, reason }),
                Err((false, reason)) => result.not_asked.push(NotRestarted { device, reason }),
            }
            tell(RestartProgress { answered, of });
        }
        result.restarted.sort_unstable();
        for list in [&mut result.failed, &mut result.not_asked] {
            list.sort_unstable_by(|a, b| a.device.cmp(&b.device));
        }
        result
    }
}

/// Has one device restart the workload. An error holds whether the device was asked, and the
/// reason.
async fn one(service: &Arc<Service>, device: &Name, workload: &Name) -> Result<(), (bool, String)> {
    let method = Method::Restart { workload: workload.clone() };
    match service.ask(device, method, ANSWER, &Arc::default()).await {
        Ok(_) => Ok(()),
        Err(NoAnswer::Now(why)) => Err((false, why.strip_prefix("is ").unwrap_or(&why).to_owned())),
        Err(NoAnswer::Silent) => {
            Err((true, "no answer: it may have been restarted or not".to_owned()))
        }
        Err(NoAnswer::Said(why)) => Err((true, why.text)),
        Err(NoAnswer::Never(failure)) => Err((false, failure.to_string())),
    }
}
