//! Search for paths in a CBOR item, in one pass that checks all of it.

use std::borrow::Cow;

use super::json::MAX_DEPTH;
use super::number::Number;
use super::path::{Found, Paths, put};

/// Stores the values of the paths in `found`. None: the bytes are not exactly one CBOR item, and
/// `found` is meaningless.
pub(super) fn scan<'a>(bytes: &'a [u8], paths: &Paths, found: &mut [Found<'a>]) -> Option<()> {
    let mut scan = Scan { rest: bytes, paths, found };
    scan.value(0, paths.whole())?;
    scan.rest.is_empty().then_some(())
}

/// Number of items or bytes that follow.
#[derive(Clone, Copy, PartialEq)]
enum Length {
    Of(u64),
    UntilBreak,
}

const BREAK: u8 = 0xff;

struct Scan<'a, 'b> {
    rest: &'a [u8],
    paths: &'b Paths,
    found: &'b mut [Found<'a>],
}

impl<'a> Scan<'a, '_> {
    fn bytes(&mut self, many: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(many).ok()?)?;
        self.rest = rest;
        Some(taken)
    }

    fn big_endian(&mut self, many: u64) -> Option<u64> {
        let bytes = self.bytes(many)?;
        Some(bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    /// Reads the head of an item: its major type, the five bits after it, and the argument.
    fn head(&mut self) -> Option<(u8, u8, Length)> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        let (major, info) = (first >> 5, first & 31);
        let length = match info {
            0..24 => Length::Of(u64::from(info)),
            24..=27 => Length::Of(self.big_endian(1 << (info - 24))?),
            31 if (2..=5).contains(&major) => Length::UntilBreak,
            _ => return None,
        };
        Some((major, info, length))
    }

    fn at_break(&mut self) -> bool {
        match self.rest.split_first() {
            Some((&BREAK, rest)) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Returns true if another item follows after `taken` items.
    fn more(&mut self, length: Length, taken: u64) -> bool {
        match length {
            Length::Of(many) => taken < many,
            Length::UntilBreak => !self.at_break(),
        }
    }

    fn value(&mut self, depth: usize, set: u64) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        let here = if set == 0 { 0 } else { self.paths.ending(set, depth) };
        let (mut major, mut info, mut length) = self.head()?;
        let (mut tags, mut tag) = (0, Length::UntilBreak);
        while major == 6 {
            tags += 1;
            if tags > MAX_DEPTH {
                return None;
            }
            tag = length;
            (major, info, length) = self.head()?;
        }
        let is = match (major, length) {
            (0 | 1, Length::Of(number)) => Found::Number(whole(major, number)),
            (2, length) => {
                let bytes = self.string(2, length)?;
                big(tag, &bytes).map_or(Found::Other, Found::Number)
            }
            (3, length) => match self.string(3, length)? {
                Cow::Borrowed(bytes) => Found::Text(std::str::from_utf8(bytes).ok()?.into()),
                Cow::Owned(bytes) => Found::Text(String::from_utf8(bytes).ok()?.into()),
            },
            (4, length) => {
                let rest = self.rest;
                if length == Length::Of(2)
                    && let Some(number) = self.fraction(tag)
                {
                    put(self.found, here, &Found::of(number));
                    return Some(());
                }
                self.rest = rest;
                put(self.found, here, &Found::Other);
                return self.array(depth, set & !here, length);
            }
            (5, length) => {
                put(self.found, here, &Found::Other);
                return self.map(depth, set & !here, length);
            }
            (7, Length::Of(bits)) => simple(info, bits),
            _ => return None,
        };
        put(self.found, here, &is);
        Some(())
    }

    /// Reads a decimal fraction (tag 4) or a bigfloat (tag 5): an exponent and a whole number.
    /// None: the array has another tag.
    fn fraction(&mut self, tag: Length) -> Option<f64> {
        let base = match tag {
            Length::Of(4) => 10.0,
            Length::Of(5) => 2.0,
            _ => return None,
        };
        let (exponent, number) = (self.whole()?.whole()?, self.whole()?);
        // An exponent beyond this is beyond every double, in either direction.
        let exponent = i32::try_from(exponent.clamp(-3_000, 3_000)).ok()?;
        if let (Some(number), Length::Of(4)) = (number.whole(), tag) {
            return format!("{number}e{exponent}").parse().ok();
        }
        let half = f64::powi(base, exponent / 2);
        Some(number.float() * half * f64::powi(base, exponent - exponent / 2))
    }

    /// Reads a whole number of any size.
    fn whole(&mut self) -> Option<Number> {
        match self.head()? {
            (major @ (0 | 1), _, Length::Of(number)) => Some(whole(major, number)),
            (6, _, tag) => {
                let (2, _, length) = self.head()? else { return None };
                big(tag, &self.string(2, length)?)
            }
            _ => None,
        }
    }

    fn string(&mut self, major: u8, length: Length) -> Option<Cow<'a, [u8]>> {
        if let Length::Of(many) = length {
            return self.bytes(many).map(Cow::Borrowed);
        }
        let mut whole = Vec::new();
        while !self.at_break() {
            match self.head()? {
                (kind, _, Length::Of(many)) if kind == major => {
                    whole.extend_from_slice(self.bytes(many)?);
                }
                _ => return None,
            }
        }
        Some(Cow::Owned(whole))
    }

    fn array(&mut self, depth: usize, set: u64, length: Length) -> Option<()> {
        let mut taken = 0u64;
        while self.more(length, taken) {
            let at = usize::try_from(taken).ok()?;
            let inner = if set == 0 { 0 } else { self.paths.element(set, depth, at) };
            self.value(depth + 1, inner)?;
            taken += 1;
        }
        Some(())
    }

    fn map(&mut self, depth: usize, set: u64, length: Length) -> Option<()> {
        let mut taken = 0u64;
        while self.more(length, taken) {
            taken += 1;
            let mut inner = 0;
            let major = self.rest.first().map_or(0, |first| first >> 5);
            if major <= 1 {
                // Bytes are found as the text that JSON shows for them.
                let Length::Of(number) = self.head()?.2 else { return None };
                if set != 0 {
                    let name = match major {
                        0 => number.to_string(),
                        _ => format!("{}", -1 - i128::from(number)),
                    };
                    inner = self.paths.named(set, depth, &name);
                }
            } else if major == 3 {
                let (major, _, length) = self.head()?;
                let name = self.string(major, length)?;
                let name = std::str::from_utf8(&name).ok()?;
                inner = if set == 0 { 0 } else { self.paths.named(set, depth, name) };
            } else {
                self.value(depth + 1, 0)?; // a key that no path names
            }
            put(self.found, inner, &Found::Missing);
            self.value(depth + 1, inner)?;
        }
        Some(())
    }
}

