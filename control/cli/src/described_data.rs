//! Data in `describe`: a device's streams, buffer and link, and the use of a link budget.

use holdfast_records::{ClassUse, DataReport, Storage};
use serde_json::Value;

use super::cells::read;
use super::data::{STREAM_HEADINGS, stream_row};
use super::failure::Outcome;
use super::table::{Cell, facts, table};
use super::text::{Mood, Output};
use holdfast_api::selector::Selector;
use holdfast_api::{Device, DeviceStreams, Fits, Link, LinkClass, LinkWait, Policy, StreamItem};
use holdfast_base::words::size;

/// Streams, and devices, that are listed one by one at most.
const SHOWN: usize = 20;

/// Use of a budget, in percent, from which it is highlighted.
const NEARLY: u64 = 90;

/// Describes what a device holds, what it ships, and what it has shipped.
pub(super) fn of_device(output: Output, now: u64, name: &str, all: &DeviceStreams) -> String {
    let report = all.data.as_ref().and_then(|data| read::<DataReport>(data).ok());
    let mut text = String::new();
    let mut known = Vec::new();
    known.extend(report.as_ref().map(|report| ("Buffer", buffer(&report.storage))));
    known.extend(all.link.as_ref().map(|it| ("Link", link(it))));
    text.push_str(&facts(output, 2, known));
    text.push_str(&all.link.as_ref().map_or_else(String::new, |link| classes(output, link)));
    if all.items.is_empty() {
        text.push_str("  no streams\n");
        return text;
    }
    let (items, more) = busiest(&all.items);
    let rows: Vec<Vec<Cell>> = items.into_iter().map(|item| stream_row(item, now)).collect();
    text.push_str(&table(output, 2, &STREAM_HEADINGS, &rows));
    if more > 0 {
        text.push_str(&format!("  and {more} more: holdfast data list {name}\n"));
    }
    text
}

/// Returns the streams to list and the number of others: those with a problem first, then those
/// with most to ship, then those that shipped most, then by name.
fn busiest(all: &[StreamItem]) -> (Vec<&StreamItem>, usize) {
    let said = |item: &StreamItem, field: &str| {
        item.reported.as_ref().and_then(|said| said.get(field)).cloned()
    };
    let mut items: Vec<&StreamItem> = all.iter().collect();
    items.sort_by_cached_key(|item| {
        let waiting = said(item, "waiting").and_then(|waiting| waiting.as_u64()).unwrap_or(0);
        std::cmp::Reverse((said(item, "problem").is_some(), waiting, item.received))
    });
    items.truncate(SHOWN);
    items.sort_by(|one, other| one.stream.cmp(&other.stream));
    (items, all.len().saturating_sub(SHOWN))
}

fn buffer(storage: &Storage) -> Cell {
    let mut text = format!(
        "{} of {}; {} written to flash",
        size(storage.used),
        size(storage.quota),
        size(storage.written)
    );
    if let Some(hundredths) = storage.life_years_hundredths {
        let (years, part) = (hundredths / 100, hundredths % 100 / 10);
        text.push_str(&format!(", which lasts {years}.{part} years at this rate"));
    }
    Cell::from(text)
}

/// Returns how much of its budget the link has used, and the forecast.
fn link(link: &Link) -> Cell {
    let (used, when) = (size(link.used), &link.period);
    let mut text = match (link.bytes, &link.budget) {
        (None, _) => format!("{used} this {when}, without a budget"),
        (Some(bytes), name) => {
            let name = name.as_ref().map_or_else(String::new, |name| format!(" by {name}"));
            let percent = percent(link.used, bytes);
            format!("{used} of {}{name} this {when} ({percent}%)", size(bytes))
        }
    };
    text.push_str(&match link.forecast {
        Some(forecast) => {
            let (about, ends) = (size(forecast), &link.ends);
            format!("; at the rate of the last hour about {about} by {ends}")
        }
        None => "; no forecast yet".into(),
    });
    Cell::new(text, mood_of(link.fits))
}

