//! Reduction of a stream whose policy ships `on-change` or `window`: takes records, and gives the
//! fewer records that are shipped in their place.
//!
//! ```text
//! records, in order of their numbers      time passes
//!        │ push                              │ close
//!        ▼                                   ▼
//!   [ an open window, or the last value shipped ]
//!        │ take
//!        ▼
//!   Decided { from..=to, records }   every number of from..=to that is not among them: reduced
//! ```
//!
//! A decision is final and in order of the numbers. Records that are undecided stay with the
//! shipper, which reads them again after a restart, from the number after the last `to`. For
//! `on-change` the last value shipped is worth keeping ([`Reducer::kept`]); without it one record
//! more is shipped. Nothing is lost here: a record that does not fit the policy is shipped as it
//! is, and [`Reducer::problem`] says so.
//!
//! See decision 0051.

use std::fmt::Write as _;

use holdfast_query::{BadPath, Found, Kept, Number, Path, Paths, Tally};
use holdfast_records::policy::Aggregate;
use holdfast_records::{Format, Record, Ship};

/// Maximum number of bytes of records that a window holds back to ship as they are, beyond which it
/// is closed early: records that do not fit a policy must not fill the memory.
const MAX_HELD: usize = 64 * 1024;

/// Number of records after which the counts of the problem text are halved, so that a fault that
/// was mended is forgotten.
const MEMORY: u64 = 1_000;

/// Final decision about a range of sequence numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// First number of the range.
    pub from: u64,
    /// Last number of the range.
    pub to: u64,
    /// Records that are shipped, by number. A window's record has the number and the time of the
    /// last record that it stands for. Numbers of the range that are not here are reduced (or were
    /// never pushed).
    pub records: Vec<Record>,
}

/// Reduction of one stream.
#[derive(Debug)]
pub struct Reducer {
    paths: Paths,
    names: Vec<String>,
    how: How,
    /// Decision that was not taken yet.
    decided: Option<Decided>,
    seen: u64,
    unfit: u64,
}

#[derive(Debug)]
enum How {
    OnChange { deadband: f64, last: Option<Number> },
    Window { every: u64, aggregates: Vec<Aggregate>, kept: Kept, open: Option<Open> },
}

/// Window of time that has not ended.
#[derive(Debug)]
struct Open {
    /// Begin of the window, in milliseconds since 1970.
    begin: u64,
    first: u64,
    last: u64,
    /// Number and time of the last record that is reduced.
    reduced: Option<(u64, u64)>,
    count: u64,
    tallies: Vec<Tally>,
    /// Records that are shipped as they are.
    raw: Vec<Record>,
    raw_bytes: usize,
}

/// Reason why a policy cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReducible {
    /// Deadband that is no number, or a negative one.
    #[error("the deadband is no number of at least 0")]
    Deadband,
    /// Window without length.
    #[error("a window of 0 ms")]
    Window,
    /// Field that is no path.
    #[error(transparent)]
    Path(#[from] BadPath),
    /// More fields than records are searched for.
    #[error("too many fields")]
    Fields,
}

impl Reducer {
    /// Creates the reduction for a policy. None: the policy reduces nothing (`always`, `never`).
    ///
    /// # Errors
    /// Returns the reason if the policy cannot be carried out: everything is then shipped.
    pub fn new(ship: &Ship) -> Result<Option<Self>, NotReducible> {
        let (fields, how) = match ship {
            Ship::Always | Ship::Never => return Ok(None),
            Ship::OnChange { field, deadband } => {
                let deadband = deadband.parse::<f64>().ok().filter(|it| *it >= 0.0);
                let deadband = deadband.ok_or(NotReducible::Deadband)?;
                (vec![field.clone()], How::OnChange { deadband, last: None })
            }
            Ship::Window { every_ms, fields, aggregates } => {
                if *every_ms == 0 {
                    return Err(NotReducible::Window);
                }
                let sketch = aggregates.iter().any(|one| matches!(one, Aggregate::Quantile(_)));
                let how = How::Window {
                    every: *every_ms,
                    aggregates: aggregates.clone(),
                    kept: Kept { sketch, ..Kept::default() },
                    open: None,
                };
                (fields.clone(), how)
            }
        };
        let mut paths = Paths::new();
        for field in &fields {
            let path = Path::dotted(field)?;
            paths.add(&path).ok_or(NotReducible::Fields)?;
        }
        // A field that is named twice is one.
        let mut names: Vec<String> = Vec::new();
        for field in fields {
            if !names.contains(&field) {
                names.push(field);
            }
        }
        Ok(Some(Self { paths, names, how, decided: None, seen: 0, unfit: 0 }))
    }

