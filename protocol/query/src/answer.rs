//! Encoding of a device's answer: numbers only, in an order that the question determines. The
//! caller knows the names, and what follows from the other numbers is not sent. PROTOCOL.md
//! describes the form.
//!
//! See decision 0061.

use super::ast::Question;
use super::groups::{AT_THE_EDGE, Counted, Group, Key, Partial, Plan, weight};
use super::number::Number;
use super::sketch::Sketch;
use super::tally::{Kept, Sum, Tally};
use holdfast_base::codec::MAX_REASON;
use holdfast_records::block::{take_varint, unzigzag, varint, zigzag};

/// Largest answer of a device in bytes, unpacked.
pub const MAX_PARTIAL: usize = 8 * 1024 * 1024;

/// Most groups in a device's answer, where each window of a group counts.
pub const MAX_ROWS: usize = AT_THE_EDGE.groups;

/// Most bytes that an answer takes in memory, estimated: a hostile device cannot fill the memory,
/// and an honest one stays below half of it.
const MAX_WEIGHT: usize = 2 * AT_THE_EDGE.bytes;

/// Compression of the answer: none, or one zstd frame.
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;

/// Type of a group's key on the wire.
const NONE: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const NUMBER: u8 = 3;
const TEXT: u8 = 4;

/// Most digits after the point of numbers that are written as decimals.
const MAX_SCALE: u8 = 9;
/// Code in place of a scale: doubles follow, 8 bytes each.
const DOUBLES: u8 = 255;
/// Code in place of a scale: unsigned whole numbers follow, at least one of them above `i64::MAX`.
const LARGE: u8 = 254;
/// Code in place of a scale: each number follows with a scale of its own.
const APART: u8 = 253;
/// Bound below which every whole number is exact as a double.
const EXACT: u64 = 1 << 53;

/// Reason why an answer cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum NotPacked {
    /// More groups than a message holds.
    #[error("the answer has {groups} groups and is too large: group by less, or ask for less")]
    TooLarge {
        /// Number of groups.
        groups: usize,
    },
    /// Failure of the compressor, as for want of memory.
    #[error("{0}")]
    Compressor(#[source] std::io::Error),
}

/// Fault of bytes that are no answer to the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAnswer {
    /// Bytes that are damaged, or answer another question.
    #[error("the answer is damaged, or not to this question")]
    Damaged,
    /// Answer above [`MAX_PARTIAL`].
    #[error("the answer is too large")]
    TooLarge,
}

impl Partial {
    /// Encodes the answer for the wire, compressed where that is smaller.
    ///
    /// # Errors
    /// Returns why the answer cannot be sent: most often it is too large.
    pub fn pack(&self, question: &Question) -> Result<Vec<u8>, NotPacked> {
        let mut plain = vec![PLAIN];
        self.put(&mut plain, question);
        if plain.len() > MAX_PARTIAL + 1 || self.rows.len() > MAX_ROWS {
            return Err(NotPacked::TooLarge { groups: self.rows.len() });
        }
        let content = plain.get(1..).unwrap_or_default();
        let mut packed = zstd::bulk::compress(content, 3).map_err(NotPacked::Compressor)?;
        if packed.len() >= content.len() {
            return Ok(plain);
        }
        packed.insert(0, ZSTD);
        Ok(packed)
    }

    /// Decodes an answer to this question, as [`Partial::pack`] encoded it.
    ///
    /// # Errors
    /// Returns [`NotAnAnswer`] for anything else; no input causes a panic.
    pub fn unpack(bytes: &[u8], question: &Question) -> Result<Self, NotAnAnswer> {
        let damaged = NotAnAnswer::Damaged;
        let unpacked;
        let content = match bytes.split_first().ok_or(damaged)? {
            (&PLAIN, content) if content.len() <= MAX_PARTIAL => content,
            (&ZSTD, frame) => {
                let said = zstd::zstd_safe::get_frame_content_size(frame).ok().flatten();
                let size = said.and_then(|size| usize::try_from(size).ok());
                let size = size.unwrap_or(MAX_PARTIAL);
                if size > MAX_PARTIAL {
                    return Err(NotAnAnswer::TooLarge);
                }
                unpacked = zstd::bulk::decompress(frame, size).map_err(|_| damaged)?;
                &*unpacked
            }
            (&PLAIN, _) => return Err(NotAnAnswer::TooLarge),
            _ => return Err(damaged),
        };
        Self::take(content, question).ok_or(damaged)
    }

