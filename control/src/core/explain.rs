//! Why something is not as desired, in words for a person.

use holdfast_protocol::ids::{Name, StateVersion};
use holdfast_protocol::message::Phase;

use super::model::{Device, Model, Workload};
use super::records::Standing;
use super::time::{rfc3339, words};
use super::view::{Fares, fares, is_done};
use crate::api::{Connection, Difference, Explanation};

/// Most reasons that are told one by one.
const MOST: usize = 20;

/// A device: why it is not as desired.
pub fn device(model: &Model, device: &Device, now: u64) -> Explanation {
    let mut reasons = Vec::new();
    let connection = device.live.seen(device.record.standing);
    let name = &device.record.name;
    match connection {
        Connection::Online => {}
        Connection::Pending => reasons.push(format!(
            "it waits for approval: `holdfast device approve {name}` lets it in"
        )),
        Connection::Revoked => reasons.push(format!(
            "it was revoked and may not connect; what it runs, runs on. `holdfast delete device {name}` lets it enrol anew"
        )),
        Connection::Offline => reasons.push(format!(
            "it is offline, {}; it goes on with what it has and catches up when it is back",
            since(device, now)
        )),
    }
    let behind = behind(model, device);
    if behind {
        reasons.push(format!(
            "it has applied {} of desired {}",
            applied(device.report.applied),
            StateVersion { epoch: model.meta.epoch, generation: device.desired.generation }
        ));
    }
    for (workload, revision) in &device.desired.workloads {
        if let Some(reason) = on_device(device, workload, *revision) {
            reasons.push(format!("{workload}: {reason}"));
        }
    }
    for (workload, said) in &device.report.workloads {
        if device.desired.workloads.binary_search_by(|(known, _)| known.cmp(workload)).is_err() {
            reasons.push(format!("{workload}: no longer desired, and still {} there", said.phase));
        }
    }
    for problem in device.report.all_problems() {
        reasons.push(format!("{}: {}", problem.code, problem.message));
    }
    let count = device.desired.workloads.len();
    let summary = match (connection, reasons.is_empty(), count) {
        (_, true, 0) => "online; nothing is desired of it".to_owned(),
        (_, true, _) => format!("online; all {count} desired workloads run"),
        (Connection::Online, false, _) => "online, not all is as desired".to_owned(),
        (Connection::Offline, false, _) => format!("offline, {}", since(device, now)),
        (other, false, _) => other.as_str().to_owned(),
    };
    Explanation {
        kind: "device".into(),
        name: name.to_string(),
        settled: reasons.is_empty(),
        summary,
        reasons,
    }
}

fn applied(version: StateVersion) -> String {
    if version.generation == 0 { "nothing".into() } else { version.to_string() }
}

fn behind(model: &Model, device: &Device) -> bool {
    let wanted = StateVersion { epoch: model.meta.epoch, generation: device.desired.generation };
    device.desired.generation > 0 && device.report.applied != wanted
}

/// `last seen ... (N min ago)`, or that it never was.
fn since(device: &Device, now: u64) -> String {
    match device.report.last_seen {
        0 => "never seen".into(),
        at => format!("last seen {} ({} ago)", rfc3339(at), words(now.saturating_sub(at))),
    }
}

/// Why a workload is not as desired on a device. None: it is.
fn on_device(device: &Device, name: &Name, revision: u64) -> Option<String> {
    let said = device.report.workload(name);
    let because = |reason: &str| {
        if reason.is_empty() { String::new() } else { format!(": {reason}") }
    };
    if let Some(pause) = device.desired.paused.get(name) {
        let still = match said {
            Some(said) if said.pid.is_some() => ", and still runs there",
            _ => "",
        };
        let (by, at) = (&pause.by, rfc3339(pause.at));
        return Some(format!("paused by {by} since {at}{still}"));
    }
    match said {
        None => Some(format!("revision {revision} is desired, nothing reported yet")),
        Some(said) if said.revision != revision => Some(format!(
            "revision {revision} is desired, revision {} is {}{}",
            said.revision,
            said.phase,
            because(&said.reason)
        )),
        Some(said) if said.phase == Phase::Running || is_done(said) => None,
        Some(said) => {
            let restarts = match said.restarts {
                0 => String::new(),
                1 => " after 1 restart".into(),
                more => format!(" after {more} restarts"),
            };
            Some(format!(
                "revision {revision} is {}{restarts}{}",
                said.phase,
                because(&said.reason)
            ))
        }
    }
}

