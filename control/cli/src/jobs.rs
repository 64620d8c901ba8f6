//! `rollback`, `history`, `restart`, `pause` and `resume`: operations on a workload besides
//! applying it.

use reqwest::Method;
use serde_json::{Value, json};

use super::apply::{self, line};
use super::args::{Format, History, Kind, LedgerFormat, Pause, Restart, Rollback, Where};
use super::cells::{made_by, read};
use super::client::Client;
use super::failure::{Exit, Failure, Outcome};
use super::get::{Found, print};
use super::moment;
use super::progress::Progress;
use super::table::{Cell, table};
use super::text::{Mood, Output, clean, note, one_line};
use super::yaml::write as yaml;
use holdfast_api::{
    self, API_VERSION, NotRestarted, OnDevices, PauseResult, RestartLine, RestartProgress,
    RestartResult, Revision, RolledBack, WorkloadPauses,
};

/// Longest line of a response in bytes, enough for every device of a large fleet.
const MAX_LINE: usize = 64 * 1024 * 1024;

/// Devices that are named one by one at most.
const NAMED: usize = 20;

/// Changed paths that a line of a history names at most.
const PATHS: usize = 3;

fn document(value: &impl serde::Serialize) -> Outcome<Value> {
    serde_json::to_value(value).map_err(|error| Failure::failed(error.to_string()))
}

/// Applies a former revision again, or in a dry run prints what that would change.
pub(crate) async fn rollback(client: &Client, output: Output, wanted: &Rollback) -> Outcome {
    let body = document(&holdfast_api::Rollback { to: wanted.to, resource_version: None })?;
    let query: &[(&str, &str)] = if wanted.dry_run { &[("dryRun", "true")] } else { &[] };
    let path = ["workloads", &wanted.workload, "rollback"];
    let answer: RolledBack = read(&client.send(Method::POST, &path, query, &body).await?)?;
    for result in answer.results {
        for warning in &result.warnings {
            note(&format!("warning: workload/{}: {warning}", result.name));
        }
        let said = line(output, &result, wanted.dry_run);
        output.line(&format!("{said}: back to revision {}", answer.to))?;
        if wanted.dry_run {
            let changed = &result.changed_devices;
            for (count, what) in [
                (changed.gain_count, "will begin to run it"),
                (changed.update_count, "will go to this revision"),
                (changed.lose_count, "will stop it"),
            ] {
                if count > 0 {
                    output.line(&format!("  {} {what}", devices(count)))?;
                }
            }
            output.bytes(apply::unified(output, result)?.as_bytes())?;
        }
    }
    Ok(())
}

/// Lists a workload's revisions, or prints the document of one.
pub(crate) async fn history(
    client: &Client,
    output: Output,
    now: u64,
    wanted: &History,
) -> Outcome {
    let workload = wanted.workload.as_str();
    let items = client.list(&["revisions"], &[("workload", workload)]).await?;
    if items.is_empty() {
        return Err(Failure::not_found(format!(
            "there is no workload {workload:?}; `holdfast get workloads` lists them"
        )));
    }
    let Some(number) = wanted.revision else {
        return match wanted.output {
            Format::Table | Format::Wide => {
                let all: Vec<Revision> = items.iter().map(read).collect::<Outcome<_>>()?;
                output.bytes(revisions(output, now, &all).as_bytes())
            }
            format => print(output, now, Kind::Revision, format, Found::All(items)),
        };
    };
    let all: Vec<Revision> = items.iter().map(read).collect::<Outcome<_>>()?;
    let found = all.iter().find(|it| it.revision == number).ok_or_else(|| {
        Failure::not_found(format!(
            "workload {workload} has no revision {number}; `holdfast history {workload}` lists them"
        ))
    })?;
    let whole = written(found);
    match wanted.output {
        Format::Json => {
            let text = serde_json::to_string_pretty(&whole);
            output.line(&text.map_err(|error| Failure::failed(error.to_string()))?)
        }
        _ => output.bytes(clean(&yaml(&whole)?).as_bytes()),
    }
}

/// Returns the document of a revision in a form that can be applied.
fn written(revision: &Revision) -> Value {
    let mut metadata = json!({ "name": revision.workload });
    if let (false, Some(metadata)) = (revision.metadata.labels.is_empty(), metadata.as_object_mut())
    {
        metadata.insert("labels".into(), json!(revision.metadata.labels));
    }
    json!({ "apiVersion": API_VERSION, "kind": "Workload", "metadata": metadata,
        "spec": revision.spec })
}

/// Returns the table of revisions, the newest first: a rollback rarely goes far back.
fn revisions(output: Output, now: u64, all: &[Revision]) -> String {
    let row = |revision: &Revision| {
        let at = revision.metadata.created_at.as_ref();
        let current = if revision.current { "current" } else { "" };
        vec![
            Cell::from(revision.revision.to_string()),
            Cell::new(current, Mood::Good),
            Cell::from(at.map_or_else(String::new, |at| moment::ago(at, now))),
            Cell::from(made_by(revision)),
            Cell::from(revision.devices.to_string()),
            Cell::from(in_short(&revision.changed)),
        ]
    };
    let rows: Vec<Vec<Cell>> = all.iter().rev().map(row).collect();
    table(output, 0, &["REVISION", "CURRENT", "MADE", "BY", "DEVICES", "CHANGED"], &rows)
}

