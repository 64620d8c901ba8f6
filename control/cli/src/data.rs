//! `data`: streams, their records and their ledgers.

use std::fs::File;
use std::path::Path;

use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde_json::{Value, json};

use super::args::{Data, DataExport, DataFormat, DataGet, LedgerFormat, OfStream};
use super::cells::read;
use super::client::Client;
use super::failure::{Failure, Outcome};
use super::moment;
use super::table::{Cell, table};
use super::text::{Mood, Output, note};
use super::transfer::{Asked, fetch};
use holdfast_api::{DataRecord, DataRecords, Ledger, MissingRange, StreamItem};
use holdfast_base::words::size;

/// Records fetched by one request for a table.
const PAGE: usize = 1_000;

/// Runs a subcommand of `data`.
pub(crate) async fn data(client: &Client, output: Output, now: u64, command: &Data) -> Outcome {
    match command {
        Data::List { device, output: format } => {
            list(client, output, now, device.as_deref(), *format).await
        }
        Data::Get(wanted) => get(client, output, wanted).await,
        Data::Fetch(wanted) => super::query::fetch(client, output, wanted).await,
        Data::Ledger { of, output: format } => ledger(client, output, of, *format).await,
        Data::Export(wanted) => export(client, output, wanted).await,
    }
}

fn path<'a>(of: &'a OfStream, what: &'a str) -> [&'a str; 5] {
    ["devices", &of.device, "streams", &of.stream, what]
}

fn query(wanted: &DataGet) -> Vec<(&'static str, &str)> {
    let mut query = Vec::new();
    query.extend(wanted.since.as_deref().map(|since| ("since", since)));
    query.extend(wanted.until.as_deref().map(|until| ("until", until)));
    if wanted.newest {
        query.push(("order", "desc"));
    }
    query
}

async fn get(client: &Client, output: Output, wanted: &DataGet) -> Outcome {
    let kind = match wanted.output {
        DataFormat::Ndjson => "application/x-ndjson",
        DataFormat::Csv => "text/csv",
        DataFormat::Table => return get_table(client, output, wanted).await,
    };
    let limit = wanted.limit.map(|limit| limit.to_string());
    let mut query = query(wanted);
    query.extend(limit.as_deref().map(|limit| ("limit", limit)));
    let mut response = client.stream_as(&path(&wanted.of, "records"), &query, kind).await?;
    while let Some(chunk) = response.chunk().await.map_err(|error| client.unreachable(&error))? {
        output.bytes(&chunk)?;
    }
    Ok(())
}

async fn get_table(client: &Client, output: Output, wanted: &DataGet) -> Outcome {
    let mut left = wanted.limit.unwrap_or(usize::MAX);
    let mut next: Option<String> = None;
    let mut headings: &[&str] = &["SEQ", "TIME", "VALUE"];
    while left > 0 {
        let limit = left.min(PAGE).to_string();
        let mut query = query(wanted);
        query.push(("limit", &limit));
        query.extend(next.as_deref().map(|next| ("continue", next)));
        let page: DataRecords = client.read(&path(&wanted.of, "records"), &query).await?;
        let rows: Vec<Vec<Cell>> = page.items.into_iter().map(row).collect();
        for range in &page.damaged {
            note(&format!(
                "between numbers {} and {} records are left out: the control plane's disk has changed them; see `holdfast data ledger`",
                range.from, range.to
            ));
        }
        if rows.is_empty() && !headings.is_empty() {
            note("no records found");
            return Ok(());
        }
        output.bytes(table(output, 0, headings, &rows).as_bytes())?;
        headings = &[];
        left = left.saturating_sub(rows.len());
        next = page.metadata.next;
        if next.is_none() {
            break;
        }
    }
    Ok(())
}

/// Returns the table row of a record. The value's keys keep their order.
fn row(record: DataRecord) -> Vec<Cell> {
    let value = record.value.get().to_owned();
    vec![record.seq.to_string().into(), record.time.into(), value.into()]
}

