//! A record as others read it: JSON `{"seq","time","value"}`, or a CBOR map of the same. What
//! was published as JSON goes out as JSON text for text, CBOR as CBOR byte for byte.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_protocol::data::{Format, Record};
use serde::de::IgnoredAny;
use serde_cbor::Value as Cbor;
use serde_json::{Value as Json, json};

use super::time::rfc3339_millis;

/// Deepest nesting that is turned from one form into the other; deeper is shown as bytes.
const MAX_DEPTH: usize = 64;

/// What a record's value is.
enum Kind<'a> {
    /// JSON, without the space around it.
    Json(&'a str),
    Text(&'a str),
    Cbor(Cbor),
    Binary,
}

fn kind(record: &Record) -> Kind<'_> {
    let bytes = record.value.as_slice();
    if record.format == Format::Cbor {
        return match serde_cbor::from_slice(bytes) {
            Ok(value) => Kind::Cbor(value),
            Err(_) => Kind::Binary,
        };
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return Kind::Binary };
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Kind::Json(text.trim_matches([' ', '\t', '\r', '\n'])),
        Err(_) => Kind::Text(text),
    }
}

fn base64(bytes: &[u8]) -> Json {
    json!({ "base64": STANDARD.encode(bytes) })
}

/// The value as JSON text on one line: as it was published if that was JSON, text as a string,
/// CBOR translated, other bytes as `{"base64"}`.
pub fn value_json(record: &Record) -> String {
    match kind(record) {
        // Outside of strings a line end is only space, and within them it cannot stand.
        Kind::Json(text) if text.contains(['\n', '\r']) => text.replace(['\n', '\r'], " "),
        Kind::Json(text) => text.to_owned(),
        Kind::Text(text) => Json::from(text).to_string(),
        Kind::Cbor(value) => match to_json(&value, 0) {
            Some(value) => value.to_string(),
            None => base64(&record.value).to_string(),
        },
        Kind::Binary => base64(&record.value).to_string(),
    }
}

/// The value as a tree, for whoever looks for fields in it. None: neither JSON nor CBOR.
pub fn value_tree(record: &Record) -> Option<Json> {
    match kind(record) {
        Kind::Json(text) => serde_json::from_str(text).ok(),
        Kind::Cbor(value) => to_json(&value, 0),
        Kind::Text(_) | Kind::Binary => None,
    }
}

/// The record as one line of JSON, without a line end.
pub fn record_json(record: &Record) -> String {
    let time = rfc3339_millis(record.time);
    format!("{{\"seq\":{},\"time\":\"{time}\",\"value\":{}}}", record.seq, value_json(record))
}

/// The record as a CBOR map of the same.
pub fn record_cbor(record: &Record) -> Vec<u8> {
    let mut out = vec![0xa3];
    let mut put = |value: &Cbor| out.extend(serde_cbor::to_vec(value).unwrap_or(vec![0xf6]));
    put(&Cbor::Text("seq".into()));
    put(&Cbor::Integer(record.seq.into()));
    put(&Cbor::Text("time".into()));
    put(&Cbor::Text(rfc3339_millis(record.time)));
    put(&Cbor::Text("value".into()));
    match kind(record) {
        Kind::Cbor(_) => out.extend_from_slice(&record.value),
        Kind::Text(text) => put(&Cbor::Text(text.into())),
        Kind::Json(text) => match serde_json::from_str::<Json>(text) {
            Ok(value) => put(&to_cbor(&value)),
            Err(_) => put(&Cbor::Text(text.into())),
        },
        Kind::Binary => put(&Cbor::Bytes(record.value.clone())),
    }
    out
}

/// None: nested too deeply.
fn to_json(value: &Cbor, depth: usize) -> Option<Json> {
    if depth > MAX_DEPTH {
        return None;
    }
    Some(match value {
        Cbor::Bool(value) => (*value).into(),
        Cbor::Integer(value) => integer(*value),
        // JSON has neither infinities nor NaN: they are null.
        Cbor::Float(value) => (*value).into(),
        Cbor::Bytes(bytes) => base64(bytes),
        Cbor::Text(text) => text.as_str().into(),
        Cbor::Array(items) => {
            let items: Option<Vec<Json>> =
                items.iter().map(|item| to_json(item, depth + 1)).collect();
            items?.into()
        }
        Cbor::Map(fields) => {
            let mut object = serde_json::Map::new();
            for (key, value) in fields {
                let key = match key {
                    Cbor::Text(text) => text.clone(),
                    other => to_json(other, depth + 1)?.to_string(),
                };
                object.insert(key, to_json(value, depth + 1)?);
            }
            object.into()
        }
        Cbor::Tag(_, inner) => to_json(inner, depth + 1)?,
        _ => Json::Null,
    })
}

