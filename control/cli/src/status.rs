//! `status`: whether the fleet, a device or a workload is as it should be, in a few lines for a
//! person and as an exit code for a script.

use serde_json::Value;

use super::args::{Kind, Status};
use super::cells;
use super::client::Client;
use super::failure::{Exit, Failure, Outcome};
use super::moment;
use super::table::{Cell, table};
use super::text::{Mood, Output, clean};
use holdfast_api::kinds::WORKLOAD;
use holdfast_api::{Absence, Device, Fleet, HealthState, Severity, Workload, WorkloadSummary};

/// Result for a script, ordered from the most urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Something fails, or needs a person at once.
    Failing,
    /// A device reports a problem, and nothing fails.
    Problem,
    /// A device is offline or was not heard in time, so its state is not known.
    Unknown,
    /// Something is not in its desired revision yet.
    Progressing,
    /// Everything is as it should be.
    Settled,
}

impl Verdict {
    fn exit(self) -> Option<Exit> {
        match self {
            Self::Settled => None,
            Self::Failing => Some(Exit::Failing),
            Self::Problem => Some(Exit::Problem),
            Self::Progressing => Some(Exit::Progressing),
            Self::Unknown => Some(Exit::Unknown),
        }
    }

    fn mood(self) -> Mood {
        match self {
            Self::Settled => Mood::Good,
            Self::Failing => Mood::Bad,
            Self::Problem | Self::Progressing => Mood::Busy,
            Self::Unknown => Mood::Faint,
        }
    }

    fn of_fleet(fleet: &Fleet) -> Self {
        let has = |severity| fleet.attention.iter().any(|item| item.severity == severity);
        let (devices, workloads) = (fleet.devices, fleet.workloads);
        match () {
            () if fleet.settled => Self::Settled,
            () if workloads.failing > 0 || has(Severity::Critical) => Self::Failing,
            () if devices.unhealthy > 0 || has(Severity::Warning) => Self::Problem,
            () if devices.offline + devices.never_seen + devices.overdue > 0 => Self::Unknown,
            () => Self::Progressing,
        }
    }

    fn of_device(device: &Device) -> Self {
        let away = device.status.absence.as_ref().and_then(|absence| absence.state);
        if away.is_some_and(|away| away != Absence::Unexpected) {
            return Self::Settled;
        }
        match device.status.health.state {
            HealthState::Healthy => Self::Settled,
            HealthState::Failing => Self::Failing,
            HealthState::Problem | HealthState::Revoked => Self::Problem,
            HealthState::Progressing | HealthState::Pending => Self::Progressing,
            HealthState::Unknown | HealthState::NeverSeen => Self::Unknown,
        }
    }

    fn of_workload(summary: &WorkloadSummary) -> Self {
        match () {
            () if summary.failing > 0 => Self::Failing,
            () if summary.unknown > summary.away => Self::Unknown,
            () if summary.progressing > 0 || summary.desired == 0 => Self::Progressing,
            () if summary.paused > 0 => Self::Problem,
            () => Self::Settled,
        }
    }
}

/// Prints the state of the fleet or a resource. With `--check` the exit code tells it too.
pub(crate) async fn status(client: &Client, output: Output, now: u64, wanted: &Status) -> Outcome {
    let (document, verdict, text): (Value, Verdict, String) = match (wanted.kind, &wanted.name) {
        (None, _) => {
            let document = client.get(&["fleet"], &[]).await?;
            let fleet: Fleet = cells::read(&document)?;
            let verdict = Verdict::of_fleet(&fleet);
            let text = of_fleet(output, now, &fleet, verdict);
            (document, verdict, text)
        }
        (Some(Kind::Device), Some(name)) => {
            let document = client.get(&["devices", name], &[]).await?;
            let device: Device = cells::read(&document)?;
            let verdict = Verdict::of_device(&device);
            (document, verdict, explained(client, output, "device", name, verdict).await?)
        }
        (Some(Kind::Document(kind)), Some(name)) if *kind == WORKLOAD => {
            let document = client.get(&["workloads", name], &[]).await?;
            let workload: Workload = cells::read(&document)?;
            let verdict = Verdict::of_workload(&workload.status);
            (document, verdict, explained(client, output, "workload", name, verdict).await?)
        }
        (Some(_), _) => {
            let words = "status is of the fleet, of `device NAME` or of `workload NAME`";
            return Err(Failure::usage(words));
        }
    };
    if wanted.json {
        let text = serde_json::to_string_pretty(&document);
        output.line(&text.map_err(|error| Failure::failed(error.to_string()))?)?;
    } else {
        output.bytes(text.as_bytes())?;
    }
    match verdict.exit().filter(|_| wanted.check) {
        Some(exit) => Err(Failure::said(exit)),
        None => Ok(()),
    }
}

async fn explained(
    client: &Client,
    output: Output,
    kind: &str,
    name: &str,
    verdict: Verdict,
) -> Outcome<String> {
    let explained = client.get(&["explain", kind, name], &[]).await?;
    let explained: holdfast_api::Explanation = cells::read(&explained)?;
    let mut text = output.painted(&clean(&explained.summary), verdict.mood());
    text.push('\n');
    for reason in &explained.reasons {
        text.push_str(&format!("  - {}\n", clean(reason)));
    }
    for hint in &explained.hints {
        text.push_str(&format!("  try: {}\n", clean(hint)));
    }
    Ok(text)
}