fn mood_of(fits: Fits) -> Mood {
    match fits {
        Fits::NoBudget | Fits::Fits => Mood::Plain,
        Fits::Short => Mood::Busy,
        Fits::UsedUp | Fits::Waits => Mood::Bad,
    }
}

/// Returns whether a class fits its share, in words.
fn fits(class: &LinkClass) -> Cell {
    let text = match (class.fits, class.waits) {
        (Fits::NoBudget, _) => String::new(),
        (Fits::Fits, _) => "fits".into(),
        (Fits::Short, _) => "will not last".into(),
        (Fits::UsedUp, _) => "used up".into(),
        (Fits::Waits, Some(LinkWait::Until)) => {
            format!("waits until {}", class.waits_until.as_deref().unwrap_or_default())
        }
        (Fits::Waits, Some(LinkWait::NotWithThisShare)) => "waits: its share is too little".into(),
        (Fits::Waits, _) => "waits, goes on little by little".into(),
    };
    Cell::new(text, mood_of(class.fits))
}

fn percent(used: u64, budget: u64) -> u64 {
    let percent = u128::from(used) * 100 / u128::from(budget.max(1));
    u64::try_from(percent).unwrap_or(u64::MAX)
}

fn mood(used: u64, budget: u64) -> Mood {
    if percent(used, budget) >= NEARLY { Mood::Busy } else { Mood::Plain }
}

fn classes(output: Output, link: &Link) -> String {
    let bytes = |bytes: Option<u64>| bytes.map(size).unwrap_or_default().into();
    let row = |class: &LinkClass| {
        vec![
            Cell::from(class.class.as_str()),
            Cell::from(size(class.sent)),
            Cell::from(size(class.received)),
            bytes(class.share),
            bytes(class.forecast),
            fits(class),
        ]
    };
    if link.classes.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<Cell>> = link.classes.iter().map(row).collect();
    table(output, 2, &["CLASS", "SENT", "RECEIVED", "SHARE", "FORECAST", "FITS"], &rows)
}

