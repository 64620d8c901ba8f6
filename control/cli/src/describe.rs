//! `describe`: one resource in words, with desired and reported state side by side and the reasons
//! for differences.

use std::collections::BTreeSet;

use serde_json::Value;

use super::activity;
use super::args::{Kind, Named};
use super::cells;
use super::client::Client;
use super::described_absence;
use super::described_data;
use super::described_document;
use super::failure::Outcome;
use super::get;
use super::image_rows;
use super::moment;
use super::rows;
use super::table::{Cell, facts, table};
use super::text::{Mood, Output, clean};
use super::yaml;
use holdfast_api::time::words;
use holdfast_api::{
    Connection, Device, Explanation, HealthState, List, Ping, TimelineEvent, WorkloadStatus,
};

/// Describes one resource.
pub(crate) async fn describe(client: &Client, output: Output, now: u64, named: &Named) -> Outcome {
    let (kind, name) = (named.kind, named.name.as_str());
    // A connection stays open while the program at its other end hangs. The ping comes first, so
    // that a device that does not answer has the problem `not-answering` in what is read next.
    let ping = match kind {
        Kind::Device => client.get(&["devices", name, "ping"], &[]).await.ok(),
        _ => None,
    };
    let item = get::one(client, kind, name).await?;
    let mut text = match kind {
        Kind::Device => {
            let streams = client.get(&["devices", name, "streams"], &[]).await;
            let data = match streams.and_then(|streams| cells::read(&streams)) {
                Ok(streams) => described_data::of_device(output, now, name, &streams),
                // The rest of the description is shown all the same.
                Err(failure) => format!("  {}\n", clean(&failure.message)),
            };
            let lately = lately(client, output, now, name).await;
            let device = device(output, now, &cells::read(&item)?, ping.as_ref());
            format!("{device}\nLately\n{lately}\nData\n{data}")
        }
        Kind::Document(kind) => {
            described_document::sections(client, output, now, kind, &item).await?
        }
        Kind::Image => image_rows::described(output, now, &item)?,
        Kind::Revision | Kind::Token | Kind::Access | Kind::Alarm | Kind::Silence => {
            yaml::write(&item)?
        }
    };
    if matches!(kind, Kind::Device | Kind::Document(_)) {
        let explained = client.get(&["explain", kind.singular(), name], &[]).await?;
        text = format!("{}\n{text}", explanation(output, &cells::read(&explained)?));
    }
    output.bytes(text.as_bytes())
}

/// Number of recent events in a description.
const LATELY: &str = "5";

/// Returns the latest events of a device, the newest last.
async fn lately(client: &Client, output: Output, now: u64, name: &str) -> String {
    let page = client.get(&["devices", name, "history"], &[("limit", LATELY)]).await;
    let events: Outcome<List<TimelineEvent>> = page.and_then(|page| cells::read(&page));
    match events {
        Ok(List { items, .. }) if items.is_empty() => "  nothing is known\n".to_owned(),
        Ok(List { items, .. }) => {
            let rows: Vec<Vec<Cell>> =
                items.iter().rev().map(|event| activity::row(event, now, true)).collect();
            table(output, 2, &[], &rows)
        }
        // The rest of the description is shown all the same.
        Err(failure) => format!("  {}\n", clean(&failure.message)),
    }
}

/// Returns the first part of a description: whether the resource is as desired, and if not, why.
fn explanation(output: Output, explained: &Explanation) -> String {
    let mood = if explained.settled { Mood::Good } else { Mood::Bad };
    let mut text = output.painted(&clean(&explained.summary), mood);
    text.push('\n');
    for reason in &explained.reasons {
        text.push_str(&format!("  - {}\n", clean(reason)));
    }
    for hint in &explained.hints {
        text.push_str(&format!("  try: {}\n", clean(hint)));
    }
    text
}

