//! Reads JSON and refuses duplicate keys. A plain reader silently keeps the last of two values for
//! one key, and the operator does not learn why the first has no effect. YAML readers refuse
//! duplicates as well.
//!
//! See decision 0099.

use std::cell::Cell;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::Apply;

/// Most documents of one body.
const MAX_DOCUMENTS: usize = 5_000;

/// Most values of one body, including nested ones; enough for some thousand workloads. A value of
/// two bytes takes some hundred in memory, so the length of a body alone is no bound.
const MAX_VALUES: usize = 250_000;

/// Limit that a body exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    /// More than 5,000 documents.
    #[error("too many values: more than {MAX_DOCUMENTS} documents; apply them in parts")]
    Documents,
    /// More than 250,000 values.
    #[error("too many values: more than {MAX_VALUES}; apply them in parts")]
    Values,
}

/// Reason why a body is not read.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// The body has more in it than is taken.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// The body is not the JSON asked for.
    #[error(transparent)]
    Json(serde_json::Error),
}

/// JSON value that is refused if an object in it has a duplicate key, or if it has more than
/// 250,000 values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strict(
    /// JSON value as a plain reader returns it.
    pub Value,
);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        StrictVisitor(&Bounds::default()).deserialize(from).map(Self)
    }
}

/// Number of values that may still come, and the limit that was exceeded.
struct Bounds {
    left: Cell<usize>,
    exceeded: Cell<Option<TooMany>>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { left: Cell::new(MAX_VALUES), exceeded: Cell::new(None) }
    }
}

impl Bounds {
    /// Notes the limit that is exceeded, and returns the error that ends the reader. Its type is
    /// lost on the way through the reader, but not the note.
    fn exceed<E: Error>(&self, what: TooMany) -> E {
        self.exceeded.set(Some(what));
        E::custom(what)
    }
}

/// Reads the body of `POST /api/v1/apply`: at most 5,000 documents, with at most 250,000 values in
/// total.
///
/// # Errors
/// [`Unread`]; a duplicate key is an error of the JSON and is named.
pub fn apply(bytes: &[u8]) -> Result<Apply, Unread> {
    let bounds = Bounds::default();
    let mut from = serde_json::Deserializer::from_slice(bytes);
    let read = from.deserialize_map(Body(&bounds)).and_then(|body| from.end().map(|()| body));
    read.map_err(|error| bounds.exceeded.get().map_or(Unread::Json(error), Unread::TooMany))
}

/// Visitor of the body as a whole.
struct Body<'a>(&'a Bounds);

impl<'de> Visitor<'de> for Body<'_> {
    type Value = Apply;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("struct Apply")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Apply, A::Error> {
        const DOCUMENTS: &str = "documents";
        let mut documents = None;
        while let Some(key) = from.next_key::<String>()? {
            if key != DOCUMENTS {
                return Err(A::Error::unknown_field(&key, &[DOCUMENTS]));
            }
            if documents.replace(from.next_value_seed(Documents(self.0))?).is_some() {
                return Err(A::Error::duplicate_field(DOCUMENTS));
            }
        }
        let documents = documents.ok_or_else(|| A::Error::missing_field(DOCUMENTS))?;
        Ok(Apply { documents })
    }
}

/// Visitor of the list of documents.
struct Documents<'a>(&'a Bounds);

impl<'de> DeserializeSeed<'de> for Documents<'_> {
    type Value = Vec<Value>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Vec<Value>, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Documents<'_> {
    type Value = Vec<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of documents")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Vec<Value>, A::Error> {
        let mut documents = Vec::new();
        while let Some(document) = from.next_element_seed(StrictVisitor(self.0))? {
            if documents.len() >= MAX_DOCUMENTS {
                return Err(self.0.exceed(TooMany::Documents));
            }
            documents.push(document);
        }
        Ok(documents)
    }
}

/// Visitor of a value and all that is nested in it. The bounds are shared by all of them.
struct StrictVisitor<'a>(&'a Bounds);

impl<'de> DeserializeSeed<'de> for StrictVisitor<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        let left = self.0.left.get().checked_sub(1);
        self.0.left.set(left.ok_or_else(|| self.0.exceed(TooMany::Values))?);
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
        let read = |item: &str, count: usize| {
            let items = vec![item; count].join(",");
            let read = apply(format!("{{\"documents\": [{items}]}}").as_bytes());
            read.map(|body| body.documents.len())
        };
        assert_eq!(read("{}", MAX_DOCUMENTS).unwrap(), MAX_DOCUMENTS);
        let over = read("{}", MAX_DOCUMENTS + 1);
        assert!(matches!(over, Err(Unread::TooMany(TooMany::Documents))), "{over:?}");
        let wide = format!(r#"{{"a": [{}]}}"#, vec!["0"; MAX_VALUES / 2].join(","));
        assert_eq!(read(&wide, 1).unwrap(), 1);
        let over = read(&wide, 2);
        assert!(matches!(over, Err(Unread::TooMany(TooMany::Values))), "{over:?}");
    }

    #[test]
    fn a_body_of_documents_has_that_one_field() {
        for (body, said) in [
            ("{}", "missing field `documents`"),
            (r#"{"documents": [], "more": 1}"#, "unknown field `more`, expected `documents`"),
            (r#"{"documents": [], "documents": []}"#, "duplicate field `documents`"),
            (r#"{"documents": 1}"#, "invalid type: integer `1`, expected a list of documents"),
            (r#"{"documents": [{"a": 1, "a": 2}]}"#, "the key \"a\" stands here twice"),
            (r#"{"documents": []} x"#, "trailing characters"),
        ] {
            let why = apply(body.as_bytes()).unwrap_err();
            assert!(matches!(why, Unread::Json(_)) && why.to_string().starts_with(said), "{why}");
        }
        assert_eq!(apply(br#"{"documents": [null]}"#).unwrap().documents, [Value::Null]);
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
