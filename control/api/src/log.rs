//! A workload's log as it comes from its device in pieces, and as text with times.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::count::either;
use super::time::rfc3339;

/// A piece of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogPiece {
    /// Bytes of the log.
    pub body: Bytes,
    /// What is said of them.
    pub head: LogHead,
}

/// What is said of a piece of a log: a line of JSON before its bytes, where an answer is framed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogHead {
    /// Number of the log; another one has other offsets. 0: not known.
    pub log: u32,
    /// Bytes that were ever written to the log before this piece.
    pub offset: u64,
    /// Length of the piece in bytes.
    pub length: u64,
    /// Bytes right before it that were cut off the log before they were read.
    #[serde(skip_serializing_if = "is_zero")]
    pub lost: u64,
    /// It begins another log than the one asked for, or than the one before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub anew: bool,
    /// Parts of the piece: length in bytes, and when it was written in seconds since 1970 (0: not
    /// known). Empty: not asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub times: Vec<(u64, u64)>,
    /// The piece is none, but says that the device has not answered for so many seconds, though it
    /// was asked again.
    #[serde(skip_serializing_if = "is_zero")]
    pub silent: u64,
    /// Why there is no more.
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
    /// What is said instead of a piece while the device does not answer.
    pub fn silence(seconds: u64) -> Self {
        let head = LogHead { silent: seconds, ..LogHead::default() };
        Self { head, ..Self::default() }
    }
}

impl LogHead {
    /// What is missing right before the piece, in words. None: nothing.
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

/// Where a log is gone on with: its number and an offset, as in `305419896-5000`. None: not of
/// that form.
pub fn place(text: &str) -> Option<(u32, u64)> {
    let (log, offset) = text.split_once('-')?;
    let log = log.parse().ok().filter(|log| *log != 0)?;
    Some((log, offset.parse().ok()?))
}

/// Makes text of a log's pieces.
#[derive(Debug)]
pub struct LogText {
    times: bool,
    /// What comes next begins a line.
    at_line: bool,
}

impl LogText {
    /// `times`: each line begins with when it was written.
    pub fn new(times: bool) -> Self {
        Self { times, at_line: true }
    }

    /// What ends a line that has not ended yet: before a remark between the lines.
    pub fn end_line(&mut self) -> &'static str {
        if std::mem::replace(&mut self.at_line, true) { "" } else { "\n" }
    }

    /// The text of a piece.
    pub fn render(&mut self, piece: &LogPiece) -> Vec<u8> {
        let mut text = Vec::with_capacity(piece.body.len());
        let mut rest: &[u8] = &piece.body;
        // What is behind the last part said has no known time.
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

/// The beginning of a line. Where the time is not known, as wide as if it were.
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