    fn put(&self, out: &mut Vec<u8>, question: &Question) {
        let plan = Plan::new(question);
        varint(out, u64::try_from(self.rows.len()).unwrap_or(u64::MAX));
        let (mut window, mut matched) = (0u64, self.omitted);
        for (group, counted) in &self.rows {
            group.keys.iter().for_each(|key| put_key(out, key));
            if let Some(now) = group.window.checked_div(question.every_ms) {
                varint(out, zigzag(now.wrapping_sub(window)));
                window = now;
            }
            varint(out, counted.records);
            for (tally, kept) in counted.tallies.iter().zip(&plan.kept) {
                tally.put(out, *kept, counted.records, question.since);
            }
            matched = matched.saturating_add(counted.records);
        }
        varint(out, self.scanned.saturating_sub(matched));
        varint(out, self.shipping);
        if self.omitted > 0 || !self.note.is_empty() {
            varint(out, self.omitted);
            out.extend_from_slice(self.note.as_bytes());
        }
    }

    fn take(mut bytes: &[u8], question: &Question) -> Option<Self> {
        let (bytes, plan) = (&mut bytes, Plan::new(question));
        let many = usize::try_from(number(bytes)?).ok()?;
        // Each row takes at least one byte, which bounds the allocation.
        if many > MAX_ROWS.min(bytes.len()) {
            return None;
        }
        let (mut window, mut matched) = (0u64, 0u64);
        let (mut rows, mut room) = (Vec::new(), MAX_WEIGHT);
        for _ in 0..many {
            let keys = question.by.iter().map(|_| take_key(bytes)).collect::<Option<_>>()?;
            if question.every_ms > 0 {
                window = window.wrapping_add(unzigzag(number(bytes)?));
            }
            let records = number(bytes)?;
            matched = matched.checked_add(records)?;
            let tally = |kept: &Kept| Tally::take(bytes, *kept, records, question.since);
            let tallies = plan.kept.iter().map(tally).collect::<Option<_>>()?;
            let group = Group { keys, window: window.checked_mul(question.every_ms)? };
            let counted = Counted { records, tallies };
            // One byte on the wire may become many in memory, so memory is bounded apart from the
            // bytes.
            room = room.checked_sub(weight(&group, &counted))?;
            rows.push((group, counted));
        }
        let (others, shipping) = (number(bytes)?, number(bytes)?);
        let omitted = if bytes.is_empty() { 0 } else { number(bytes)? };
        let note = std::str::from_utf8(bytes).ok()?.chars().take(MAX_REASON).collect();
        let matched = matched.checked_add(omitted)?;
        let scanned = matched.checked_add(others)?;
        Some(Self { rows, scanned, matched, shipping, omitted, note })
    }
}

fn number(bytes: &mut &[u8]) -> Option<u64> {
    take_varint(bytes).ok()
}

fn byte(bytes: &mut &[u8]) -> Option<u8> {
    let (first, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*first)
}

fn put_key(out: &mut Vec<u8>, key: &Key) {
    match key {
        Key::None => out.push(NONE),
        Key::Bool(false) => out.push(FALSE),
        Key::Bool(true) => out.push(TRUE),
        Key::Number(number) => {
            out.push(NUMBER);
            put_numbers(out, &[*number]);
        }
        Key::Text(text) => {
            out.push(TEXT);
            varint(out, u64::try_from(text.len()).unwrap_or(0));
            out.extend_from_slice(text.as_bytes());
        }
    }
}

