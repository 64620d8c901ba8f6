//! `holdfast timeline`: history of a device. `holdfast activity`: what people did, and devices
//! beside it.
//!
//! Tables end with the newest line, nearest to the prompt.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::args::{ActivityArgs, ActivityFormat, LedgerFormat, TimelineArgs};
use super::cells::read;
use super::client::Client;
use super::failure::{Failure, Outcome};
use super::moment;
use super::table::{Cell, table};
use super::text::{Mood, Output, note};
use holdfast_api::{Activity, Category, EventKind, TimelineEvent};

/// Interval at which a followed timeline is read again.
const LOOK: Duration = Duration::from_secs(2);

/// Query parameters of a request; those that are not given are left out.
type Given<'a> = Vec<(&'static str, &'a str)>;

fn given<'a>(all: &[(&'static str, Option<&'a str>)]) -> Given<'a> {
    all.iter().filter_map(|(name, value)| Some((*name, (*value)?))).collect()
}

fn items(page: &Value) -> Outcome<Vec<&Value>> {
    let items = page.get("items").and_then(Value::as_array);
    let items = items.ok_or_else(|| Failure::failed("the control plane answered no list"))?;
    Ok(items.iter().collect())
}

fn pretty(output: Output, value: &Value) -> Outcome {
    let text = serde_json::to_string_pretty(value);
    output.line(&text.map_err(|error| Failure::failed(error.to_string()))?)
}

/// Shows the history of a device.
pub(crate) async fn timeline(
    client: &Client,
    output: Output,
    now: u64,
    wanted: &TimelineArgs,
) -> Outcome {
    let path = ["devices", wanted.device.as_str(), "history"];
    let limit = wanted.limit.to_string();
    let query = given(&[
        ("limit", Some(&limit)),
        ("since", wanted.since.as_deref()),
        ("until", wanted.until.as_deref()),
        ("kind", wanted.kind.as_deref()),
        ("workload", wanted.workload.as_deref()),
    ]);
    let page = client.get(&path, &query).await?;
    let events = read_events(&page)?;
    if wanted.output == LedgerFormat::Json && !wanted.follow {
        return pretty(output, &json!({ "items": page.get("items") }));
    }
    if events.is_empty() {
        note("nothing of that is known");
    }
    show(output, now, wanted.output, &events, true)?;
    if !wanted.follow {
        return Ok(());
    }
    let mut shown: BTreeMap<u64, u32> = counts(&events);
    loop {
        tokio::time::sleep(LOOK).await;
        let events = read_events(&client.get(&path, &query).await?)?;
        let counted = counts(&events);
        let fresh = |event: &TimelineEvent| shown.get(&event.number) != Some(&event.count);
        let fresh: Vec<TimelineEvent> = events.into_iter().filter(fresh).collect();
        show(output, now, wanted.output, &fresh, false)?;
        shown = counted;
    }
}

fn read_events(page: &Value) -> Outcome<Vec<TimelineEvent>> {
    items(page)?.into_iter().map(read).collect()
}

fn counts(events: &[TimelineEvent]) -> BTreeMap<u64, u32> {
    events.iter().map(|event| (event.number, event.count)).collect()
}

/// Prints events, the newest last.
fn show(
    output: Output,
    now: u64,
    format: LedgerFormat,
    events: &[TimelineEvent],
    headed: bool,
) -> Outcome {
    if format == LedgerFormat::Json {
        for event in events.iter().rev() {
            let line = serde_json::to_string(event);
            output.line(&line.map_err(|error| Failure::failed(error.to_string()))?)?;
        }
        return Ok(());
    }
    let rows: Vec<Vec<Cell>> = events.iter().rev().map(|event| row(event, now, headed)).collect();
    let headings: &[&str] = if headed { &["TIME", "", "KIND", "WHAT"] } else { &[] };
    if rows.is_empty() {
        return Ok(());
    }
    output.bytes(table(output, 0, headings, &rows).as_bytes())
}

/// Returns the table row of an event. `ago` adds how long ago it was.
pub(crate) fn row(event: &TimelineEvent, now: u64, ago: bool) -> Vec<Cell> {
    let last = event.until.as_ref().unwrap_or(&event.at);
    let mut row = vec![Cell::from(event.at.as_str())];
    if ago {
        row.push(Cell::new(moment::ago(last, now), Mood::Faint));
    }
    row.extend([
        Cell::from(event.kind.as_str()),
        Cell::new(with_end(&event.message, event.until.as_deref()), mood(event)),
    ]);
    row
}

fn with_end(message: &str, until: Option<&str>) -> String {
    until.map_or_else(|| message.to_owned(), |until| format!("{message} (until {until})"))
}

