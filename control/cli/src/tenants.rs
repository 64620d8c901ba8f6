//! `tenant`: tenants, made with their first access token, listed with the use of their quotas, and
//! deleted.
//!
//! See decision 0167.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::args::{CreateTenant, Format, Tenant};
use super::cells::read;
use super::client::Client;
use super::failure::{Failure, Outcome};
use super::table::{Cell, table};
use super::text::{Mood, Output};
use super::yaml::write as yaml;
use holdfast_api::count::count;
use holdfast_api::{CreatedTenant, QuotaUse, TenantDeletion};

/// Runs a subcommand of `tenant`.
pub(crate) async fn tenant(client: &Client, output: Output, command: &Tenant) -> Outcome {
    match command {
        Tenant::Create(wanted) => {
            let body = json!({ "name": wanted.name, "quotas": quotas(wanted) });
            let answer = client.send(Method::POST, &["tenants"], &[], &body).await?;
            output.line(&read::<CreatedTenant>(&answer)?.token)
        }
        Tenant::List { output: format } => {
            let all = client.list(&["tenants"], &[]).await?;
            match format {
                Format::Table | Format::Wide => list(output, &all),
                Format::Json => {
                    let text = serde_json::to_string_pretty(&json!({ "items": all }));
                    output.line(&text.map_err(|error| Failure::failed(error.to_string()))?)
                }
                Format::Yaml => output.bytes(yaml(&json!({ "items": all }))?.as_bytes()),
            }
        }
        Tenant::Delete { name, cascade, dry_run } => {
            let (cascade, dry_run) = (cascade.to_string(), dry_run.to_string());
            let query = [("cascade", &*cascade), ("dryRun", &*dry_run)];
            let path = ["tenants", name];
            let answer = client.send(Method::DELETE, &path, &query, &Value::Null).await?;
            deleted(output, &read(&answer)?)
        }
    }
}

/// Quotas of a new tenant, as its document has them.
fn quotas(wanted: &CreateTenant) -> Value {
    let mut quotas = Map::new();
    let numbers = [("devices", wanted.devices), ("requestsPerSecond", wanted.requests_per_second)];
    for (key, number) in numbers {
        quotas.extend(number.map(|number| (key.to_owned(), json!(number))));
    }
    let texts = [
        ("artifacts", &wanted.artifacts),
        ("dataPerDay", &wanted.data_per_day),
        ("cpu", &wanted.cpu),
        ("memory", &wanted.memory),
    ];
    for (key, text) in texts {
        quotas.extend(text.as_ref().map(|text| (key.to_owned(), json!(text))));
    }
    Value::Object(quotas)
}

/// Prints a row for each quota that is used or limited.
fn list(output: Output, all: &[Value]) -> Outcome {
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for item in all {
        let tenant: holdfast_api::Tenant = read(item)?;
        let mut name = tenant.name;
        let shown = tenant.quotas.iter().filter(|it| it.used > 0 || it.limit.is_some());
        let mut lines: Vec<Vec<Cell>> = shown.map(line).collect();
        if let Some(why) = tenant.held_back {
            lines.push(vec!["".into(), "".into(), "".into(), Cell::new(why, Mood::Bad)]);
        }
        if lines.is_empty() {
            lines.push(vec!["".into(), "".into(), "".into(), "".into()]);
        }
        for mut line in lines {
            line.insert(0, std::mem::take(&mut name).into());
            rows.push(line);
        }
    }
    let headings = ["TENANT", "QUOTA", "USED", "LIMIT", "UNIT"];
    output.bytes(table(output, 0, &headings, &rows).as_bytes())
}

fn line(quota: &QuotaUse) -> Vec<Cell> {
    let full = quota.limit.is_some_and(|limit| quota.used >= limit);
    let limit = quota.limit.map(|limit| limit.to_string()).unwrap_or_default();
    let mood = if full { Mood::Bad } else { Mood::Plain };
    vec![
        quota.quota.as_str().into(),
        Cell::new(quota.used.to_string(), mood),
        limit.into(),
        quota.unit.as_str().into(),
    ]
}

/// Prints what went, or would go.
fn deleted(output: Output, told: &TenantDeletion) -> Outcome {
    let parts = [
        (told.devices, "device"),
        (told.workloads, "workload"),
        (told.documents, "other document"),
        (told.tokens, "enrolment token"),
        (told.access, "access token"),
        (told.artifacts, "artifact"),
        (told.streams, "stream"),
        (told.records, "record"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| count(number, what))
        .collect();
    let with = if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") };
    let verb = if told.deleted { "deleted" } else { "would be deleted" };
    output.line(&format!("tenant/{} {verb}, with {with}", told.name))
}