fn take_key(bytes: &mut &[u8]) -> Option<Key> {
    Some(match byte(bytes)? {
        NONE => Key::None,
        FALSE => Key::Bool(false),
        TRUE => Key::Bool(true),
        NUMBER => {
            let [number] = take_numbers(bytes)?;
            Key::Number(finite(number)?)
        }
        TEXT => {
            let length = usize::try_from(number(bytes)?).ok()?;
            let (text, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            Key::Text(std::str::from_utf8(text).ok()?.to_owned())
        }
        _ => return None,
    })
}

impl Tally {
    fn put(&self, out: &mut Vec<u8>, kept: Kept, records: u64, since: u64) {
        varint(out, records.saturating_sub(self.count));
        if self.count == 0 {
            return;
        }
        if kept.sum {
            put_numbers(out, &[self.sum.number()]);
        }
        if kept.ends {
            let (low, high) = self.ends.unwrap_or_default();
            put_numbers(out, &[low, high]);
        }
        if kept.last {
            let (time, seq, last) = self.last.unwrap_or_default();
            varint(out, zigzag(time.wrapping_sub(since)));
            varint(out, seq);
            put_numbers(out, &[last]);
        }
        if kept.squares {
            put_numbers(out, &[Number::Float(self.squares)]);
        }
        if kept.sketch {
            self.sketch.put(out, self.count);
        }
    }

    fn take(bytes: &mut &[u8], kept: Kept, records: u64, since: u64) -> Option<Self> {
        let count = records.checked_sub(number(bytes)?)?;
        let mut tally = Self { count, ..Self::default() };
        if count == 0 {
            return Some(tally);
        }
        if kept.sum {
            let [sum] = take_numbers(bytes)?;
            // Out of bounds, either way.
            let nan = sum.float().is_nan();
            tally.sum = Sum::of(if nan { Number::Float(f64::INFINITY) } else { sum });
        }
        if kept.ends {
            let [low, high] = take_numbers(bytes)?;
            tally.ends = Some((finite(low)?, finite(high)?)).filter(|_| low <= high);
            tally.ends?;
        }
        if kept.last {
            let time = since.wrapping_add(unzigzag(number(bytes)?));
            let seq = number(bytes)?;
            let [last] = take_numbers(bytes)?;
            tally.last = Some((time, seq, finite(last)?));
        }
        if kept.squares {
            let [squares] = take_numbers(bytes)?;
            let squares = squares.float();
            tally.squares = if squares.is_nan() { f64::INFINITY } else { squares };
        }
        if kept.sketch {
            tally.sketch = Sketch::take(bytes, count)?;
        }
        Some(tally)
    }
}

fn finite(number: Number) -> Option<Number> {
    number.float().is_finite().then_some(number)
}

/// Returns `number * 10^scale` if that is exactly a whole number: 1.25 with scale 2 is 125. A
/// double qualifies only if the result is below 2^53.
#[allow(clippy::cast_possible_truncation, reason = "what is out of bounds is not exact")]
fn decimal(number: Number, scale: u8) -> Option<i64> {
    if let (Number::Whole(whole), 0) = (number, scale) {
        return Some(whole);
    }
    let whole = number.whole();
    if whole.is_some_and(|whole| whole.unsigned_abs() >= EXACT.into()) {
        return None;
    }
    let number = number.float();
    let whole = (number * 10f64.powi(i32::from(scale))).round() as i64;
    let exact = read(whole, scale).to_bits() == number.to_bits(); // -0 is not
    (exact && whole.unsigned_abs() < EXACT).then_some(whole)
}

#[allow(clippy::cast_precision_loss, reason = "whoever writes it keeps it below 2^53")]
fn read(whole: i64, scale: u8) -> f64 {
    whole as f64 / 10f64.powi(i32::from(scale))
}

/// Appends numbers with the fewest digits after the point that represent all of them; then the
/// first as a signed varint and the others as their differences to it.
fn put_numbers(out: &mut Vec<u8>, numbers: &[Number]) {
    for scale in 0..=MAX_SCALE {
        let all: Option<Vec<i64>> = numbers.iter().map(|one| decimal(*one, scale)).collect();
        if let Some(all) = all {
            out.push(scale);
            let mut first = 0;
            for one in all {
                varint(out, zigzag(one.wrapping_sub(first).cast_unsigned()));
                first = if first == 0 { one } else { first };
            }
            return;
        }
    }
    let large: Option<Vec<u64>> =
        numbers.iter().map(|one| u64::try_from(one.whole()?).ok()).collect();
    if let Some(large) = large {
        out.push(LARGE);
        large.into_iter().for_each(|one| varint(out, one));
        return;
    }
    if numbers.iter().any(|one| one.whole().is_some()) {
        // Not [`DOUBLES`] alone, since one of the whole numbers is not exact as a double.
        out.push(APART);
        numbers.iter().for_each(|one| put_numbers(out, std::slice::from_ref(one)));
        return;
    }
    out.push(DOUBLES);
    for number in numbers {
        out.extend_from_slice(&number.float().to_le_bytes());
    }
}

fn take_numbers<const N: usize>(bytes: &mut &[u8]) -> Option<[Number; N]> {
    let scale = byte(bytes)?;
    let mut numbers = [Number::default(); N];
    let mut first = 0i64;
    for one in &mut numbers {
        *one = match scale {
            DOUBLES => double(bytes)?,
            LARGE => Number::from(number(bytes)?),
            APART => alone(bytes)?,
            0..=MAX_SCALE => {
                let whole = first.wrapping_add(unzigzag(number(bytes)?).cast_signed());
                first = if first == 0 { whole } else { first };
                match scale {
                    0 => Number::Whole(whole),
                    _ => Number::Float(read(whole, scale)),
                }
            }
            _ => return None,
        };
    }
    Some(numbers)
}

fn double(bytes: &mut &[u8]) -> Option<Number> {
    let (eight, rest) = bytes.split_first_chunk::<8>()?;
    *bytes = rest;
    Some(Number::Float(f64::from_le_bytes(*eight)))
}

/// Reads one number of [`APART`], which cannot be [`APART`] itself.
fn alone(bytes: &mut &[u8]) -> Option<Number> {
    if bytes.first() == Some(&APART) {
        return None;
    }
    let [number] = take_numbers(bytes)?;
    Some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Run, parse};
    use holdfast_records::{Format, Record};

    /// Returns the answer over these numbers, one record a second.
    fn answer(question: &Question, numbers: impl Iterator<Item = f64>) -> Partial {
        let mut run = Run::new(question, AT_THE_EDGE).unwrap();
        for (seq, number) in (1..).zip(numbers) {
            let value = format!("{{\"temp\":{number},\"m\":{}}}", seq % 3).into_bytes();
            let time = question.since + seq * 1_000;
            run.feed(&Record { seq, time, format: Format::Plain, value });
        }
        Partial { shipping: 471_906, ..run.finish() }
    }

    /// The benchmark's question, over as many records of a machine's temperature.
    #[test]
    fn a_day_of_temperatures_is_answered_in_forty_bytes() {
        let select = "count, mean(temp), max(temp), p95(temp)";
        let since = 1_795_467_600_000;
        let question = Question { since, ..parse::question(select, "", "", "").unwrap() };
        let temperature = |at: u32| {
            let noise = f64::from(at.wrapping_mul(2_654_435_761) % 1_000) / 1_000.0;
            ((64.0 + f64::from(at).sin() * 1.5 + noise) * 100.0).round() / 100.0
        };
        let partial = answer(&question, (0..86_400).map(temperature));
        let packed = partial.pack(&question).unwrap();
        assert_eq!(Partial::unpack(&packed, &question).unwrap(), partial);
        assert!(packed.len() <= 40, "{} bytes: {packed:02x?}", packed.len());
    }

    #[test]
    fn doubles_come_back_as_they_were() {
        for numbers in [
            [0.0, -0.0],
            [20.25, 20.24],
            [-1e-9, 5e8],
            [1e300, f64::MIN_POSITIVE],
            [0.1 + 0.2, 1.0 / 3.0],
            [9_007_199_254_740_992.0, -9_007_199_254_740_993.0],
            [1e19, f64::NEG_INFINITY],
            [f64::INFINITY, 1.0],
            [0.0, 7.0],
        ] {
            let mut bytes = Vec::new();
            put_numbers(&mut bytes, &numbers.map(Number::Float));
            let mut rest = &bytes[..];
            let read: [Number; 2] = take_numbers(&mut rest).unwrap();
            let read = read.map(|one| one.float().to_bits());
            assert_eq!(read, numbers.map(f64::to_bits), "{numbers:?}");
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn whole_numbers_come_back_as_they_were() {
        let texts = [
            "0",
            "-7",
            "9007199254740993",
            "-9007199254740993",
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854775808",
            "18446744073709551615",
            "0.5",
            "21.123456789012345",
            "1e300",
        ];
        for a in texts {
            for b in texts {
                let numbers = [a, b].map(|text| Number::parse(text).unwrap());
                let mut bytes = Vec::new();
                put_numbers(&mut bytes, &numbers);
                let mut rest = &bytes[..];
                assert_eq!(take_numbers(&mut rest), Some(numbers), "{a} and {b}: {bytes:02x?}");
                assert!(rest.is_empty());
            }
        }
        for bad in [&[APART, APART, 0, 0][..], &[APART, 0], &[LARGE], &[252, 0, 0]] {
            assert_eq!(take_numbers::<2>(&mut &bad[..]), None, "{bad:?}");
        }
    }

    /// Computes everything that is shown of an answer, whatever a device put into it.
    fn show(partial: &Partial, question: &Question) {
        let plan = Plan::new(question);
        partial.rows.iter().for_each(|(_, counted)| drop(plan.values(question, counted)));
    }

    #[test]
    fn ends_the_wrong_way_round_are_refused() {
        let question = parse::question("p50(temp)", "", "", "").unwrap();
        let mut partial = answer(&question, [1.0, 5.0].into_iter());
        let tally = partial.rows.first_mut().unwrap().1.tallies.first_mut().unwrap();
        tally.ends = Some((Number::Whole(5), Number::Whole(1)));
        let packed = partial.pack(&question).unwrap();
        assert!(Partial::unpack(&packed, &question).is_err());
    }

    #[test]
    fn what_is_small_on_the_way_and_large_in_memory_is_refused() {
        let select: Vec<String> = (0..30).map(|at| format!("p50(a{at})")).collect();
        let question = parse::question(&select.join(", "), "", "m", "").unwrap();
        let of = |groups: usize| {
            let counted = Counted { records: 0, tallies: vec![Tally::default(); 30] };
            let group = |at: usize| Group { keys: vec![Key::Text(at.to_string())], window: 0 };
            let rows = (0..groups).map(|at| (group(at), counted.clone())).collect();
            Partial { rows, ..Partial::default() }.pack(&question).unwrap()
        };
        assert!(Partial::unpack(&of(1_000), &question).is_ok());
        let large = of(MAX_ROWS);
        assert!(large.len() < 100_000, "{} bytes", large.len());
        assert!(Partial::unpack(&large, &question).is_err());
    }

    fn questions() -> [Question; 4] {
        [
            ("count", "", ""),
            ("last(temp), stddev(temp)", "m", "5m"),
            ("sum(temp), count(temp), p50(temp), count(x), max(x)", "m, temp", ""),
            ("min(m), p99.9(temp)", "", "1s"),
        ]
        .map(|(select, by, every)| Question {
            since: 1_795_467_600_000,
            ..parse::question(select, "", by, every).unwrap()
        })
    }

    proptest! {
        #[test]
        fn every_answer_comes_back(
            numbers in proptest::collection::vec(
                prop_oneof![-100..100i32, Just(0)].prop_map(|one| f64::from(one) / 8.0), 0..60,
            ),
            omitted in 0..3u64,
            note in "[a-zé]{0,9}",
        ) {
            for question in questions() {
                let mut partial = answer(&question, numbers.iter().copied());
                (partial.omitted, partial.note) = (omitted, note.clone());
                (partial.matched, partial.scanned) =
                    (partial.matched + omitted, partial.scanned + omitted + 1);
                let packed = partial.pack(&question).unwrap();
                prop_assert_eq!(Partial::unpack(&packed, &question).unwrap(), partial);
                for length in 0..packed.len() {
                    let _cut = Partial::unpack(&packed[..length], &question);
                }
            }
        }

        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            for question in questions() {
                if let Some(layout) = bytes.first_mut() {
                    *layout = PLAIN;
                }
                if let Ok(partial) = Partial::unpack(&bytes, &question) {
                    show(&partial, &question);
                    let packed = partial.pack(&question).unwrap();
                    prop_assert_eq!(Partial::unpack(&packed, &question).unwrap(), partial);
                }
            }
        }
    }
}
