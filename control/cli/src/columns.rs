//! Rows of the lists of documents, from the columns that `holdfast-api` publishes for each kind.
//!
//! See decision 0139.

use serde_json::Value;

use super::cells::{chosen, cut, pairs, runs};
use super::moment;
use super::table::Cell;
use super::text::Mood;
use holdfast_api::kinds::{Case, Column, DocumentKind, Show, Tone};

/// Returns the columns that are shown.
fn shown(kind: &DocumentKind, wide: bool) -> impl Iterator<Item = &'static Column> {
    kind.columns.iter().filter(move |column| wide || !column.wide)
}

/// Returns the headings of a list of documents.
pub(super) fn headings(kind: &DocumentKind, wide: bool) -> Vec<&'static str> {
    shown(kind, wide).map(|column| column.heading).collect()
}

/// Returns the row of a document.
pub(super) fn row(kind: &DocumentKind, wide: bool, now: u64, item: &Value) -> Vec<Cell> {
    let cell = |column: &Column| match column.content(item) {
        Some((case, value)) => Cell::new(text(case, value, item, now), mood(case, value, item)),
        None => Cell::from(""),
    };
    shown(kind, wide).map(cell).collect()
}

fn text(case: &Case, value: &Value, item: &Value, now: u64) -> String {
    match case.show {
        Show::Value => plain(value),
        Show::After(words) => format!("{words}{}", plain(value)),
        Show::Ago(words) => {
            value.as_str().map_or_else(String::new, |at| format!("{words}{}", moment::ago(at, now)))
        }
        Show::Words(words) => words.to_owned(),
        Show::Devices => chosen(item.get("spec").unwrap_or(&Value::Null)),
        Show::Program => runs(value),
        Show::Labels => {
            let labels = value.as_object().into_iter().flatten();
            pairs(labels.map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default())))
        }
    }
}

/// Returns a value in short: of an object the first key, of a list its texts.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Object(object) => object.keys().next().cloned().unwrap_or_default(),
        Value::Array(items) => {
            let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            cut(&items.join(","))
        }
        other => other.to_string(),
    }
}

fn mood(case: &Case, value: &Value, item: &Value) -> Mood {
    let if_any = |mood: Mood| if value.as_u64().unwrap_or(0) == 0 { Mood::Plain } else { mood };
    match case.tone {
        Tone::Plain => Mood::Plain,
        Tone::Good => Mood::Good,
        Tone::Busy => Mood::Busy,
        Tone::Bad => Mood::Bad,
        Tone::Faint => Mood::Faint,
        Tone::GoodIfAny => if_any(Mood::Good),
        Tone::BusyIfAny => if_any(Mood::Busy),
        Tone::BadIfAny => if_any(Mood::Bad),
        Tone::FaintIfAny => if_any(Mood::Faint),
        Tone::Full(parts, whole) => {
            let number = |at: &str| item.pointer(at).and_then(Value::as_u64).unwrap_or(0);
            let sum: u64 = parts.iter().map(|at| number(at)).sum();
            if sum == number(whole) { Mood::Good } else { Mood::Busy }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::table::table;
    use crate::text::Output;
    use holdfast_api::kinds::{DEVICE_POLICY, LINK_BUDGET, NOTIFICATION, STREAM};

    fn lines(kind: &DocumentKind, wide: bool, spec: Value, status: Value) -> String {
        let item = json!({
            "metadata": { "name": "x", "updatedAt": "2026-11-23T20:52:01Z", "labels": { "a": "b" } },
            "spec": spec, "status": status,
        });
        // 2026-11-23T21:01:01Z
        let row = row(kind, wide, 1_795_467_661, &item);
        table(Output { colour: false }, 0, &headings(kind, wide), &[row])
    }

    #[test]
    fn each_kind_of_policy_at_a_glance() {
        let status = json!({ "devices": 3, "applied": 2, "problems": 1 });
        let spec = json!({ "streams": ["a/*", "b"], "ship": { "window": {} }, "devices": "all" });
        assert_eq!(
            lines(&STREAM, true, spec, status.clone()),
            "NAME  STREAMS  PRIORITY  SHIP    TTL  QUOTA  DEVICES  APPLIED  PROBLEMS  CHANGED  ON           LABELS\n\
             x     a/*,b    5         window  -    -      3        2        1         9m ago   all devices  a=b\n"
        );
        assert_eq!(
            lines(&LINK_BUDGET, false, json!({ "per": "day", "bytes": "1Mi" }), status),
            "NAME  PER  BYTES  DEVICES  APPLIED\nx     day  1Mi    3        2\n"
        );
        let delivery =
            json!({ "receiver": "webhook", "lastSuccess": "2026-11-23T20:52:01Z", "queued": 0 });
        assert_eq!(
            lines(&NOTIFICATION, false, json!({}), json!({ "devices": 3, "delivery": delivery })),
            "NAME  TO       SEVERITY  DEVICES  LAST SENT  WAITING  STATE\n\
             x     webhook  warning   3        9m ago     0        reached\n"
        );
        let absence =
            json!({ "devices": 3, "connected": 1, "expected": 1, "ignored": 0, "unexpected": 1 });
        let spec = json!({ "whenOffline": { "alarmAfter": "12h" } });
        assert_eq!(
            lines(&DEVICE_POLICY, false, spec, json!({ "absence": absence })),
            "NAME  WHEN OFFLINE     DEVICES  CONNECTED  EXPECTED  IGNORED  UNEXPECTED\n\
             x     alarm after 12h  3        1          1         0        1\n"
        );
    }
}
