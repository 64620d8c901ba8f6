//! Value of a data record as a tree, read from and written to JSON and CBOR. Numbers keep the
//! digits that they were written with, so that the conversion loses none.
//!
//! See decision 0090.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use super::digits;

/// Deepest nesting of lists and maps: that which queries, serde_json and serde_cbor accept.
pub(super) const MAX_DEPTH: usize = 127;

/// JSON-like value with exact numbers and bytes.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    /// `null`, and everything in CBOR that JSON cannot express.
    Null,
    /// Boolean, true or false.
    Bool(bool),
    /// Number, as JSON text with its original digits.
    Number(String),
    /// Text, with escapes resolved.
    Text(String),
    /// Byte string of CBOR.
    Bytes(Vec<u8>),
    /// List of values in their order.
    List(Vec<Tree>),
    /// Object; of several entries with one name the last counts.
    Map(BTreeMap<String, Tree>),
}

impl Tree {
    /// Parses a text that is known to be JSON. None: nested deeper than [`MAX_DEPTH`], or not JSON.
    pub(super) fn of_json(text: &str) -> Option<Self> {
        let mut reader = Reader { rest: text };
        let tree = reader.value(0)?;
        reader.space();
        reader.rest.is_empty().then_some(tree)
    }

    /// Returns the value as JSON on one line.
    pub(super) fn to_json(&self) -> String {
        let mut out = String::new();
        self.put(&mut out);
        out
    }

    fn put(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(number) => out.push_str(number),
            Self::Text(text) => quoted(out, text),
            Self::Bytes(bytes) => {
                out.push_str("{\"base64\":");
                quoted(out, &STANDARD.encode(bytes));
                out.push('}');
            }
            Self::List(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    item.put(out);
                }
                out.push(']');
            }
            Self::Map(fields) => {
                out.push('{');
                for (at, (name, value)) in fields.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    quoted(out, name);
                    out.push(':');
                    value.put(out);
                }
                out.push('}');
            }
        }
    }

    /// Appends the value as CBOR. Whole numbers stay whole, beyond 64 bits with the tags 2 and 3. A
    /// number that is not whole and has no finite double (`1e400`) becomes its text.
    pub(super) fn put_cbor(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.push(0xf6),
            Self::Bool(value) => out.push(if *value { 0xf5 } else { 0xf4 }),
            Self::Number(number) => number_to_cbor(out, number),
            Self::Text(text) => string(out, 3, text.as_bytes()),
            Self::Bytes(bytes) => string(out, 2, bytes),
            Self::List(items) => {
                head(out, 4, length(items.len()));
                items.iter().for_each(|item| item.put_cbor(out));
            }
            Self::Map(fields) => {
                head(out, 5, length(fields.len()));
                for (name, value) in fields {
                    string(out, 3, name.as_bytes());
                    value.put_cbor(out);
                }
            }
        }
    }
}

fn length(many: usize) -> u64 {
    u64::try_from(many).unwrap_or(u64::MAX)
}

/// Appends a major type with its argument, in the shortest form.
pub(super) fn head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    let bytes = argument.to_be_bytes();
    let [.., six, seven, eight] = bytes;
    match argument {
        0..24 => out.push(major | eight),
        24..0x100 => out.extend([major | 24, eight]),
        0x100..0x1_0000 => out.extend([major | 25, seven, eight]),
        0x1_0000..0x1_0000_0000 => {
            let [.., five, _, _, _] = bytes;
            out.extend([major | 26, five, six, seven, eight]);
        }
        _ => {
            out.push(major | 27);
            out.extend(bytes);
        }
    }
}

/// Appends bytes (major type 2) or a text (3) with its length.
pub(super) fn string(out: &mut Vec<u8>, major: u8, bytes: &[u8]) {
    head(out, major, length(bytes.len()));
    out.extend_from_slice(bytes);
}

fn quoted(out: &mut String, text: &str) {
    out.push_str(&Json::from(text).to_string());
}