async fn export(client: &Client, output: Output, wanted: &DataExport) -> Outcome {
    let parts: Vec<&str> = match (wanted.all, wanted.of.as_slice()) {
        (true, [stream]) => vec!["streams", stream, "export.parquet"],
        (false, [device, stream]) => vec!["devices", device, "streams", stream, "export.parquet"],
        (true, _) => return Err(Failure::usage("with --all give the stream alone")),
        (false, _) => {
            return Err(Failure::usage("give the device and the stream, or --all and the stream"));
        }
    };
    let mut query = Vec::new();
    query.extend(wanted.since.as_deref().map(|since| ("since", since)));
    query.extend(wanted.until.as_deref().map(|until| ("until", until)));
    query.extend(wanted.selector.as_deref().map(|selector| ("labelSelector", selector)));
    let size = fetch(client, Asked::Get(&parts, &query), &wanted.output, "exporting").await?;
    let records = records(&wanted.output)
        .map_err(|error| Failure::file("read what was exported to", &wanted.output, error))?;
    output.line(&format!("{records} records, {size} bytes in {}", wanted.output.display()))
}

/// Reads how many records a Parquet file holds.
fn records(path: &Path) -> Result<i64, parquet::errors::ParquetError> {
    let reader = SerializedFileReader::new(File::open(path)?)?;
    Ok(reader.metadata().file_metadata().num_rows())
}

async fn ledger(client: &Client, output: Output, of: &OfStream, format: LedgerFormat) -> Outcome {
    let mut whole: Option<Ledger> = None;
    let mut next: Option<String> = None;
    loop {
        let query: Vec<(&str, &str)> =
            next.as_deref().map(|next| ("continue", next)).into_iter().collect();
        let page: Ledger = read(&client.get(&path(of, "ledger"), &query).await?)?;
        next = page.metadata.next.clone();
        match &mut whole {
            // Counts are taken from the newest page, ranges from all pages.
            Some(known) => {
                let missing = std::mem::take(&mut known.missing).into_iter().chain(page.missing);
                let asked = std::mem::take(&mut known.by_policy).into_iter().chain(page.by_policy);
                *known = Ledger { missing: missing.collect(), by_policy: asked.collect(), ..page };
            }
            None => whole = Some(page),
        }
        if next.is_none() {
            break;
        }
    }
    let Some(ledger) = whole else { return Ok(()) };
    if format == LedgerFormat::Json {
        let mut value = json!(ledger);
        if let Some(object) = value.as_object_mut() {
            object.remove("metadata");
        }
        let text = serde_json::to_string_pretty(&value);
        return output.line(&text.map_err(|error| Failure::failed(error.to_string()))?);
    }
    output.bytes(ledger_text(output, &ledger).as_bytes())
}

/// Ranges of a ledger that are shown to people at most.
const RANGES: usize = 20;

/// Returns counts by reason in words: `quota 10, unknown 2`.
fn by_reason<'a>(counts: impl Iterator<Item = (&'a String, &'a u64)>) -> String {
    let counts = counts.filter(|(_, count)| **count > 0);
    counts.map(|(reason, count)| format!("{reason} {count}")).collect::<Vec<_>>().join(", ")
}

/// Returns a ledger as text: counts first, then its newest ranges, losses before what a policy left
/// on the device.
fn ledger_text(output: Output, ledger: &Ledger) -> String {
    let missing: u64 = ledger.missing_count.values().sum();
    let mut text = format!(
        "received {}, duplicates {}, late {}; missing {missing}",
        ledger.received, ledger.duplicates, ledger.late
    );
    if missing > 0 {
        text.push_str(&format!(" ({})", by_reason(ledger.missing_count.iter())));
    }
    let asked = by_reason(ledger.by_policy_count.iter());
    if !asked.is_empty() {
        text.push_str(&format!("; by policy: {asked}"));
    }
    text.push('\n');
    if let Some(below) = ledger.summed_below {
        let summed = by_reason(ledger.summed.iter());
        let summed = if summed.is_empty() { summed } else { format!(": {summed}") };
        text.push_str(&format!("below {below} not every range is kept{summed}\n"));
    }
    if let Some(note) = &ledger.note {
        text.push_str(note);
        text.push('\n');
    }
    let newest = ledger.missing.iter().rev().chain(ledger.by_policy.iter().rev()).take(RANGES);
    let mut shown: Vec<&MissingRange> = newest.collect();
    shown.sort_by_key(|range| std::cmp::Reverse(range.from));
    if shown.is_empty() {
        return text;
    }
    let rows: Vec<Vec<Cell>> = shown.into_iter().map(range).collect();
    text.push_str(&table(output, 0, &["FROM", "TO", "COUNT", "SINCE", "UNTIL", "REASON"], &rows));
    let more = (ledger.missing.len() + ledger.by_policy.len()).saturating_sub(RANGES);
    if more > 0 {
        text.push_str(&format!("{more} more: -o json\n"));
    }
    text
}

