//! Formats the latest values of streams in Prometheus' text format. A number is a sample, and so is
//! each number in an object. The text counts what a bound has left out, in
//! `holdfast_streams_left_out`.
//!
//! See decisions 0063 and 0093.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use holdfast_query as query;
use holdfast_records::Record;

use super::values::{Tree, value_tree};

/// Most samples of values in one reply: some 8 MB, and more than one target should give a
/// Prometheus server. Larger fleets are scraped in parts, by selector.
pub const MAX_SERIES: usize = 50_000;

/// Most samples of one record.
const MAX_FIELDS: usize = 64;

/// Milliseconds ahead of the clock from which on Prometheus refuses a sample.
const AHEAD: u64 = 600_000;

/// Newest record of one stream.
pub struct Latest<'a> {
    /// Name of the tenant that the device belongs to.
    pub tenant: &'a str,
    /// Name of the device that the stream belongs to.
    pub device: &'a str,
    /// Value of the device's label `site`.
    pub site: Option<&'a str>,
    /// Name of the stream.
    pub stream: &'a str,
    /// Time at which the agent accepted the newest record, in milliseconds since 1970.
    pub time: u64,
    /// The newest record. `None` if it is too long to be held in memory.
    pub record: Option<Record>,
}

/// Reason for which a sample is left out, a value of the label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    /// The reply has [`MAX_SERIES`] samples already.
    TooMany,
    /// The record has more than [`MAX_FIELDS`] numbers, two of the same path, or some deeper than
    /// [`Tree::fields`] looks.
    TooManyFields,
    /// The record is too long to be held in memory.
    TooLong,
    /// The record is older than was asked for, or too far ahead of the clock.
    Time,
}

impl Left {
    const ALL: [Self; 4] = [Self::TooMany, Self::TooManyFields, Self::TooLong, Self::Time];

    fn as_str(self) -> &'static str {
        match self {
            Self::TooMany => "too-many",
            Self::TooManyFields => "too-many-fields",
            Self::TooLong => "too-long",
            Self::Time => "time",
        }
    }
}

/// Text of the reply under construction.
#[derive(Debug)]
pub struct Exposition {
    values: String,
    times: String,
    series: usize,
    left: BTreeMap<Left, u64>,
    /// Earliest and latest time of records whose values are shown, in milliseconds since 1970.
    window: (u64, u64),
}

impl Exposition {
    /// Creates an empty text for records of at most `age` milliseconds before `now` (milliseconds
    /// since 1970).
    pub fn new(now: u64, age: u64) -> Self {
        Self {
            values: String::new(),
            times: String::new(),
            series: 0,
            left: BTreeMap::new(),
            window: (now.saturating_sub(age), now.saturating_add(AHEAD)),
        }
    }

    fn leave(&mut self, why: Left) {
        *self.left.entry(why).or_default() += 1;
    }

    /// Adds the samples of a stream.
    pub fn add(&mut self, latest: &Latest<'_>) {
        let (tenant, mut labels) = (latest.tenant, String::new());
        label(&mut labels, "device", latest.device);
        label(&mut labels, "stream", latest.stream);
        if let Some(site) = latest.site {
            label(&mut labels, "site", site);
        }
        if self.series >= MAX_SERIES {
            return self.leave(Left::TooMany);
        }
        let seconds = rational(latest.time);
        write(
            &mut self.times,
            format_args!(
                "holdfast_stream_last_time_seconds{{{labels},tenant=\"{tenant}\"}} {seconds}\n"
            ),
        );
        let (first, last) = self.window;
        if !(first..=last).contains(&latest.time) {
            return self.leave(Left::Time);
        }
        let Some(record) = &latest.record else { return self.leave(Left::TooLong) };
        let Some(tree) = value_tree(record) else { return };
        let mut numbers = BTreeMap::new();
        if !collect(&tree, &mut numbers) {
            self.leave(Left::TooManyFields);
        }
        for (field, value) in numbers {
            if self.series >= MAX_SERIES {
                return self.leave(Left::TooMany);
            }
            self.series += 1;
            let mut all = labels.clone();
            if !field.is_empty() {
                label(&mut all, "field", &field);
            }
            label(&mut all, "tenant", tenant);
            let time = latest.time;
            write(
                &mut self.values,
                format_args!("holdfast_stream_value{{{all}}} {value} {time}\n"),
            );
        }
    }

