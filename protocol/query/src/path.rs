//! Paths to values in a record, and their lookup without building the record in memory.
//!
//! See decision 0093.

use std::borrow::Cow;
use std::fmt;

use super::number::Number;
use super::word::is_word;

/// Most parts of a path; a deeper value is reached only as part of what is above it.
pub const MAX_PARTS: usize = 16;

/// Most paths looked for in one pass, since a set of them is one machine word.
pub const MAX_PATHS: usize = 64;

/// Path to a value in a record: names of fields, indexes of elements. Without parts it is the
/// record itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    parts: Vec<String>,
}

/// Fault of a text that is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// More than [`MAX_PARTS`] parts, with their number.
    #[error("a path of {0} parts; at most {MAX_PARTS}")]
    Parts(usize),
    /// Part that is empty, or a back quote without its end; with the whole text.
    #[error("{0:?} has an empty part, or a back quote without its end")]
    Broken(String),
}

impl Path {
    /// Creates a path from its parts.
    ///
    /// # Errors
    /// Returns [`BadPath::Parts`] if there are more than [`MAX_PARTS`].
    pub fn new(parts: Vec<String>) -> Result<Self, BadPath> {
        if parts.len() > MAX_PARTS {
            return Err(BadPath::Parts(parts.len()));
        }
        Ok(Self { parts })
    }

    /// Parses a path as policies contain it. Accepts what [`super::parse::path`] accepts, and more
    /// kinds of letters, since a policy has already passed admission.
    ///
    /// # Errors
    /// Returns the fault if there are more than [`MAX_PARTS`], one is empty, or a back quote is
    /// missing.
    pub fn dotted(text: &str) -> Result<Self, BadPath> {
        if matches!(text, "" | ".") {
            return Ok(Self::default());
        }
        let wrong = || BadPath::Broken(text.to_owned());
        let (mut parts, mut rest) = (Vec::new(), Some(text));
        while let Some(part) = rest {
            let quoted = part.strip_prefix('`').map(|part| part.split_once('`').ok_or_else(wrong));
            let (part, after) = match quoted.transpose()? {
                Some((part, "")) => (part, None),
                Some((part, after)) => (part, Some(after.strip_prefix('.').ok_or_else(wrong)?)),
                None => {
                    let (part, after) =
                        part.split_once('.').map_or((part, None), |(a, b)| (a, Some(b)));
                    if part.is_empty() {
                        return Err(wrong());
                    }
                    (part, after)
                }
            };
            parts.push(part.to_owned());
            rest = after;
        }
        Self::new(parts)
    }

    /// Returns the parts, the outermost first.
    pub fn parts(&self) -> &[String] {
        &self.parts
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.parts.is_empty() {
            return f.write_str(".");
        }
        for (at, part) in self.parts.iter().enumerate() {
            if at > 0 {
                f.write_str(".")?;
            }
            if is_word(part) {
                f.write_str(part)?;
            } else {
                write!(f, "`{part}`")?;
            }
        }
        Ok(())
    }
}

/// Value found at a path.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Found<'a> {
    /// No value at the path.
    #[default]
    Missing,
    /// The value `null`.
    Null,
    /// A `true` or `false`.
    Bool(bool),
    /// A number; one without a finite double is [`Found::Null`].
    Number(Number),
    /// A text without its escapes.
    Text(Cow<'a, str>),
    /// An array, an object or bytes.
    Other,
}

impl Found<'_> {
    /// Returns a number, or [`Found::Null`] if it is not finite.
    pub(super) fn of(number: f64) -> Self {
        Number::finite(number).map_or(Self::Null, Self::Number)
    }

    /// Returns the number; None: the value is something else.
    pub fn number(&self) -> Option<Number> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }
}

/// Paths looked for in one pass.
#[derive(Debug, Clone, Default)]
pub struct Paths {
    pub(super) all: Vec<(Path, Vec<Option<usize>>)>,
}

impl Paths {
    /// Creates an empty set of paths.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a path, or finds it, and returns its index in the result of [`Paths::find`]. None:
    /// there are already [`MAX_PATHS`].
    pub fn add(&mut self, path: &Path) -> Option<usize> {
        if let Some(at) = self.all.iter().position(|(known, _)| known == path) {
            return Some(at);
        }
        if self.all.len() >= MAX_PATHS {
            return None;
        }
        let numbers = path.parts.iter().map(|part| part.parse().ok()).collect();
        self.all.push((path.clone(), numbers));
        Some(self.all.len() - 1)
    }

    /// Returns the set of all paths.
    pub(super) fn whole(&self) -> u64 {
        match self.all.len() {
            0 => 0,
            many => u64::MAX >> (64 - many.min(64)),
        }
    }

    /// Returns those paths of a set that end at this depth.
    pub(super) fn ending(&self, set: u64, depth: usize) -> u64 {
        self.filter(set, |(path, _)| path.parts.len() == depth)
    }

    /// Returns those paths of a set that continue with this name.
    pub(super) fn named(&self, set: u64, depth: usize, name: &str) -> u64 {
        self.filter(set, |(path, _)| path.parts.get(depth).is_some_and(|part| part == name))
    }

    /// Returns those paths of a set that continue with this element.
    pub(super) fn element(&self, set: u64, depth: usize, at: usize) -> u64 {
        self.filter(set, |(_, numbers)| numbers.get(depth).copied().flatten() == Some(at))
    }

