//! Splits the body of a call into data records, piece by piece: lines, JSON, CBOR. Either the whole
//! body is good, or it is refused with the place of its first fault.

use holdfast_records::Format;
use holdfast_records::block::MAX_RECORD;

/// Maximum number of records in one call: each costs some memory beside its bytes.
pub const MAX_RECORDS: usize = 65_536;
/// Maximum depth of nested CBOR, tags included: as deep as queries on the device look into it, and
/// as the control plane shows it as JSON.
const MAX_DEPTH: usize = 127;

/// Encoding of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A JSON value per line; empty lines are skipped.
    Ndjson,
    /// A single JSON value.
    Json,
    /// A record per line, whatever it contains; empty lines are skipped.
    Lines,
    /// CBOR items, one after the other.
    Cbor,
}

impl Kind {
    /// Kind for a content type; NDJSON without one. None: the type is not supported, or names a
    /// charset other than UTF-8.
    pub fn of(content_type: Option<&str>) -> Option<Self> {
        let Some(text) = content_type else { return Some(Self::Ndjson) };
        if !is_utf8(text) {
            return None;
        }
        let kind = text.split(';').next().unwrap_or_default().trim();
        let is = |names: &[&str]| names.iter().any(|name| kind.eq_ignore_ascii_case(name));
        if is(&["application/json"]) {
            Some(Self::Json)
        } else if is(&["application/x-ndjson", "application/ndjson", "application/jsonl"]) {
            Some(Self::Ndjson)
        } else if is(&["text/plain"]) {
            Some(Self::Lines)
        } else {
            is(&["application/cbor-seq", "application/cbor"]).then_some(Self::Cbor)
        }
    }
}

/// True if the charset that a content type names, if any, is UTF-8 or a subset of it.
fn is_utf8(content_type: &str) -> bool {
    content_type.split(';').skip(1).all(|parameter| {
        let (key, value) = parameter.split_once('=').unwrap_or_default();
        let value = value.trim().trim_matches('"');
        !key.trim().eq_ignore_ascii_case("charset")
            || ["utf-8", "utf8", "us-ascii"].iter().any(|known| value.eq_ignore_ascii_case(known))
    })
}

/// Byte order mark in UTF-8: some programs of Windows begin every file with it.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Strips a byte order mark from the beginning.
fn unmarked(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(MARK).unwrap_or(bytes)
}

/// Published payload as a record.
#[derive(Debug, PartialEq, Eq)]
pub struct Published<'a> {
    /// Plain for text and JSON, or CBOR.
    pub format: Format,
    /// Payload without a byte order mark.
    pub value: &'a [u8],
    /// True if the payload begins like JSON and is not valid JSON, though no content type says that
    /// it is.
    pub is_broken: bool,
}

/// Checks a published payload against its content type (of MQTT 5). Without one, or with another
/// one than JSON and CBOR, the payload is stored as it is.
///
/// # Errors
/// Returns the reason if the payload is not what its content type says.
pub fn published<'a>(
    payload: &'a [u8],
    content_type: Option<&str>,
) -> Result<Published<'a>, &'static str> {
    let kind = content_type.and_then(|text| Kind::of(Some(text)));
    let value = if kind == Some(Kind::Cbor) { payload } else { unmarked(payload) };
    let mut published = Published { format: Format::Plain, value, is_broken: false };
    match kind {
        None if content_type.is_some_and(|text| !is_utf8(text)) => {
            return Err("published in another charset than UTF-8: refused");
        }
        Some(Kind::Json) if check_json(value).is_err() => {
            return Err("published as application/json what is no JSON: refused");
        }
        Some(Kind::Json) => {}
        Some(Kind::Cbor) if cbor_item(payload) != Ok(Some(payload.len())) => {
            return Err("published as application/cbor what is not one item of CBOR: refused");
        }
        Some(Kind::Cbor) => published.format = Format::Cbor,
        _ => published.is_broken = begins_like_json(value) && check_json(value).is_err(),
    }
    Ok(published)
}

/// True for `{…`, or `[…]` with both brackets: a line of a log may begin with a bracket too.
fn begins_like_json(value: &[u8]) -> bool {
    match value.trim_ascii() {
        [b'{', ..] => true,
        [b'[', .., last] => *last == b']',
        _ => false,
    }
}

/// Reason for which a body is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Number of the line, or of the item in a CBOR sequence, from 1.
    pub at: u64,
    /// Description of the fault.
    pub why: String,
    /// True if the body or a record is too large, rather than malformed.
    pub too_large: bool,
}