    /// Returns the complete text.
    pub fn finish(self) -> String {
        let mut out = String::with_capacity(self.values.len() + self.times.len() + 1_024);
        family(
            &mut out,
            "holdfast_stream_value",
            "The latest value of a stream, with its time; field: the path of a number in an object.",
        );
        out.push_str(&self.values);
        family(
            &mut out,
            "holdfast_stream_last_time_seconds",
            "When a stream's latest record was taken in on its device.",
        );
        out.push_str(&self.times);
        family(
            &mut out,
            "holdfast_streams_left_out",
            "Streams and records of which not everything is shown, by reason.",
        );
        for why in Left::ALL {
            let count = self.left.get(&why).copied().unwrap_or(0);
            let reason = why.as_str();
            write(
                &mut out,
                format_args!("holdfast_streams_left_out{{reason=\"{reason}\"}} {count}\n"),
            );
        }
        out
    }
}

fn write(out: &mut String, text: std::fmt::Arguments<'_>) {
    if out.write_fmt(text).is_err() {
        debug_assert!(false, "a String takes every text");
    }
}

fn family(out: &mut String, name: &str, help: &str) {
    write(out, format_args!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
}

/// Converts milliseconds to seconds without loss: `1500` to `1.500`.
fn rational(millis: u64) -> String {
    format!("{}.{:03}", millis / 1_000, millis % 1_000)
}

/// Appends `name="value"`, escaped, after a comma if a label precedes it.
fn label(out: &mut String, name: &str, value: &str) {
    if !out.is_empty() {
        out.push(',');
    }
    out.push_str(name);
    out.push_str("=\"");
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
    out.push('"');
}

/// Collects the numbers of a value by their path; true is 1 and false is 0. Returns false if some
/// are left out: more than [`MAX_FIELDS`], of equal paths, or too deep.
fn collect(value: &Tree, out: &mut BTreeMap<String, String>) -> bool {
    let mut room = true;
    let whole = value.fields(&mut |path, value| {
        let number = match value {
            Tree::Number(number) => sample(number),
            Tree::Bool(value) => Some(if *value { "1" } else { "0" }.to_owned()),
            _ => None,
        };
        let Some(number) = number else { return };
        if out.len() >= MAX_FIELDS || out.contains_key(path) {
            room = false;
        } else {
            out.insert(path.to_owned(), number);
        }
    });
    whole && room
}

/// Formats a number: whole numbers with every digit, for readers that keep more than the doubles of
/// Prometheus, others as the shortest text of their double. `None` if a double cannot hold it, for
/// Prometheus would refuse the whole reply.
fn sample(number: &str) -> Option<String> {
    match query::Number::parse(number)? {
        query::Number::Float(float) => Some(format!("{float:?}")),
        whole => Some(whole.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use holdfast_records::Format;
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_795_000_000_000;

    fn latest<'a>(device: &'a str, stream: &'a str, time: u64, value: &str) -> Latest<'a> {
        let value = value.as_bytes().to_vec();
        let record = Some(Record { seq: 1, time, format: Format::Plain, value });
        Latest { tenant: "acme", device, site: None, stream, time, record }
    }

    fn samples(text: &str) -> Vec<&str> {
        text.lines().filter(|line| line.starts_with("holdfast_stream_value")).collect()
    }

    #[test]
    fn numbers_are_samples_with_their_time() {
        let mut out = Exposition::new(NOW, 3_600_000);
        out.add(&Latest { site: Some("ber\"lin\\\n"), ..latest("d-1", "temp", NOW, "21.50") });
        out.add(&latest(
            "d-1",
            "pump/state",
            NOW - 1_500,
            r#"{"on":true,"flow":{"l":-3e-9,"note":"x"},"list":[1],"n":null,"big":1e300}"#,
        ));
        out.add(&latest("d-1", "log", NOW, "a line"));
        out.add(&latest("d-1", "old", NOW - 3_600_001, "1"));
        out.add(&latest("d-1", "ahead", NOW + AHEAD + 1, "1"));
        out.add(&Latest { record: None, ..latest("d-1", "long", NOW, "") });
        let text = out.finish();
        let head = "holdfast_stream_value{device=\"d-1\",stream=";
        assert_eq!(
            samples(&text),
            [
                format!("{head}\"temp\",site=\"ber\\\"lin\\\\\\n\",tenant=\"acme\"}} 21.5 {NOW}"),
                format!(
                    "{head}\"pump/state\",field=\"big\",tenant=\"acme\"}} 1e300 {}",
                    NOW - 1_500
                ),
                format!(
                    "{head}\"pump/state\",field=\"flow.l\",tenant=\"acme\"}} -3e-9 {}",
                    NOW - 1_500
                ),
                format!("{head}\"pump/state\",field=\"on\",tenant=\"acme\"}} 1 {}", NOW - 1_500),
            ]
        );
        for line in [
            "holdfast_stream_last_time_seconds{device=\"d-1\",stream=\"pump/state\",tenant=\"acme\"} 1794999998.500",
            "holdfast_stream_last_time_seconds{device=\"d-1\",stream=\"log\",tenant=\"acme\"} 1795000000.000",
            "holdfast_streams_left_out{reason=\"time\"} 2",
            "holdfast_streams_left_out{reason=\"too-long\"} 1",
            "holdfast_streams_left_out{reason=\"too-many\"} 0",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}:\n{text}");
        }
    }

    /// Nothing but the numbers and their fields, as a set of labels that stands once.
    fn fields(value: &str) -> Vec<(String, String)> {
        let mut out = Exposition::new(NOW, 1);
        out.add(&latest("d", "s", NOW, value));
        let text = out.finish();
        let found = samples(&text).into_iter().map(|line| {
            let (labels, rest) = line.rsplit_once('}').unwrap();
            let labels = labels.strip_suffix(",tenant=\"acme\"").unwrap();
            let field = labels.split_once(",field=").map_or("", |(_, field)| field);
            (field.to_owned(), rest.split(' ').nth(1).unwrap().to_owned())
        });
        found.collect()
    }

    #[test]
    fn a_series_stands_once_whatever_its_fields_are_called() {
        for (value, shown) in [
            (r#"{"a.b":1,"a":{"b":2}}"#, vec![("\"`a.b`\"", "1"), ("\"a.b\"", "2")]),
            (
                r#"{"a":{"b.c":1},"a.b":{"c":2},"a.b.c":3}"#,
                vec![("\"`a.b.c`\"", "3"), ("\"`a.b`.c\"", "2"), ("\"a.`b.c`\"", "1")],
            ),
            (r#"{"t":1,"t":2}"#, vec![("\"t\"", "2")]),
            (r#"{"":{"":1},".":2}"#, vec![("\"`.`\"", "2"), ("\"``.``\"", "1")]),
            (r#"{"x\"y":1,"x\\\"y":2}"#, vec![("\"x\\\"y\"", "1"), ("\"x\\\\\\\"y\"", "2")]),
            // Whole numbers keep their digits; only numbers without a double are left out.
            (
                r#"{"a":9007199254740993,"b":18446744073709551615,"c":1e400,"d":-0.5}"#,
                vec![
                    ("\"a\"", "9007199254740993"),
                    ("\"b\"", "18446744073709551615"),
                    ("\"d\"", "-0.5"),
                ],
            ),
        ] {
            let shown: Vec<(String, String)> =
                shown.into_iter().map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
            assert_eq!(fields(value), shown, "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_names_make_two_series_one(
            value in proptest::collection::vec(("[a.`\"]{0,3}", proptest::option::of("[a.`]{0,3}")), 1..6),
        ) {
            let mut tree = serde_json::Map::new();
            for (name, inner) in value {
                let value = inner.map_or(serde_json::json!(1), |inner| serde_json::json!({ inner: 2 }));
                tree.insert(name, value);
            }
            let found = fields(&serde_json::Value::Object(tree).to_string());
            let names: std::collections::BTreeSet<_> = found.iter().map(|(field, _)| field).collect();
            prop_assert_eq!(names.len(), found.len());
        }
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let many: Vec<String> = (0..70).map(|n| format!("\"f{n}\":{n}")).collect();
        let many = format!("{{{}}}", many.join(","));
        let mut out = Exposition::new(NOW, 1);
        out.add(&latest("d", "many", NOW, &many));
        out.add(&latest("d", "name", NOW, &format!("{{\"{}\":1,\"b\":2}}", "x".repeat(200))));
        out.add(&latest("d", "deep", NOW, &("{\"a\":".repeat(9) + "1" + &"}".repeat(9))));
        let text = out.finish();
        assert_eq!(samples(&text).len(), 64 + 1);
        assert!(text.contains("{reason=\"too-many-fields\"} 3\n"), "{text}");
        let mut out = Exposition::new(NOW, 1);
        for _ in 0..=MAX_SERIES {
            out.add(&latest("d", "s", NOW, "1"));
        }
        let text = out.finish();
        assert_eq!(samples(&text).len(), MAX_SERIES);
        assert!(text.contains("{reason=\"too-many\"} 1\n"));
    }

    proptest! {
        #[test]
        fn no_name_breaks_a_line(site: String, name: String, number: f64) {
            let value = serde_json::json!({ name: number }).to_string();
            let mut out = Exposition::new(NOW, 1);
            out.add(&Latest { site: Some(&site), ..latest("d", "s", NOW, &value) });
            let text = out.finish();
            for line in samples(&text) {
                prop_assert!(line.ends_with(&format!(" {NOW}")), "{}", line);
            }
            prop_assert!(samples(&text).len() <= 1);
            prop_assert_eq!(text.split('\n').filter(|line| !line.starts_with('#')).count(),
                samples(&text).len() + 1 + 4 + 1);
        }
    }
}