    fn filter(&self, set: u64, fits: impl Fn(&(Path, Vec<Option<usize>>)) -> bool) -> u64 {
        let mut left = set;
        let mut kept = 0;
        while left != 0 {
            let bit = left & left.wrapping_neg();
            left ^= bit;
            let at = usize::try_from(bit.trailing_zeros()).unwrap_or(usize::MAX);
            if self.all.get(at).is_some_and(&fits) {
                kept |= bit;
            }
        }
        kept
    }
}

/// Stores a value for each path of a set.
pub(super) fn put<'a>(found: &mut [Found<'a>], set: u64, value: &Found<'a>) {
    if set == 0 {
        return;
    }
    for (at, place) in found.iter_mut().enumerate() {
        if set >> at & 1 == 1 {
            *place = value.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use holdfast_records::block::{Format, Record};

    fn paths(texts: &[&str]) -> Paths {
        let mut paths = Paths::new();
        for text in texts {
            paths.add(&Path::dotted(text).unwrap()).unwrap();
        }
        paths
    }

    fn record(format: Format, value: Vec<u8>) -> Record {
        Record { seq: 1, time: 0, format, value }
    }

    const TEXTS: [&str; 7] = ["", "a", "a.b", "a.1", "list.0.x", "ä.\n", "a.b.c"];

    /// Looks up a path in the value built by serde_json, for comparison.
    fn model<'a>(value: &'a Value, path: &str) -> Found<'a> {
        let mut at = value;
        for part in path.split('.').filter(|part| !part.is_empty()) {
            let next = match at {
                Value::Object(map) => map.get(part),
                Value::Array(list) => part.parse::<usize>().ok().and_then(|n| list.get(n)),
                _ => None,
            };
            match next {
                Some(next) => at = next,
                None => return Found::Missing,
            }
        }
        match at {
            Value::Null => Found::Null,
            Value::Bool(b) => Found::Bool(*b),
            Value::Number(n) => Found::Number(Number::parse(&n.to_string()).unwrap()),
            Value::String(s) => Found::Text(Cow::Borrowed(s)),
            _ => Found::Other,
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e300..1e300f64).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let key = prop_oneof![
                proptest::sample::select(vec!["a", "b", "c", "list", "x", "ä", "\n", "0"])
                    .prop_map(str::to_owned),
                any::<String>(),
            ];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(key, inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_scan_finds_what_the_whole_value_has(value in values(), pretty: bool) {
            let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) };
            for record in [
                record(Format::Plain, text.unwrap()),
                record(Format::Cbor, serde_cbor::to_vec(&value).unwrap()),
            ] {
                let found = paths(&TEXTS).find(&record);
                for (text, found) in TEXTS.iter().zip(found) {
                    prop_assert_eq!(found, model(&value, text), "{} in {}", text, value);
                }
            }
        }

        #[test]
        fn it_takes_as_json_what_serde_takes(text in "[\\[\\]{}\",:0-9eE+.tfn \\\\u-]{0,12}") {
            let value = record(Format::Plain, text.clone().into_bytes());
            let found = paths(&["", "a"]).find(&value);
            // A text that is no JSON is found as the record itself.
            match serde_json::from_str::<Value>(&text) {
                Ok(value) => prop_assert_eq!(&found[0], &model(&value, "")),
                // Numbers out of range are refused by serde_json; here they are null.
                Err(error) if error.to_string().contains("out of range") => {}
                Err(_) => prop_assert_eq!(&found[0], &Found::Text(text.as_str().into())),
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60), is_cbor: bool) {
            let format = if is_cbor { Format::Cbor } else { Format::Plain };
            let _any = paths(&TEXTS).find(&record(format, bytes));
        }
    }

    proptest! {
        #[test]
        fn policies_and_questions_have_one_notation(text in "[a-c.` é]{0,9}") {
            if let Ok(path) = crate::parse::path("field", &text) {
                prop_assert_eq!(Path::dotted(text.trim()), Ok(path.clone()));
                prop_assert_eq!(Path::dotted(&path.to_string()), Ok(path));
            }
        }
    }

    #[test]
    fn deep_records_and_odd_ones() {
        let deep = [b"[".repeat(10_000), b"]".repeat(10_000)].concat();
        assert_eq!(paths(&["a"]).find(&record(Format::Plain, deep)), [Found::Missing]);
        let deep = [vec![0x81; 10_000], vec![0]].concat();
        assert_eq!(paths(&["", "0"]).find(&record(Format::Cbor, deep)), vec![Found::Missing; 2]);
        let twice = record(Format::Plain, br#"{"a":{"b":1},"a":{"b":2},"b":0}"#.to_vec());
        assert_eq!(paths(&["a.b"]).find(&twice), [Found::of(2.0)]);
        // The bytes are 1.5 as a half-precision float, tagged, in a map of indefinite length.
        let odd = record(Format::Cbor, b"\xbf\x61a\xc1\xf9\x3e\x00\xff".to_vec());
        assert_eq!(paths(&["a", "b"]).find(&odd), [Found::of(1.5), Found::Missing]);
        let text = record(Format::Cbor, b"\x7f\x61a\x61b\xff".to_vec());
        assert_eq!(paths(&[""]).find(&text), [Found::Text("ab".into())]);
        let value = json!({"a.b": 1});
        let quoted = Path::new(vec!["a.b".into()]).unwrap();
        let mut set = Paths::new();
        set.add(&quoted);
        let record = record(Format::Plain, serde_json::to_vec(&value).unwrap());
        assert_eq!(set.find(&record), [Found::of(1.0)]);
        assert_eq!(quoted.to_string(), "`a.b`");
    }
}
