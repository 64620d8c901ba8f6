//! `query`: questions to devices; `data fetch`.

use serde_json::{Value, json};

use super::args::{DataFetch, LedgerFormat, QueryArgs, QueryFormat};
use super::client::Client;
use super::failure::{Failure, Outcome};
use super::rows::read;
use super::table::{Cell, table};
use super::text::{Output, note};
use crate::api::{FetchStarted, NewFetch, NewQuery, QueryLine, QueryResult};

/// Longest line of an answer, in bytes.
const MAX_LINE: usize = 256 * 1024 * 1024;

fn document(value: &impl serde::Serialize) -> Outcome<Value> {
    serde_json::to_value(value).map_err(|error| Failure::failed(error.to_string()))
}

/// Asks, and prints the answer.
pub(crate) async fn query(client: &Client, output: Output, wanted: QueryArgs) -> Outcome {
    let format = wanted.output;
    // As they were asked for: JSON knows no order of columns.
    let columns = Columns::of(&wanted);
    let wanted = NewQuery {
        stream: wanted.stream,
        select: wanted.select,
        filter: wanted.filter,
        by: wanted.by,
        every: wanted.every,
        since: wanted.since,
        until: wanted.until,
        label_selector: wanted.selector.unwrap_or_default(),
        wait: wanted.wait,
    };
    let result = ask(client, &wanted).await?;
    match format {
        QueryFormat::Json => {
            let text = serde_json::to_string_pretty(&result);
            output.line(&text.map_err(|error| Failure::failed(error.to_string()))?)?;
        }
        QueryFormat::Csv => output.bytes(csv(&columns, &result).as_bytes())?,
        QueryFormat::Table => print(output, &columns, &result)?,
    }
    for said in &result.notes {
        note(&format!("note: {said}"));
    }
    Ok(())
}

async fn ask(client: &Client, wanted: &NewQuery) -> Outcome<QueryResult> {
    let mut response = client.post_stream(&["query"], &document(wanted)?).await?;
    let mut rest: Vec<u8> = Vec::new();
    let mut progress = Progress::begin();
    while let Some(chunk) = response.chunk().await.map_err(|error| client.unreachable(&error))? {
        let mut begun = rest.len();
        rest.extend_from_slice(&chunk);
        while let Some(end) = rest.iter().skip(begun).position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=begun + end).collect();
            begun = 0;
            let line: QueryLine = serde_json::from_slice(&line).map_err(|error| {
                Failure::failed(format!("the answer is not understood ({error})"))
            })?;
            match line {
                QueryLine::Progress(so_far) => progress.say(so_far.answered, so_far.of),
                QueryLine::Result(result) => {
                    progress.end();
                    return Ok(result);
                }
            }
        }
        if rest.len() > MAX_LINE {
            break;
        }
    }
    progress.end();
    Err(Failure::failed("the answer ended early: the control plane may have stopped; ask again"))
}

/// How far it is, on a terminal alone.
struct Progress {
    shown: bool,
    terminal: bool,
}

impl Progress {
    fn begin() -> Self {
        use std::io::IsTerminal as _;
        Self { shown: false, terminal: std::io::stderr().is_terminal() }
    }

    fn write(text: &str) {
        use std::io::Write as _;
        let _nobody_reads = std::io::stderr().write_all(text.as_bytes());
    }

    fn say(&mut self, answered: usize, of: usize) {
        if self.terminal {
            self.shown = true;
            Self::write(&format!("\r{answered} of {of} devices have answered\x1b[K"));
        }
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.shown) {
            Self::write("\r\x1b[K");
        }
    }
}

/// The columns of an answer, in the order of the question.
struct Columns {
    keys: Vec<String>,
    window: bool,
    values: Vec<String>,
}

impl Columns {
    fn of(wanted: &QueryArgs) -> Self {
        use holdfast_protocol::data::query::parse;
        let mut quoted = false;
        let keys = wanted.by.split(|letter| {
            quoted ^= letter == '`';
            letter == ',' && !quoted
        });
        let keys = keys.map(str::trim).filter(|key| !key.is_empty()).map(str::to_owned).collect();
        // What is wrong with it the control plane says.
        let values = parse::select(&wanted.select).unwrap_or_default();
        Self {
            keys,
            window: !wanted.every.trim().is_empty(),
            values: values.iter().map(ToString::to_string).collect(),
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let window = self.window.then_some("window");
        let keys = self.keys.iter().map(String::as_str);
        keys.chain(window).chain(self.values.iter().map(String::as_str))
    }

    /// The fields of each row.
    fn rows<'a>(&'a self, result: &'a QueryResult) -> impl Iterator<Item = Vec<String>> + 'a {
        result.rows.iter().map(|row| {
            let field = |value: Option<&Value>| match value {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            };
            let window = self.window.then(|| row.window.clone().unwrap_or_default());
            let keys = self.keys.iter().map(|key| field(row.group.get(key)));
            let values = self.values.iter().map(|name| field(row.values.get(name)));
            keys.chain(window).chain(values).collect()
        })
    }
}

/// RFC 4180.
fn csv(columns: &Columns, result: &QueryResult) -> String {
    let quoted = |field: &str| {
        if field.contains(['"', ',', '\n', '\r']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field.to_owned()
        }
    };
    let line = |fields: Vec<String>| fields.join(",") + "\r\n";
    let mut out = line(columns.names().map(quoted).collect());
    for row in columns.rows(result) {
        out.push_str(&line(row.iter().map(|field| quoted(field)).collect()));
    }
    out
}

fn print(output: Output, columns: &Columns, result: &QueryResult) -> Outcome {
    let headings: Vec<String> = columns.names().map(str::to_uppercase).collect();
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let rows: Vec<Vec<Cell>> =
        columns.rows(result).map(|row| row.into_iter().map(Cell::from).collect()).collect();
    if rows.is_empty() {
        output.line("no records match")?;
    } else {
        output.bytes(table(output, 0, &headings, &rows).as_bytes())?;
    }
    let of = result.answered + result.missing.len();
    output.line(&format!(
        "{} of {of} devices; {} of {} records; {} bytes crossed the link, shipping would have cost {}",
        result.answered,
        result.records.matched,
        result.records.scanned,
        result.bytes.crossed,
        result.bytes.shipping_would_have_cost
    ))?;
    for (device, why) in &result.reasons {
        output.line(&format!("not answered: {device}: {why}"))?;
    }
    Ok(())
}

/// Has a device ship records as they are.
pub(crate) async fn fetch(client: &Client, output: Output, wanted: &DataFetch) -> Outcome {
    let body =
        NewFetch { since: wanted.since.clone(), until: wanted.until.clone(), bytes: wanted.bytes };
    let (device, stream) = (&*wanted.of.device, &*wanted.of.stream);
    let parts = ["devices", device, "streams", stream, "fetch"];
    let answer = client.send(reqwest::Method::POST, &parts, &[], &document(&body)?).await?;
    let started: FetchStarted = read(&answer)?;
    if wanted.output == LedgerFormat::Json {
        return output.line(&json!(started).to_string());
    }
    output.line(&format!(
        "{} records ({} bytes on the device) will be shipped: holdfast data get {device} {stream}",
        started.records, started.bytes
    ))
}
