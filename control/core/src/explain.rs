//! Explains in sentences for people why a device or a workload is not as desired.
//!
//! See decision 0128.

use holdfast_base::ids::{Name, StateVersion};
use holdfast_protocol::message::Phase;
use holdfast_protocol::message::WorkloadReport;

use super::absence;
use super::model::{Device, Model, Workload};
use super::pause::Stamp;
use super::records::Standing;
use super::rights::Sight;
use super::state::{self, Condition, is_done};
use holdfast_api::count::{count, counted};
use holdfast_api::time::{rfc3339, words};
use holdfast_api::{Absence, Connection, Difference, Download, Explanation, State};

/// Most devices of a workload whose reasons are listed one by one.
const MOST: usize = 20;

/// Explains why a device is not as desired, or that it is.
pub fn device(model: &Model, device: &Device, now: u64) -> Explanation {
    let (mut reasons, mut hints) = (Vec::new(), Vec::new());
    let connection = device.live.seen(device.record.standing, device.report.last_seen > 0);
    let name = &device.record.name;
    match connection {
        Connection::Online => reasons.extend(overdue(device, now)),
        Connection::Pending => {
            reasons.push("it waits for approval".to_owned());
            hints.push(format!("holdfast device approve {name}"));
        }
        Connection::Revoked => {
            reasons.push("it was revoked and may not connect; its workloads keep running. Once it is deleted it can enrol again".to_owned());
            hints.push(format!("holdfast delete device {name}"));
        }
        Connection::Offline => reasons.push(format!(
            "it is offline, {}; it goes on with what it has and catches up when it is back",
            since(device, now)
        )),
        Connection::NeverSeen => reasons.push(format!(
            "it was enrolled {} ago and has never connected: is its agent started, and can it reach the gateway?",
            words(now.saturating_sub(device.record.created_at))
        )),
    }
    let behind = behind(model, device);
    if behind {
        reasons.push(format!(
            "its desired state is number {}, it has applied {}",
            device.desired.generation,
            applied(device.report.applied)
        ));
    }
    for (workload, revision) in &device.desired.workloads {
        if let Some(reason) = on_device(device, workload, *revision, now) {
            reasons.push(format!("{workload}: {reason}"));
        }
    }
    for (workload, said) in &device.report.workloads {
        if device.desired.workloads.binary_search_by(|(known, _)| known.cmp(workload)).is_err() {
            reasons.push(format!(
                "{workload}: no longer desired, and still there ({})",
                in_words(said.phase)
            ));
        }
    }
    let heard = if connection == Connection::Online { "" } else { " when last heard" };
    for problem in device.problems() {
        reasons.push(format!("{}{heard}: {}", problem.code, problem.message));
    }
    let count = device.desired.workloads.len();
    let is_well = reasons.is_empty();
    let settled = is_well || absence::is_normal(device, now);
    reasons.extend(absence::reasons(device, now));
    let as_expected = match absence::class(device, now) {
        Some(Absence::Expected) => " as expected",
        Some(Absence::Ignored) => " and ignored",
        Some(Absence::Unexpected) | None => "",
    };
    let summary = match (connection, is_well, count) {
        (_, true, 0) => "online; nothing is desired of it".to_owned(),
        (_, true, 1) => "online; its 1 workload is as desired".to_owned(),
        (_, true, _) => format!("online; all {count} workloads are as desired"),
        (Connection::Online, ..) if !device.live.is_heard(now) => {
            format!("online, but silent: {}", since(device, now))
        }
        (Connection::Online, false, _) => "online, not all is as desired".to_owned(),
        (Connection::Offline, ..) => format!("offline{as_expected}, {}", since(device, now)),
        (Connection::NeverSeen, ..) => format!("never seen{as_expected}"),
        (other, false, _) => other.as_str().replace('-', " "),
    };
    Explanation { kind: "device".into(), name: name.to_string(), settled, summary, reasons, hints }
}

/// Returns a phase as an operator would say it, such as "downloading" for `Fetching`.
pub fn in_words(phase: Phase) -> &'static str {
    match phase {
        Phase::Backoff => "waiting to restart",
        Phase::Fetching => "downloading",
        other => other.as_str(),
    }
}

/// Returns a sentence if a connected device's next packet is late.
fn overdue(device: &Device, now: u64) -> Option<String> {
    let late = device.live.overdue(now)?;
    let silent = now.saturating_sub(device.heard_at(now));
    Some(format!("connected, but not heard for {} (due {} ago)", words(silent), words(late)))
}