fn integer(value: i128) -> Json {
    if let Ok(value) = u64::try_from(value) {
        value.into()
    } else if let Ok(value) = i64::try_from(value) {
        value.into()
    } else {
        value.to_string().into()
    }
}

fn to_cbor(value: &Json) -> Cbor {
    match value {
        Json::Null => Cbor::Null,
        Json::Bool(value) => Cbor::Bool(*value),
        Json::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(value), ..) => Cbor::Integer(value.into()),
            (_, Some(value), _) => Cbor::Integer(value.into()),
            (.., Some(value)) => Cbor::Float(value),
            _ => Cbor::Text(number.to_string()),
        },
        Json::String(text) => Cbor::Text(text.clone()),
        Json::Array(items) => Cbor::Array(items.iter().map(to_cbor).collect()),
        Json::Object(fields) => Cbor::Map(
            fields.iter().map(|(key, value)| (Cbor::Text(key.clone()), to_cbor(value))).collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(format: Format, value: &[u8]) -> Record {
        Record { seq: 7, time: 1_795_000_000_123, format, value: value.to_vec() }
    }

    #[test]
    fn values_go_out_as_they_came() {
        let head = r#"{"seq":7,"time":"2026-11-18T11:06:40.123Z","value":"#;
        for (value, shown) in [
            (&b"21.50"[..], "21.50"),
            (b" {\"b\": 1e3,\n \"a\":[1,2]}\r\n", r#"{"b": 1e3,  "a":[1,2]}"#),
            (b"123456789012345678901234567890", "123456789012345678901234567890"),
            (b"\"x\\n\"", r#""x\n""#),
            (b"hello \"you\"\n", r#""hello \"you\"\n""#),
            (b"{\"a\":1} {\"a\":2}", r#""{\"a\":1} {\"a\":2}""#),
            (b"", r#""""#),
            (b"\xff\x00", r#"{"base64":"/wA="}"#),
        ] {
            let shown = format!("{head}{shown}}}");
            assert_eq!(record_json(&record(Format::Plain, value)), shown);
            serde_json::from_str::<Json>(&shown).unwrap();
        }
    }

    #[test]
    fn cbor_is_translated() {
        let map = b"\xa3\x61t\xf9\x4d\x60\x01\x41\xff\x61n\xf9\x7e\x00"; // {t: 21.5, 1: h'ff', n: NaN}
        assert_eq!(
            value_json(&record(Format::Cbor, map)),
            r#"{"1":{"base64":"/w=="},"n":null,"t":21.5}"#
        );
        for (bytes, shown) in [
            (&b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff"[..], "18446744073709551615"),
            (b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff", "\"-18446744073709551616\""),
            (b"\xc1\x1a\x51\x4b\x67\xb0", "1363896240"),
            (b"\xff", r#"{"base64":"/w=="}"#),
            (b"\x01\x02", r#"{"base64":"AQI="}"#),
        ] {
            assert_eq!(value_json(&record(Format::Cbor, bytes)), shown);
        }
        let deep = [vec![0x81; 100], vec![0]].concat();
        assert!(value_json(&record(Format::Cbor, &deep)).starts_with(r#"{"base64""#));
    }

    #[test]
    fn the_map_of_cbor_is_one_item() {
        for (format, value, shown) in [
            (Format::Plain, &b"{\"t\":21.5}"[..], json!({ "t": 21.5 })),
            (Format::Plain, b"-3", json!(-3)),
            (Format::Plain, b"text", json!("text")),
            (Format::Cbor, b"\xa1\x61t\xf9\x4d\x60", json!({ "t": 21.5 })),
            (Format::Plain, b"\xff", json!({ "base64": "/w==" })),
        ] {
            let item: Cbor = serde_cbor::from_slice(&record_cbor(&record(format, value))).unwrap();
            let time = "2026-11-18T11:06:40.123Z";
            let whole = json!({ "seq": 7, "time": time, "value": shown });
            assert_eq!(to_json(&item, 0).unwrap(), whole);
        }
    }

    proptest! {
        #[test]
        fn whatever_was_published_can_be_read(value: Vec<u8>, cbor: bool) {
            let format = if cbor { Format::Cbor } else { Format::Plain };
            let record = record(format, &value);
            let line = record_json(&record);
            prop_assert!(!line.contains('\n'));
            prop_assert!(serde_json::from_str::<Json>(&line).is_ok(), "{}", line);
            prop_assert!(serde_cbor::from_slice::<Cbor>(&record_cbor(&record)).is_ok());
        }
    }
}