/// Returns the number of an item of major type 0 or 1.
fn whole(major: u8, number: u64) -> Number {
    Number::wide(if major == 0 { number.into() } else { -1 - i128::from(number) })
}

/// Returns a number of any size (tags 2 and 3). More than 64 bits become the nearest double, more
/// than 120 nearly the nearest. None: the tag is another one.
fn big(tag: Length, bytes: &[u8]) -> Option<Number> {
    let sign = match tag {
        Length::Of(2) => 1,
        Length::Of(3) => -1,
        _ => return None,
    };
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let bytes = bytes.get(zeros..)?;
    if bytes.len() <= 15 {
        let number = bytes.iter().fold(0i128, |sum, byte| sum << 8 | i128::from(*byte));
        return Some(Number::wide(if sign < 0 { -1 - number } else { number }));
    }
    let number = bytes.iter().fold(0.0, |sum, byte| sum * 256.0 + f64::from(*byte));
    Number::finite(number * f64::from(sign))
}

fn simple<'a>(info: u8, bits: u64) -> Found<'a> {
    let number = match info {
        20 => return Found::Bool(false),
        21 => return Found::Bool(true),
        25 => half(bits),
        26 => f64::from(f32::from_bits(u32::try_from(bits).unwrap_or(0))),
        27 => f64::from_bits(bits),
        _ => return Found::Null,
    };
    Found::of(number)
}

fn half(bits: u64) -> f64 {
    let sign = if bits >> 15 & 1 == 1 { -1.0 } else { 1.0 };
    let exponent = i32::try_from(bits >> 10 & 31).unwrap_or(0);
    let fraction = f64::from(u32::try_from(bits & 1023).unwrap_or(0));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    }
}