fn range(range: &MissingRange) -> Vec<Cell> {
    let mood = if range.reason == "unknown" { Mood::Bad } else { Mood::Plain };
    vec![
        range.from.to_string().into(),
        range.to.to_string().into(),
        (range.to - range.from + 1).to_string().into(),
        range.since.clone().unwrap_or_default().into(),
        range.until.clone().unwrap_or_default().into(),
        Cell::new(range.reason.as_str(), mood),
    ]
}

async fn list(
    client: &Client,
    output: Output,
    now: u64,
    device: Option<&str>,
    format: LedgerFormat,
) -> Outcome {
    let query: Vec<(&str, &str)> = device.map(|device| ("device", device)).into_iter().collect();
    let found = client.list(&["streams"], &query).await?;
    if format == LedgerFormat::Json {
        let text = serde_json::to_string_pretty(&json!({ "items": found }));
        return output.line(&text.map_err(|error| Failure::failed(error.to_string()))?);
    }
    if found.is_empty() {
        note("no streams found");
        return Ok(());
    }
    let items = found.iter().map(read).collect::<Outcome<Vec<StreamItem>>>()?;
    let rows: Vec<Vec<Cell>> = items
        .iter()
        .map(|item| {
            let device = Cell::from(item.device.as_str());
            std::iter::once(device).chain(stream_row(item, now)).collect()
        })
        .collect();
    let headings: Vec<&str> = std::iter::once("DEVICE").chain(STREAM_HEADINGS).collect();
    output.bytes(table(output, 0, &headings, &rows).as_bytes())
}

/// Headings of [`stream_row`]. `RECEIVED`, `MISSING` (lost), `BY-POLICY` (left on the device
/// because a policy says so) and `KEPT` (bytes) are the control plane's figures; `WAITING` and
/// `HELD` (bytes) are the device's.
pub(crate) const STREAM_HEADINGS: [&str; 9] =
    ["STREAM", "RECEIVED", "MISSING", "BY-POLICY", "LAST", "KEPT", "WAITING", "HELD", "POLICY"];

