//! Data records in their outward form: JSON `{"seq","time","value"}`, or a CBOR map of the same. A
//! value that was published as JSON keeps its JSON text, one published as CBOR its CBOR bytes.

mod cbor;
mod digits;
mod fields;
mod tree;

use holdfast_records::{Format, Record};
use serde::de::IgnoredAny;
use serde_json::Value as Json;

use holdfast_api::time::rfc3339_millis;
pub use tree::Tree;

/// Form of a data record's value.
enum Kind<'a> {
    /// JSON text without surrounding white space.
    Json(&'a str),
    Text(&'a str),
    Cbor(Tree),
    Binary,
}

fn kind(record: &Record) -> Kind<'_> {
    let bytes = record.value.as_slice();
    if record.format == Format::Cbor {
        return cbor::read(bytes).map_or(Kind::Binary, Kind::Cbor);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return Kind::Binary };
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Kind::Json(text.trim_matches([' ', '\t', '\r', '\n'])),
        Err(_) => Kind::Text(text),
    }
}

/// Returns the value as JSON on one line: JSON as it was published, text as a string, CBOR
/// translated (see `cbor`), other bytes as `{"base64"}`.
pub fn value_json(record: &Record) -> String {
    match kind(record) {
        // A line end in valid JSON is white space: inside of strings it can only be an escape.
        Kind::Json(text) if text.contains(['\n', '\r']) => text.replace(['\n', '\r'], " "),
        Kind::Json(text) => text.to_owned(),
        Kind::Text(text) => Json::from(text).to_string(),
        Kind::Cbor(value) => value.to_json(),
        Kind::Binary => Tree::Bytes(record.value.clone()).to_json(),
    }
}

/// Returns the form in which the value was published: `json`, `text`, `cbor` or `bytes`.
pub fn value_form(record: &Record) -> &'static str {
    match kind(record) {
        Kind::Json(_) => "json",
        Kind::Text(_) => "text",
        Kind::Cbor(_) => "cbor",
        Kind::Binary => "bytes",
    }
}

/// Returns the value as a tree, to look for fields in it. None: neither JSON nor CBOR, or nested
/// too deep.
pub fn value_tree(record: &Record) -> Option<Tree> {
    match kind(record) {
        Kind::Json(text) => Tree::of_json(text),
        Kind::Cbor(value) => Some(value),
        Kind::Text(_) | Kind::Binary => None,
    }
}

/// Returns the data record as one line of JSON, without a line end.
pub fn record_json(record: &Record) -> String {
    let time = rfc3339_millis(record.time);
    format!("{{\"seq\":{},\"time\":\"{time}\",\"value\":{}}}", record.seq, value_json(record))
}