/// Splits a body that arrives piece by piece.
#[derive(Debug)]
pub struct Reader {
    kind: Kind,
    /// Beginning of a record that is not complete yet.
    rest: Vec<u8>,
    /// Number of bytes in `rest` at which CBOR is parsed again.
    look_at: usize,
    /// Number of the record under way, from 1.
    at: u64,
    records: Vec<(Format, Vec<u8>)>,
}

impl Reader {
    /// Creates a reader for a body of this kind.
    pub fn new(kind: Kind) -> Self {
        Self { kind, rest: Vec::new(), look_at: 1, at: 1, records: Vec::new() }
    }

    /// Takes the next piece of the body.
    ///
    /// # Errors
    /// Returns the first [`Fault`] of the body.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match self.kind {
            Kind::Ndjson | Kind::Lines => self.lines(bytes),
            Kind::Json => {
                self.rest.extend_from_slice(bytes);
                self.check_rest()
            }
            Kind::Cbor => {
                self.rest.extend_from_slice(bytes);
                if self.rest.len() >= self.look_at { self.items() } else { Ok(()) }
            }
        }
    }

    /// Ends the body and returns its records.
    ///
    /// # Errors
    /// Returns the [`Fault`], for example of a last item that is cut short.
    pub fn finish(mut self) -> Result<Vec<(Format, Vec<u8>)>, Fault> {
        match self.kind {
            Kind::Ndjson | Kind::Lines => {
                let last = std::mem::take(&mut self.rest);
                self.line(last)?;
            }
            Kind::Json => {
                let whole = std::mem::take(&mut self.rest);
                let value = unmarked(&whole).trim_ascii();
                check_json(value).map_err(|why| self.fault(why.to_string()))?;
                self.push(Format::Plain, value.to_vec())?;
            }
            Kind::Cbor => {
                self.items()?;
                if !self.rest.is_empty() {
                    return Err(self.fault("CBOR cut short"));
                }
            }
        }
        Ok(self.records)
    }

    fn fault(&self, why: impl Into<String>) -> Fault {
        Fault { at: self.at, why: why.into(), too_large: false }
    }

    fn too_large(&self, why: String) -> Fault {
        Fault { at: self.at, why, too_large: true }
    }

    fn check_rest(&self) -> Result<(), Fault> {
        if self.rest.len() > MAX_RECORD {
            return Err(self.too_large(format!("a record of more than {MAX_RECORD} bytes")));
        }
        Ok(())
    }

    fn push(&mut self, format: Format, value: Vec<u8>) -> Result<(), Fault> {
        if value.len() > MAX_RECORD {
            return Err(self.too_large(format!("a record of more than {MAX_RECORD} bytes")));
        }
        if self.records.len() >= MAX_RECORDS {
            return Err(self.too_large(format!("more than {MAX_RECORDS} records in one call")));
        }
        self.records.push((format, value));
        Ok(())
    }

    fn lines(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut pieces = bytes.split(|&byte| byte == b'\n');
        let mut piece = pieces.next().unwrap_or_default();
        for next in pieces {
            let line = if self.rest.is_empty() {
                piece.to_vec()
            } else {
                self.rest.extend_from_slice(piece);
                std::mem::take(&mut self.rest)
            };
            self.line(line)?;
            self.at += 1;
            piece = next;
        }
        self.rest.extend_from_slice(piece);
        // A byte order mark and a carriage return may still be stripped.
        if self.rest.len() > MAX_RECORD + MARK.len() + 1 { self.check_rest() } else { Ok(()) }
    }

    fn line(&mut self, mut line: Vec<u8>) -> Result<(), Fault> {
        if self.at == 1 && line.starts_with(MARK) {
            line.drain(..MARK.len());
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        if self.kind == Kind::Ndjson && line.len() <= MAX_RECORD {
            check_json(&line).map_err(|why| self.fault(why.to_string()))?;
        }
        self.push(Format::Plain, line)
    }

    fn items(&mut self) -> Result<(), Fault> {
        let bytes = std::mem::take(&mut self.rest);
        let mut left = bytes.as_slice();
        while !left.is_empty() {
            let Some(length) = cbor_item(left).map_err(|why| self.fault(why))? else { break };
            let (item, after) = left.split_at_checked(length).unwrap_or((left, &[]));
            self.push(Format::Cbor, item.to_vec())?;
            self.at += 1;
            left = after;
        }
        self.rest = left.to_vec();
        // Parsing again from the beginning of a large item after each byte would take quadratic
        // time: it waits for half as much again.
        self.look_at = self.rest.len() + self.rest.len() / 2 + 1;
        self.check_rest()
    }
}

