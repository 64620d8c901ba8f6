//! Evaluation of a question over records, one after the other, in bounded memory.

use super::ast::{Comparison, Condition, Exceeded, Operand, Question};
use super::groups::{Group, Groups, Key, Limits, Partial, Plan};
use super::number::Number;
use super::path::{Found, Path, Paths};
use holdfast_records::block::Record;

/// Evaluation in progress. Records may come in any order and in any number of pieces.
#[derive(Debug)]
pub struct Run {
    paths: Paths,
    filter: Option<Checked>,
    /// Indexes of the keys among the values found in a record.
    by: Vec<usize>,
    /// Indexes of the selected numbers among the values found in a record.
    fields: Vec<usize>,
    plan: Plan,
    every: u64,
    since: u64,
    until: u64,
    groups: Groups,
    /// Group of the record before, which is most often that of the next one too.
    group: Group,
    scanned: u64,
    matched: u64,
    bytes: u64,
}

/// Condition whose paths are replaced by indexes into the values found in a record.
#[derive(Debug)]
enum Checked {
    And(Vec<Checked>),
    Or(Vec<Checked>),
    Not(Box<Checked>),
    Compare(Side, Comparison, Side),
    In(usize, Vec<Side>),
    Contains(usize, String),
    Exists(usize),
    True(usize),
}

#[derive(Debug)]
enum Side {
    At(usize),
    Is(Found<'static>),
}

impl Run {
    /// Starts the evaluation of a question.
    ///
    /// # Errors
    /// Returns the bound that the question exceeds.
    pub fn new(question: &Question, limits: Limits) -> Result<Self, Exceeded> {
        question.check()?;
        let mut paths = Paths::new();
        let mut place = |path: &Path| paths.add(path).ok_or(Exceeded::Paths);
        let filter =
            question.filter.as_ref().map(|filter| checked(filter, &mut place)).transpose()?;
        let by = question.by.iter().map(&mut place).collect::<Result<_, _>>()?;
        let plan = Plan::new(question);
        let fields = plan.paths.iter().map(&mut place).collect::<Result<_, _>>()?;
        Ok(Self {
            paths,
            filter,
            by,
            fields,
            plan,
            every: question.every_ms,
            since: question.since,
            until: if question.until == 0 { u64::MAX } else { question.until },
            groups: Groups::new(limits),
            group: Group { keys: Vec::new(), window: 0 },
            scanned: 0,
            matched: 0,
            bytes: 0,
        })
    }

    /// Evaluates one record; a record outside of the question's time range is ignored.
    pub fn feed(&mut self, record: &Record) {
        if record.time < self.since || record.time >= self.until {
            return;
        }
        self.scanned += 1;
        self.bytes += u64::try_from(record.value.len()).unwrap_or(0);
        let found = self.paths.find(record);
        if self.filter.as_ref().is_some_and(|filter| !filter.holds(&found)) {
            return;
        }
        self.matched += 1;
        let window = if self.every == 0 { 0 } else { record.time - record.time % self.every };
        let at = |place: &usize| found.get(*place).unwrap_or(&Found::Missing);
        self.group.window = window;
        if !self.by.is_empty() {
            self.group.keys.clear();
            self.group.keys.extend(self.by.iter().map(|place| Key::of(at(place))));
        }
        let numbers: Vec<Option<Number>> =
            self.fields.iter().map(|place| at(place).number()).collect();
        self.groups.add(&self.group, (record.time, record.seq), &numbers, &self.plan.kept);
    }

    /// Returns the number of records read so far, and the bytes of their values.
    pub fn scanned(&self) -> (u64, u64) {
        (self.scanned, self.bytes)
    }