fn of_fleet(output: Output, now: u64, fleet: &Fleet, verdict: Verdict) -> String {
    let (devices, workloads) = (fleet.devices, fleet.workloads);
    let mut text = output.painted(&clean(&fleet.summary), verdict.mood());
    text.push_str(&format!(
        "\n\nDevices    {} in all: {} online ({} unhealthy, {} not heard in time), {} offline, {} never seen, {} away as expected, {} ignored, {} waiting for approval, {} revoked\n",
        devices.total,
        devices.online,
        devices.unhealthy,
        devices.overdue,
        devices.offline,
        devices.never_seen,
        devices.expected_away,
        devices.ignored,
        devices.pending,
        devices.revoked
    ));
    text.push_str(&format!(
        "Workloads  {} in all: {} running, {} done, {} failing, {} progressing, {} unknown, {} paused, {} on no device\n",
        workloads.total,
        workloads.running,
        workloads.done,
        workloads.failing,
        workloads.progressing,
        workloads.unknown,
        workloads.paused,
        workloads.unplaced
    ));
    if fleet.attention.is_empty() {
        return text;
    }
    let rows: Vec<Vec<Cell>> = fleet
        .attention
        .iter()
        .map(|item| {
            let (word, mood) = match item.severity {
                Severity::Critical => ("critical", Mood::Bad),
                Severity::Warning => ("warning", Mood::Busy),
                Severity::Info => ("info", Mood::Plain),
            };
            let since = item.since.as_ref().map(|at| moment::ago(at, now));
            let more = item.count.saturating_sub(item.devices.len() as u64);
            let mut names = item.devices.join(", ");
            if more > 0 {
                names.push_str(&format!(" and {more} more"));
            }
            vec![
                Cell::new(word, mood),
                Cell::from(since.unwrap_or_default()),
                Cell::from(item.message.as_str()),
                Cell::from(names),
            ]
        })
        .collect();
    text.push('\n');
    text.push_str(&table(output, 0, &["SEVERITY", "SINCE", "WHAT", "DEVICES"], &rows));
    if fleet.more_attention > 0 {
        text.push_str(&format!("and {} more, less urgent\n", fleet.more_attention));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fleet(change: impl FnOnce(&mut Value)) -> Fleet {
        let mut document = json!({
            "settled": false, "summary": "1 device is unhealthy",
            "devices": { "total": 3, "online": 3, "offline": 0, "pending": 0, "revoked": 0, "neverSeen": 0, "unhealthy": 0 },
            "workloads": { "total": 1, "running": 1, "done": 0, "progressing": 0, "failing": 0, "unknown": 0, "paused": 0, "unplaced": 0 },
            "attention": [], "moreAttention": 0, "sites": [], "moreSites": 0,
        });
        change(&mut document);
        cells::read(&document).unwrap()
    }

    #[test]
    fn the_most_urgent_decides_the_exit_code() {
        let of = |change: fn(&mut Value)| Verdict::of_fleet(&fleet(change));
        assert_eq!(of(|it| it["settled"] = json!(true)), Verdict::Settled);
        assert_eq!(of(|it| it["workloads"]["failing"] = json!(1)), Verdict::Failing);
        assert_eq!(of(|it| it["devices"]["unhealthy"] = json!(1)), Verdict::Problem);
        assert_eq!(of(|it| it["devices"]["offline"] = json!(1)), Verdict::Unknown);
        assert_eq!(of(|it| it["devices"]["neverSeen"] = json!(1)), Verdict::Unknown);
        assert_eq!(of(|it| it["devices"]["overdue"] = json!(1)), Verdict::Unknown);
        assert_eq!(of(|it| it["workloads"]["progressing"] = json!(1)), Verdict::Progressing);
        let offline = WorkloadSummary { desired: 2, running: 1, unknown: 1, ..Default::default() };
        assert_eq!(Verdict::of_workload(&offline), Verdict::Unknown, "not known to run");
        let away = WorkloadSummary { away: 1, ..offline };
        assert_eq!(Verdict::of_workload(&away), Verdict::Settled, "away as expected");
        let done = WorkloadSummary { desired: 2, done: 1, running: 1, ..Default::default() };
        assert_eq!(Verdict::of_workload(&done), Verdict::Settled);
    }

    #[test]
    fn what_needs_a_person_says_since_when_and_where() {
        let fleet = fleet(|it| {
            it["attention"] = json!([{
                "kind": "failing", "code": "w", "severity": "critical", "message": "w fails on 7 of 9 devices",
                "since": "2026-11-23T20:51:01Z", "count": 7, "unknown": 0, "devices": ["a", "b"], "query": {},
            }]);
        });
        let verdict = Verdict::of_fleet(&fleet);
        assert_eq!(verdict, Verdict::Failing);
        let text = of_fleet(Output { colour: false }, 1_795_467_661, &fleet, verdict);
        assert!(
            text.contains("critical  10m ago  w fails on 7 of 9 devices  a, b and 5 more"),
            "{text}"
        );
    }
}
