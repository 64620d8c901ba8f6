//! JSON in which no key stands twice. Of two values for one key a plain reader keeps the last
//! without a word, and an operator wonders why the first does nothing; YAML refuses it as well.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A JSON value; reading it fails where an object has a key twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strict(
    /// The value.
    pub Value,
);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(StrictVisitor).map(Self)
    }
}

/// Reads a list of them as plain values.
///
/// # Errors
/// Of the reader, or the name of a key that stands twice.
pub fn strict_values<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Value>, D::Error> {
    let values = Vec::<Strict>::deserialize(from)?;
    Ok(values.into_iter().map(|Strict(value)| value).collect())
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = from.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = from.next_key::<String>()? {
            if object.contains_key(&key) {
                let key = super::decode::shorten(&key);
                return Err(A::Error::custom(format!("the key {key:?} stands here twice")));
            }
            let Strict(value) = from.next_value()?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_a_plain_reader_reads() {
        let text = r#"{"a": [null, true, -1, 18446744073709551615, 1.5, 1e300, 99999999999999999999],
            "b": {"a": "\u00e4", "": {}}, "c": [], "d": "plain"}"#;
        let Strict(read) = serde_json::from_str(text).unwrap();
        assert_eq!(read, serde_json::from_str::<Value>(text).unwrap());
        let deep = "[".repeat(200);
        assert!(
            serde_json::from_str::<Strict>(&deep).unwrap_err().to_string().contains("recursion")
        );
    }

    #[test]
    fn a_key_that_stands_twice_is_named_wherever_it_is() {
        for text in [
            r#"{"spec": 1, "spec": 1}"#,
            r#"{"a": {"spec": 1, "b": 2, "spec": 3}}"#,
            r#"[{"a": [{"spec": 1, "\u0073pec": null}]}]"#,
        ] {
            let said = serde_json::from_str::<Strict>(text).unwrap_err().to_string();
            assert!(said.starts_with("the key \"spec\" stands here twice at line 1"), "{said}");
        }
    }
}