    /// Last value shipped, to be given to [`Reducer::restore`] after a restart.
    pub fn kept(&self) -> Option<Number> {
        match &self.how {
            How::OnChange { last, .. } => *last,
            How::Window { .. } => None,
        }
    }

    /// Restores the last value shipped before a restart.
    pub fn restore(&mut self, value: Option<Number>) {
        if let How::OnChange { last, .. } = &mut self.how {
            *last = value;
        }
    }

    /// Takes a record. Sequence numbers must rise.
    pub fn push(&mut self, record: Record) {
        let numbers: Vec<Option<Number>> =
            self.paths.find(&record).iter().map(Found::number).collect();
        // A window without fields counts records alone: every record fits.
        let fits = self.names.is_empty() || numbers.iter().any(Option::is_some);
        self.seen += 1;
        self.unfit += u64::from(!fits);
        if self.seen > MEMORY {
            (self.seen, self.unfit) = (self.seen / 2, self.unfit / 2);
        }
        match &mut self.how {
            How::OnChange { deadband, last } => {
                let number = numbers.first().copied().flatten();
                let ship = match (number, *last) {
                    (Some(number), Some(last)) => moved(last, number, *deadband),
                    _ => true,
                };
                if ship && number.is_some() {
                    *last = number;
                }
                let seq = record.seq;
                decide(&mut self.decided, seq, seq, ship.then_some(record));
            }
            How::Window { .. } => self.windowed(record, fits, &numbers),
        }
    }

    fn windowed(&mut self, record: Record, fits: bool, numbers: &[Option<Number>]) {
        let How::Window { every, open, .. } = &self.how else { return };
        let begin = record.time - record.time % every;
        let other = open.as_ref().is_some_and(|open| open.begin != begin);
        if other {
            self.finish();
        }
        let names = self.names.len();
        let How::Window { kept, open, .. } = &mut self.how else { return };
        let window = open.get_or_insert_with(|| Open {
            begin,
            first: record.seq,
            last: record.seq,
            reduced: None,
            count: 0,
            tallies: vec![Tally::default(); names],
            raw: Vec::new(),
            raw_bytes: 0,
        });
        window.last = record.seq;
        if fits {
            for (number, tally) in numbers.iter().zip(&mut window.tallies) {
                if let Some(number) = number {
                    tally.add(*kept, record.time, record.seq, *number);
                }
            }
            window.count += 1;
            window.reduced = Some((record.seq, record.time));
        } else {
            window.raw_bytes += record.value.len();
            window.raw.push(record);
        }
        if window.raw_bytes > MAX_HELD || window.raw.len() > MAX_HELD / 64 {
            self.finish();
        }
    }

    /// Closes a window that ended before `now`, in milliseconds since 1970.
    pub fn close(&mut self, now: u64) {
        let over = match &self.how {
            How::Window { every, open: Some(open), .. } => {
                // A clock that went back must not keep a window open for ever.
                now >= open.begin.saturating_add(*every) || now < open.begin
            }
            _ => false,
        };
        if over {
            self.finish();
        }
    }

    /// Time at which [`Reducer::close`] ends the open window, in milliseconds since 1970. None: no
    /// window is open.
    pub fn due(&self) -> Option<u64> {
        match &self.how {
            How::Window { every, open: Some(open), .. } => Some(open.begin.saturating_add(*every)),
            _ => None,
        }
    }

