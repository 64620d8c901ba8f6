//! Encoding of a question: an array in which default values at the end are left out, and each path
//! stands once for all selections of it.
//!
//! See decision 0061.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::{self, SerializeSeq as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ast::{Condition, Function, MAX_SELECT, Operand, Question, Select};
use super::number::Number;
use super::path::Path;
use holdfast_base::codec::ignore_rest;

/// Number of the function p0; those of p1 to p100 follow.
const HUNDREDTHS: u16 = 10;
/// Number of the quantile 0.000; those in thousandths that are no hundredth follow.
const THOUSANDTHS: u16 = 1_000;

fn number(function: Function) -> u16 {
    match function {
        Function::Count => 0,
        Function::Sum => 1,
        Function::Mean => 2,
        Function::Min => 3,
        Function::Max => 4,
        Function::Last => 5,
        Function::Stddev => 6,
        Function::Quantile(thousandths) if thousandths <= 1_000 && thousandths % 10 == 0 => {
            HUNDREDTHS + thousandths / 10
        }
        Function::Quantile(thousandths) => THOUSANDTHS.saturating_add(thousandths),
    }
}

fn function(number: u16) -> Option<Function> {
    Some(match number {
        0 => Function::Count,
        1 => Function::Sum,
        2 => Function::Mean,
        3 => Function::Min,
        4 => Function::Max,
        5 => Function::Last,
        6 => Function::Stddev,
        10..=110 => Function::Quantile((number - HUNDREDTHS) * 10),
        _ => Function::Quantile(number.checked_sub(THOUSANDTHS)?),
    })
}

/// Writes a path of one part as its text, any other as an array of its parts.
impl Serialize for Path {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.parts() {
            [one] => one.serialize(serializer),
            parts => parts.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Word::deserialize(deserializer)? {
            Word::Path(path) => Ok(path),
            Word::Text(text) => Self::new(vec![text]).map_err(D::Error::custom),
            _ => Err(D::Error::custom("not a path")),
        }
    }
}

/// Element in an array of a question: a path of other than one part is an array of texts.
enum Word {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    Path(Path),
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Word;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path, a number, a text, true, false or null")
            }
            fn visit_unit<E: Error>(self) -> Result<Word, E> {
                Ok(Word::Null)
            }
            fn visit_none<E: Error>(self) -> Result<Word, E> {
                Ok(Word::Null)
            }
            fn visit_bool<E: Error>(self, value: bool) -> Result<Word, E> {
                Ok(Word::Bool(value))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Word, E> {
                Ok(Word::Number(value.into()))
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Word, E> {
                Ok(Word::Number(Number::Whole(value)))
            }
            fn visit_f64<E: Error>(self, value: f64) -> Result<Word, E> {
                let number = Number::finite(value).map(Word::Number);
                number.ok_or_else(|| E::custom("a number that is not finite"))
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<Word, E> {
                Ok(Word::Text(value.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Word, A::Error> {
                let mut parts = Vec::new();
                while let Some(part) = all.next_element()? {
                    parts.push(part);
                }
                Path::new(parts).map(Word::Path).map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Writes a path in an array; a text, a number, a `true` or `false` as they are.
impl Serialize for Operand {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Path(path) => path.parts().serialize(serializer),
            Self::Number(number) => number.serialize(serializer),
            Self::Text(text) => text.serialize(serializer),
            Self::Bool(value) => value.serialize(serializer),
            Self::Null => serializer.serialize_unit(),
        }
    }
}

impl<'de> Deserialize<'de> for Operand {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Word::deserialize(deserializer)? {
            Word::Null => Self::Null,
            Word::Bool(value) => Self::Bool(value),
            Word::Number(number) => Self::Number(number),
            Word::Text(text) => Self::Text(text),
            Word::Path(path) => Self::Path(path),
        })
    }
}

/// Functions by number, each applied to the path named last; null stands for the records.
struct Selects<'a>(&'a [Select]);

impl Serialize for Selects<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_seq(Some(self.0.len() + self.changes().count()))?;
        let mut changes = self.changes().peekable();
        for (at, select) in self.0.iter().enumerate() {
            if changes.next_if_eq(&at).is_some() {
                all.serialize_element(&select.path)?;
            }
            all.serialize_element(&number(select.function))?;
        }
        all.end()
    }
}

impl Selects<'_> {
    /// Returns the indexes of the selections where another path begins.
    fn changes(&self) -> impl Iterator<Item = usize> {
        let paths = self.0.iter().map(|select| &select.path);
        let before = std::iter::once(&None).chain(paths.clone());
        paths
            .zip(before)
            .enumerate()
            .filter_map(|(at, (now, before))| (now != before).then_some(at))
    }
}

struct Selected(Vec<Select>);