/// Returns the table row of a stream.
pub(crate) fn stream_row(item: &StreamItem, now: u64) -> Vec<Cell> {
    let said = |field: &str| item.reported.as_ref().and_then(|said| said.get(field));
    let number = |field: &str| said(field).and_then(Value::as_u64);
    let last = item.last.as_ref().map(|last| moment::ago(&last.time, now));
    let problem = said("problem").and_then(Value::as_str).unwrap_or_default();
    let policy = match said("policy").and_then(Value::as_str) {
        None if item.reported.is_some() => "default",
        policy => policy.unwrap_or_default(),
    };
    let policy = match problem {
        "" => Cell::from(policy),
        problem => Cell::new(format!("{policy}: {problem}"), Mood::Bad),
    };
    vec![
        Cell::from(item.stream.as_str()),
        Cell::from(item.received.to_string()),
        Cell::new(
            item.missing.to_string(),
            if item.missing == 0 { Mood::Plain } else { Mood::Busy },
        ),
        Cell::from(item.by_policy.to_string()),
        Cell::from(last.unwrap_or_default()),
        Cell::from(size(item.bytes)),
        Cell::from(number("waiting").map(|count| count.to_string()).unwrap_or_default()),
        Cell::from(number("bytes").map(size).unwrap_or_default()),
        policy,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_api::DataMeta;

    fn ledger(counts: &[(&str, u64)], missing: Vec<MissingRange>) -> Ledger {
        let asked = |reason: &str| matches!(reason, "reduced" | "withheld");
        let (by_policy, missing) = missing.into_iter().partition(|it| asked(&it.reason));
        let words = |policy: bool| {
            let some = counts.iter().filter(move |(reason, _)| asked(reason) == policy);
            some.map(|(word, count)| ((*word).into(), *count)).collect()
        };
        Ledger {
            received: 200,
            duplicates: 1,
            late: 0,
            highest: 1_000,
            missing_count: words(false),
            by_policy_count: words(true),
            summed_below: None,
            summed: std::collections::BTreeMap::new(),
            records: 200,
            bytes: 1,
            missing,
            by_policy,
            note: None,
            metadata: DataMeta::default(),
        }
    }

    fn range(from: u64, to: u64, reason: &str) -> MissingRange {
        MissingRange {
            from,
            to,
            reason: reason.into(),
            since: Some("2026-11-23T20:51:01.000Z".into()),
            until: None,
        }
    }

    #[test]
    fn what_a_policy_asked_for_is_no_loss_and_hides_none() {
        let plain = Output { colour: false };
        let mut missing = vec![range(1, 3, "quota")];
        missing.extend((1..=333).map(|at| range(at * 10, at * 10 + 1, "reduced")));
        let text = ledger_text(plain, &ledger(&[("quota", 3), ("reduced", 666)], missing));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "received 200, duplicates 1, late 0; missing 3 (quota 3); by policy: reduced 666"
        );
        assert_eq!(lines.len(), 1 + 1 + RANGES + 1, "{text}");
        assert!(lines[2].starts_with("3330"), "the newest first: {text}");
        assert!(lines[2].contains("  2026-11-23T20:51:01.000Z  "), "and when: {text}");
        assert!(lines[RANGES + 1].ends_with("quota"), "a loss is shown: {text}");
        assert_eq!(lines[RANGES + 2], "314 more: -o json");

        let text = ledger_text(plain, &ledger(&[("reduced", 800)], Vec::new()));
        assert!(text.contains("missing 0; by policy: reduced 800\n"), "{text}");
        let summed = Ledger {
            summed_below: Some(7),
            summed: [("quota".to_owned(), 4)].into(),
            ..ledger(&[], Vec::new())
        };
        assert!(
            ledger_text(plain, &summed).ends_with("below 7 not every range is kept: quota 4\n")
        );
    }

    #[test]
    fn a_table_keeps_the_order_of_keys() {
        let page =
            r#"{"items":[{"seq":7,"time":"t","value":{"z":1,"a":{"y":2,"b":3}}}],"metadata":{}}"#;
        let page: DataRecords = serde_json::from_str(page).unwrap();
        let rows: Vec<Vec<Cell>> = page.items.into_iter().map(row).collect();
        let text = table(Output { colour: false }, 0, &[], &rows);
        assert_eq!(text, "7  t  {\"z\":1,\"a\":{\"y\":2,\"b\":3}}\n");
    }

    #[test]
    fn a_stream_at_a_glance() {
        let item = json!({
            "device": "d-1", "stream": "temp", "received": 9, "duplicates": 0, "late": 0,
            "missing": 2, "byPolicy": 7, "records": 9, "bytes": 2_048,
            "last": { "seq": 11, "time": "2026-11-23T20:51:01.000Z" },
            "reported": { "policy": "raw", "last": 11, "waiting": 4, "bytes": 4_096, "problem": "no x" },
        });
        let item: StreamItem = read(&item).unwrap();
        // 2026-11-23T21:01:01Z
        let row = stream_row(&item, 1_795_467_661);
        let text = table(Output { colour: false }, 0, &STREAM_HEADINGS, &[row]);
        assert_eq!(
            text,
            "STREAM  RECEIVED  MISSING  BY-POLICY  LAST     KEPT  WAITING  HELD  POLICY\n\
             temp    9         2        7          10m ago  2Ki   4        4Ki   raw: no x\n"
        );
    }
}
