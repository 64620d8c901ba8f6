//! Queries over a fleet: parsing, the origin of each group key, and merging of the devices' partial
//! results.
//!
//! See decision 0061.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_base::ids::{Labels, Name, check_label_key};
use holdfast_query::parse::{self, Fault};
use holdfast_query::{
    self, AT_THE_CENTRE, Groups, Key, MAX_BY, Partial, Path, Plan, Question, sketch,
};
use serde_json::{Number, Value};

use holdfast_api::time::rfc3339_millis;
use holdfast_api::{QueryBytes, QueryRecords, QueryResult, QueryRow};

/// Most notes in a result: each device of a fleet may add one.
const MAX_NOTES: usize = 20;

/// Origin of the value of a group key.
#[derive(Debug, Clone, PartialEq, Eq)]
enum From {
    /// Name of the device.
    Device,
    /// Label of the device with this key.
    Label(String),
    /// Path in the records: the index of a key of the question that is sent to devices.
    Record(usize),
}

/// A parsed query to a fleet.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Question that is sent to each device.
    pub question: Question,
    keys: Vec<(String, From)>,
}

/// Parses a query. `labels` are the keys of labels in use among the devices: a key in `by` with
/// such a name means the label, any other a path in the records. The prefixes `label:` and
/// `record:` decide explicitly.
///
/// # Errors
/// [`Fault`], with the part and the position of the mistake.
pub fn read(
    (select, filter, by, every): (&str, &str, &str, &str),
    labels: &BTreeSet<&str>,
) -> Result<Asked, Fault> {
    let mut question = parse::question(select, filter, "", every)?;
    let mut keys = Vec::new();
    let mut at = 0;
    for piece in pieces(by) {
        let shifted = |message: String, more: usize| Fault {
            part: "by",
            text: by.to_owned(),
            at: at + more,
            message,
        };
        let key = piece.trim();
        if keys.len() >= MAX_BY {
            return Err(shifted(format!("more than {MAX_BY} keys"), 0));
        }
        if keys.iter().any(|(known, _)| known == key) {
            return Err(shifted(format!("{key} groups already"), 0));
        }
        let from = if key == "device" {
            From::Device
        } else if let Some(label) = key.strip_prefix("label:") {
            check_label_key(label).map_err(|error| shifted(error.to_string(), 0))?;
            From::Label(label.to_owned())
        } else if labels.contains(key) {
            From::Label(key.to_owned())
        } else {
            let text = key.strip_prefix("record:").unwrap_or(key);
            let path = path(text).map_err(|fault| {
                let before = piece.chars().count() - piece.trim_start().chars().count();
                let before = before + key.chars().count() - text.chars().count();
                shifted(fault.message, before + fault.at)
            })?;
            question.by.push(path);
            From::Record(question.by.len() - 1)
        };
        keys.push((key.to_owned(), from));
        at += piece.chars().count() + 1;
    }
    if let Err(error) = question.check() {
        let message = error.to_string();
        return Err(Fault { part: "where", text: filter.to_owned(), at: 0, message });
    }
    Ok(Asked { question, keys })
}

/// Splits at commas outside of backquotes.
fn pieces(by: &str) -> Vec<&str> {
    if by.trim().is_empty() {
        return Vec::new();
    }
    let mut quoted = false;
    by.split(|letter| {
        quoted ^= letter == '`';
        letter == ',' && !quoted
    })
    .collect()
}

fn path(text: &str) -> Result<Path, Fault> {
    let missing = || Fault {
        part: "by",
        text: text.to_owned(),
        at: 0,
        message: "expected a key: device, a label, or a path in the records".into(),
    };
    parse::keys(text)?.pop().ok_or_else(missing)
}

/// Partial results of devices, merged as they arrive.
#[derive(Debug)]
pub struct Answers {
    asked: Asked,
    groups: Groups,
    answered: usize,
    reasons: BTreeMap<String, String>,
    notes: Vec<String>,
    left_out: usize,
    records: QueryRecords,
    shipping: u64,
}

