//! Actions of operators on workloads besides apply: going back to a former revision, pauses,
//! restarts. A pause is part of the desired state and holds without a link. A restart is asked of
//! the devices that are connected now, and of no other later.
//!
//! See decisions 0115, 0116 and 0117.

use std::collections::BTreeSet;

use holdfast_base::ids::Name;

use super::change::Change;
use super::desired::{self, Documents, approved};
use super::model::{Model, Workload, key};
use super::pause::{MAX_NAMED, Stamp};
use super::revisions;
use super::rights::Sight;
use holdfast_api::count::counted;
use holdfast_api::selector::{self, NotASelector};
use holdfast_api::time::rfc3339;
use holdfast_api::{NotRestarted, OnDevices, PauseResult, Rollback};

/// Maximum number of devices that a result names in each of its lists.
const NAMED: usize = 100;

/// Reason for which an action on a workload is refused. Nothing was changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No workload, or no device, has this name.
    #[error("there is no {kind} {name:?}")]
    Unknown {
        /// `workload` or `device`.
        kind: &'static str,
        /// Name that was asked for, its first 80 characters.
        name: String,
    },
    /// A named device should not run the workload.
    #[error("device {device} is not to run workload {workload}")]
    NotThere {
        /// Name of the device.
        device: Name,
        /// Name of the workload.
        workload: Name,
    },
    /// No device that the label selector matches should run the workload.
    #[error("no device with the labels {selector} is to run workload {workload}")]
    Nowhere {
        /// Label selector as it was sent.
        selector: String,
        /// Name of the workload.
        workload: Name,
    },
    /// The workload chooses devices that the caller does not reach, and the request means them too.
    #[error(
        "workload {workload} also chooses devices that you do not reach: name those that are meant, or give a labelSelector such as {sight}"
    )]
    Outside {
        /// Name of the workload.
        workload: Name,
        /// Selectors of the caller's roles, in words.
        sight: String,
    },
    /// The request does not say clearly which devices are meant; the text says why.
    #[error("{0}")]
    Devices(&'static str),
    /// The label selector cannot be read.
    #[error("labelSelector: {0}")]
    Selector(#[from] NotASelector),
    /// The pauses of the workload would name too many devices.
    #[error(
        "more than {MAX_NAMED} devices would be paused or excepted by name: do it everywhere instead"
    )]
    TooManyNamed,
    /// The revision is not stored any more, or never was.
    #[error(
        "workload {workload} has no revision {number}: those from {oldest} to {newest} are kept"
    )]
    NoRevision {
        /// Name of the workload.
        workload: Name,
        /// Number that was asked for.
        number: u64,
        /// Oldest revision that is kept.
        oldest: u64,
        /// Present revision.
        newest: u64,
    },
    /// No kept revision differs from the present one.
    #[error("workload {0} has no former revision: there is nothing to go back to")]
    NoFormer(Name),
    /// The workload is paused on every device that is meant.
    #[error(
        "workload {workload} is paused there, by {} since {}: resume it, which starts it",
        pause.who(),
        rfc3339(pause.at)
    )]
    Paused {
        /// Name of the workload.
        workload: Name,
        /// Author and time of the pause on the first of the devices.
        pause: Stamp,
    },
}

impl Refusal {
    fn unknown(kind: &'static str, name: &str) -> Self {
        Self::Unknown { kind, name: name.chars().take(80).collect() }
    }
}

/// Restart that is to be asked of devices.
#[derive(Debug)]
pub struct Restart {
    /// Name of the workload.
    pub workload: Name,
    /// Devices that are asked.
    pub devices: Vec<Name>,
    /// Devices that are not asked, with the reason.
    pub not_asked: Vec<NotRestarted>,
}