    /// Takes the decision made since the last call. None: there is none.
    pub fn take(&mut self) -> Option<Decided> {
        self.decided.take()
    }

    /// Problem text if records do not fit the policy; else empty.
    pub fn problem(&self) -> String {
        if self.unfit == 0 {
            return String::new();
        }
        let names: Vec<String> =
            self.names.iter().map(|name| format!("{:?}", short(name))).collect();
        let fields = match names.as_slice() {
            [one] if one == "\"\"" => "no number".to_owned(),
            some => format!("no number at {}", some.join(" or ")),
        };
        format!(
            "{} in {} of {} records: shipped as they are",
            short(&fields),
            self.unfit,
            self.seen
        )
    }

    fn finish(&mut self) {
        let How::Window { every, aggregates, open, .. } = &mut self.how else { return };
        let Some(window) = open.take() else { return };
        let mut records = window.raw;
        if let Some((seq, time)) = window.reduced {
            let to = window.begin.saturating_add(*every);
            let mut value = format!(
                "{{\"from\":{},\"to\":{to},\"count\":{},\"fields\":{{",
                window.begin, window.count
            );
            fields(&mut value, &self.names, &window.tallies, window.count, aggregates);
            value.push_str("}}");
            let value = value.into_bytes();
            let at = records.partition_point(|raw| raw.seq < seq);
            records.insert(at, Record { seq, time, format: Format::Plain, value });
        }
        let (from, to) = (window.first, window.last);
        for record in records {
            decide(&mut self.decided, from, to, Some(record));
        }
    }
}