fn applied(version: StateVersion) -> String {
    if version.generation == 0 {
        "none yet".into()
    } else {
        format!("number {}", version.generation)
    }
}

fn behind(model: &Model, device: &Device) -> bool {
    let wanted = StateVersion { epoch: model.meta.epoch, generation: device.desired.generation };
    device.desired.generation > 0 && device.report.applied != wanted
}

/// Returns `last heard TIME (5 min ago)`, or `never seen`.
fn since(device: &Device, now: u64) -> String {
    match device.heard_at(now) {
        0 => "never seen".into(),
        at => format!("last heard {} ({} ago)", rfc3339(at), words(now.saturating_sub(at))),
    }
}

/// Returns the reason for which a workload is not as desired on a device. `None` if it is as
/// desired.
fn on_device(device: &Device, name: &Name, revision: u64, now: u64) -> Option<String> {
    let is = state::of(device, name, revision, now);
    let said = device.report.workload(name);
    if let Some(pause) = device.desired.paused.get(name).filter(|_| is.state != State::Done) {
        return Some(paused(device, pause, said, is, now));
    }
    if is.state == State::Unknown {
        let heard = device.heard_at(now);
        let ago = words(now.saturating_sub(heard));
        return Some(match (said, is.last) {
            (Some(said), Some(last)) if said.revision == revision => {
                format!("revision {revision} was {} when last heard, {ago} ago", last.as_str())
            }
            (Some(said), _) => format!(
                "revision {revision} is desired, revision {} was {} when last heard, {ago} ago",
                said.revision,
                in_words(said.phase)
            ),
            (None, _) => format!("revision {revision} is desired, nothing reported yet"),
        });
    }
    let Some(said) = said else {
        return Some(format!("revision {revision} is desired, nothing reported yet"));
    };
    let because = because(said);
    if said.revision != revision {
        return Some(format!(
            "revision {revision} is desired, revision {} is {}{because}",
            said.revision,
            in_words(said.phase)
        ));
    }
    let restarts = match said.restarts {
        0 => String::new(),
        more => format!(" after {}", count(more.into(), "restart")),
    };
    let long = |at: Option<u64>| match at {
        Some(at) => format!(", for {}", words(now.saturating_sub(at))),
        None => String::new(),
    };
    match is.state {
        State::Running | State::Done => None,
        State::Failing if !state::is_failure(said.phase) => Some(format!(
            "revision {revision} is failing{}: {} now{restarts}{because}",
            long(is.since),
            in_words(said.phase)
        )),
        _ => Some(format!(
            "revision {revision} is {}{restarts}{}{because}",
            in_words(said.phase),
            long(is.since)
        )),
    }
}

/// Returns `: ` with the device's own reason and the progress of its download, as far as there are any.
fn because(said: &WorkloadReport) -> String {
    let download = said.progress.map(|progress| Download::from(progress).to_string());
    let reason = Some(said.reason.clone()).filter(|reason| !reason.is_empty());
    match (download, reason) {
        (None, None) => String::new(),
        (Some(text), None) | (None, Some(text)) => format!(": {text}"),
        (Some(download), Some(reason)) => format!(": {download}; {reason}"),
    }
}

/// Returns who paused a workload on a device and when, and whether the device still has to stop it.
fn paused(
    device: &Device,
    pause: &Stamp,
    said: Option<&WorkloadReport>,
    is: Condition,
    now: u64,
) -> String {
    let at_rest = matches!(is.state, State::Paused) || is.last == Some(State::Paused);
    let still = match (is.state, said) {
        _ if at_rest => "",
        (State::Unknown, _) if device.live.connection != 0 => {
            "; the device is silent, and may not have stopped it"
        }
        (State::Unknown, _) => "; the device is offline and stops it when it is back",
        (_, Some(said)) if said.run.is_some() => "; it is being stopped",
        _ => "",
    };
    let (by, at, ago) = (pause.who(), rfc3339(pause.at), words(now.saturating_sub(pause.at)));
    format!("paused by {by} since {at} ({ago} ago){still}")
}

/// Compares desired and reported state of every workload that is desired on a device or reported by
/// it.
pub fn differences(device: &Device, now: u64) -> Vec<Difference> {
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
                Some(revision) => on_device(device, name, revision, now),
                None => Some("no longer desired; the device has not removed it yet".to_owned()),
            };
            let is = desired.map(|revision| state::of(device, name, revision, now));
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
                state: is.map(|is| is.state),
                last_state: is.and_then(|is| is.last),
                since: is.and_then(|is| is.since).map(rfc3339),
            }
        })
        .collect()
}