    /// Returns the answer over the records so far.
    pub fn finish(self) -> Partial {
        let mut note = String::new();
        let omitted = self.groups.omitted;
        if self.groups.is_full() {
            note = "its memory for a question was used up: quantiles may be wrong; group by less"
                .into();
        }
        if omitted > 0 {
            note = format!("more groups than there is room for: {omitted} records are left out");
        }
        Partial {
            scanned: self.scanned,
            matched: self.matched,
            shipping: 0,
            omitted,
            note,
            rows: self.groups.into_rows(&self.plan.kept),
        }
    }
}

fn checked(
    condition: &Condition,
    place: &mut impl FnMut(&Path) -> Result<usize, Exceeded>,
) -> Result<Checked, Exceeded> {
    Ok(match condition {
        Condition::And(all) => {
            Checked::And(all.iter().map(|one| checked(one, place)).collect::<Result<_, _>>()?)
        }
        Condition::Or(all) => {
            Checked::Or(all.iter().map(|one| checked(one, place)).collect::<Result<_, _>>()?)
        }
        Condition::Not(one) => Checked::Not(Box::new(checked(one, place)?)),
        Condition::Compare(left, comparison, right) => {
            Checked::Compare(side(left, place)?, *comparison, side(right, place)?)
        }
        Condition::In(path, values) => {
            let at = place(path)?;
            Checked::In(at, values.iter().map(|one| side(one, place)).collect::<Result<_, _>>()?)
        }
        Condition::Contains(path, text) => Checked::Contains(place(path)?, text.clone()),
        Condition::Exists(path) => Checked::Exists(place(path)?),
        Condition::True(path) => Checked::True(place(path)?),
    })
}

fn side(
    operand: &Operand,
    place: &mut impl FnMut(&Path) -> Result<usize, Exceeded>,
) -> Result<Side, Exceeded> {
    Ok(match operand {
        Operand::Path(path) => Side::At(place(path)?),
        Operand::Number(number) => Side::Is(Found::Number(*number)),
        Operand::Text(text) => Side::Is(Found::Text(text.clone().into())),
        Operand::Bool(value) => Side::Is(Found::Bool(*value)),
        Operand::Null => Side::Is(Found::Null),
    })
}

impl Side {
    fn of<'a>(&'a self, found: &'a [Found<'a>]) -> &'a Found<'a> {
        match self {
            Self::At(place) => found.get(*place).unwrap_or(&Found::Missing),
            Self::Is(value) => value,
        }
    }
}

