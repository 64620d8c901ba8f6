//! Pieces of a workload's log as they come from a device, and their conversion to text with times.
//!
//! See decisions 0106 and 0107.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::count::either;
use super::time::rfc3339;

/// Piece of a log with its description.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogPiece {
    /// Bytes of the log.
    pub body: Bytes,
    /// Description of the bytes.
    pub head: LogHead,
}

/// Description of a piece of a log. In a framed response it is a line of JSON before the bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogHead {
    /// Number of the log; offsets are valid within one log only. 0: not known.
    pub log: u32,
    /// Offset of the piece: bytes that were written to the log before it.
    pub offset: u64,
    /// Length of the piece in bytes.
    pub length: u64,
    /// Bytes right before the piece that were cut off the log before they were read.
    #[serde(skip_serializing_if = "is_zero")]
    pub lost: u64,
    /// True if the piece begins another log than the one asked for, or than that of the piece
    /// before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub anew: bool,
    /// Parts of the piece: length in bytes, and time of writing in seconds since 1970 (0: not
    /// known). Empty: times were not asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub times: Vec<(u64, u64)>,
    /// Seconds for which the device has not answered although it was asked again; the piece has no
    /// bytes then. 0: it is a piece of the log.
    #[serde(skip_serializing_if = "is_zero")]
    pub silent: u64,
    /// Reason why the log ends here, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl LogPiece {
    /// Creates a piece without bytes that says for how many seconds the device has not answered.
    pub fn silence(seconds: u64) -> Self {
        let head = LogHead { silent: seconds, ..LogHead::default() };
        Self { head, ..Self::default() }
    }
}

impl LogHead {
    /// Describes what is missing right before the piece. None: nothing is.
    pub fn missing(&self) -> Option<String> {
        if self.anew {
            return Some("another log begins here: the workload was deleted meanwhile, or the device lost its place".into());
        }
        let lost = self.lost;
        (lost > 0).then(|| {
            either(
                lost,
                "byte of the log was cut before it was read",
                "bytes of the log were cut before they were read",
            )
        })
    }
}

/// Parses the place at which reading continues: number of the log and offset, such as
/// `305419896-5000`. None: not of that form.
pub fn place(text: &str) -> Option<(u32, u64)> {
    let (log, offset) = text.split_once('-')?;
    let log = log.parse().ok().filter(|log| *log != 0)?;
    Some((log, offset.parse().ok()?))
}

/// Converts pieces of a log to text, with a time at the beginning of each line if wanted.
#[derive(Debug)]
pub struct LogText {
    times: bool,
    /// True if the next byte begins a line.
    at_line: bool,
}

impl LogText {
    /// Creates a converter. `times`: each line begins with the time at which it was written.
    pub fn new(times: bool) -> Self {
        Self { times, at_line: true }
    }

    /// Returns a line end if the last line has none yet, for a remark between the lines.
    pub fn end_line(&mut self) -> &'static str {
        if std::mem::replace(&mut self.at_line, true) { "" } else { "\n" }
    }

    /// Returns the text of a piece.
    pub fn render(&mut self, piece: &LogPiece) -> Vec<u8> {
        let mut text = Vec::with_capacity(piece.body.len());
        let mut rest: &[u8] = &piece.body;
        // Bytes behind the last described part have no known time.
        for (length, time) in piece.head.times.iter().copied().chain([(u64::MAX, 0)]) {
            let length = usize::try_from(length).unwrap_or(usize::MAX).min(rest.len());
            let (part, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            rest = behind;
            for line in part.split_inclusive(|byte| *byte == b'\n') {
                if self.times && self.at_line {
                    text.extend_from_slice(moment(time).as_bytes());
                }
                text.extend_from_slice(line);
                self.at_line = line.ends_with(b"\n");
            }
        }
        text
    }
}

/// Returns the prefix of a line with its time, or with `unknown` padded to the same width.
fn moment(time: u64) -> String {
    match time {
        0 => format!("{:<20} ", "unknown"),
        time => format!("{} ", rfc3339(time)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(body: &'static str, times: &[(u64, u64)]) -> LogPiece {
        let head = LogHead { times: times.to_vec(), ..LogHead::default() };
        LogPiece { body: body.into(), head }
    }

    #[test]
    fn each_line_begins_with_the_time_of_its_first_byte() {
        const NOW: u64 = 1_795_467_600;
        let mut text = LogText::new(true);
        let mut told = |piece| String::from_utf8(text.render(&piece)).unwrap();
        let first = told(piece("a\nbc\nd", &[(3, NOW), (2, NOW + 5), (1, 0)]));
        let (one, two) = (rfc3339(NOW), "unknown             ");
        assert_eq!(first, format!("{one} a\n{one} bc\n{two} d"));
        assert_eq!(told(piece("e\nf\n", &[])), format!("e\n{two} f\n"), "the line goes on");
        assert_eq!(text.end_line(), "");
        let mut plain = LogText::new(false);
        assert_eq!(plain.render(&piece("a\nö", &[])), "a\nö".as_bytes());
        assert_eq!((plain.end_line(), plain.end_line()), ("\n", ""));
    }

    #[test]
    fn places_are_read_and_what_is_missing_is_said() {
        assert_eq!(place("305419896-5000000000"), Some((305_419_896, 5_000_000_000)));
        for text in ["", "5", "0-5", "-5", "5-", "5-x", "4294967296-1", "1--1"] {
            assert_eq!(place(text), None, "{text}");
        }
        let head = LogHead { lost: 12, ..LogHead::default() };
        assert_eq!(head.missing().unwrap(), "12 bytes of the log were cut before they were read");
        assert_eq!(LogHead::default().missing(), None);
        assert!(LogHead { anew: true, ..head }.missing().unwrap().contains("another log"));
    }
}
