//! Numbers in records: whole ones of 64 bits exactly, all others as the nearest double.
//!
//! See decision 0090.

use std::cmp::Ordering;
use std::fmt;

use serde::{Serialize, Serializer};

/// Finite number. Whole numbers from -2^63 to 2^64 - 1 that were written as such (`7`, not `7.0` or
/// `7e0`) keep every digit; all others are doubles. Numbers of the same value are equal, in
/// whichever variant they are stored.
#[derive(Debug, Clone, Copy)]
pub enum Number {
    /// A whole number from -2^63 to 2^63 - 1.
    Whole(i64),
    /// A whole number from 2^63 to 2^64 - 1.
    Large(u64),
    /// A double, never NaN or infinite.
    Float(f64),
}

/// Bound on the magnitude of the doubles that fit an `i128`: 2^127.
const WIDE: f64 = 170_141_183_460_469_231_731_687_303_715_884_105_728.0;

impl Number {
    /// Parses a number as in JSON, and with a leading `+`. None: the text is no number, or beyond
    /// every finite double.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            if let Ok(whole) = text.parse::<i64>() {
                return Some(Self::Whole(whole));
            }
            if let Ok(large) = text.parse::<u64>() {
                return Some(Self::Large(large));
            }
        }
        Self::finite(text.parse().ok()?)
    }

    /// Returns a double as a number. None: it is not finite.
    pub fn finite(number: f64) -> Option<Self> {
        number.is_finite().then_some(Self::Float(number))
    }

    /// Returns a whole number; beyond 64 bits, the nearest double.
    #[allow(clippy::cast_precision_loss, reason = "said above")]
    pub fn wide(whole: i128) -> Self {
        if let Ok(whole) = i64::try_from(whole) {
            Self::Whole(whole)
        } else if let Ok(large) = u64::try_from(whole) {
            Self::Large(large)
        } else {
            Self::Float(whole as f64)
        }
    }

    /// Returns the nearest double.
    #[allow(clippy::cast_precision_loss, reason = "said above")]
    pub fn float(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Large(large) => large as f64,
            Self::Float(float) => float,
        }
    }

    /// Returns the number if it is stored as a whole one.
    pub fn whole(self) -> Option<i128> {
        match self {
            Self::Whole(whole) => Some(whole.into()),
            Self::Large(large) => Some(large.into()),
            Self::Float(_) => None,
        }
    }

    /// Returns the lesser of two numbers.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        if other < self { other } else { self }
    }

    /// Returns the greater of two numbers.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        if other > self { other } else { self }
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self::wide(number.into())
    }
}

/// Compares by value: 2^53 + 1 is greater than the double 2^53, which is the nearest to it.
impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.whole(), other.whole()) {
            (Some(a), Some(b)) => a.cmp(&b),
            (Some(a), None) => beside(a, other.float()),
            (None, Some(b)) => beside(b, self.float()).reverse(),
            // Adding 0 turns -0 into 0, which `total_cmp` would order below it.
            (None, None) => (self.float() + 0.0).total_cmp(&(other.float() + 0.0)),
        }
    }
}

/// Compares a whole number with a finite double without rounding either.
#[allow(clippy::cast_possible_truncation, reason = "what is beyond is told apart before")]
fn beside(whole: i128, float: f64) -> Ordering {
    if float >= WIDE {
        return Ordering::Less;
    }
    if float < -WIDE {
        return Ordering::Greater;
    }
    let cut = float.trunc();
    whole.cmp(&(cut as i128)).then_with(|| 0.0f64.total_cmp(&(float - cut + 0.0)))
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

/// Returns the number 0.
impl Default for Number {
    fn default() -> Self {
        Self::Whole(0)
    }
}

/// Writes a whole number as a whole one, in JSON and CBOR.
impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Whole(whole) => serializer.serialize_i64(*whole),
            Self::Large(large) => serializer.serialize_u64(*large),
            Self::Float(float) => serializer.serialize_f64(*float),
        }
    }
}

/// Writes the number as in JSON.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(whole) => whole.fmt(f),
            Self::Large(large) => large.fmt(f),
            Self::Float(float) => fmt::Debug::fmt(float, f),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    #[test]
    fn whole_numbers_of_64_bits_are_read_exactly() {
        for text in ["0", "-1", "9007199254740993", "-9223372036854775808", "18446744073709551615"]
        {
            let read = number(text);
            assert_eq!(read.whole().map(|whole| whole.to_string()).as_deref(), Some(text));
            assert_eq!(read.to_string(), text);
        }
        for (text, float) in [
            ("18446744073709551616", 18_446_744_073_709_551_616.0),
            ("-9223372036854775809", -9_223_372_036_854_775_808.0),
            ("7.0", 7.0),
            ("1e3", 1e3),
            ("-0.5", -0.5),
        ] {
            assert!(matches!(number(text), Number::Float(read) if read == float), "{text}");
        }
        for bad in ["", "-", "1e400", "NaN", "inf", "1 2", "x"] {
            assert!(Number::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn they_are_ordered_by_value() {
        let rising = [
            "-1e300",
            "-170141183460469231731687303715884105728.0",
            "-9223372036854775808",
            "-9007199254740993",
            "-9007199254740992.0",
            "-1.5",
            "-1",
            "-0.5",
            "0",
            "0.5",
            "1",
            "1.5",
            "9007199254740992",
            "9007199254740993",
            "9007199254740994.0",
            "9007199254740995",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551615",
            "18446744073709551616",
            "1e300",
        ];
        for (at, a) in rising.iter().enumerate() {
            for (other, b) in rising.iter().enumerate() {
                assert_eq!(number(a).cmp(&number(b)), at.cmp(&other), "{a} beside {b}");
            }
        }
        for (a, b) in [
            ("7", "7.0"),
            ("0", "-0.0"),
            ("-0.0", "0.0"),
            ("9007199254740992", "9007199254740992.0"),
        ] {
            assert_eq!(number(a), number(b), "{a} is {b}");
        }
    }

    proptest! {
        #[test]
        fn their_order_is_one(a in any::<i64>(), b in any::<u64>(), c in proptest::num::f64::NORMAL) {
            let all = [Number::Whole(a), Number::from(b), Number::Float(c), Number::Float(Number::Whole(a).float())];
            for x in all {
                for y in all {
                    prop_assert_eq!(x.cmp(&y), y.cmp(&x).reverse());
                    for z in all {
                        prop_assert!(!(x <= y && y <= z) || x <= z);
                    }
                }
            }
        }
    }
}
