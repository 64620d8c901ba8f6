//! `data`: records and ledgers of streams.

use serde_json::{Value, json};

use super::args::{Data, DataExport, DataFormat, DataGet, LedgerFormat, OfStream};
use super::client::Client;
use super::failure::{Failure, Outcome};
use super::rows::read;
use super::table::{Cell, table};
use super::text::{Mood, Output, note};
use super::transfer::fetch;
use crate::api::{DataRecord, Ledger};

/// Records of one request for a table.
const PAGE: usize = 1_000;

/// Runs one of them.
pub(crate) async fn data(client: &Client, output: Output, command: &Data) -> Outcome {
    match command {
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
        let page = client.get(&path(&wanted.of, "records"), &query).await?;
        let items = page.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        let rows = items.iter().map(row).collect::<Outcome<Vec<_>>>()?;
        for range in page.get("damaged").and_then(Value::as_array).into_iter().flatten() {
            let end = |name| range.get(name).and_then(Value::as_u64).unwrap_or(0);
            note(&format!(
                "between numbers {} and {} records are left out: the control plane's disk has changed them; see `holdfast data ledger`",
                end("from"),
                end("to")
            ));
        }
        if rows.is_empty() && !headings.is_empty() {
            note("no records found");
            return Ok(());
        }
        output.bytes(table(output, 0, headings, &rows).as_bytes())?;
        headings = &[];
        left = left.saturating_sub(rows.len());
        next = page.pointer("/metadata/continue").and_then(Value::as_str).map(str::to_owned);
        if next.is_none() {
            break;
        }
    }
    Ok(())
}

fn row(item: &Value) -> Outcome<Vec<Cell>> {
    let record: DataRecord = serde_json::from_str(&item.to_string())
        .map_err(|error| Failure::failed(format!("the answer is not understood ({error})")))?;
    Ok(vec![
        record.seq.to_string().into(),
        record.time.into(),
        record.value.get().to_owned().into(),
    ])
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
    let size = fetch(client, &parts, &query, &wanted.output, "exporting").await?;
    output.line(&format!("{size} bytes in {}", wanted.output.display()))
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
            // The newest sums, and every range.
            Some(known) => {
                let missing = std::mem::take(&mut known.missing);
                *known =
                    Ledger { missing: missing.into_iter().chain(page.missing).collect(), ..page };
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
    let missing: u64 = ledger.missing_count.values().sum();
    output.line(&format!(
        "received {}, duplicates {}, late {}, missing {missing}",
        ledger.received, ledger.duplicates, ledger.late
    ))?;
    if let Some(below) = ledger.summed_below {
        let summed = ledger.summed.iter().map(|(reason, count)| format!(", {count} {reason}"));
        let summed: String = summed.collect();
        output.line(&format!("below {below} not every range is kept{summed}"))?;
    }
    if ledger.missing.is_empty() {
        return Ok(());
    }
    let rows: Vec<Vec<Cell>> = ledger
        .missing
        .iter()
        .map(|range| {
            let mood = if range.reason == "unknown" { Mood::Bad } else { Mood::Plain };
            vec![
                range.from.to_string().into(),
                range.to.to_string().into(),
                (range.to - range.from + 1).to_string().into(),
                Cell::new(range.reason.as_str(), mood),
            ]
        })
        .collect();
    output.bytes(table(output, 0, &["FROM", "TO", "COUNT", "REASON"], &rows).as_bytes())
}
