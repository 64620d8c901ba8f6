//! Search for paths in a JSON text, in one pass that checks all of it.

use std::borrow::Cow;

use super::number::Number;
use super::path::{Found, Paths, put};

/// Deepest nesting, as in serde_json. A deeper text counts as no JSON.
pub(super) const MAX_DEPTH: usize = 127;

/// Stores the values of the paths in `found`. None: the bytes are no JSON, and `found` is
/// meaningless.
pub(super) fn scan<'a>(bytes: &'a [u8], paths: &Paths, found: &mut [Found<'a>]) -> Option<()> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut scan = Scan { text, at: 0, paths, found };
    scan.value(0, paths.whole())?;
    scan.space();
    (scan.at == text.len()).then_some(())
}

struct Scan<'a, 'b> {
    text: &'a str,
    at: usize,
    paths: &'b Paths,
    found: &'b mut [Found<'a>],
}

impl<'a> Scan<'a, '_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.text.get(self.at..)?.starts_with(word).then(|| self.at += word.len())
    }

    /// Reads a value at this depth and stores it for the paths in `set`.
    fn value(&mut self, depth: usize, set: u64) -> Option<()> {
        self.space();
        let here = if set == 0 { 0 } else { self.paths.ending(set, depth) };
        let is = match self.peek()? {
            b'{' => {
                put(self.found, here, &Found::Other);
                return self.object(depth, set & !here);
            }
            b'[' => {
                put(self.found, here, &Found::Other);
                return self.array(depth, set & !here);
            }
            b'"' => {
                let text = self.string()?;
                Found::Text(text)
            }
            b't' => self.word("true").map(|()| Found::Bool(true))?,
            b'f' => self.word("false").map(|()| Found::Bool(false))?,
            b'n' => self.word("null").map(|()| Found::Null)?,
            _ => {
                let number = self.number()?;
                if here == 0 {
                    Found::Other
                } else {
                    Number::parse(number).map_or(Found::Null, Found::Number)
                }
            }
        };
        put(self.found, here, &is);
        Some(())
    }

    fn object(&mut self, depth: usize, set: u64) -> Option<()> {
        if depth >= MAX_DEPTH {
            return None;
        }
        self.take(b'{')?;
        self.space();
        if self.take(b'}').is_some() {
            return Some(());
        }
        loop {
            self.space();
            let name = self.string()?;
            let inner = if set == 0 { 0 } else { self.paths.named(set, depth, &name) };
            // If a name occurs several times, the last one counts, as in serde_json.
            put(self.found, inner, &Found::Missing);
            self.space();
            self.take(b':')?;
            self.value(depth + 1, inner)?;
            self.space();
            if self.take(b',').is_none() {
                return self.take(b'}');
            }
        }
    }

    fn array(&mut self, depth: usize, set: u64) -> Option<()> {
        if depth >= MAX_DEPTH {
            return None;
        }
        self.take(b'[')?;
        self.space();
        if self.take(b']').is_some() {
            return Some(());
        }
        for at in 0.. {
            let inner = if set == 0 { 0 } else { self.paths.element(set, depth, at) };
            self.value(depth + 1, inner)?;
            self.space();
            if self.take(b',').is_none() {
                break;
            }
        }
        self.take(b']')
    }

    fn string(&mut self) -> Option<Cow<'a, str>> {
        self.take(b'"')?;
        let from = self.at;
        let mut escaped = false;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => {
                    escaped = true;
                    self.at += 1;
                    if self.peek()? == b'u' {
                        let digits = self.text.as_bytes().get(self.at + 1..self.at + 5)?;
                        if !digits.iter().all(u8::is_ascii_hexdigit) {
                            return None;
                        }
                    } else if !br#""\/bfnrt"#.contains(&self.peek()?) {
                        return None;
                    }
                    self.at += 1;
                }
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
        let raw = self.text.get(from..self.at)?;
        self.at += 1;
        if !escaped {
            return Some(Cow::Borrowed(raw));
        }
        // Half of a surrogate pair without the other is no JSON, as in serde_json.
        unescape(raw).map(Cow::Owned)
    }

    fn digits(&mut self) -> Option<()> {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        (self.at > from).then_some(())
    }

    fn number(&mut self) -> Option<&'a str> {
        let from = self.at;
        let _sign = self.take(b'-');
        if self.take(b'0').is_none() {
            self.digits()?;
        }
        if self.take(b'.').is_some() {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        self.text.get(from..self.at)
    }
}

fn unescape(raw: &str) -> Option<String> {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let mut letters = after.chars();
        match letters.next()? {
            'u' => {
                let first = u32::from_str_radix(after.get(1..5)?, 16).ok()?;
                rest = after.get(5..)?;
                let code = if (0xd800..0xdc00).contains(&first) {
                    let low = rest.strip_prefix("\\u")?;
                    let second = u32::from_str_radix(low.get(..4)?, 16).ok()?;
                    rest = low.get(4..)?;
                    let second = second.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                    0x10000 + ((first - 0xd800) << 10) + second
                } else {
                    first
                };
                out.push(char::from_u32(code)?);
                continue;
            }
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            other => out.push(other),
        }
        rest = letters.as_str();
    }
    out.push_str(rest);
    Some(out)
}
