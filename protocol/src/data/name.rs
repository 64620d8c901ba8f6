//! Names of streams, and patterns that choose them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name of a stream, in bytes.
pub const MAX_STREAM_NAME: usize = 128;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the name of a stream: use 1 to 128 of letters, digits, '-', '_', '.' and '/', with nothing empty or hidden between the slashes"
)]
pub struct BadStreamName(pub String);

/// A stream's name, unique on its device: one or more parts, divided by `/`, of ASCII letters,
/// digits, `-`, `_` and `.`, none empty or beginning with `.`. The first part is none of
/// `streams`, `workloads` and `local`, which mean something to the local bus.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamName(Box<str>);

impl StreamName {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_part(part: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !part.is_empty() && !part.starts_with('.') && part.bytes().all(inner)
}

impl FromStr for StreamName {
    type Err = BadStreamName;
    fn from_str(text: &str) -> Result<Self, BadStreamName> {
        let first = text.split('/').next().unwrap_or_default();
        let good = text.len() <= MAX_STREAM_NAME
            && text.split('/').all(is_part)
            && !matches!(first, "streams" | "workloads" | "local");
        if good {
            Ok(Self(text.into()))
        } else {
            Err(BadStreamName(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for StreamName {
    type Error = BadStreamName;
    fn try_from(text: String) -> Result<Self, BadStreamName> {
        text.parse()
    }
}

impl From<StreamName> for String {
    fn from(name: StreamName) -> Self {
        name.0.into()
    }
}

impl std::borrow::Borrow<str> for StreamName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for StreamName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Chooses streams by name: a name, or the beginning of one and a final `*` (`pump/*`, `*`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(Box<str>);

impl Pattern {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it chooses this stream.
    pub fn matches(&self, name: &StreamName) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => name.as_str().starts_with(beginning),
            None => *self.0 == *name.0,
        }
    }

    /// How narrow it is: a whole name before every beginning, a longer beginning before a shorter.
    pub fn weight(&self) -> usize {
        match self.0.strip_suffix('*') {
            Some(beginning) => beginning.len(),
            None => MAX_STREAM_NAME + 1,
        }
    }
}

impl FromStr for Pattern {
    type Err = BadStreamName;
    fn from_str(text: &str) -> Result<Self, BadStreamName> {
        let Some(beginning) = text.strip_suffix('*') else {
            return text.parse::<StreamName>().map(|name| Self(name.0));
        };
        // A beginning with one more letter must be a name.
        match format!("{beginning}x").parse::<StreamName>() {
            Ok(_) => Ok(Self(text.into())),
            Err(_) => Err(BadStreamName(text.chars().take(80).collect())),
        }
    }
}

impl TryFrom<String> for Pattern {
    type Error = BadStreamName;
    fn try_from(text: String) -> Result<Self, BadStreamName> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_parts() {
        for good in ["temp", "pump/temp", "A_b-c.d/9", "device.metrics", &"x".repeat(128)] {
            assert_eq!(good.parse::<StreamName>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            ".a",
            "a/..",
            "a b",
            "a+",
            "a#",
            "$SYS/x",
            "ü",
            "streams/a",
            "local/x",
            "workloads/a/b",
            &"x".repeat(129),
            "a\0",
        ] {
            assert!(bad.parse::<StreamName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn patterns_choose_by_name_or_beginning() {
        let name: StreamName = "pump/temp".parse().unwrap();
        for (pattern, yes) in [
            ("pump/temp", true),
            ("pump/*", true),
            ("pu*", true),
            ("*", true),
            ("pump", false),
            ("temp*", false),
        ] {
            assert_eq!(pattern.parse::<Pattern>().unwrap().matches(&name), yes, "{pattern}");
        }
        for bad in ["", "**", "a*b", "/*", "a//*", "+"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
        let weight = |text: &str| text.parse::<Pattern>().unwrap().weight();
        assert!(
            weight("a") > weight("abc*")
                && weight("abc*") > weight("a*")
                && weight("a*") > weight("*")
        );
    }
}
