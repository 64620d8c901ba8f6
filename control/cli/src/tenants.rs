//! `tenant`: tenants, made with their first access token, listed with the use of their quotas, and
//! deleted.
//!
//! See decision 0168.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::args::{CreateTenant, Format, Tenant};
use super::cells::read;
use super::client::Client;
use super::failure::{Failure, Outcome};
use super::table::{Cell, table};
use super::text::{Mood, Output, clean};
use super::yaml::write as yaml;
use holdfast_api::count::count;
use holdfast_api::{CreatedTenant, Metadata, QuotaUnit, QuotaUse, TenantDeletion};

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

/// Describes the quotas of a tenant with their use, which admins of the first tenant alone may see.
pub(super) async fn described(client: &Client, output: Output, item: &Value) -> Outcome<String> {
    let metadata: Metadata = read(item.get("metadata").unwrap_or(&Value::Null))?;
    let all = client.list(&["tenants"], &[]).await?;
    let all = all.iter().map(read).collect::<Outcome<Vec<holdfast_api::Tenant>>>()?;
    let Some(tenant) = all.into_iter().find(|one| one.name == metadata.name) else {
        return Ok("Use\n  Admins of the first tenant see it.\n".to_owned());
    };
    let rows: Vec<Vec<Cell>> = tenant.quotas.iter().map(line).collect();
    let mut said = format!("Use\n{}", table(output, 2, &HEADINGS, &rows));
    if let Some(why) = tenant.held_back {
        said.push_str(&format!("  {}\n", output.painted(&clean(&why), Mood::Bad)));
    }
    Ok(said)
}

/// Headings of the columns that tell of a quota.
const HEADINGS: [&str; 3] = ["QUOTA", "USED", "LIMIT"];

/// Prints a row for each quota that is used or limited.
fn list(output: Output, all: &[Value]) -> Outcome {
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for item in all {
        let tenant: holdfast_api::Tenant = read(item)?;
        let mut name = tenant.name;
        let shown = tenant.quotas.iter().filter(|it| it.used > 0 || it.limit.is_some());
        let mut lines: Vec<Vec<Cell>> = shown.map(line).collect();
        if let Some(why) = tenant.held_back {
            lines.push(vec![Cell::new(clean(&why), Mood::Bad)]);
        }
        if lines.is_empty() {
            lines.push(vec!["".into()]);
        }
        for mut line in lines {
            line.insert(0, std::mem::take(&mut name).into());
            rows.push(line);
        }
    }
    let headings: Vec<&str> = std::iter::once("TENANT").chain(HEADINGS).collect();
    output.bytes(table(output, 0, &headings, &rows).as_bytes())
}

fn line(quota: &QuotaUse) -> Vec<Cell> {
    let full = quota.limit.is_some_and(|limit| quota.used >= limit);
    let limit = quota.limit.map(|limit| amount(limit, quota.unit)).unwrap_or_default();
    let mood = if full { Mood::Bad } else { Mood::Plain };
    vec![quota.quota.as_str().into(), Cell::new(amount(quota.used, quota.unit), mood), limit.into()]
}

/// Units of sizes, largest first.
const SIZES: [(u64, &str); 3] = [(1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki")];

/// An amount as documents have it, such as `1.5Gi`, `512` or `2.5` cores; rounded, with one decimal.
fn amount(number: u64, unit: QuotaUnit) -> String {
    let of = |scale: u64| {
        let text = format!("{:.1}", number as f64 / scale as f64);
        text.strip_suffix(".0").unwrap_or(&text).to_owned()
    };
    match unit {
        QuotaUnit::Bytes => match SIZES.iter().find(|(scale, _)| number >= *scale) {
            Some((scale, name)) => of(*scale) + name,
            None => number.to_string(),
        },
        QuotaUnit::Millicores => of(1_000),
        QuotaUnit::Count => number.to_string(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_as_documents_have_them() {
        for (number, unit, expected) in [
            (0, QuotaUnit::Bytes, "0"),
            (1_023, QuotaUnit::Bytes, "1023"),
            (1_536, QuotaUnit::Bytes, "1.5Ki"),
            (20 << 30, QuotaUnit::Bytes, "20Gi"),
            (500, QuotaUnit::Millicores, "0.5"),
            (2_000, QuotaUnit::Millicores, "2"),
            (12, QuotaUnit::Count, "12"),
        ] {
            assert_eq!(amount(number, unit), expected);
        }
    }

    #[test]
    fn a_quota_that_is_used_up_is_marked_and_one_without_a_limit_has_none() {
        let quota =
            |used, limit| QuotaUse { quota: "devices".into(), used, limit, unit: QuotaUnit::Count };
        let rows = [line(&quota(2, Some(2))), line(&quota(7, None))];
        assert_eq!(
            table(Output { colour: false }, 0, &HEADINGS, &rows),
            "QUOTA    USED  LIMIT\ndevices  2     2\ndevices  7     -\n"
        );
    }
}