/// Returns the data record as a CBOR map of the same fields. JSON that is nested too deep becomes a
/// text.
pub fn record_cbor(record: &Record) -> Vec<u8> {
    let mut out = vec![0xa3];
    let text = |out: &mut Vec<u8>, text: &str| tree::string(out, 3, text.as_bytes());
    text(&mut out, "seq");
    tree::head(&mut out, 0, record.seq);
    text(&mut out, "time");
    text(&mut out, &rfc3339_millis(record.time));
    text(&mut out, "value");
    match kind(record) {
        Kind::Cbor(_) => out.extend_from_slice(&record.value),
        Kind::Text(value) => text(&mut out, value),
        Kind::Json(value) => match Tree::of_json(value) {
            Some(tree) => tree.put_cbor(&mut out),
            None => text(&mut out, value),
        },
        Kind::Binary => tree::string(&mut out, 2, &record.value),
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_cbor::Value as Cbor;
    use serde_json::json;

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
            (b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff", "-18446744073709551616"),
            (b"\xc2\x49\x01\x00\x00\x00\x00\x00\x00\x00\x00", "18446744073709551616"),
            (b"\xc3\x49\x01\x00\x00\x00\x00\x00\x00\x00\x00", "-18446744073709551617"),
            (b"\xc3\x40", "-1"),
            (b"\xc4\x82\x21\x19\x6a\xb3", "273.15"),
            (b"\xc4\x82\x20\x22", "-0.3"),
            (b"\xc4\x82\x24\xc2\x42\x01\x00", "0.00256"),
            (b"\xc4\x82\x03\x07", "7e3"),
            (b"\xc5\x82\x20\x03", "1.5"),
            (b"\xc4\x82\x61a\x03", r#"["a",3]"#),
            (b"\xc2\x61a", "\"a\""),
            (b"\xa2\x01\x01\x611\x02", r##"{"#1":1,"1":2}"##),
            (b"\xf8\xff", "null"),
            (b"\xa1\x61t\x82\xf7\xf9\x7c\x00", r#"{"t":[null,null]}"#),
            (b"\xfb\x7e\x37\xe4\x3c\x88\x00\x75\x9c", "1e300"),
            (b"\xc1\x1a\x51\x4b\x67\xb0", "1363896240"),
            (b"\xff", r#"{"base64":"/w=="}"#),
            (b"\x01\x02", r#"{"base64":"AQI="}"#),
        ] {
            assert_eq!(value_json(&record(Format::Cbor, bytes)), shown);
        }
        for (many, shown) in [(127, true), (128, false), (60_000, false)] {
            for head in [0x81, 0xc1] {
                let deep = [vec![head; many], vec![0]].concat();
                let said = value_json(&record(Format::Cbor, &deep));
                assert_eq!(said.starts_with(r#"{"base64""#), !shown, "{many}");
            }
        }
    }

    #[test]
    fn json_numbers_become_what_cbor_has_for_them() {
        let item = |value: &str| {
            let whole: Cbor =
                serde_cbor::from_slice(&record_cbor(&record(Format::Plain, value.as_bytes())))
                    .unwrap();
            let Cbor::Map(fields) = whole else { panic!("no map") };
            fields[&Cbor::Text("value".into())].clone()
        };
        let text = |text: &str| Cbor::Text(text.into());
        for (value, is) in [
            ("9007199254740993", Cbor::Integer(9_007_199_254_740_993)),
            ("-9223372036854775809", Cbor::Integer(-9_223_372_036_854_775_809)),
            ("-18446744073709551616", Cbor::Integer(-(1 << 64))),
            ("1.5", Cbor::Float(1.5)),
            ("1e3", Cbor::Float(1e3)),
            ("1e400", text("1e400")),
        ] {
            assert_eq!(item(value), is, "{value}");
        }
        let field = |value: &str| match item(value) {
            Cbor::Map(fields) => fields[&text("a")].clone(),
            other => panic!("{other:?}"),
        };
        for (value, end) in [
            ("18446744073709551616", b"\xc2\x49\x01\0\0\0\0\0\0\0\0"),
            ("-18446744073709551617", b"\xc3\x49\x01\0\0\0\0\0\0\0\0"),
        ] {
            assert!(
                record_cbor(&record(Format::Plain, value.as_bytes())).ends_with(end),
                "{value}"
            );
        }
        // One part that CBOR has no number for does not change the others.
        assert_eq!(field(r#"{"a":1,"b":1e400}"#), Cbor::Integer(1));
        assert_eq!(field(r#"{"a":1e400,"b":1}"#), text("1e400"));
        assert_eq!(field(r#"{"a":"x\ud800y","b":1}"#), text("x\u{fffd}\u{fffd}\u{fffd}y"));
        assert_eq!(field(r#"{"a":1, "a": 2}"#), Cbor::Integer(2));
        let nested = |many| "[".repeat(many) + &"]".repeat(many);
        assert!(matches!(item(&nested(126)), Cbor::Array(_)));
        assert_eq!(item(&nested(128)), text(&nested(128)));
    }

    proptest! {
        #[test]
        fn whole_numbers_of_any_size_go_both_ways(digits in "-?[1-9][0-9]{0,400}") {
            let record = Record { seq: 1, time: 1, format: Format::Plain, value: digits.clone().into() };
            let Some(tree) = value_tree(&record) else { panic!("a number") };
            let mut bytes = Vec::new();
            tree.put_cbor(&mut bytes);
            prop_assert_eq!(cbor::read(&bytes), Some(Tree::Number(digits)));
        }

        #[test]
        fn trees_are_what_serde_reads(value in json()) {
            let record = Record { seq: 1, time: 1, format: Format::Plain, value: value.to_string().into() };
            let tree = value_tree(&record).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Json>(&tree.to_json()).unwrap(), &value);
            let cbor = serde_cbor::to_vec(&value).unwrap();
            let read = cbor::read(&cbor).unwrap().to_json();
            prop_assert_eq!(&serde_json::from_str::<Json>(&read).unwrap(), &value);
        }
    }

    fn json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<u64>().prop_map(Json::from),
            // serde_json reads other doubles only to within their last digit.
            any::<i32>().prop_map(|eighths| Json::from(f64::from(eighths) / 8.0)),
            any::<String>().prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                proptest::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(|map| Json::Object(map.into_iter().collect())),
            ]
        })
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
            let item = cbor::read(&serde_cbor::to_vec(&item).unwrap()).unwrap();
            assert_eq!(serde_json::from_str::<Json>(&item.to_json()).unwrap(), whole);
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
            // serde_cbor does not read unassigned simple values, although they are valid CBOR.
            prop_assert!(cbor::read(&record_cbor(&record)).is_some());
        }
    }
}