fn number_to_cbor(out: &mut Vec<u8>, number: &str) {
    let digits = number.strip_prefix('-').unwrap_or(number);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let small = number.parse::<i128>().ok();
        if let Some(above) = small.and_then(|small| u64::try_from(small).ok()) {
            return head(out, 0, above);
        }
        if let Some(below) = small.and_then(|small| u64::try_from(-1 - small).ok()) {
            return head(out, 1, below);
        }
        if let Some((tag, bytes)) = digits::to_bytes(number) {
            head(out, 6, tag);
            return string(out, 2, &bytes);
        }
    }
    let float = number.parse::<f64>().ok().filter(|float| float.is_finite());
    match float.and_then(|float| serde_cbor::to_vec(&float).ok()) {
        Some(bytes) => out.extend(bytes),
        None => string(out, 3, number.as_bytes()),
    }
}

/// JSON reader. Each byte of half a surrogate pair, which text cannot hold, becomes U+FFFD.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn take(&mut self, what: &str) -> bool {
        self.space();
        let after = self.rest.strip_prefix(what);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn value(&mut self, depth: usize) -> Option<Tree> {
        for (word, value) in
            [("null", Tree::Null), ("true", Tree::Bool(true)), ("false", Tree::Bool(false))]
        {
            if self.take(word) {
                return Some(value);
            }
        }
        if self.rest.starts_with('"') {
            return self.string().map(Tree::Text);
        }
        if matches!(self.rest.as_bytes().first(), Some(b'[' | b'{')) && depth >= MAX_DEPTH {
            return None;
        }
        if self.take("[") {
            return self.list(depth);
        }
        if self.take("{") {
            return self.map(depth);
        }
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c));
        let (number, rest) = self.rest.split_at_checked(end.unwrap_or(self.rest.len()))?;
        self.rest = rest;
        (!number.is_empty()).then(|| Tree::Number(number.to_owned()))
    }

    fn list(&mut self, depth: usize) -> Option<Tree> {
        let mut items = Vec::new();
        if self.take("]") {
            return Some(Tree::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if !self.take(",") {
                return self.take("]").then_some(Tree::List(items));
            }
        }
    }

    fn map(&mut self, depth: usize) -> Option<Tree> {
        let mut fields = BTreeMap::new();
        if self.take("}") {
            return Some(Tree::Map(fields));
        }
        loop {
            self.space();
            let name = self.string()?;
            if !self.take(":") {
                return None;
            }
            fields.insert(name, self.value(depth + 1)?);
            if !self.take(",") {
                return self.take("}").then_some(Tree::Map(fields));
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        let body = self.rest.strip_prefix('"')?;
        let mut escaped = false;
        let end = body.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })?;
        let (raw, after) = body.split_at_checked(end)?;
        self.rest = after.strip_prefix('"')?;
        if !raw.contains('\\') {
            return Some(raw.to_owned());
        }
        serde_json::from_str(&format!("\"{raw}\"")).ok().or_else(|| lossy(raw))
    }
}

/// Resolves the escapes of a string, with U+FFFD for each byte of a lone surrogate.
fn lossy(raw: &str) -> Option<String> {
    let bytes: Vec<u8> = format!("\"{raw}\"").into_bytes();
    // serde_json reads a string with lone surrogates only as bytes, where it encodes them as UTF-8
    // would.
    let read: serde_bytes_like::Bytes = serde_json::from_slice(&bytes).ok()?;
    Some(String::from_utf8_lossy(&read.0).into_owned())
}

/// Byte buffer that serde_json can read a string into.
mod serde_bytes_like {
    use serde::de::{Deserialize, Deserializer, Error, Visitor};

    pub(super) struct Bytes(pub(super) Vec<u8>);

    impl<'de> Deserialize<'de> for Bytes {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Any;
            impl Visitor<'_> for Any {
                type Value = Bytes;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("a text")
                }
                fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                    Ok(Bytes(bytes.to_vec()))
                }
            }
            deserializer.deserialize_bytes(Any)
        }
    }
}