fn mood(event: &TimelineEvent) -> Mood {
    let to = event.to.as_deref().unwrap_or_default();
    match (event.kind, event.event.as_str(), to) {
        (EventKind::Connection, "disconnected", _) | (EventKind::Problem, "began", _) => Mood::Bad,
        (EventKind::Phase | EventKind::Restart, _, "backoff" | "failed" | "unhealthy") => Mood::Bad,
        (EventKind::Restart, ..) => Mood::Busy,
        _ => Mood::Plain,
    }
}

/// Shows what people and devices did.
pub(crate) async fn activity(
    client: &Client,
    output: Output,
    now: u64,
    wanted: &ActivityArgs,
) -> Outcome {
    let format = match wanted.output {
        ActivityFormat::Csv => Some("csv"),
        ActivityFormat::Ndjson => Some("ndjson"),
        ActivityFormat::Table | ActivityFormat::Json => None,
    };
    let limit = wanted.limit.or(format.is_none().then_some(50)).map(|limit| limit.to_string());
    let category = Some(wanted.category.as_str()).filter(|word| *word != "all");
    let query = given(&[
        ("limit", limit.as_deref()),
        ("who", wanted.who.as_deref()),
        ("action", wanted.action.as_deref()),
        ("object", wanted.object.as_deref()),
        ("q", wanted.query.as_deref()),
        ("category", category),
        ("since", wanted.since.as_deref()),
        ("until", wanted.until.as_deref()),
        ("format", format),
    ]);
    if format.is_some() {
        let mut response = client.stream(&["activity"], &query).await?;
        while let Some(chunk) =
            response.chunk().await.map_err(|error| client.unreachable(&error))?
        {
            output.bytes(&chunk)?;
        }
        return Ok(());
    }
    let page = client.get(&["activity"], &query).await?;
    if wanted.output == ActivityFormat::Json {
        return pretty(output, &json!({ "items": page.get("items") }));
    }
    let items: Vec<Activity> = items(&page)?.into_iter().map(read).collect::<Outcome<_>>()?;
    if items.is_empty() {
        note("nothing of that was found");
        return Ok(());
    }
    let rows: Vec<Vec<Cell>> = items.iter().rev().map(|item| activity_row(item, now)).collect();
    let headings = ["TIME", "", "WHO", "WHAT", "OBJECT", "IN WORDS"];
    output.bytes(table(output, 0, &headings, &rows).as_bytes())
}

/// Text of an activity: what came of it, and where it came from, beside the message.
fn words(item: &Activity) -> String {
    let mut text = item.message.clone();
    if !item.result.is_done() {
        text = format!("refused: {text}");
    }
    if item.category != Category::Device && item.count > 1 {
        text = format!("{text} ({} times)", item.count);
    }
    match &item.from {
        Some(from) if text.is_empty() => format!("from {from}"),
        Some(from) => format!("{text} (from {from})"),
        None => text,
    }
}

fn activity_row(item: &Activity, now: u64) -> Vec<Cell> {
    let object = item.object.as_ref();
    let object = object
        .map(|object| format!("{}/{}", object.kind, object.title.as_ref().unwrap_or(&object.name)));
    let last = item.until.as_ref().unwrap_or(&item.at);
    vec![
        Cell::from(item.at.as_str()),
        Cell::new(moment::ago(last, now), Mood::Faint),
        Cell::from(item.by_name.as_ref().unwrap_or(&item.by).as_str()),
        Cell::from(item.action.as_str()),
        Cell::from(object.unwrap_or_default()),
        Cell::from(with_end(&words(item), item.until.as_deref())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_467_661;

    #[test]
    fn a_timeline_and_activity_at_a_glance() {
        let event = read::<TimelineEvent>(&json!({
            "number": 7, "at": "2026-11-23T20:51:01Z", "until": "2026-11-23T20:56:01Z", "count": 40,
            "kind": "restart", "event": "changed", "to": "backoff",
            "message": "hello: restarted 40 times, last backoff: exit code 1\u{1b}[2J",
        }))
        .unwrap();
        let plain = Output { colour: false };
        assert_eq!(
            table(plain, 0, &[], &[row(&event, NOW, true)]),
            "2026-11-23T20:51:01Z  5m ago  restart  hello: restarted 40 times, last backoff: exit code 1\u{fffd}[2J (until 2026-11-23T20:56:01Z)\n"
        );
        assert_eq!(mood(&event), Mood::Bad);
        let item = read::<Activity>(&json!({
            "at": "2026-11-23T20:51:01Z", "count": 1, "category": "change", "by": "00ff",
            "byName": "night duty", "action": "access.delete",
            "object": { "kind": "access", "name": "77aa", "title": "old script" }, "message": "",
        }))
        .unwrap();
        assert_eq!(
            table(plain, 0, &[], &[activity_row(&item, NOW)]),
            "2026-11-23T20:51:01Z  10m ago  night duty  access.delete  access/old script  -\n"
        );
    }
}