impl Checked {
    fn holds(&self, found: &[Found<'_>]) -> bool {
        let at = |place: &usize| found.get(*place).unwrap_or(&Found::Missing);
        match self {
            Self::And(all) => all.iter().all(|one| one.holds(found)),
            Self::Or(all) => all.iter().any(|one| one.holds(found)),
            Self::Not(one) => !one.holds(found),
            Self::Compare(left, comparison, right) => {
                compare(left.of(found), *comparison, right.of(found))
            }
            Self::In(place, values) => {
                values.iter().any(|value| compare(at(place), Comparison::Equal, value.of(found)))
            }
            Self::Contains(place, text) => {
                matches!(at(place), Found::Text(whole) if whole.contains(text.as_str()))
            }
            Self::Exists(place) => !matches!(at(place), Found::Missing | Found::Null),
            Self::True(place) => matches!(at(place), Found::Bool(true)),
        }
    }
}

fn compare(left: &Found<'_>, comparison: Comparison, right: &Found<'_>) -> bool {
    use std::cmp::Ordering;
    let order = match (left, right) {
        (Found::Number(a), Found::Number(b)) => Some(a.cmp(b)),
        (Found::Text(a), Found::Text(b)) => Some(a.cmp(b)),
        (Found::Bool(a), Found::Bool(b)) => Some(a.cmp(b)),
        (Found::Missing | Found::Null, Found::Missing | Found::Null) => Some(Ordering::Equal),
        _ => None,
    };
    match comparison {
        Comparison::Equal => order == Some(Ordering::Equal),
        Comparison::Different => order != Some(Ordering::Equal),
        Comparison::Less => order == Some(Ordering::Less),
        Comparison::AtMost => order.is_some_and(Ordering::is_le),
        Comparison::Greater => order == Some(Ordering::Greater),
        Comparison::AtLeast => order.is_some_and(Ordering::is_ge),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::answer::NotAnAnswer;
    use crate::groups::{AT_THE_EDGE, Counted};
    use crate::parse;
    use holdfast_records::Format;

    fn record(seq: u64, time: u64, value: &str) -> Record {
        Record { seq, time, format: Format::Plain, value: value.into() }
    }

    fn ask(question: &Question, records: &[Record]) -> Partial {
        let mut run = Run::new(question, AT_THE_EDGE).unwrap();
        for record in records {
            run.feed(record);
        }
        run.finish()
    }

    fn values(question: &Question, partial: &Partial) -> Vec<(Group, Vec<Option<f64>>)> {
        let plan = Plan::new(question);
        let row = |(group, counted): &(Group, Counted)| {
            (group.clone(), floats(plan.values(question, counted)))
        };
        partial.rows.iter().map(row).collect()
    }

    fn floats(numbers: Vec<Option<Number>>) -> Vec<Option<f64>> {
        numbers.into_iter().map(|number| number.map(Number::float)).collect()
    }

    #[test]
    fn whole_numbers_of_64_bits_stay_apart() {
        let ids = [
            "9007199254740992",
            "9007199254740993",
            "9007199254740994",
            "9007199254740995",
            "18446744073709551615",
            "-9223372036854775808",
            "18446744073709551614",
        ];
        let records: Vec<Record> =
            (1..).zip(ids).map(|(seq, id)| record(seq, seq, &format!("{{\"id\":{id}}}"))).collect();
        let matched = |filter: &str| {
            ask(&parse::question("count", filter, "", "").unwrap(), &records).matched
        };
        for (filter, count) in [
            ("id = 9007199254740993", 1),
            ("id in (9007199254740992, 9007199254740995, 9007199254740996)", 2),
            ("id > 9007199254740993", 4),
            ("id >= 18446744073709551615", 1),
            ("id <= 9007199254740992.0", 2),
            ("id != -9223372036854775808", 6),
        ] {
            assert_eq!(matched(filter), count, "{filter}");
        }
        let by = parse::question("count", "", "id", "").unwrap();
        let answer = ask(&by, &records);
        assert_eq!(answer.rows.len(), ids.len());
        // The infinities travel unchanged, and so does their sum.
        let packed = answer.pack(&by).unwrap();
        assert_eq!(Partial::unpack(&packed, &by).unwrap(), answer);
        let all = parse::question("min(id), max(id), last(id), sum(id)", "", "", "").unwrap();
        let packed = ask(&all, &records[1..4]).pack(&all).unwrap();
        let answer = Partial::unpack(&packed, &all).unwrap();
        let [(_, counted)] = &answer.rows[..] else { panic!("one group") };
        let said = Plan::new(&all).values(&all, counted);
        let said: Vec<String> = said.iter().map(|one| one.unwrap().to_string()).collect();
        let [low, high, sum] = ["9007199254740993", "9007199254740995", "27021597764222982"];
        assert_eq!(said, [low, high, high, sum]);
    }

    #[test]
    fn cbor_numbers_are_what_they_mean() {
        let item = |value: &[u8]| {
            let value = [b"\xa1\x61x", value].concat();
            Record { seq: 1, time: 1, format: Format::Cbor, value }
        };
        for (value, is) in [
            (&b"\xc2\x49\x01\x00\x00\x00\x00\x00\x00\x00\x00"[..], "18446744073709551616"),
            (b"\xc3\x49\x01\x00\x00\x00\x00\x00\x00\x00\x00", "-18446744073709551617"),
            (b"\xc2\x48\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"),
            (b"\x3b\x7f\xff\xff\xff\xff\xff\xff\xff", "-9223372036854775808"),
            (b"\xc4\x82\x21\x19\x6a\xb3", "273.15"),
            (b"\xc4\x82\x20\x22", "-0.3"),
            (b"\xc4\x82\x00\xc2\x41\x07", "7"),
            (b"\xc5\x82\x20\x03", "1.5"),
            (b"\xc1\x1a\x51\x4b\x67\xb0", "1363896240"),
        ] {
            let question = parse::question("last(x)", "", "", "").unwrap();
            let answer = ask(&question, &[item(value)]);
            let [(_, counted)] = &answer.rows[..] else { panic!("one group") };
            let said = Plan::new(&question).values(&question, counted);
            assert_eq!(said, [Number::parse(is)], "{value:02x?}");
        }
        // An array under one of these tags that is no such number counts as any other array.
        let question = parse::question("last(x.1)", "", "", "").unwrap();
        for array in [&b"\xc4\x83\x01\x02\x03"[..], b"\xc4\x82\x61a\x02", b"\x82\x01\x02"] {
            let answer = ask(&question, &[item(array)]);
            assert_eq!(answer.rows[0].1.tallies[0].count, 1, "{array:02x?}");
        }
        // A key of a map that is a number has the name that JSON shows for it.
        let question = parse::question("last(-2), last(7)", "", "", "").unwrap();
        let record = Record {
            seq: 1,
            time: 1,
            format: Format::Cbor,
            value: b"\xa2\x21\x05\x07\x06".to_vec(),
        };
        let answer = ask(&question, &[record]);
        let counts: Vec<u64> = answer.rows[0].1.tallies.iter().map(|one| one.count).collect();
        assert_eq!(counts, [1, 1]);
    }

    fn group(keys: &[&str], window: u64) -> Group {
        Group { keys: keys.iter().map(|&key| Key::Text(key.into())).collect(), window }
    }

    #[test]
    fn a_question_is_answered() {
        let records = [
            record(1, 1_000, r#"{"t":10,"m":"a","ok":true}"#),
            record(2, 2_000, r#"{"t":20,"m":"b","ok":false}"#),
            record(3, 61_000, r#"{"t":30,"m":"a"}"#),
            record(4, 62_000, r#"{"t":"hot","m":"a"}"#),
            record(5, 63_000, "no JSON"),
        ];
        let question =
            parse::question("count, count(t), mean(t), last(t), p50(t)", "", "", "").unwrap();
        let all = ask(&question, &records);
        assert_eq!((all.scanned, all.matched, all.omitted), (5, 5, 0));
        let [(_, said)] = &values(&question, &all)[..] else { panic!("one group") };
        assert_eq!(said[..4], [Some(5.0), Some(3.0), Some(20.0), Some(30.0)]);
        assert!((said[4].unwrap() - 20.0).abs() <= 0.2);

        let question = parse::question("count, max(t)", "exists(m)", "m", "1m").unwrap();
        let said = values(&question, &ask(&question, &records));
        assert_eq!(
            said,
            [
                (group(&["a"], 0), vec![Some(1.0), Some(10.0)]),
                (group(&["a"], 60_000), vec![Some(2.0), Some(30.0)]),
                (group(&["b"], 0), vec![Some(1.0), Some(20.0)]),
            ]
        );
        let question = Question {
            since: 2_000,
            until: 62_000,
            ..parse::question("count", "", "", "").unwrap()
        };
        assert_eq!(ask(&question, &records).scanned, 2);
        let none = parse::question("count, mean(t)", "t > 1000", "", "").unwrap();
        assert!(ask(&none, &records).rows.is_empty());
    }

    #[test]
    fn conditions_hold_or_do_not() {
        let one =
            record(1, 0, r#"{"t":31.5,"s":"run","ok":true,"n":null,"list":[1,{"x":2}],"a b":1}"#);
        for (text, holds) in [
            ("t > 30", true),
            ("t > 31.5", false),
            ("t >= 31.5 and t <= 31.5", true),
            ("30 < t", true),
            ("s = 'run' and ok", true),
            ("not ok", false),
            ("s > 5", false),
            ("s != 5", true),
            ("s < 'stop'", true),
            ("n = null and missing = null and missing = n", true),
            ("missing != 'x'", true),
            ("missing < 1 or missing >= 1", false),
            ("exists(n)", false),
            ("exists(list)", true),
            ("s in ('stop', 'run')", true),
            ("list.1.x = 2 and list.0 in (1, 2)", true),
            ("s contains 'u'", true),
            ("t contains 'u'", false),
            ("`a b` = list.0", true),
            ("ok = true and not (ok = false)", true),
        ] {
            let question = parse::question("count", text, "", "").unwrap();
            assert_eq!(
                ask(&question, std::slice::from_ref(&one)).matched,
                u64::from(holds),
                "{text}"
            );
        }
        let question = parse::question("count, mean(.)", ". > 1", "", "").unwrap();
        let plain = [record(1, 0, "1"), record(2, 0, "3"), record(3, 0, "text")];
        assert_eq!(values(&question, &ask(&question, &plain))[0].1, [Some(1.0), Some(3.0)]);
    }

    #[test]
    fn groups_and_memory_are_bounded_and_that_is_said() {
        let question = parse::question("count", "", "id", "").unwrap();
        let records: Vec<Record> =
            (1..=10_050).map(|at| record(at, 0, &format!("{{\"id\":{at}}}"))).collect();
        let partial = ask(&question, &records);
        assert_eq!((partial.rows.len(), partial.omitted), (10_000, 50));
        assert!(partial.note.contains("50 records are left out"), "{}", partial.note);
        let long = parse::question("count", "", "id", "").unwrap();
        let text = |at: u64| format!("{{\"id\":\"{at}{}\"}}", "x".repeat(60_000));
        let records: Vec<Record> = (1..=3).map(|at| record(at, 0, &text(at))).collect();
        let partial = ask(&long, &records);
        assert!(partial.rows.iter().all(|(group, _)| group.keys[0].bytes() < 300));
    }

    #[test]
    fn what_comes_from_a_device_is_checked() {
        let question = parse::question("count, p95(t)", "", "m", "").unwrap();
        let partial = ask(&question, &[record(1, 0, r#"{"t":1,"m":"a"}"#)]);
        let packed = partial.pack(&question).unwrap();
        assert_eq!(Partial::unpack(&packed, &question).unwrap(), partial);
        let other = parse::question("count, p95(t), min(x)", "", "m", "").unwrap();
        assert_eq!(Partial::unpack(&packed, &other).unwrap_err(), NotAnAnswer::Damaged);
        assert!(Partial::unpack(b"rubbish", &question).is_err());
        let zeros = vec![0; crate::answer::MAX_PARTIAL + 1];
        let bomb = [vec![1], zstd::bulk::compress(&zeros, 3).unwrap()].concat();
        assert_eq!(Partial::unpack(&bomb, &question).unwrap_err(), NotAnAnswer::TooLarge);
    }

    /// Measures questions: `cargo test --release -p holdfast-protocol --lib -- --ignored questions
    /// --nocapture`.
    #[test]
    #[ignore = "a measurement"]
    #[allow(clippy::disallowed_methods, reason = "it measures")]
    fn how_fast_questions_are_answered() {
        let value = |at: u64| {
            format!(
                "{{\"ts\":\"2026-11-23T21:00:{:02}.123Z\",\"machine\":\"press-07\",\"state\":\"run\",\
                 \"oilTemp\":{}.25,\"pressureBar\":182.4,\"currentA\":12.41,\"speedRpm\":1480,\
                 \"vibration\":2.113,\"strokes\":{at},\"energyKwh\":5512.250}}",
                at % 60,
                40 + at % 7
            )
        };
        let records: Vec<Record> =
            (1..=86_400).map(|at| record(at, at * 1_000, &value(at))).collect();
        for (select, filter, every) in [
            ("count", "", ""),
            ("count, mean(oilTemp), p95(oilTemp)", "oilTemp > 30 and state = 'run'", "5m"),
        ] {
            let question = parse::question(select, filter, "", every).unwrap();
            let begun = std::time::Instant::now();
            let partial = ask(&question, &records);
            let took = begun.elapsed().as_secs_f64();
            let packed = partial.pack(&question).unwrap().len();
            println!("{select}: {:.0}k records a second, {packed} bytes", 86.4 / took);
        }
    }

    proptest! {
        /// The answer is the same however records are divided among devices, and in whatever order
        /// these answer.
        #[test]
        fn the_whole_is_the_sum_of_its_parts(
            records in proptest::collection::vec((0u64..10, 0u8..3, -100i32..100), 0..60),
            parts in 1usize..5,
        ) {
            let question =
                parse::question("count, sum(t), min(t), max(t), p90(t), stddev(t)", "t != 7", "m", "2ms")
                    .unwrap();
            let records: Vec<Record> = (1..)
                .zip(&records)
                .map(|(seq, (time, m, t))| record(seq, *time, &format!("{{\"m\":{m},\"t\":{t}}}")))
                .collect();
            let whole = values(&question, &ask(&question, &records));
            let mut merged = Groups::new(AT_THE_EDGE);
            for part in (0..parts).rev() {
                let some: Vec<Record> =
                    records.iter().filter(|one| one.seq as usize % parts == part).cloned().collect();
                let packed = ask(&question, &some).pack(&question).unwrap();
                for (group, counted) in Partial::unpack(&packed, &question).unwrap().rows {
                    merged.merge(group, &counted);
                }
            }
            let plan = Plan::new(&question);
            let merged: Vec<_> = merged
                .iter()
                .map(|(group, counted)| (group.clone(), floats(plan.values(&question, counted))))
                .collect();
            prop_assert_eq!(merged.len(), whole.len());
            for ((group, said), (other, exact)) in merged.iter().zip(&whole) {
                prop_assert_eq!(group, other);
                prop_assert_eq!(&said[..5], &exact[..5]);
                prop_assert!((said[5].unwrap() - exact[5].unwrap()).abs() < 1e-9);
            }
        }
    }
}