/// Lines about the devices on which a workload is not as desired, by state.
#[derive(Default)]
struct NotAsDesired {
    failing: Vec<String>,
    progressing: Vec<String>,
    paused: Vec<String>,
    unknown: Vec<String>,
}

impl NotAsDesired {
    fn add(&mut self, is: Condition, line: String) {
        match is.state {
            State::Running | State::Done => {}
            State::Failing => self.failing.push(line),
            State::Progressing => self.progressing.push(line),
            State::Paused => self.paused.push(line),
            State::Unknown => self.unknown.push(line),
        }
    }
}

/// Explains on which devices in sight a workload is not as desired, or that it is as desired on all.
pub fn workload(model: &Model, sight: &Sight<'_>, workload: &Workload, now: u64) -> Explanation {
    let name = &workload.record.name;
    let mut summary = holdfast_api::WorkloadSummary::default();
    let (mut others, mut silent) = (NotAsDesired::default(), 0);
    for device in model.devices.values() {
        let set = &device.desired.workloads;
        let Ok(at) = set.binary_search_by(|(known, _)| known.cmp(name)) else { continue };
        if device.record.standing != Standing::Approved || !sight.sees(&device.record.labels) {
            continue;
        }
        let revision = set.get(at).map_or(0, |(_, revision)| *revision);
        let is = state::of(device, name, revision, now);
        super::view::count(&mut summary, is, absence::is_normal(device, now));
        if !matches!(is.state, State::Running | State::Done) {
            let is_connected = device.live.connection != 0;
            silent += u64::from(is.state == State::Unknown && is_connected);
            let why = on_device(device, name, revision, now).unwrap_or_default();
            others.add(is, format!("{}: {why}", device.record.name));
        }
    }
    let text = match summary.desired {
        0 => "no device is to run it".to_owned(),
        total => format!(
            "revision {} on {}: {}",
            workload.record.revision,
            count(total, "device"),
            counts(&summary, silent)
        ),
    };
    let settled =
        summary.desired > 0 && summary.running + summary.done + summary.away == summary.desired;
    let (mut reasons, mut hints): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    if summary.desired == 0 {
        let (why, hint) = nobody(model, sight);
        reasons.push(why);
        hints.push(hint.to_owned());
    }
    let NotAsDesired { failing, progressing, paused, unknown } = others;
    let all = failing.len() + progressing.len() + paused.len() + unknown.len();
    let lines = failing.into_iter().chain(progressing).chain(paused).chain(unknown);
    reasons.extend(lines.take(MOST));
    if all > MOST {
        reasons.push(format!("and {} more", counted(all - MOST, "device")));
    }
    let kind = "workload".into();
    Explanation { kind, name: name.to_string(), settled, summary: text, reasons, hints }
}

/// Returns the states that occur with their numbers: `2 running, 1 failing`. `silent`: devices that
/// are connected and were not heard in time or do not answer.
fn counts(summary: &holdfast_api::WorkloadSummary, silent: u64) -> String {
    let all = [
        (State::Failing, summary.failing),
        (State::Progressing, summary.progressing),
        (State::Running, summary.running),
        (State::Done, summary.done),
        (State::Paused, summary.paused),
        (State::Unknown, summary.unknown),
    ];
    let there = all.iter().filter(|(_, count)| *count > 0);
    there
        .map(|(state, count)| match state {
            State::Unknown => {
                let good = match summary.last_running {
                    good if good == *count => String::new(),
                    good => format!("{good} "),
                };
                let away = match summary.away {
                    0 => String::new(),
                    away if away == *count => ", away as expected".to_owned(),
                    away => format!(", {away} away as expected"),
                };
                let why = match silent {
                    0 => "offline".to_owned(),
                    silent if silent == *count => "silent".to_owned(),
                    silent => format!("offline, {silent} silent"),
                };
                format!("{count} unknown ({why}{away}; {good}running when last heard)")
            }
            state => format!("{count} {}", state.as_str()),
        })
        .collect::<Vec<_>>()
        .join(", ")
}

/// Returns the reason for which no device is to run a workload, and a command that helps.
fn nobody(model: &Model, sight: &Sight<'_>) -> (String, &'static str) {
    let approved = |device: &&Device| {
        device.record.standing == Standing::Approved && sight.sees(&device.record.labels)
    };
    let count = model.devices.values().filter(approved).count();
    match count {
        0 => ("no device is enrolled and approved yet".into(), "holdfast token create"),
        _ => (
            format!("its spec.devices matches the labels of none of {}", counted(count, "device")),
            "holdfast get devices -o wide",
        ),
    }
}