impl Answers {
    /// Creates an empty result for a query.
    pub fn new(asked: Asked) -> Self {
        Self {
            asked,
            groups: Groups::new(AT_THE_CENTRE),
            answered: 0,
            reasons: BTreeMap::new(),
            notes: Vec::new(),
            left_out: 0,
            records: QueryRecords::default(),
            shipping: 0,
        }
    }

    /// Returns how many devices have answered.
    pub fn answered(&self) -> usize {
        self.answered
    }

    /// Merges the partial result of a device. Group keys from its name and labels are added to
    /// those from its records, in the order of the query.
    pub fn take(&mut self, device: &Name, labels: &Labels, partial: Partial) {
        self.answered += 1;
        self.records.scanned = self.records.scanned.saturating_add(partial.scanned);
        self.records.matched = self.records.matched.saturating_add(partial.matched);
        self.shipping = self.shipping.saturating_add(partial.shipping);
        if !partial.note.is_empty() {
            self.note(format!("{device}: {}", partial.note));
        }
        for (mut group, counted) in partial.rows {
            let of_record = std::mem::take(&mut group.keys);
            for (_, from) in &self.asked.keys {
                group.keys.push(match from {
                    From::Device => Key::Text(device.as_str().to_owned()),
                    From::Label(key) => labels
                        .get(key.as_str())
                        .map_or(Key::None, |value| Key::Text(value.as_str().to_owned())),
                    From::Record(at) => of_record.get(*at).cloned().unwrap_or(Key::None),
                });
            }
            self.groups.merge(group, &counted);
        }
    }

    /// Notes that a device did not answer, and why.
    pub fn miss(&mut self, device: &Name, why: String) {
        self.reasons.insert(device.as_str().to_owned(), why);
    }

    fn note(&mut self, note: String) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(note);
        } else {
            self.left_out += 1;
        }
    }

    /// Returns the complete result. `crossed`: bytes that crossed the links for it.
    pub fn finish(mut self, crossed: u64) -> QueryResult {
        if self.groups.omitted > 0 {
            let text = format!(
                "more groups than there is room for: {} records are left out",
                self.groups.omitted
            );
            self.notes.insert(0, text);
        }
        if self.left_out > 0 {
            self.notes.push(format!("and {} notes more", self.left_out));
        }
        let plan = Plan::new(&self.asked.question);
        let question = &self.asked.question;
        let names: Vec<String> = question.select.iter().map(ToString::to_string).collect();
        let rows = self.groups.iter().map(|(group, counted)| QueryRow {
            group: self
                .asked
                .keys
                .iter()
                .zip(&group.keys)
                .map(|((name, _), key)| (name.clone(), value(key)))
                .collect(),
            window: (question.every_ms > 0).then(|| rfc3339_millis(group.window)),
            values: names
                .iter()
                .zip(plan.values(question, counted))
                .map(|(name, value)| (name.clone(), value.map_or(Value::Null, json_number)))
                .collect(),
        });
        QueryResult {
            rows: rows.collect(),
            answered: self.answered,
            missing: self.reasons.keys().cloned().collect(),
            reasons: self.reasons,
            notes: self.notes,
            records: self.records,
            bytes: QueryBytes { crossed, shipping_would_have_cost: self.shipping },
            quantile_error: sketch::RELATIVE_ERROR,
        }
    }
}

fn value(key: &Key) -> Value {
    match key {
        Key::None => Value::Null,
        Key::Bool(value) => Value::Bool(*value),
        Key::Number(value) => json_number(*value),
        Key::Text(text) => Value::String(text.clone()),
    }
}