/// Removes a deleted device from all pauses, because another device may get its name.
pub fn forget(change: &mut Change<'_>, device: &Name) {
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

fn known<'a>(model: &'a Model, name: &str) -> Result<(&'a Name, &'a Workload), Refusal> {
    model.workloads.get_key_value(name).ok_or_else(|| Refusal::unknown("workload", name))
}

/// Returns the devices in sight that a request selects, `None` for every device that should run the
/// workload.
///
/// # Errors
/// [`Refusal`] when a selected device is unknown, out of sight or should not run the workload, and
/// when every device is meant and not every one is in sight.
fn chosen(
    model: &Model,
    sight: &Sight<'_>,
    workload: &Name,
    on: &OnDevices,
) -> Result<Option<Vec<Name>>, Refusal> {
    let holds = |known: &Workload| sight.holds(&known.record.devices);
    let runs = |device: &Name| {
        model.devices.get(device).is_some_and(|device| {
            let set = &device.desired.workloads;
            set.binary_search_by(|(known, _)| known.cmp(workload)).is_ok()
        })
    };
    match (&on.devices, &on.label_selector) {
        (None, None) if model.workloads.get(workload).is_some_and(holds) => Ok(None),
        (None, None) => Err(Refusal::Outside { workload: workload.clone(), sight: sight.words() }),
        (Some(_), Some(_)) => {
            Err(Refusal::Devices("devices and labelSelector: give only one of them"))
        }
        (Some(devices), None) => {
            if devices.is_empty() {
                let text = "devices: the list is empty; leave it out to select every device that should run the workload";
                return Err(Refusal::Devices(text));
            }
            let mut chosen = BTreeSet::new();
            for device in devices {
                let (name, _) = model
                    .devices
                    .get_key_value(device.as_str())
                    .filter(|(_, known)| sight.sees(&known.record.labels))
                    .ok_or_else(|| Refusal::unknown("device", device))?;
                if !runs(name) {
                    return Err(Refusal::NotThere {
                        device: name.clone(),
                        workload: workload.clone(),
                    });
                }
                chosen.insert(name.clone());
            }
            Ok(Some(chosen.into_iter().collect()))
        }
        (None, Some(text)) => {
            let selector = selector::parse(text)?;
            if selector.is_empty() {
                let text = "labelSelector: it has no conditions; leave it out to select every device that should run the workload";
                return Err(Refusal::Devices(text));
            }
            let fitting = approved(model).filter(|device| {
                let labels = &device.record.labels;
                selector.matches(labels) && sight.sees(labels)
            });
            let chosen: Vec<Name> = fitting
                .map(|device| device.record.name.clone())
                .filter(|name| runs(name))
                .collect();
            if chosen.is_empty() {
                return Err(Refusal::Nowhere {
                    selector: text.clone(),
                    workload: workload.clone(),
                });
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
        Some(many) => format!("on {}", counted(many.len(), "device")),
    }
}

/// Returns a former revision's number and its document, with the resource version that the
/// workload must have. Without a number it is the newest revision that differs from the present
/// one.
///
/// # Errors
/// [`Refusal`] when the workload is unknown or the revision is no longer stored.
pub fn former(
    model: &Model,
    name: &str,
    wanted: &Rollback,
) -> Result<(u64, serde_json::Value), Refusal> {
    let (name, workload) = known(model, name)?;
    let present = &workload.record;
    let kept = &workload.revisions;
    let found = match wanted.to {
        Some(number) => kept.iter().find(|it| it.revision == number).ok_or_else(|| {
            let oldest = kept.front().map_or(present.revision, |it| it.revision);
            Refusal::NoRevision { workload: name.clone(), number, oldest, newest: present.revision }
        }),
        None => {
            let differs = |written: &serde_json::Value| *written != present.written;
            kept.iter()
                .rev()
                .find(|it| differs(&it.written))
                .ok_or_else(|| Refusal::NoFormer(name.clone()))
        }
    }?;
    Ok((found.revision, revisions::document(found, wanted.resource_version)))
}

/// Pauses a workload or resumes it, on all of its devices or on selected ones, as the access token
/// `by`, which reaches the devices in sight.
///
/// # Errors
/// [`Refusal`]; then nothing was changed.
pub fn pause(
    change: &mut Change<'_>,
    name: &str,
    on: &OnDevices,
    paused: bool,
    (by, sight): (&str, &Sight<'_>),
) -> Result<PauseResult, Refusal> {
    let (name, workload) = known(change.model, name)?;
    let name = name.clone();
    let chosen = chosen(change.model, sight, &name, on)?;
    let stamp = Stamp { by: by.into(), by_name: change.name_of(by), at: change.now };
    let mut record = workload.record.clone();
    let done = match paused {
        true => record.paused.pause(chosen.as_deref(), &stamp),
        false => record.paused.resume(chosen.as_deref()),
    };
    done.map_err(|_| Refusal::TooManyNamed)?;
    let mut result = PauseResult { everywhere: chosen.is_none(), ..Default::default() };
    if record.paused == workload.record.paused {
        return Ok(result);
    }
    let desired = desired::diff(&Documents::of(change.model).with_workload(&record));
    for (device, _) in &desired {
        note(&mut result.devices, &mut result.device_count, device);
        if change.model.devices.get(device).is_some_and(|known| known.live.connection == 0) {
            note(&mut result.offline, &mut result.offline_count, device);
        }
    }
    change.put(key::workload(&name), &record);
    if let Some(known) = change.model.workloads.get_mut(&name) {
        known.record = record;
    }
    change.set_all_desired(desired);
    let (word, verb) = if paused { ("paused", "pause") } else { ("resumed", "resume") };
    let message = format!("{word} {}", where_to(chosen.as_deref()));
    change.event("workload", name.as_str(), "changed", message.clone());
    change.audit(by, &format!("workload.{verb}"), name.as_str(), message);
    Ok(result)
}

/// Determines the devices on which a workload is restarted, and adds an entry to the audit log.
///
/// # Errors
/// [`Refusal`], such as [`Refusal::Paused`] when it is paused on all of them.
pub fn restart(
    change: &mut Change<'_>,
    name: &str,
    on: &OnDevices,
    (by, sight): (&str, &Sight<'_>),
) -> Result<Restart, Refusal> {
    let (name, _) = known(change.model, name)?;
    let name = name.clone();
    let chosen = chosen(change.model, sight, &name, on)?;
    let (mut devices, mut not_asked, mut all_paused) = (Vec::new(), Vec::new(), true);
    let mut pause = None;
    for device in concerned(change.model, &name, chosen.as_deref()) {
        let Some(known) = change.model.devices.get(&device) else { continue };
        let paused = known.desired.paused.get(&name);
        pause = pause.or(paused.cloned());
        let reason = match paused {
            Some(_) => "paused",
            None if known.live.connection == 0 => {
                all_paused = false;
                "offline"
            }
            None => {
                devices.push(device);
                continue;
            }
        };
        not_asked.push(NotRestarted { device: device.to_string(), reason: reason.into() });
    }
    if let Some(pause) = pause.filter(|_| devices.is_empty() && all_paused) {
        return Err(Refusal::Paused { workload: name, pause });
    }
    let message = match (devices.len(), not_asked.len()) {
        (asked, 0) => format!("asked {}", counted(asked, "device")),
        (asked, not) => {
            format!("asked {}; {not} offline or paused", counted(asked, "device"))
        }
    };
    let message = format!("{}: {message}", where_to(chosen.as_deref()));
    change.audit(by, "workload.restart", name.as_str(), message);
    Ok(Restart { workload: name, devices, not_asked })
}

/// Counts a device, and adds its name while the list has fewer than [`NAMED`].
fn note(names: &mut Vec<String>, count: &mut u64, device: &Name) {
    *count += 1;
    if names.len() < NAMED {
        names.push(device.to_string());
    }
}