fn in_short(changed: &[String]) -> String {
    let mut text = changed.iter().take(PATHS).map(String::as_str).collect::<Vec<_>>().join(", ");
    if changed.len() > PATHS {
        text.push_str(&format!(" and {} more", changed.len() - PATHS));
    }
    text
}

fn on(wanted: &Where) -> OnDevices {
    OnDevices {
        devices: (!wanted.devices.is_empty()).then(|| wanted.devices.clone()),
        label_selector: wanted.selector.clone(),
    }
}

fn devices(count: u64) -> String {
    if count == 1 { "1 device".into() } else { format!("{count} devices") }
}

fn names(names: &[String], count: u64) -> String {
    let shown = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = count.saturating_sub(names.len().min(NAMED) as u64);
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// Pauses or resumes a workload.
pub(crate) async fn pause(
    client: &Client,
    output: Output,
    wanted: &Pause,
    paused: bool,
) -> Outcome {
    let (verb, word) = if paused { ("pause", "paused") } else { ("resume", "resumed") };
    let workload = &wanted.workload;
    let path = ["workloads", workload, verb];
    let answer = client.send(Method::POST, &path, &[], &document(&on(&wanted.on))?).await?;
    if matches!(wanted.output, LedgerFormat::Json) {
        let text = serde_json::to_string_pretty(&answer);
        return output.line(&text.map_err(|error| Failure::failed(error.to_string()))?);
    }
    let result: PauseResult = read(&answer)?;
    output.line(&clean(&said(workload, word, &result)))?;
    if result.offline_count > 0 {
        let offline = names(&result.offline, result.offline_count);
        note(&format!("{offline}: offline, {word} when back"));
    }
    Ok(())
}

fn said(workload: &str, word: &str, result: &PauseResult) -> String {
    match (result.device_count, result.everywhere) {
        (0, false) => format!("workload/{workload} unchanged: {word} there already"),
        (count, true) => format!("workload/{workload} {word} everywhere ({})", devices(count)),
        (count, false) => {
            format!("workload/{workload} {word} on {}", names(&result.devices, count))
        }
    }
}

/// Returns where a workload is paused, by whom and since when. Empty: nowhere.
pub(crate) fn paused(output: Output, of: Option<&WorkloadPauses>, now: u64) -> String {
    let Some(of) = of else { return String::new() };
    let mut lines = Vec::new();
    if let Some(holdfast_api::Paused { by, by_name, at }) = &of.everywhere {
        let by = by_name.as_ref().unwrap_or(by);
        let but = match of.except_count {
            0 => String::new(),
            count => format!(", but not on {}", names(&of.except, count)),
        };
        lines.push(format!("everywhere, by {by} since {at} ({}){but}", moment::ago(at, now)));
    }
    lines.extend(of.devices.iter().take(NAMED).map(|it| {
        let by = it.by_name.as_ref().unwrap_or(&it.by);
        format!("on {}, by {by} since {} ({})", it.device, it.at, moment::ago(&it.at, now))
    }));
    let more = of.device_count.saturating_sub(NAMED as u64);
    if more > 0 {
        lines.push(format!("and on {}", devices(more)));
    }
    let mut text = format!("\n{}\n", output.painted("Paused", Mood::Busy));
    for line in lines {
        text.push_str(&format!("  {}\n", clean(&line)));
    }
    text
}

/// Restarts a workload, and prints the progress and the result.
pub(crate) async fn restart(client: &Client, output: Output, wanted: &Restart) -> Outcome {
    let workload = &wanted.workload;
    let path = ["workloads", workload, "restart"];
    let mut response = client.post_stream(&path, &document(&on(&wanted.on))?).await?;
    let mut rest: Vec<u8> = Vec::new();
    let mut progress = Progress::begin();
    let result = 'answer: loop {
        let chunk = response.chunk().await.map_err(|error| client.unreachable(&error))?;
        let Some(chunk) = chunk else { break None };
        rest.extend_from_slice(&chunk);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let line = serde_json::from_slice(&line).map_err(|error| {
                Failure::failed(format!("the answer is not understood ({error})"))
            })?;
            match line {
                RestartLine::Progress(RestartProgress { answered, of, .. }) => {
                    progress.say(&format!("{answered} of {} answered", devices(of)));
                }
                RestartLine::Result(result) => break 'answer Some(result),
            }
        }
        if rest.len() > MAX_LINE {
            break None;
        }
    };
    progress.end();
    let result = result.ok_or_else(|| {
        Failure::failed(
            "the answer ended early: the control plane may have stopped. What was restarted stands in the devices' state",
        )
    })?;
    match wanted.output {
        LedgerFormat::Json => {
            let text = serde_json::to_string_pretty(&result);
            output.line(&text.map_err(|error| Failure::failed(error.to_string()))?)?;
        }
        LedgerFormat::Table => {
            for text in told(workload, &result) {
                output.line(&clean(&text))?;
            }
        }
    }
    if result.failed.is_empty() && result.not_asked.is_empty() && !result.restarted.is_empty() {
        Ok(())
    } else {
        Err(Failure::said(Exit::Failed))
    }
}

