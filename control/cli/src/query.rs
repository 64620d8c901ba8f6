//! `query`: queries to devices. `data fetch`: records shipped on request.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::args::{DataFetch, LedgerFormat, QueryArgs, QueryFormat};
use super::cells::read;
use super::client::Client;
use super::failure::{Exit, Failure, Outcome};
use super::progress::Progress;
use super::table::{Cell, table};
use super::text::{Output, note, one_line};
use holdfast_api::count::{count, counted};
use holdfast_api::{FetchStarted, NewFetch, NewQuery, QueryLine, QueryProgress, QueryResult};
use holdfast_base::words::size;

/// Longest line of a response in bytes.
const MAX_LINE: usize = 256 * 1024 * 1024;

fn document(value: &impl serde::Serialize) -> Outcome<Value> {
    serde_json::to_value(value).map_err(|error| Failure::failed(error.to_string()))
}

/// Runs a query and prints its result.
pub(crate) async fn query(client: &Client, output: Output, wanted: QueryArgs) -> Outcome {
    let format = wanted.output;
    // Columns keep the order of the query, which the JSON objects of the result do not.
    let columns = Columns::of(&wanted);
    let about = About {
        stream: wanted.stream.clone(),
        timed: !wanted.since.is_empty() || !wanted.until.is_empty(),
        chosen: wanted.selector.is_some(),
    };
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
        QueryFormat::Table => print(output, &about, &columns, &result)?,
    }
    for said in &result.notes {
        note(&format!("note: {said}"));
    }
    about.failure(&result).map_or(Ok(()), Err)
}

/// Facts by which a result without records is judged.
struct About {
    stream: String,
    /// True when the query covers only a part of the time.
    timed: bool,
    /// True when devices were chosen by their labels.
    chosen: bool,
}

impl About {
    /// Returns a failure when the result has no data although nothing went wrong: a script must not
    /// take it for a count of 0.
    fn failure(&self, result: &QueryResult) -> Option<Failure> {
        let (answered, missing) = (result.answered, result.missing.len());
        if answered + missing == 0 {
            let why = if self.chosen {
                "no approved device has these labels"
            } else {
                "there is no approved device"
            };
            return Some(Failure::not_found(format!("{why}: `holdfast get devices` lists them")));
        }
        if answered == 0 {
            return Some(Failure::failed(format!(
                "none of {} has answered",
                counted(missing, "device")
            )));
        }
        // A stream without records in a part of the time is no failure: it may have been quiet.
        let nowhere = result.records.scanned == 0 && missing == 0 && !self.timed;
        nowhere.then(|| {
            Failure::not_found(format!("{}: `holdfast data list` shows what there is", self.none()))
        })
    }

    /// Returns the sentence that no device holds records.
    fn none(&self) -> String {
        let when = if self.timed { " of that time" } else { "" };
        format!("no device that has answered holds records of {:?}{when}", self.stream)
    }
}