/// Fault of a text that is not JSON.
#[derive(Debug, thiserror::Error)]
enum NotJson {
    #[error("not UTF-8")]
    Text,
    #[error("not JSON: {0}")]
    Syntax(serde_json::Error),
}

fn check_json(bytes: &[u8]) -> Result<(), NotJson> {
    let text = std::str::from_utf8(bytes).map_err(|_| NotJson::Text)?;
    serde_json::from_str::<serde::de::IgnoredAny>(text).map(drop).map_err(NotJson::Syntax)
}

/// Expected content of an item that is not complete yet.
enum Open {
    /// A definite number of items follows.
    Items(u64),
    /// Items follow until a break; in a map an even number of them.
    Until {
        /// True for a map, which has keys and values.
        map: bool,
        /// True if an odd number of items has come.
        odd: bool,
    },
    /// Pieces of this major type follow until a break.
    Pieces(u8),
}

/// Returns the length of the first item in bytes. None: it is not complete yet.
fn cbor_item(bytes: &[u8]) -> Result<Option<usize>, &'static str> {
    let mut at = 0;
    let mut open: Vec<Open> = Vec::new();
    loop {
        let Some(head) = head(bytes, at)? else { return Ok(None) };
        at = head.end;
        if let Some(Open::Pieces(major)) = open.last()
            && !head.is_break()
            && (head.major != *major || head.argument.is_none())
        {
            return Err("a text of pieces that are none of it");
        }
        let mut whole = true;
        match (head.major, head.argument) {
            (2 | 3, Some(length)) => {
                let end = usize::try_from(length).ok().and_then(|length| at.checked_add(length));
                let Some(end) = end else { return Err("a length beyond all bounds") };
                if end > at + MAX_RECORD {
                    return Err("a record of more than 65536 bytes");
                }
                let Some(content) = bytes.get(at..end) else { return Ok(None) };
                if head.major == 3 && std::str::from_utf8(content).is_err() {
                    return Err("a text that is not UTF-8");
                }
                at = end;
            }
            (2 | 3, None) => whole = push(&mut open, Open::Pieces(head.major))?,
            (4, Some(0)) | (5, Some(0)) => {}
            (4, Some(count)) => whole = push(&mut open, Open::Items(count))?,
            (5, Some(count)) => {
                let count = count.checked_mul(2).ok_or("a length beyond all bounds")?;
                whole = push(&mut open, Open::Items(count))?;
            }
            (4, None) => whole = push(&mut open, Open::Until { map: false, odd: false })?,
            (5, None) => whole = push(&mut open, Open::Until { map: true, odd: false })?,
            (6, Some(_)) => whole = push(&mut open, Open::Items(1))?,
            (7, None) => match open.pop() {
                Some(Open::Until { map: true, odd: true }) => return Err("a key without a value"),
                Some(Open::Until { .. } | Open::Pieces(_)) => {}
                _ => return Err("a break that ends nothing"),
            },
            (0 | 1 | 7, Some(_)) => {}
            _ => return Err("not CBOR"),
        }
        while whole {
            match open.last_mut() {
                None => return Ok(Some(at)),
                Some(Open::Items(1)) => drop(open.pop()),
                Some(Open::Items(count)) => {
                    *count -= 1;
                    whole = false;
                }
                Some(Open::Until { odd, .. }) => {
                    *odd = !*odd;
                    whole = false;
                }
                Some(Open::Pieces(_)) => whole = false,
            }
        }
    }
}

/// Opens an item, and returns false because it is not complete yet.
fn push(open: &mut Vec<Open>, what: Open) -> Result<bool, &'static str> {
    if open.len() >= MAX_DEPTH {
        return Err("nested too deep: at most 127 arrays, maps and tags within each other");
    }
    open.push(what);
    Ok(false)
}

struct Head {
    major: u8,
    /// Value of the head's argument. None: indefinite length, or a break.
    argument: Option<u64>,
    end: usize,
}

impl Head {
    fn is_break(&self) -> bool {
        self.major == 7 && self.argument.is_none()
    }
}