/// Returns the result of a restart, in lines.
fn told(workload: &str, result: &RestartResult) -> Vec<String> {
    let count = result.restarted.len() as u64;
    let mut lines = vec![match count {
        0 => format!("workload/{workload} was restarted on no device"),
        _ => format!("workload/{workload} restarted on {}", names(&result.restarted, count)),
    }];
    let mut each = |all: &[NotRestarted], what: &str| {
        lines.extend(
            all.iter()
                .take(NAMED)
                .map(|it| format!("  {}: {what}: {}", it.device, one_line(&it.reason))),
        );
        if all.len() > NAMED {
            lines.push(format!("  and {} more: {what}", all.len() - NAMED));
        }
    };
    each(&result.failed, "not restarted");
    each(&result.not_asked, "not asked");
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn not(device: &str, reason: &str) -> NotRestarted {
        NotRestarted { device: device.into(), reason: reason.into() }
    }

    #[test]
    fn what_became_of_a_restart_is_told_of_each_device() {
        let result = RestartResult {
            restarted: vec!["a".into(), "b".into()],
            failed: vec![not("c", "ended with code 3\u{1b}")],
            not_asked: vec![not("d", "offline")],
        };
        let lines = told("web", &result);
        assert_eq!(lines[0], "workload/web restarted on a, b");
        assert!(lines[1].starts_with("  c: not restarted: ended with code 3"), "{lines:?}");
        assert_eq!(lines[2], "  d: not asked: offline");
        let many: Vec<_> = (0..25).map(|at| not(&format!("d-{at}"), "offline")).collect();
        let lines = told("web", &RestartResult { not_asked: many, ..Default::default() });
        assert_eq!(lines[0], "workload/web was restarted on no device");
        assert_eq!((lines.len(), lines[21].as_str()), (22, "  and 5 more: not asked"));
    }

    #[test]
    fn a_pause_says_where() {
        let result = |count: u64, everywhere| PauseResult {
            devices: (0..count).map(|at| format!("d-{at}")).collect(),
            device_count: count,
            everywhere,
            ..Default::default()
        };
        for (result, text) in [
            (result(0, false), "workload/web unchanged: paused there already"),
            (result(2, false), "workload/web paused on d-0, d-1"),
            (result(0, true), "workload/web paused everywhere (0 devices)"),
            (result(1, true), "workload/web paused everywhere (1 device)"),
        ] {
            assert_eq!(said("web", "paused", &result), text);
        }
    }

    #[test]
    fn where_it_is_paused_is_said_with_who_and_since_when() {
        let at = || "2026-11-23T20:51:01Z".to_owned();
        let on = |device: &str| holdfast_api::PausedOn {
            device: device.into(),
            by: "me".into(),
            by_name: None,
            at: at(),
        };
        let of = WorkloadPauses {
            everywhere: Some(holdfast_api::Paused {
                by: "7f091e39bb79af7c".into(),
                by_name: Some("night duty".into()),
                at: at(),
            }),
            devices: (0..20).map(|it| on(&format!("d-{it}"))).collect(),
            device_count: 23,
            except: vec!["e".into()],
            except_count: 1,
        };
        let text = paused(Output { colour: false }, Some(&of), 1_795_467_661);
        for part in [
            "everywhere, by night duty since 2026-11-23T20:51:01Z (10m ago), but not on e",
            "on d-3, by me since",
            "and on 3 devices",
        ] {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
        assert_eq!(paused(Output { colour: false }, None, 0), "");
    }

    #[test]
    fn a_history_has_the_newest_first_and_says_what_changed() {
        let revision = |number: u64, changed: &[&str]| {
            json!({
                "apiVersion": API_VERSION, "kind": "Revision", "workload": "web",
                "metadata": { "name": format!("web.{number}"), "createdAt": "2026-11-23T20:51:01Z" },
                "revision": number, "createdBy": "me", "current": number == 2,
                "devices": number, "changed": changed, "spec": { "a": number },
            })
        };
        let all = [revision(1, &[]), revision(2, &["a", "b", "c", "d"])];
        let all: Vec<Revision> = all.iter().map(|it| read(it).unwrap()).collect();
        let text = revisions(Output { colour: false }, 1_795_467_661, &all);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("2         current  10m ago  me  2"), "{text}");
        assert!(lines[1].ends_with("a, b, c and 1 more"), "{text}");
        assert!(lines[2].starts_with("1         -        10m ago"), "{text}");
        assert_eq!(written(&all[0])["spec"], json!({ "a": 1 }));
    }
}