/// Returns whether the device replied just now.
fn answers(ping: Option<&Value>, now: u64) -> Cell {
    let Some(ping) = ping.and_then(|ping| cells::read::<Ping>(ping).ok()) else {
        return Cell::from("not asked");
    };
    match (ping.answers, ping.milliseconds) {
        (Some(true), Some(took)) => Cell::new(format!("yes, within {took} ms"), Mood::Good),
        (Some(true), None) => Cell::new("yes", Mood::Good),
        (Some(false), _) => {
            let since = moment::and_ago(ping.silent_since.as_ref(), now);
            Cell::new(format!("no, does not answer since {since}"), Mood::Bad)
        }
        (None, _) if ping.connection == Connection::Online => Cell::from("not asked"),
        (None, _) => Cell::from("cannot be asked"),
    }
}

fn device(output: Output, now: u64, device: &Device, ping: Option<&Value>) -> String {
    let status = &device.status;
    let generation = status.generation;
    let text = |value: &Option<String>| Cell::from(value.clone().unwrap_or_default());
    let absence = status.absence.as_ref().map_or(Cell::from(""), described_absence::of_device);
    let mut shown = facts(
        output,
        0,
        vec![
            ("Device", Cell::from(device.metadata.name.as_str())),
            ("Labels", Cell::from(cells::labels(&device.metadata.labels))),
            ("Connection", rows::connection(device)),
            ("Since", Cell::from(moment::and_ago(status.connection_since.as_ref(), now))),
            ("Last heard", heard(device, now)),
            ("When offline", absence),
            ("Answers", answers(ping, now)),
            ("Health", health(device, now)),
            ("Address", text(&status.address)),
            (
                "Generation",
                Cell::from(format!(
                    "{} applied, {} desired (epoch {})",
                    generation.applied, generation.desired, status.epoch
                )),
            ),
            ("Agent", text(&status.agent)),
            ("Machine", Cell::from(machine(device))),
            ("Engine", Cell::from(engine(device))),
            (
                "Certificate",
                Cell::from(status.certificate_not_after.as_ref().map_or_else(String::new, |at| {
                    format!("until {at} ({})", moment::until(at, now))
                })),
            ),
            ("Secrets", rows::secrets(device)),
            ("Horizon", rows::horizon(status.data.as_ref(), now)),
            ("Refused", Cell::from(format!("{} inputs since the agent's start", status.refused))),
            ("Enrolled", Cell::from(moment::and_ago(device.metadata.created_at.as_ref(), now))),
        ],
    );
    if !status.problems.is_empty() {
        shown.push_str("\nProblems\n");
        for problem in &status.problems {
            let code = output.painted(&clean(&problem.code), Mood::Bad);
            let since = match &problem.since {
                Some(at) => format!(" (since {at}, {})", moment::ago(at, now)),
                None => String::new(),
            };
            shown.push_str(&format!("  {code}{since}: {}\n", clean(&problem.message)));
            for consequence in &problem.consequences {
                shown.push_str(&format!("    - {}\n", clean(consequence)));
            }
            if let Some(cure) = &problem.cure {
                shown.push_str(&format!("    what helps: {}\n", clean(cure)));
            }
        }
    }
    shown.push_str("\nWorkloads\n");
    shown.push_str(&workloads(output, device, now));
    shown
}

/// Returns the container engine, or why it cannot be used. Empty: the agent says nothing of one.
fn engine(device: &Device) -> String {
    let Some(engine) = &device.status.engine else { return String::new() };
    let api = engine.api.as_ref().map(|api| format!(", API {}", clean(api))).unwrap_or_default();
    match &engine.problem {
        None => format!("{}{api}", clean(&engine.to_string())),
        Some(problem) => format!("{}: {}", clean(&engine.to_string()), clean(problem)),
    }
}

fn machine(device: &Device) -> String {
    let parts = [device.status.arch.as_deref(), device.status.kernel.as_deref()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", Linux ")
}

/// Returns when the device was last heard or, if its next packet is late, since when.
fn heard(device: &Device, now: u64) -> Cell {
    let said = moment::and_ago(device.status.heard_at.as_ref(), now);
    match rows::overdue(device, now) {
        Some(late) => Cell::new(format!("{said}, due {} ago", words(late)), Mood::Busy),
        None => Cell::from(said),
    }
}

