//! Reads JSON and refuses duplicate keys. A plain reader silently keeps the last of two values for
//! one key, and the operator does not learn why the first has no effect. YAML readers refuse
//! duplicates as well.
//!
//! See decision 0099.

use std::cell::Cell;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Most documents of one body.
const MAX_DOCUMENTS: usize = 5_000;

/// Most values of one body, including nested ones; enough for some thousand workloads. A value of
/// two bytes takes some hundred in memory, so the length of a body alone is no bound.
const MAX_VALUES: usize = 250_000;

/// Beginning of the error for a body with too many values.
pub const TOO_MANY: &str = "too many values";

/// JSON value that is refused if an object in it has a duplicate key, or if it has more than
/// 250,000 values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strict(
    /// JSON value as a plain reader returns it.
    pub Value,
);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        StrictVisitor(&Cell::new(MAX_VALUES)).deserialize(from).map(Self)
    }
}

/// Reads a list of documents as plain values: at most 5,000, with at most 250,000 values in total.
///
/// # Errors
/// The reader's error, the name of a duplicate key, or [`TOO_MANY`].
pub fn strict_values<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Value>, D::Error> {
    from.deserialize_seq(Documents)
}

struct Documents;

impl<'de> Visitor<'de> for Documents {
    type Value = Vec<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of documents")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Vec<Value>, A::Error> {
        let left = Cell::new(MAX_VALUES);
        let mut documents = Vec::new();
        while let Some(document) = from.next_element_seed(StrictVisitor(&left))? {
            if documents.len() >= MAX_DOCUMENTS {
                return Err(A::Error::custom(format_args!(
                    "{TOO_MANY}: more than {MAX_DOCUMENTS} documents; apply them in parts"
                )));
            }
            documents.push(document);
        }
        Ok(documents)
    }
}

/// Visitor of a value and all that is nested in it. The cell holds how many more values are
/// allowed, and is shared by all of them.
struct StrictVisitor<'a>(&'a Cell<usize>);

impl<'de> DeserializeSeed<'de> for StrictVisitor<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        let left = self.0.get().checked_sub(1).ok_or_else(|| {
            D::Error::custom(format_args!(
                "{TOO_MANY}: more than {MAX_VALUES}; apply them in parts"
            ))
        })?;
        self.0.set(left);
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictVisitor<'_> {
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
        while let Some(item) = from.next_element_seed(StrictVisitor(self.0))? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = from.next_key::<String>()? {
            if object.contains_key(&key) {
                let key = crate::path::shorten(&key);
                return Err(A::Error::custom(format!("the key {key:?} stands here twice")));
            }
            let value = from.next_value_seed(StrictVisitor(self.0))?;
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
    fn many_small_values_are_refused_before_they_are_built() {
        #[derive(serde::Deserialize)]
        struct Body(#[serde(deserialize_with = "strict_values")] Vec<Value>);
        let read = |item: &str, count: usize| {
            let items = vec![item; count].join(",");
            serde_json::from_str::<Body>(&format!("[{items}]")).map(|body| body.0.len())
        };
        assert_eq!(read("{}", MAX_DOCUMENTS).unwrap(), MAX_DOCUMENTS);
        let said = read("{}", MAX_DOCUMENTS + 1).err().unwrap().to_string();
        assert!(said.contains(TOO_MANY) && said.contains("documents"), "{said}");
        let wide = format!(r#"{{"a": [{}]}}"#, vec!["0"; MAX_VALUES / 2].join(","));
        assert_eq!(read(&wide, 1).unwrap(), 1);
        let said = read(&wide, 2).err().unwrap().to_string();
        assert!(said.contains(TOO_MANY), "{said}");
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