/// Cuts a text to at most 120 bytes, because reports are small.
fn short(text: &str) -> &str {
    let mut end = text.len().min(120);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

fn decide(decided: &mut Option<Decided>, from: u64, to: u64, record: Option<Record>) {
    let decided = decided.get_or_insert(Decided { from, to, records: Vec::new() });
    decided.to = decided.to.max(to);
    decided.records.extend(record);
}

/// True if two numbers differ by more than the deadband. The rounding error of doubles is allowed
/// for; whole numbers are compared exactly.
#[allow(clippy::cast_precision_loss, reason = "a distance that is beside a double anyway")]
fn moved(last: Number, number: Number, deadband: f64) -> bool {
    if let (Some(last), Some(number)) = (last.whole(), number.whole()) {
        let away = last.abs_diff(number);
        return if deadband == 0.0 { away > 0 } else { away as f64 > deadband };
    }
    if deadband == 0.0 {
        return last != number;
    }
    let (last, number) = (last.float(), number.float());
    let away = (number - last).abs();
    // Each of the two doubles is off by half a unit in its last place at most, and so is the
    // difference: 20.3 - 20.2 must not exceed a deadband of 0.1.
    let loss = 2.0 * f64::EPSILON * (number.abs() + last.abs());
    away > deadband + loss
}

fn fields(
    out: &mut String,
    names: &[String],
    tallies: &[Tally],
    count: u64,
    aggregates: &[Aggregate],
) {
    let mut between = "";
    for (name, tally) in names.iter().zip(tallies).filter(|(_, tally)| tally.count > 0) {
        out.push_str(between);
        quoted(out, name);
        out.push_str(":{");
        let mut inner = "";
        if tally.count != count {
            say(out, &mut inner, "count", &tally.count.to_string());
        }
        for aggregate in aggregates {
            let (word, value) = match aggregate {
                Aggregate::Min => ("min".to_owned(), tally.ends.map(|ends| ends.0)),
                Aggregate::Max => ("max".to_owned(), tally.ends.map(|ends| ends.1)),
                Aggregate::Mean => ("mean".to_owned(), tally.mean().map(Number::Float)),
                Aggregate::Last => ("last".to_owned(), tally.last.map(|last| last.2)),
                Aggregate::Quantile(thousandths) => {
                    let (whole, part) = (thousandths / 10, thousandths % 10);
                    let word =
                        if part == 0 { format!("p{whole}") } else { format!("p{whole}.{part}") };
                    (word, tally.quantile(*thousandths))
                }
            };
            if let Some(value) = value.filter(|value| value.float().is_finite()) {
                let exact = matches!(aggregate, Aggregate::Min | Aggregate::Max | Aggregate::Last);
                say(out, &mut inner, &word, &number(value, exact));
            }
        }
        out.push('}');
        between = ",";
    }
}

fn say(out: &mut String, between: &mut &str, word: &str, value: &str) {
    let _always = write!(out, "{between}\"{word}\":{value}");
    *between = ",";
}

/// Formats a number in JSON. A computed one has at most nine significant digits: more would cost
/// bytes and mean nothing.
fn number(value: Number, exact: bool) -> String {
    if value.whole().is_some() {
        return value.to_string();
    }
    let value = value.float();
    let value = if exact { value } else { format!("{value:.8e}").parse().unwrap_or(value) };
    if value == value.trunc() && value.abs() < 1e15 {
        format!("{value:.0}")
    } else if (1e-5..1e17).contains(&value.abs()) {
        format!("{value}")
    } else {
        format!("{value:e}")
    }
}

fn quoted(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\0'..' ' => {
                let _always = write!(out, "\\u{:04x}", u32::from(letter));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn record(seq: u64, time: u64, value: &str) -> Record {
        Record { seq, time, format: Format::Plain, value: value.into() }
    }

    fn on_change(field: &str, deadband: &str) -> Reducer {
        let ship = Ship::OnChange { field: field.into(), deadband: deadband.into() };
        Reducer::new(&ship).unwrap().unwrap()
    }

    fn window(every_ms: u64, fields: &[&str], aggregates: &[Aggregate]) -> Reducer {
        let fields = fields.iter().map(|&field| field.to_owned()).collect();
        let ship = Ship::Window { every_ms, fields, aggregates: aggregates.to_vec() };
        Reducer::new(&ship).unwrap().unwrap()
    }

    fn shipped(decided: &Decided) -> Vec<u64> {
        decided.records.iter().map(|record| record.seq).collect()
    }

    fn value(record: &Record) -> Value {
        serde_json::from_slice(&record.value).unwrap()
    }

    #[test]
    fn what_has_not_moved_is_reduced() {
        let mut reducer = on_change("t", "0.5");
        let values = ["20.1", "20.5", "20.6", "20.7", "19.9", "20.4", "null", "20.7"];
        for (at, text) in (1..).zip(values) {
            reducer.push(record(at, at * 1_000, &format!("{{\"t\":{text}}}")));
        }
        let decided = reducer.take().unwrap();
        assert_eq!((decided.from, decided.to), (1, 8));
        // 20.6 is 0.5 away, not more; 20.7 is; what has no number is shipped.
        assert_eq!(shipped(&decided), [1, 4, 5, 7, 8]);
        assert_eq!(decided.records[0], record(1, 1_000, "{\"t\":20.1}"));
        assert_eq!(reducer.problem(), "no number at \"t\" in 1 of 8 records: shipped as they are");
        assert_eq!((reducer.take(), reducer.kept()), (None, Number::parse("20.7")));

        let mut again = on_change("t", "0.5");
        again.restore(reducer.kept());
        again.push(record(9, 9_000, "{\"t\":20.8}"));
        assert_eq!(again.take(), Some(Decided { from: 9, to: 9, records: vec![] }));
        assert_eq!(again.problem(), "");
    }

    #[test]
    fn whole_numbers_of_64_bits_stay_apart() {
        let ids =
            ["9007199254740992", "9007199254740993", "9007199254740993", "18446744073709551615"];
        for (deadband, kept) in [("0", vec![1, 2, 4]), ("1", vec![1, 4])] {
            let mut reducer = on_change("id", deadband);
            for (at, id) in (1..).zip(ids) {
                reducer.push(record(at, 0, &format!("{{\"id\":{id}}}")));
            }
            assert_eq!(shipped(&reducer.take().unwrap()), kept, "{deadband}");
        }
        let aggregates =
            [Aggregate::Min, Aggregate::Max, Aggregate::Last, Aggregate::Quantile(950)];
        let mut reducer = window(1_000, &["id"], &aggregates);
        for (at, id) in (1..).zip(&ids[1..]) {
            reducer.push(record(at, at, &format!("{{\"id\":{id}}}")));
        }
        reducer.close(1_000);
        let text = String::from_utf8(reducer.take().unwrap().records[0].value.clone()).unwrap();
        let (low, high) = (ids[1], ids[3]);
        let said = format!("{{\"min\":{low},\"max\":{high},\"last\":{high},\"p95\":{high}}}");
        assert!(text.contains(&said), "{text}");
    }

    #[test]
    fn a_quantile_of_few_is_one_of_them() {
        for (values, p50, p95) in
            [(&[1, 100][..], 1, 100), (&[1, 1, 1, 1_000_000], 1, 1_000_000), (&[7], 7, 7)]
        {
            let mut reducer =
                window(1_000, &[""], &[Aggregate::Quantile(500), Aggregate::Quantile(950)]);
            for (at, value) in (1..).zip(values) {
                reducer.push(record(at, at, &value.to_string()));
            }
            reducer.close(1_000);
            let said = value(&reducer.take().unwrap().records[0]);
            assert_eq!(said["fields"][""], json!({ "p50": p50, "p95": p95 }), "{values:?}");
        }
    }

    #[test]
    fn a_name_with_a_dot_stands_in_back_quotes() {
        let mut reducer = on_change("`motor.current`", "0.5");
        for (at, text) in (1..).zip(["1", "1.1", "1.2", "2"]) {
            reducer.push(record(at, 0, &format!("{{\"motor.current\":{text}}}")));
        }
        assert_eq!(shipped(&reducer.take().unwrap()), [1, 4]);
        assert_eq!(reducer.problem(), "");
    }

    #[test]
    fn a_deadband_of_nothing_is_any_change() {
        let mut reducer = on_change("", "0");
        for (at, text) in (1..).zip(["1", "1.0", "1.0000000001", "1.0000000001"]) {
            reducer.push(record(at, 0, text));
        }
        assert_eq!(shipped(&reducer.take().unwrap()), [1, 3]);
    }

    #[test]
    fn a_window_becomes_one_record() {
        let aggregates = [
            Aggregate::Min,
            Aggregate::Max,
            Aggregate::Mean,
            Aggregate::Last,
            Aggregate::Quantile(950),
            Aggregate::Quantile(999),
        ];
        let mut reducer = window(60_000, &["t", "in.p"], &aggregates);
        for at in 1..=100u64 {
            let inner = if at == 1 { ",\"in\":{\"p\":-7}" } else { "" };
            reducer.push(record(at, 600_000 + at * 500, &format!("{{\"t\":{at}{inner}}}")));
        }
        reducer.close(659_999);
        assert_eq!((reducer.take(), reducer.due()), (None, Some(660_000)));
        reducer.close(660_000);
        let decided = reducer.take().unwrap();
        assert_eq!((decided.from, decided.to, shipped(&decided)), (1, 100, vec![100]));
        assert_eq!(decided.records[0].time, 650_000);
        let said = value(&decided.records[0]);
        assert_eq!((&said["from"], &said["to"]), (&json!(600_000), &json!(660_000)));
        assert_eq!(said["count"], 100);
        let t = &said["fields"]["t"];
        assert_eq!((&t["min"], &t["max"], &t["last"]), (&json!(1), &json!(100), &json!(100)));
        assert_eq!((&t["mean"], t.get("count")), (&json!(50.5), None));
        let near =
            |value: &Value, exact: f64| (value.as_f64().unwrap() - exact).abs() < exact / 99.0;
        assert!(near(&t["p95"], 95.0) && t["p99.9"] == 100, "{t}");
        assert_eq!(said["fields"]["in.p"]["count"], 1);
        assert_eq!(said["fields"]["in.p"]["mean"], -7);
        assert_eq!(reducer.problem(), "");
    }

    #[test]
    fn what_does_not_fit_a_window_is_shipped_as_it_is() {
        let mut reducer = window(1_000, &["t"], &[Aggregate::Max]);
        for (at, text) in (1..).zip(["{\"t\":1}", "no JSON", "{\"t\":\"2\"}", "{\"t\":3}", "x"]) {
            reducer.push(record(at, 5_000 + at, text));
        }
        reducer.push(record(6, 6_000, "{\"t\":9}"));
        let decided = reducer.take().unwrap();
        assert_eq!((decided.from, decided.to, shipped(&decided)), (1, 5, vec![2, 3, 4, 5]));
        assert_eq!(decided.records[0], record(2, 5_002, "no JSON"));
        assert_eq!(value(&decided.records[2])["fields"]["t"], json!({ "max": 3 }));
        assert_eq!(reducer.problem(), "no number at \"t\" in 3 of 6 records: shipped as they are");
    }

    #[test]
    fn windows_of_nothing_but_counts() {
        let mut reducer = window(1_000, &[], &[]);
        reducer.push(record(1, 0, "no JSON"));
        reducer.push(record(2, 999, "{}"));
        reducer.close(2_000);
        let decided = reducer.take().unwrap();
        assert_eq!(value(&decided.records[0])["count"], 2);
    }

    #[test]
    fn what_does_not_fit_fills_no_memory() {
        let mut reducer = window(86_400_000, &["t"], &[Aggregate::Max]);
        let big = "x".repeat(60_000);
        for at in 1..=10 {
            reducer.push(record(at, at, &big));
        }
        let decided = reducer.take().unwrap();
        assert_eq!((decided.from, decided.to, decided.records.len()), (1, 10, 10));
    }

    #[test]
    fn policies_that_mean_nothing_are_refused_in_words() {
        for (field, deadband) in [("a", "-1"), ("a", "x"), ("a..b", "1"), ("`a", "1"), ("a", "NaN")]
        {
            let ship = Ship::OnChange { field: field.into(), deadband: deadband.into() };
            assert!(Reducer::new(&ship).is_err(), "{field} {deadband}");
        }
        assert!(Reducer::new(&Ship::Always).unwrap().is_none());
    }

    proptest! {
        /// Checks that every record is decided exactly once and in order, whatever comes and
        /// however it is taken, and that windows count every record that they stand for.
        #[test]
        fn nothing_is_lost(
            steps in proptest::collection::vec((0u64..3_000, 0u8..4, any::<bool>()), 1..80),
            by_change: bool,
        ) {
            let mut reducer =
                if by_change { on_change("t", "1") } else { window(1_000, &["t"], &[Aggregate::Mean]) };
            let (mut all, mut time) = (Vec::new(), 10_000);
            for (seq, (step, kind, take)) in (1u64..).zip(&steps) {
                // Now and then the clock goes back.
                time = if *step > 2_900 { time - 2_000 } else { time + step };
                let text = if *kind == 0 { "?".to_owned() } else { format!("{{\"t\":{kind}}}") };
                reducer.push(record(seq, time, &text));
                if *take {
                    all.extend(reducer.take());
                }
            }
            reducer.close(u64::MAX);
            all.extend(reducer.take());
            let (mut next, mut told) = (1, 0);
            for decided in &all {
                prop_assert_eq!(decided.from, next);
                next = decided.to + 1;
                let numbers = shipped(decided);
                prop_assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", numbers);
                prop_assert!(numbers.iter().all(|n| (decided.from..=decided.to).contains(n)));
                for record in &decided.records {
                    told += serde_json::from_slice::<Value>(&record.value)
                        .ok()
                        .map_or(1, |value| value["count"].as_u64().unwrap_or(1));
                }
            }
            prop_assert_eq!(next, steps.len() as u64 + 1);
            prop_assert!(by_change || told == steps.len() as u64, "{} of {}", told, steps.len());
        }
    }
}
