//! Documents in `describe`, by the sections that `holdfast-api` publishes for each kind.
//!
//! See decision 0139.

use serde_json::Value;

use super::cells::{self, read};
use super::client::Client;
use super::described_absence;
use super::described_data;
use super::described_values;
use super::failure::Outcome;
use super::jobs;
use super::moment;
use super::table::{Cell, facts};
use super::tenants;
use super::text::{Output, clean};
use super::yaml;
use holdfast_api::kinds::{DocumentKind, Section};
use holdfast_api::{Metadata, Workload};

/// Returns the sections of a document, with an empty line between them.
pub(super) async fn sections(
    client: &Client,
    output: Output,
    now: u64,
    kind: &DocumentKind,
    item: &Value,
) -> Outcome<String> {
    let mut parts = Vec::new();
    for section in kind.sections {
        parts.push(match section {
            Section::Document => yaml::write(item)?,
            Section::Program => program(output, now, item)?,
            Section::Spec => spec(item)?,
            Section::LinkUse => link_use(client, output, kind, item).await?,
            Section::Absence => described_absence::of_policy(output, item)?,
            Section::Values => described_values::of_document(client, output, kind, item).await?,
            Section::Quotas => tenants::described(client, output, item).await?,
        });
    }
    Ok(parts.join("\n"))
}

/// Describes a program: where it runs, in which states, and where it is paused.
fn program(output: Output, now: u64, item: &Value) -> Outcome<String> {
    let workload: Workload = read(item)?;
    let status = workload.status;
    let changed = workload.metadata.updated_at.as_ref().or(workload.metadata.created_at.as_ref());
    let mut shown = facts(
        output,
        0,
        vec![
            ("Workload", Cell::from(workload.metadata.name.as_str())),
            ("Labels", Cell::from(cells::labels(&workload.metadata.labels))),
            ("Revision", Cell::from(status.revision.to_string())),
            ("Changed", Cell::from(moment::and_ago(changed, now))),
            ("Runs", Cell::from(cells::runs(&workload.spec))),
            ("On", Cell::from(cells::chosen(&workload.spec))),
            (
                "Devices",
                Cell::from(format!(
                    "{} desired: {} running, {} done, {} progressing, {} failing, {} paused, {} unknown{}",
                    status.desired,
                    status.running,
                    status.done,
                    status.progressing,
                    status.failing,
                    status.paused,
                    status.unknown,
                    match status.away {
                        0 => String::new(),
                        away => format!(" ({away} of them away as expected)"),
                    }
                )),
            ),
        ],
    );
    shown.push_str(&jobs::paused(output, workload.paused.as_ref(), now));
    Ok(shown)
}

/// Returns `spec` as YAML.
fn spec(item: &Value) -> Outcome<String> {
    let mut shown = "Spec\n".to_owned();
    for line in yaml::write(item.get("spec").unwrap_or(&Value::Null))?.lines() {
        shown.push_str(&format!("  {}\n", clean(line)));
    }
    Ok(shown)
}

/// Describes how much of a budget is used on each device that follows it.
async fn link_use(
    client: &Client,
    output: Output,
    kind: &DocumentKind,
    item: &Value,
) -> Outcome<String> {
    let metadata: Metadata = read(item.get("metadata").unwrap_or(&Value::Null))?;
    let budgets = client.list(kind.path, &[]).await?;
    let devices = client.list(&["devices"], &[]).await?;
    let used = described_data::of_budget(output, &metadata.name, &budgets, &devices)?;
    Ok(format!("Use\n{used}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_program_is_told_with_its_states_and_its_spec() {
        let item = json!({
            "apiVersion": "holdfast/v1", "kind": "Workload",
            "metadata": { "name": "web", "labels": { "a": "b" }, "updatedAt": "2026-11-23T20:52:01Z" },
            "spec": { "devices": "all", "run": { "process": { "path": "/bin/sleep", "args": ["9"] } } },
            "status": {
                "revision": 3, "desired": 5, "running": 2, "done": 0, "progressing": 1, "failing": 0,
                "paused": 0, "unknown": 2, "away": 1, "lastRunning": 0, "state": "progressing",
            },
        });
        // 2026-11-23T21:01:01Z
        let told = program(Output { colour: false }, 1_795_467_661, &item).unwrap();
        assert_eq!(
            told,
            "Workload:  web\n\
             Labels:    a=b\n\
             Revision:  3\n\
             Changed:   2026-11-23T20:52:01Z (9m ago)\n\
             Runs:      /bin/sleep 9\n\
             On:        all devices\n\
             Devices:   5 desired: 2 running, 0 done, 1 progressing, 0 failing, 0 paused, 2 unknown (1 of them away as expected)\n"
        );
        let told = spec(&item).unwrap();
        assert_eq!(
            told,
            "Spec\n  devices: all\n  run:\n    process:\n      args:\n      - \"9\"\n      path: /bin/sleep\n"
        );
    }
}