/// Returns the device's health and since when. For an offline device it adds that the state is not
/// known.
fn health(device: &Device, now: u64) -> Cell {
    let health = &device.status.health;
    let mood = match health.state {
        HealthState::Healthy => Mood::Good,
        HealthState::Failing | HealthState::Problem | HealthState::NeverSeen => Mood::Bad,
        HealthState::Unknown | HealthState::Revoked => Mood::Faint,
        HealthState::Progressing | HealthState::Pending => Mood::Busy,
    };
    let since = match &health.since {
        Some(at) => format!(" since {at} ({})", moment::ago(at, now)),
        None => String::new(),
    };
    let failing = match health.failing.as_slice() {
        [] => String::new(),
        names => format!(": {}", names.join(", ")),
    };
    Cell::new(format!("{}{failing}{since}", health.state.as_str()), mood)
}

fn workloads(output: Output, device: &Device, now: u64) -> String {
    let names: BTreeSet<&String> =
        device.desired.keys().chain(device.status.workloads.keys()).collect();
    if names.is_empty() {
        return "  none\n".to_owned();
    }
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let row = |name: &String| {
        let (wanted, is) = (device.desired.get(name), device.status.workloads.get(name));
        let phase = is.map_or(Cell::from("not reported"), |is| Cell::from(is.phase.as_str()));
        let state = match is.and_then(|is| is.state.map(|state| (state, is.last_state))) {
            None => Cell::from(""),
            Some((state, None)) => Cell::new(state.as_str(), rows::mood_of_state(state)),
            Some((state, Some(last))) => {
                let words = format!("{} ({} when last heard)", state.as_str(), last.as_str());
                Cell::new(words, rows::mood_of_state(state))
            }
        };
        vec![
            Cell::from(name.as_str()),
            Cell::from(number(wanted.map(|wanted| wanted.revision))),
            Cell::from(number(is.map(|is| is.revision))),
            state,
            Cell::from(is.map(|is| rows::ago(&is.since, now)).unwrap_or_default()),
            phase,
            Cell::from(number(is.map(|is| u64::from(is.restarts)))),
            Cell::from(is.map(instance).unwrap_or_default()),
            Cell::from(is.map(reason).unwrap_or_default()),
        ]
    };
    let all: Vec<Vec<Cell>> = names.into_iter().map(row).collect();
    let headings =
        ["NAME", "DESIRED", "REPORTED", "STATE", "SINCE", "PHASE", "RESTARTS", "RUNS AS", "REASON"];
    table(output, 2, &headings, &all)
}

/// Returns the process id of a workload, or the id of its container with the ports that the device
/// has assigned.
fn instance(of: &WorkloadStatus) -> String {
    match (&of.container, of.pid) {
        (Some(container), _) => {
            let ports = container.ports.iter().map(|(name, port)| format!(" {name}={port}"));
            format!("container {}{}", container.id, ports.collect::<String>())
        }
        (None, Some(pid)) => format!("pid {pid}"),
        (None, None) => String::new(),
    }
}

/// Returns the device's reason, behind the progress of its download.
fn reason(is: &WorkloadStatus) -> String {
    match &is.download {
        None => is.reason.clone(),
        Some(download) if is.reason.is_empty() => download.to_string(),
        Some(download) => format!("{download}; {}", is.reason),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn desired_and_reported_stand_side_by_side() {
        let value = json!({
            "apiVersion": "holdfast/v1", "kind": "Device", "metadata": { "name": "gw-1" },
            "desired": { "a": { "revision": 2 } },
            "status": {
                "connection": "online", "heardAt": "2026-11-23T20:51:01Z", "shard": 1, "epoch": 1,
                "generation": { "desired": 3, "applied": 2 }, "refused": 4,
                "workloads": {
                    "old": { "revision": 1, "phase": "running", "restarts": 0, "pid": 7, "reason": "bad\u{1b}[2J" },
                },
                "problems": [{ "code": "clock", "message": "1970" }],
            },
        });
        let text =
            device(Output { colour: false }, 1_795_467_661, &cells::read(&value).unwrap(), None);
        for part in [
            "2 applied, 3 desired (epoch 1)",
            "clock: 1970",
            "not reported",
            "(10m ago)",
            "4 inputs",
        ] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
        assert!(!text.contains('\u{1b}'), "a device must not steer the terminal");
    }
}
