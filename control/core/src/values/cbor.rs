//! CBOR reader that builds a tree: tags become what they mean, and one unusual part does not lose
//! the rest of a record.
//!
//! Tags 2 and 3 (big numbers), 4 (decimal fractions) and 5 (bigfloats) become numbers. Any other
//! tag is dropped and its content kept: a date is its text, an epoch time its number. NaN,
//! infinities, `undefined` and unassigned simple values become null. A key that is not text becomes
//! its JSON as text, with `#` before it if the map has that name already.

use std::collections::BTreeMap;

use super::digits;
use super::tree::{MAX_DEPTH, Tree};

/// Reads bytes that are exactly one item. None: not valid CBOR, or nested too deep.
pub(super) fn read(bytes: &[u8]) -> Option<Tree> {
    let mut reader = Reader { rest: bytes };
    let tree = reader.value(0)?;
    reader.rest.is_empty().then_some(tree)
}

const BREAK: u8 = 0xff;

/// Most digits behind the point of a decimal fraction; a smaller one is written with an exponent.
const MAX_PLACES: usize = 64;

struct Head {
    major: u8,
    info: u8,
    /// Length or value. None: the item ends with a break.
    argument: Option<u64>,
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, many: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(many).ok()?)?;
        self.rest = rest;
        Some(taken)
    }

    fn head(&mut self) -> Option<Head> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        let (major, info) = (first >> 5, first & 31);
        let argument = match info {
            0..24 => Some(u64::from(info)),
            24..=27 => {
                let bytes = self.bytes(1 << (info - 24))?;
                Some(bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
            }
            31 if (2..=5).contains(&major) => None,
            _ => return None,
        };
        Some(Head { major, info, argument })
    }

    /// True if another item follows after `taken` items. A break is consumed.
    fn more(&mut self, length: Option<u64>, taken: u64) -> bool {
        if let Some(many) = length {
            return taken < many;
        }
        match self.rest.split_first() {
            Some((&BREAK, rest)) => {
                self.rest = rest;
                false
            }
            _ => true,
        }
    }

    /// Reads one item. Lists, maps and tags each count as a level of `depth`.
    fn value(&mut self, depth: usize) -> Option<Tree> {
        let Head { major, info, argument } = self.head()?;
        if (4..=6).contains(&major) && depth >= MAX_DEPTH {
            return None;
        }
        Some(match (major, argument) {
            (0, Some(number)) => Tree::Number(number.to_string()),
            (1, Some(number)) => Tree::Number((-1 - i128::from(number)).to_string()),
            (2, length) => Tree::Bytes(self.string(2, length)?),
            (3, length) => Tree::Text(String::from_utf8(self.string(3, length)?).ok()?),
            (4, length) => {
                let mut items = Vec::new();
                while self.more(length, u64::try_from(items.len()).ok()?) {
                    items.push(self.value(depth + 1)?);
                }
                Tree::List(items)
            }
            (5, length) => self.map(length, depth)?,
            (6, Some(tag)) => tagged(tag, self.value(depth + 1)?),
            (7, Some(bits)) => simple(info, bits),
            _ => return None,
        })
    }

    fn string(&mut self, major: u8, length: Option<u64>) -> Option<Vec<u8>> {
        if let Some(many) = length {
            return self.bytes(many).map(<[u8]>::to_vec);
        }
        let mut whole = Vec::new();
        while self.more(None, 0) {
            let head = self.head().filter(|head| head.major == major)?;
            whole.extend_from_slice(self.bytes(head.argument?)?);
        }
        Some(whole)
    }

    fn map(&mut self, length: Option<u64>, depth: usize) -> Option<Tree> {
        let (mut fields, mut others) = (BTreeMap::new(), Vec::new());
        let mut taken = 0;
        while self.more(length, taken) {
            taken += 1;
            let key = self.value(depth + 1)?;
            let value = self.value(depth + 1)?;
            match key {
                Tree::Text(name) => drop(fields.insert(name, value)),
                other => others.push((other.to_json(), value)),
            }
        }
        for (mut name, value) in others {
            while fields.contains_key(&name) {
                name.insert(0, '#');
            }
            fields.insert(name, value);
        }
        Some(Tree::Map(fields))
    }
}

fn tagged(tag: u64, inner: Tree) -> Tree {
    let number = match (tag, &inner) {
        (2, Tree::Bytes(bytes)) => digits::of_bytes(bytes, false),
        (3, Tree::Bytes(bytes)) => digits::of_bytes(bytes, true).map(|digits| format!("-{digits}")),
        (4 | 5, Tree::List(items)) => match items.as_slice() {
            [Tree::Number(exponent), Tree::Number(number)] => fraction(tag, exponent, number),
            _ => None,
        },
        _ => None,
    };
    number.map_or(inner, Tree::Number)
}

/// Returns `number * 10^exponent` in decimal for tag 4, or `number * 2^exponent` as a double for
/// tag 5. None: not a finite number.
fn fraction(tag: u64, exponent: &str, number: &str) -> Option<String> {
    let exponent: i64 = exponent.parse().ok()?;
    let (sign, digits) = number.strip_prefix('-').map_or(("", number), |digits| ("-", digits));
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if tag == 5 {
        // The power is applied in two halves, because 2^exponent alone may leave a double's range
        // where the product does not: 2^60 * 2^-1080 is 2^-1020, but 2^-1080 is 0.
        let exponent = i32::try_from(exponent.clamp(-3_000, 3_000)).ok()?;
        let half = 2f64.powi(exponent / 2);
        let float = number.parse::<f64>().ok()? * half * 2f64.powi(exponent - exponent / 2);
        return float.is_finite().then(|| format!("{float:?}"));
    }
    let places = usize::try_from(exponent.unsigned_abs()).ok()?;
    if exponent < 0 && places <= MAX_PLACES {
        let digits = format!("{digits:0>width$}", width = places + 1);
        let (whole, part) = digits.split_at_checked(digits.len() - places)?;
        return Some(format!("{sign}{whole}.{part}"));
    }
    Some(if exponent == 0 { number.to_owned() } else { format!("{number}e{exponent}") })
}

fn simple(info: u8, bits: u64) -> Tree {
    let float = match info {
        20 => return Tree::Bool(false),
        21 => return Tree::Bool(true),
        25 => half(bits),
        26 => f64::from(f32::from_bits(u32::try_from(bits).unwrap_or(0))),
        27 => f64::from_bits(bits),
        _ => return Tree::Null,
    };
    if float.is_finite() { Tree::Number(format!("{float:?}")) } else { Tree::Null }
}

fn half(bits: u64) -> f64 {
    let sign = if bits >> 15 & 1 == 1 { -1.0 } else { 1.0 };
    let exponent = i32::try_from(bits >> 10 & 31).unwrap_or(0);
    let fraction = f64::from(u32::try_from(bits & 1023).unwrap_or(0));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    }
}