fn head(bytes: &[u8], at: usize) -> Result<Option<Head>, &'static str> {
    let Some(&first) = bytes.get(at) else { return Ok(None) };
    let (major, info) = (first >> 5, first & 31);
    let size = match info {
        0..24 => {
            return Ok(Some(Head { major, argument: Some(info.into()), end: at + 1 }));
        }
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        31 if matches!(major, 2..=5 | 7) => {
            return Ok(Some(Head { major, argument: None, end: at + 1 }));
        }
        _ => return Err("not CBOR"),
    };
    let end = at + 1 + size;
    let Some(argument) = bytes.get(at + 1..end) else { return Ok(None) };
    let argument = argument.iter().fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
    if major == 7 && info == 24 && argument < 32 {
        return Err("not CBOR");
    }
    Ok(Some(Head { major, argument: Some(argument), end }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_cbor::Value;

    use super::*;

    fn read(kind: Kind, pieces: &[&[u8]]) -> Result<Vec<Vec<u8>>, Fault> {
        let mut reader = Reader::new(kind);
        for piece in pieces {
            reader.feed(piece)?;
        }
        let records = reader.finish()?;
        let format = if kind == Kind::Cbor { Format::Cbor } else { Format::Plain };
        assert!(records.iter().all(|(it, _)| *it == format));
        Ok(records.into_iter().map(|(_, value)| value).collect())
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_record() {
        let read = |kind, body: &[u8], size: usize| {
            let mut reader = Reader::new(kind);
            body.chunks(size).for_each(|piece| reader.feed(piece).unwrap());
            reader.finish().unwrap()
        };
        for size in [1, 2, 100] {
            for (kind, body, records) in [
                (Kind::Json, "\u{feff}{\"t\":1}", &["{\"t\":1}"][..]),
                (Kind::Ndjson, "\u{feff}{\"t\":1}\r\n2\n", &["{\"t\":1}", "2"]),
                (Kind::Ndjson, "\u{feff}\n2\n", &["2"]),
                (Kind::Lines, "\u{feff}a\n\u{feff}b\n", &["a", "\u{feff}b"]),
            ] {
                let read = read(kind, body.as_bytes(), size);
                let read: Vec<&str> =
                    read.iter().map(|(_, value)| std::str::from_utf8(value).unwrap()).collect();
                assert_eq!(read, records, "{body:?} in pieces of {size}");
            }
        }
        assert_eq!(published("\u{feff}{\"t\":1}".as_bytes(), None).unwrap().value, b"{\"t\":1}");
    }

    #[test]
    fn a_published_payload_is_what_its_content_type_says() {
        let json = Some("application/json; charset=utf-8");
        for (payload, content_type, taken) in [
            (&b"{\"t\":1}"[..], None, Ok((Format::Plain, false))),
            (b"{\"t\":1}", json, Ok((Format::Plain, false))),
            (b"{\"t\":nan}", None, Ok((Format::Plain, true))),
            (b" {\"t\":1,}", None, Ok((Format::Plain, true))),
            (b"{'t':1}", Some("text/plain"), Ok((Format::Plain, true))),
            (b"[1,2,]", None, Ok((Format::Plain, true))),
            (b"[INFO] started", None, Ok((Format::Plain, false))),
            (b"nan", None, Ok((Format::Plain, false))),
            (b"\xff\xfe", None, Ok((Format::Plain, false))),
            (b"{\"t\":nan}", json, Err(())),
            (b"", json, Err(())),
            (b"{\"t\":1}", Some("application/json; Charset=\"UTF-16\""), Err(())),
            (b"caf\xe9", Some("text/plain;charset=iso-8859-1"), Err(())),
            (b"\xa1\x61t\x01", Some("application/cbor"), Ok((Format::Cbor, false))),
            (b"\xa1\x61t\x01", None, Ok((Format::Plain, false))),
            (b"\xa1\x61t", Some("application/cbor"), Err(())),
            (b"\x01\x02", Some("application/cbor"), Err(())),
            (b"{\"t\":1}", Some("application/octet-stream"), Ok((Format::Plain, false))),
        ] {
            let found = published(payload, content_type).map(|it| (it.format, it.is_broken));
            let text = String::from_utf8_lossy(payload);
            assert_eq!(found.map_err(|_| ()), taken, "{text} {content_type:?}");
        }
    }

    #[test]
    fn lines_are_records_as_they_are_written() {
        let body: &[u8] = b"{\"t\": 1 }\r\n\n 2\n\"x\"";
        assert_eq!(
            read(Kind::Ndjson, &[body]).unwrap(),
            [b"{\"t\": 1 }".to_vec(), b" 2".to_vec(), b"\"x\"".to_vec()]
        );
        assert_eq!(read(Kind::Lines, &[b"a b\n\xff\n"]).unwrap(), [b"a b".to_vec(), vec![0xff]]);
        assert_eq!(read(Kind::Json, &[b"{\n", b"\"a\": 1\n}\n"]).unwrap(), [b"{\n\"a\": 1\n}"]);
        assert_eq!(read(Kind::Ndjson, &[b""]).unwrap(), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn the_first_fault_is_told_with_its_place() {
        let fault = read(Kind::Ndjson, &[b"1\n\n{\"a\":\n2\n"]).unwrap_err();
        assert_eq!((fault.at, fault.too_large), (3, false));
        assert!(fault.why.contains("JSON"), "{fault:?}");
        assert_eq!(read(Kind::Ndjson, &[b"1\n\"\xff\"\n"]).unwrap_err().at, 2);
        assert_eq!(read(Kind::Ndjson, &[b"1\n2 3"]).unwrap_err().at, 2);
        assert!(read(Kind::Json, &[b"1\n2"]).is_err() && read(Kind::Json, &[b""]).is_err());
        let long = vec![b'x'; MAX_RECORD + 1];
        for pieces in [vec![b"a\n".as_slice(), &long], vec![b"a\n", &long, b"\n"]] {
            let fault = read(Kind::Lines, &pieces).unwrap_err();
            assert!(fault.at == 2 && fault.too_large, "{fault:?}");
        }
        assert_eq!(read(Kind::Lines, &[&long[1..], b"\r\n"]).unwrap().len(), 1);
        assert!(read(Kind::Cbor, &[&[0x5a, 0, 1, 0, 1], &long]).is_err());
        let many = b"1\n".repeat(MAX_RECORDS + 1);
        assert!(read(Kind::Lines, &[&many]).unwrap_err().too_large);
        let deep = b"[".repeat(300);
        assert!(read(Kind::Ndjson, &[&deep]).is_err());
        assert!(read(Kind::Cbor, &[&[0x81; 300]]).unwrap_err().why.contains("deep"));
        let nested = |many| [vec![0x81; many], vec![0]].concat();
        assert_eq!(read(Kind::Cbor, &[&nested(127)]).unwrap().len(), 1);
        let fault = read(Kind::Cbor, &[&[0][..], &nested(128)]).unwrap_err();
        assert_eq!(fault.at, 2, "{fault:?}");
    }

    #[test]
    fn what_is_no_cbor_is_none() {
        for bad in [
            &[0x1c][..],
            &[0xff],
            &[0xa1, 1],
            &[0xbf, 1, 0xff],
            &[0x7f, 0x41, b'x', 0xff],
            &[0x5f, 0x5f, 0xff, 0xff],
            &[0x62, 0xff, 0xff],
            &[0xf8, 3],
            &[0xc1],
            &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert!(read(Kind::Cbor, &[bad]).is_err(), "{bad:x?}");
        }
        let good: &[u8] =
            &[0x9f, 1, 0xff, 0xc1, 0xbf, 1, 2, 0xff, 0x7f, 0x61, b'x', 0xff, 0xf8, 32];
        assert_eq!(read(Kind::Cbor, &[good]).unwrap().len(), 4);
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(|it| Value::Integer(it.into())),
            any::<f64>().prop_map(Value::Float),
            ".{0,9}".prop_map(Value::Text),
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
            Just(Value::Null),
        ];
        leaf.prop_recursive(3, 30, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                proptest::collection::btree_map(any::<i32>(), inner, 0..5).prop_map(|map| {
                    Value::Map(
                        map.into_iter().map(|(k, v)| (Value::Integer(k.into()), v)).collect(),
                    )
                }),
            ]
        })
    }

    fn cut(bytes: &[u8], size: usize) -> Vec<&[u8]> {
        bytes.chunks(size.max(1)).collect()
    }

    proptest! {
        #[test]
        fn a_sequence_comes_apart_where_it_was_put_together(
            values in proptest::collection::vec(value(), 0..6),
            size in 1_usize..50,
        ) {
            let items: Vec<Vec<u8>> =
                values.iter().map(|it| serde_cbor::to_vec(it).unwrap()).collect();
            let body = items.concat();
            prop_assert_eq!(read(Kind::Cbor, &cut(&body, size)).unwrap(), items);
        }

        #[test]
        fn no_bytes_break_it_and_no_cut_changes_what_comes_of_them(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            size in 1_usize..50,
        ) {
            for kind in [Kind::Ndjson, Kind::Json, Kind::Lines, Kind::Cbor] {
                let whole = read(kind, &[&bytes]);
                prop_assert_eq!(read(kind, &cut(&bytes, size)), whole);
            }
        }
    }
}