/// Every workload that is desired of a device or reported by it, with what is between the two.
pub fn differences(device: &Device) -> Vec<Difference> {
    let desired = device.desired.workloads.iter().map(|(name, revision)| (name, Some(*revision)));
    let left_over = device.report.workloads.iter().filter_map(|(name, _)| {
        let wanted = device.desired.workloads.binary_search_by(|(known, _)| known.cmp(name));
        wanted.is_err().then_some((name, None))
    });
    let mut all: Vec<(&Name, Option<u64>)> = desired.chain(left_over).collect();
    all.sort_unstable();
    all.into_iter()
        .map(|(name, desired)| {
            let said = device.report.workload(name);
            let why = match desired {
                Some(revision) => on_device(device, name, revision),
                None => Some("no longer desired; the device has not removed it yet".to_owned()),
            };
            let settled = || match said {
                Some(said) if is_done(said) => "it has run to its good end".to_owned(),
                _ => "it runs as desired".to_owned(),
            };
            Difference {
                workload: name.to_string(),
                desired_revision: desired,
                reported_revision: said.map(|said| said.revision),
                phase: said.map(|said| said.phase),
                as_desired: why.is_none(),
                reason: why.unwrap_or_else(settled),
            }
        })
        .collect()
}

/// A workload: why it is not as desired.
pub fn workload(model: &Model, workload: &Workload, now: u64) -> Explanation {
    let name = &workload.record.name;
    let (mut total, mut running) = (0_usize, 0_usize);
    let (mut failing, mut progressing, mut offline) = (Vec::new(), Vec::new(), Vec::new());
    for device in model.devices.values() {
        let set = &device.desired.workloads;
        let Ok(at) = set.binary_search_by(|(known, _)| known.cmp(name)) else { continue };
        if device.record.standing != Standing::Approved {
            continue;
        }
        let revision = set.get(at).map_or(0, |(_, revision)| *revision);
        total += 1;
        let why = on_device(device, name, revision).unwrap_or_default();
        let on = &device.record.name;
        match fares(device, name, revision) {
            Fares::Running => running += 1,
            Fares::Failing => failing.push(format!("{on}: {why}")),
            Fares::Progressing => progressing.push(format!("{on}: {why}")),
            Fares::Offline => offline.push(format!("{on}: offline, {}", since(device, now))),
        }
    }
    let summary = match total {
        0 => "no device is to run it".to_owned(),
        _ => format!(
            "revision {} runs on {running} of {total} devices ({} failing, {} on their way, {} offline)",
            workload.record.revision,
            failing.len(),
            progressing.len(),
            offline.len()
        ),
    };
    let settled = total > 0 && running == total;
    let mut reasons: Vec<String> = Vec::new();
    if total == 0 {
        reasons.push(nobody(model));
    }
    let all = failing.len() + progressing.len() + offline.len();
    reasons.extend(failing.into_iter().chain(progressing).chain(offline).take(MOST));
    if all > MOST {
        reasons.push(format!("and {} more devices", all - MOST));
    }
    Explanation { kind: "workload".into(), name: name.to_string(), settled, summary, reasons }
}

fn nobody(model: &Model) -> String {
    let approved = |device: &&Device| device.record.standing == Standing::Approved;
    let count = model.devices.values().filter(approved).count();
    match count {
        0 => "no device is enrolled and approved yet: `holdfast token create` begins".into(),
        _ => format!(
            "its spec.devices matches the labels of none of {count} devices: see `holdfast get devices -o wide`"
        ),
    }
}