impl<'de> Deserialize<'de> for Selected {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = Selected;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("what is selected")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Selected, A::Error> {
                let (mut selects, mut path) = (Vec::new(), None);
                while let Some(word) = all.next_element()? {
                    path = match word {
                        Word::Null => None,
                        Word::Text(text) => Some(Path::new(vec![text]).map_err(A::Error::custom)?),
                        Word::Path(path) => Some(path),
                        Word::Number(number) if selects.len() < MAX_SELECT => {
                            let whole = number.whole().and_then(|whole| u16::try_from(whole).ok());
                            let known = whole.and_then(function);
                            let function = known.ok_or_else(|| {
                                A::Error::custom(format_args!("function {number} is not known"))
                            })?;
                            selects.push(Select { function, path: path.clone() });
                            path
                        }
                        _ => return Err(A::Error::custom("not a selection, or too many")),
                    };
                }
                Ok(Selected(selects))
            }
        }
        deserializer.deserialize_seq(Elements)
    }
}

impl Serialize for Question {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let length = match self.until.checked_sub(self.since) {
            _ if self.until == 0 => 0,
            None | Some(0) => return Err(ser::Error::custom("until is not after since")),
            Some(length) => length,
        };
        let given = [
            self.filter.is_some(),
            !self.by.is_empty(),
            self.every_ms != 0,
            length != 0,
            self.since != 0,
        ];
        let absent = given.iter().take_while(|given| !**given).count();
        let many = 1 + given.len() - absent;
        let mut all = serializer.serialize_seq(Some(many))?;
        all.serialize_element(&Selects(&self.select))?;
        for (_, at) in (1..many).zip(0..) {
            match at {
                0 => all.serialize_element(&self.since)?,
                1 => all.serialize_element(&length)?,
                2 => all.serialize_element(&self.every_ms)?,
                3 => all.serialize_element(&self.by)?,
                _ => all.serialize_element(&self.filter)?,
            }
        }
        all.end()
    }
}

impl<'de> Deserialize<'de> for Question {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = Question;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a question")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Question, A::Error> {
                let Selected(select) = all
                    .next_element()?
                    .ok_or_else(|| A::Error::custom("what is selected is missing"))?;
                let since = all.next_element()?.unwrap_or(0u64);
                let length = all.next_element()?.unwrap_or(0u64);
                let every_ms = all.next_element()?.unwrap_or(0);
                let by = all.next_element()?.unwrap_or_default();
                let filter: Option<Option<Condition>> = all.next_element()?;
                ignore_rest(&mut all)?;
                let until = if length == 0 { Some(0) } else { since.checked_add(length) };
                let until = until.ok_or_else(|| A::Error::custom("a time beyond all times"))?;
                let filter = filter.flatten();
                Ok(Question { select, filter, by, every_ms, since, until })
            }
        }
        deserializer.deserialize_seq(Elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    fn reads_back(question: &Question) -> usize {
        let bytes = serde_cbor::to_vec(question).unwrap();
        let read: Question = holdfast_base::codec::from_slice(&bytes).unwrap();
        assert_eq!(&read, question, "{bytes:02x?}");
        bytes.len()
    }

    #[test]
    fn questions_take_few_bytes_and_read_back() {
        let select = "count, mean(temp), max(temp), p95(temp)";
        let mut question = parse::question(select, "", "", "").unwrap();
        assert_eq!(reads_back(&question), 12);
        (question.since, question.until) = (1_795_467_600_000, 1_795_554_000_000);
        assert_eq!(reads_back(&question), 26);
        for (select, filter, by, every) in [
            ("count", "", "", "1h"),
            (
                "count, sum(a.b.c), count, p0(.), p100(.), p99.9(.), p1(.)",
                "a > 1.5 and not b",
                "x, y.z, .",
                "",
            ),
            ("last(x)", "x in (1, -2, 'a', null, true) or . contains 'x' or exists(y)", "", "5m"),
        ] {
            reads_back(&parse::question(select, filter, by, every).unwrap());
        }
        question.until = question.since;
        assert!(serde_cbor::to_vec(&question).is_err(), "no time at all");
    }

    #[test]
    fn bad_ones_are_refused() {
        use serde_json::json;
        let many: Vec<u8> = vec![0; MAX_SELECT + 1];
        for bad in [
            json!([]),
            json!({ "select": [0] }),
            json!([[7]]),
            json!([[111]]),
            json!([[999]]),
            json!([[true]]),
            json!([[-1]]),
            json!([many]),
            json!([[0], u64::MAX, 1]),
            json!([[0], 0, 0, 0, [1]]),
            json!([[0], 0, 0, 0, [], { "compare": [1, "~", 2] }]),
        ] {
            let bytes = serde_cbor::to_vec(&bad).unwrap();
            assert!(holdfast_base::codec::from_slice::<Question>(&bytes).is_err(), "{bad}");
        }
        let tomorrow = json!([[0], 0, 0, 0, [], null, "more"]);
        let bytes = serde_cbor::to_vec(&tomorrow).unwrap();
        assert_eq!(holdfast_base::codec::from_slice::<Question>(&bytes).unwrap().select.len(), 1);
    }
}
