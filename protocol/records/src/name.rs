//! Names of streams, and patterns that select streams by name.
//!
//! See decision 0088.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name of a stream, in bytes.
pub const MAX_STREAM_NAME: usize = 128;

/// Error for a text that is no name of a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the name of a stream: use 1 to 128 bytes without '+', '#', '*', control characters, a '$' at the beginning, and '.' or '..' between slashes; the first part is not streams, workloads or local"
)]
pub struct BadStreamName(pub String);

/// Name of a stream, unique on its device: any topic that an MQTT broker accepts, of at most
/// [`MAX_STREAM_NAME`] bytes, without control characters and `*` (which ends a [`Pattern`]). No
/// part between slashes is `.` or `..`, since web addresses lose those. The first part is none of
/// `streams`, `workloads` and `local`, which have a meaning on the local bus, and begins with no
/// `$`, which marks a broker's own topics.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamName(Box<str>);

impl StreamName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_name(text: &str) -> bool {
    let first = text.split('/').next().unwrap_or_default();
    !text.is_empty()
        && text.len() <= MAX_STREAM_NAME
        && !text.starts_with('$')
        && !text.contains(|it: char| matches!(it, '+' | '#' | '*') || it.is_control())
        && !text.split('/').any(|part| matches!(part, "." | ".."))
        && !matches!(first, "streams" | "workloads" | "local")
}

impl FromStr for StreamName {
    type Err = BadStreamName;
    fn from_str(text: &str) -> Result<Self, BadStreamName> {
        if is_name(text) {
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

/// Selects streams by name: a whole name, or a prefix with a final `*` (`pump/*`, `*`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(Box<str>);

impl Pattern {
    /// Returns the pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if the pattern selects the stream.
    pub fn matches(&self, name: &StreamName) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => name.as_str().starts_with(beginning),
            None => *self.0 == *name.0,
        }
    }

    /// Returns how narrow the pattern is: a whole name is above every prefix, a longer prefix above
    /// a shorter.
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
        // A prefix that is extended by one letter must be a valid name.
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
    fn names_are_what_brokers_take() {
        for good in [
            "temp",
            "pump/temp",
            "A_b-c.d/9",
            "device.metrics",
            "zigbee2mqtt/Living Room",
            "te/device/main///m/env",
            "/",
            "a/",
            "/a",
            ".a",
            "a/...",
            "温度/ü",
            "opc:ns=2;s=Pump,1@plant",
            "a%2Fb",
            "a$",
            " a ",
            &"x".repeat(128),
            &"ü".repeat(64),
        ] {
            assert_eq!(good.parse::<StreamName>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "a/..",
            "./a",
            "a+",
            "a#",
            "a*",
            "*/a",
            "$SYS/x",
            "streams/a",
            "local",
            "local/x",
            "workloads/a/b",
            &"x".repeat(129),
            &"ü".repeat(65),
            "a\0",
            "a\n",
            "a\u{7f}",
            "a\u{85}",
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
        for good in ["/*", "a//*", "Living Room*"] {
            assert!(good.parse::<Pattern>().is_ok(), "{good}");
        }
        for bad in ["", "**", "a*b", "+", "$*", "a/+*"] {
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