async fn ask(client: &Client, wanted: &NewQuery) -> Outcome<QueryResult> {
    let mut response = client.post_stream(&["query"], &document(wanted)?).await?;
    let mut rest: Vec<u8> = Vec::new();
    let mut progress = Progress::begin();
    let mut stop = Stop::new()?;
    loop {
        let chunk = tokio::select! {
            chunk = response.chunk() => chunk.map_err(|error| client.unreachable(&error))?,
            () = stop.wanted() => {
                progress.end();
                stop.end(client).await?;
                continue;
            }
        };
        let Some(chunk) = chunk else { break };
        let mut begun = rest.len();
        rest.extend_from_slice(&chunk);
        while let Some(end) = rest.iter().skip(begun).position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=begun + end).collect();
            begun = 0;
            let line: QueryLine = serde_json::from_slice(&line).map_err(|error| {
                Failure::failed(format!("the answer is not understood ({error})"))
            })?;
            match line {
                QueryLine::Progress(so_far) => {
                    progress.say(&self::so_far(&so_far));
                    stop.question = so_far.id;
                }
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

const GIVEN_UP: &str = "given up; the devices are told to stop";

/// Handling of Ctrl-C: the first ends the query with what has come, the second gives up.
struct Stop {
    signal: Signal,
    /// Id of the query. Empty until it is known.
    question: String,
    is_ending: bool,
}

impl Stop {
    fn new() -> Outcome<Self> {
        let signal = signal(SignalKind::interrupt());
        let signal = signal.map_err(|error| Failure::failed(format!("signals: {error}")))?;
        Ok(Self { signal, question: String::new(), is_ending: false })
    }

    async fn wanted(&mut self) {
        self.signal.recv().await;
    }

    async fn end(&mut self, client: &Client) -> Outcome {
        if self.is_ending || self.question.is_empty() {
            return Err(Failure::failed(GIVEN_UP));
        }
        self.is_ending = true;
        note("ending: the answer is what has come; Ctrl-C again gives up");
        let path = ["query", &self.question, "end"];
        let ended = tokio::select! {
            ended = client.send(Method::POST, &path, &[], &Value::Null) => ended,
            _ = self.signal.recv() => return Err(Failure::failed(GIVEN_UP)),
        };
        match ended {
            // The result has come meanwhile, and the query is over.
            Err(failure) if failure.exit == Exit::NotFound => Ok(()),
            ended => ended.map(drop),
        }
    }
}

/// Returns the progress of a query, in one line.
fn so_far(progress: &QueryProgress) -> String {
    let mut text = format!("{} of {} answered", progress.answered, counted(progress.of, "device"));
    if !progress.missing.is_empty() {
        let named = progress.missing.len();
        let more = progress.of.saturating_sub(progress.answered + named);
        text.push_str(&format!("; missing: {}", progress.missing.join(", ")));
        if more > 0 {
            text.push_str(&format!(" and {more} more"));
        }
    }
    one_line(&text)
}

/// Columns of a result, in the order of the query.
struct Columns {
    keys: Vec<String>,
    window: bool,
    values: Vec<String>,
}

impl Columns {
    fn of(wanted: &QueryArgs) -> Self {
        use holdfast_query::parse;
        let mut quoted = false;
        let keys = wanted.by.split(|letter| {
            quoted ^= letter == '`';
            letter == ',' && !quoted
        });
        let keys = keys.map(str::trim).filter(|key| !key.is_empty()).map(str::to_owned).collect();
        // A faulty --select is reported by the control plane.
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

    /// Returns the fields of each row.
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

/// Returns the result as CSV (RFC 4180).
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

fn print(output: Output, about: &About, columns: &Columns, result: &QueryResult) -> Outcome {
    let headings: Vec<String> = columns.names().map(str::to_uppercase).collect();
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let rows: Vec<Vec<Cell>> =
        columns.rows(result).map(|row| row.into_iter().map(Cell::from).collect()).collect();
    if rows.is_empty() {
        if about.failure(result).is_none() {
            let none = result.records.scanned == 0;
            output.line(&if none { about.none() } else { "no records match".into() })?;
        }
    } else {
        output.bytes(table(output, 0, &headings, &rows).as_bytes())?;
    }
    let of = result.answered + result.missing.len();
    output.line(&format!(
        "{} of {}; {} of {}; {} bytes crossed the link, shipping would have cost {}",
        result.answered,
        counted(of, "device"),
        result.records.matched,
        count(result.records.scanned, "record"),
        result.bytes.crossed,
        result.bytes.shipping_would_have_cost
    ))?;
    for (device, why) in &result.reasons {
        output.line(&one_line(&format!("not answered: {device}: {why}")))?;
    }
    Ok(())
}

/// Asks a device to ship records unreduced.
pub(crate) async fn fetch(client: &Client, output: Output, wanted: &DataFetch) -> Outcome {
    let (since, until) = (wanted.since.clone(), wanted.until.clone());
    let body = NewFetch { since, until, bytes: Some(wanted.bytes) };
    let (device, stream) = (&*wanted.of.device, &*wanted.of.stream);
    let parts = ["devices", device, "streams", stream, "fetch"];
    let answer = client.post(&parts, &document(&body)?).await?;
    let started: FetchStarted = read(&answer)?;
    if wanted.output == LedgerFormat::Json {
        return output.line(&json!(started).to_string());
    }
    output.line(&one_line(&will_be_shipped(wanted, &started)))
}

fn will_be_shipped(wanted: &DataFetch, started: &FetchStarted) -> String {
    let (device, stream) = (&wanted.of.device, &wanted.of.stream);
    if started.records == 0 {
        return format!(
            "{device} holds no records of {stream} of that time: nothing will be shipped"
        );
    }
    let mut text =
        format!("{} ({} on the device)", count(started.records, "record"), size(started.bytes));
    match &started.waits {
        Some(waits) => text.push_str(&format!(" will be shipped later ({waits})")),
        None => text.push_str(" will be shipped"),
    }
    text.push_str(&format!(", at most {} at once (--bytes)", size(wanted.bytes)));
    format!("{text}: holdfast data get {device} {stream}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::OfStream;
    use holdfast_api::QueryRecords;

    fn about(timed: bool, chosen: bool) -> About {
        About { stream: "temp".into(), timed, chosen }
    }

    #[test]
    fn no_answer_is_not_taken_for_none() {
        // Devices that answered, devices missing, records examined; timed, chosen.
        for (answered, missing, scanned, timed, chosen, wanted) in [
            (2, 0, 9, false, false, None),
            (2, 1, 0, false, false, None),
            (2, 0, 0, true, false, None),
            (2, 0, 0, false, false, Some((Exit::NotFound, "holds records of \"temp\""))),
            (0, 2, 0, true, true, Some((Exit::Failed, "none of 2 devices has answered"))),
            (0, 0, 0, true, true, Some((Exit::NotFound, "has these labels"))),
            (0, 0, 0, false, false, Some((Exit::NotFound, "there is no approved device"))),
        ] {
            let result = QueryResult {
                answered,
                missing: (0..missing).map(|at| format!("d-{at}")).collect(),
                records: QueryRecords { scanned, matched: 0 },
                ..QueryResult::default()
            };
            let said = about(timed, chosen).failure(&result);
            let found = said.as_ref().map(|failure| (failure.exit, failure.message.as_str()));
            match (found, wanted) {
                (None, None) => {}
                (Some((exit, text)), Some((code, part))) => {
                    assert!(exit == code && text.contains(part), "{exit:?} {text}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(about(true, false).none().ends_with("of that time"));
    }

    #[test]
    fn progress_names_who_is_missing() {
        let missing = vec!["d-1".to_owned(), "d-2".into(), "d-\u{1b}3".into()];
        let mut progress = QueryProgress { id: "7".into(), answered: 1, of: 14, missing };
        assert_eq!(
            so_far(&progress),
            "1 of 14 devices answered; missing: d-1, d-2, d-\u{fffd}3 and 10 more"
        );
        progress = QueryProgress { answered: 14, missing: Vec::new(), ..progress };
        assert_eq!(so_far(&progress), "14 of 14 devices answered");
    }

    #[test]
    fn a_fetch_says_what_it_waits_for_and_its_bound() {
        let of = OfStream { device: "d-1".into(), stream: "s".into() };
        let (since, until) = (String::new(), String::new());
        let wanted = DataFetch { of, since, until, bytes: 10 << 20, output: LedgerFormat::Table };
        let started = |records, waits: Option<&str>| FetchStarted {
            id: String::new(),
            records,
            bytes: 2_048,
            waits: waits.map(Into::into),
        };
        assert_eq!(
            will_be_shipped(&wanted, &started(7, None)),
            "7 records (2Ki on the device) will be shipped, at most 10Mi at once (--bytes): holdfast data get d-1 s"
        );
        let waits = will_be_shipped(&wanted, &started(7, Some("policy n: shipped from 01:00 UTC")));
        assert!(waits.contains("later (policy n: shipped from 01:00 UTC)"), "{waits}");
        assert!(will_be_shipped(&wanted, &started(0, None)).contains("holds no records"));
    }
}