/// Converts a number to JSON. A double that is whole and below 2^53 has no decimal point.
pub fn json_number(value: holdfast_query::Number) -> Value {
    let value = match value {
        holdfast_query::Number::Whole(whole) => return Value::from(whole),
        holdfast_query::Number::Large(large) => return Value::from(large),
        holdfast_query::Number::Float(value) => value,
    };
    #[allow(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
    if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 {
        return Value::from(value as i64);
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use holdfast_query::{AT_THE_EDGE, Run};
    use holdfast_records::{Format, Record};
    use serde_json::json;

    use super::*;

    fn labels(site: &str) -> Labels {
        serde_json::from_value(json!({ "site": site })).unwrap()
    }

    fn ask(asked: &Asked, values: &[&str]) -> Partial {
        let mut run = Run::new(&asked.question, AT_THE_EDGE).unwrap();
        for (seq, value) in (1..).zip(values) {
            run.feed(&Record {
                seq,
                time: 60_000 * seq,
                format: Format::Plain,
                value: value.as_bytes().to_vec(),
            });
        }
        run.finish()
    }

    #[test]
    fn answers_of_devices_become_one() {
        let known = BTreeSet::from(["site"]);
        let by = "site, device, m.`a,b`";
        let asked = read(("count, mean(t)", "t > 0", by, "1h"), &known).unwrap();
        assert_eq!(asked.question.by.len(), 1);
        let mut answers = Answers::new(asked.clone());
        let one = ask(&asked, &[r#"{"t":1,"m":{"a,b":"x"}}"#, r#"{"t":2,"m":{"a,b":"x"}}"#, "7"]);
        answers.take(&"gw-1".parse().unwrap(), &labels("berlin"), one);
        answers.take(&"gw-2".parse().unwrap(), &Labels::default(), ask(&asked, &[r#"{"t":4}"#]));
        answers.miss(&"gw-3".parse().unwrap(), "offline".into());
        let said = serde_json::to_value(answers.finish(77)).unwrap();
        let window = "1970-01-01T00:00:00.000Z";
        assert_eq!(
            said["rows"],
            json!([
                { "group": { "site": null, "device": "gw-2", "m.`a,b`": null }, "window": window,
                  "values": { "count": 1, "mean(t)": 4 } },
                { "group": { "site": "berlin", "device": "gw-1", "m.`a,b`": "x" }, "window": window,
                  "values": { "count": 2, "mean(t)": 1.5 } },
            ])
        );
        assert_eq!((&said["answered"], &said["missing"]), (&json!(2), &json!(["gw-3"])));
        assert_eq!(said["bytes"]["crossed"], 77);
        assert_eq!(said["records"], json!({ "scanned": 4, "matched": 3 }));
    }

    #[test]
    fn groups_of_all_devices_are_merged() {
        let asked =
            read(("count, max(t), p50(t)", "", "record:site", ""), &BTreeSet::from(["site"]))
                .unwrap();
        let mut answers = Answers::new(asked.clone());
        for at in 1..=3 {
            let value = format!("{{\"site\":\"x\",\"t\":{at}}}");
            answers.take(
                &format!("gw-{at}").parse().unwrap(),
                &labels("y"),
                ask(&asked, &[&value]),
            );
        }
        let said = answers.finish(0);
        let [row] = &said.rows[..] else { panic!("{said:?}") };
        assert_eq!((&row.group["record:site"], &row.window), (&json!("x"), &None));
        assert_eq!((&row.values["count"], &row.values["max(t)"]), (&json!(3), &json!(3)));
        assert!((row.values["p50(t)"].as_f64().unwrap() - 2.0).abs() <= 0.02);
    }

    #[test]
    fn faults_of_keys_point_at_them() {
        for (by, at) in
            [("device, ", 8), ("a, b c", 5), ("a,a", 2), ("label:-", 0), ("x,record:(", 9)]
        {
            let fault = read(("count", "", by, ""), &BTreeSet::new()).unwrap_err();
            assert_eq!((fault.part, fault.at), ("by", at), "{by}: {fault}");
        }
    }
}