/// Describes how much of a budget devices have used, the heaviest users first. When several budgets
/// choose a device, the first by name applies.
pub(super) fn of_budget(
    output: Output,
    name: &str,
    budgets: &[Value],
    devices: &[Value],
) -> Outcome<String> {
    let mut known: Vec<(String, Selector)> = Vec::new();
    for budget in budgets {
        let budget: Policy = read(budget)?;
        let devices = budget.spec.get("devices").map(read::<Selector>).transpose()?;
        known.push((budget.metadata.name, devices.unwrap_or_default()));
    }
    known.sort_by(|one, other| one.0.cmp(&other.0));
    let mut found: Vec<(u64, u64, String)> = Vec::new();
    for device in devices {
        let device: Device = read(device)?;
        let first = known.iter().find(|(_, devices)| devices.matches(&device.metadata.labels));
        let report = device.status.data.as_ref().and_then(|data| read::<DataReport>(data).ok());
        if let (true, Some(report)) = (first.is_some_and(|(first, _)| first == name), report)
            && let Some(budget) = report.link.budget
        {
            let used = report.link.classes.values().map(ClassUse::used);
            let used = used.fold(0, u64::saturating_add);
            found.push((used, budget, device.metadata.name));
        }
    }
    if found.is_empty() {
        return Ok("  no device has said anything of it yet\n".into());
    }
    found.sort_by_key(|(used, budget, _)| std::cmp::Reverse(percent(*used, *budget)));
    let rows: Vec<Vec<Cell>> = found
        .iter()
        .take(SHOWN)
        .map(|(used, budget, device)| {
            vec![
                Cell::from(device.as_str()),
                Cell::from(size(*used)),
                Cell::from(size(*budget)),
                Cell::new(format!("{}%", percent(*used, *budget)), mood(*used, *budget)),
            ]
        })
        .collect();
    let mut text = table(output, 2, &["DEVICE", "USED", "BUDGET", "PART"], &rows);
    let more = found.len().saturating_sub(SHOWN);
    if more > 0 {
        text.push_str(&format!("  and {more} more that used less\n"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLAIN: Output = Output { colour: false };

    fn report() -> Value {
        json!({
            "storage": { "used": 1_048_576, "quota": 1_073_741_824, "written": 20_971_520, "life_years_hundredths": 1_234 },
            "link": {
                "since": 0, "period": "month", "budget": 10_240, "at": 2_671_200, "watched": 3_600,
                "classes": { "data": { "sent": 9_216, "received": 512, "budget": 4_096, "recent": 128 }, "control": { "sent": 1, "received": 2 } },
            },
        })
    }

    #[test]
    fn a_devices_data_is_described() {
        let item = |at: u64| {
            json!({
                "device": "d-1", "stream": format!("s/{at:03}"), "received": at, "duplicates": 0,
                "late": 0, "missing": 0, "records": 1, "bytes": 1,
            })
        };
        let mut items: Vec<Value> = (0..30).map(item).collect();
        items[3]["reported"] =
            json!({ "last": 1, "waiting": 5, "bytes": 1, "problem": "no field x" });
        let said: DataReport = read(&report()).unwrap();
        let link = holdfast_api::link::link(&said.link, Some("satellite"));
        let all = read(&json!({ "items": items, "data": report(), "link": link })).unwrap();
        let text = of_device(PLAIN, 0, "d-1", &all);
        for part in [
            "Buffer:  1Mi of 1Gi; 20Mi written to flash, which lasts 12.3 years at this rate",
            "Link:    9.5Ki of 10Ki by satellite this month (95%); at the rate of the last hour about 9.7Ki by 1970-02-01T00:00:00Z",
            "data     9Ki   512       4Ki    9.7Ki     used up",
            "no field x",
            "s/029",
            "and 10 more: holdfast data list d-1",
        ] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
        assert!(!text.contains("s/010"), "the busiest alone:\n{text}");
        let none = read(&json!({ "items": [] })).unwrap();
        assert_eq!(of_device(PLAIN, 0, "d-1", &none), "  no streams\n");
    }

    #[test]
    fn the_use_of_a_budget_is_shown_where_it_holds() {
        let budget = |name: &str, labels: Value| {
            json!({
                "apiVersion": "holdfast/v1", "kind": "LinkBudget", "metadata": { "name": name },
                "spec": { "devices": { "matchLabels": labels }, "per": "month", "bytes": "10Ki" },
                "status": { "devices": 1, "applied": 1, "problems": 0 },
            })
        };
        let device = |name: &str, labels: Value, data: Value| {
            json!({
                "apiVersion": "holdfast/v1", "kind": "Device",
                "metadata": { "name": name, "labels": labels }, "desired": {},
                "status": {
                    "connection": "online", "shard": 1, "epoch": 1, "workloads": {}, "problems": [],
                    "generation": { "desired": 1, "applied": 1 }, "refused": 0, "data": data,
                },
            })
        };
        let budgets = [budget("z", json!({ "role": "a" })), budget("b", json!({ "site": "x" }))];
        let devices = [
            device("d-1", json!({ "role": "a" }), report()),
            device("d-2", json!({ "role": "a", "site": "x" }), report()),
            device("d-3", json!({}), report()),
        ];
        let text = of_budget(PLAIN, "z", &budgets, &devices).unwrap();
        assert_eq!(text, "  DEVICE  USED   BUDGET  PART\n  d-1     9.5Ki  10Ki    95%\n");
        let none = of_budget(PLAIN, "b", &budgets, &devices[..1]).unwrap();
        assert!(none.contains("no device"), "{none}");
    }
}
