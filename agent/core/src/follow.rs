//! Following a log: splitting its bytes into data records, and finding the position again after a
//! restart or a cut.
//!
//! A log is a file that its workload appends to and that is cut at its beginning when it is too
//! long. A position in it is an offset and the bytes right before it, by which it is found again
//! however much was cut.
//!
//! See decision 0055.

mod follower;
mod search;

use holdfast_records::block::MAX_RECORD;
use serde::{Deserialize, Serialize};

pub use follower::{Follower, Found, SEARCHED};
pub use search::Search;

/// Part of a log, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Inode of the file: another inode is another log.
    pub inode: u64,
    /// Length of the log in bytes.
    pub length: u64,
    /// Bytes that were read; empty beyond the end.
    pub bytes: Vec<u8>,
}

/// Number of bytes kept before a position, by which it is recognised: a line or two.
pub const TAIL: usize = 96;

/// Position in a log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Inode number of the log's file.
    pub inode: u64,
    /// Number of bytes in the file before the position.
    pub offset: u64,
    /// The last of these bytes, at most [`TAIL`].
    #[serde(with = "serde_bytes")]
    pub tail: Vec<u8>,
    /// Sequence number, in the stream, of the last record before the position.
    pub seq: u64,
}

impl Position {
    /// Moves the position behind these bytes, which begin at it.
    pub fn advance(&mut self, bytes: &[u8]) {
        self.offset += u64::try_from(bytes.len()).unwrap_or(0);
        self.tail.extend_from_slice(bytes);
        let surplus = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..surplus);
    }

    /// Adjusts the position for a cut of `bytes` bytes off the log's beginning. Returns the number
    /// of cut bytes that had not been read (they stood behind the position).
    pub fn cut(&mut self, bytes: u64) -> u64 {
        let missed = bytes.saturating_sub(self.offset);
        self.offset = self.offset.saturating_sub(bytes);
        let left = usize::try_from(self.offset).unwrap_or(usize::MAX);
        let surplus = self.tail.len().saturating_sub(left);
        self.tail.drain(..surplus);
        missed
    }

    /// Returns the index of the position in this content of the log, from which bytes may have been
    /// cut since. None: the position cannot be found any more.
    pub fn find(&self, content: &[u8]) -> Option<usize> {
        let offset = usize::try_from(self.offset).unwrap_or(usize::MAX).min(content.len());
        let before = content.get(..offset).unwrap_or_default();
        if before.len() as u64 == self.offset && before.ends_with(&self.tail) {
            return Some(offset);
        }
        if self.tail.is_empty() {
            return None;
        }
        let windows = before.windows(self.tail.len()).enumerate();
        windows.rev().find(|(_, it)| *it == self.tail).map(|(at, _)| at + self.tail.len())
    }
}

/// Splits the beginning of these bytes into records, and returns them with the number of bytes
/// used. A line is a record without its end; an empty line is none; a line longer than
/// [`MAX_RECORD`] is split. `all`: a last line without an end is a record too.
pub fn records(bytes: &[u8], all: bool) -> (Vec<Vec<u8>>, usize) {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let end = rest.iter().take(MAX_RECORD + 1).position(|&byte| byte == b'\n');
        let (line, taken) = match end {
            Some(end) => (rest.get(..end).unwrap_or_default(), end + 1),
            None if rest.len() >= MAX_RECORD || all => {
                let piece = rest.len().min(MAX_RECORD);
                (rest.get(..piece).unwrap_or_default(), piece)
            }
            None => break,
        };
        at += taken;
        let ends = line.iter().rev().take_while(|byte| **byte == b'\r').count();
        let ends = if end.is_some() { ends } else { 0 };
        let line = line.get(..line.len() - ends).unwrap_or_default();
        if !line.is_empty() {
            found.push(line.to_vec());
        }
    }
    (found, at)
}

/// Returns the number of bytes at the beginning of `bytes` from which `record` was made, with the
/// ends of lines around it. None: `bytes` do not begin with that record.
pub fn taken(bytes: &[u8], record: &[u8]) -> Option<usize> {
    let mut empty = 0;
    while let Some(end @ 1..) = bytes.get(empty..).map(line_end) {
        empty += end;
    }
    let rest = bytes.get(empty..)?.strip_prefix(record)?;
    Some(empty + record.len() + line_end(rest))
}

/// Length of the end of a line (`\n`, `\r\n`) at the beginning of these bytes; 0: there is none.
fn line_end(bytes: &[u8]) -> usize {
    let returns = bytes.iter().take_while(|byte| **byte == b'\r').count();
    if bytes.get(returns) == Some(&b'\n') { returns + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_records() {
        let (found, taken) = records(b"a\r\n\n b \nc", false);
        assert_eq!((found, taken), (vec![b"a".to_vec(), b" b ".to_vec()], 8));
        assert_eq!(records(b"c", true), (vec![b"c".to_vec()], 1));
        assert_eq!(records(b"", true), (vec![], 0));
        let long = vec![b'x'; 2 * MAX_RECORD + 1];
        let (found, taken) = records(&long, false);
        assert_eq!((found.len(), taken), (2, 2 * MAX_RECORD));
        let full = [vec![b'x'; MAX_RECORD], b"\ny\n".to_vec()].concat();
        assert_eq!(records(&full, false).0.len(), 2);
    }

    #[test]
    fn a_cut_moves_the_position_and_tells_what_was_missed() {
        let mut position = Position::default();
        position.advance(b"one\ntwo\n");
        assert_eq!(position.cut(4), 0);
        assert_eq!((position.offset, position.tail.as_slice()), (4, &b"two\n"[..]));
        assert_eq!(position.cut(14), 10);
        assert_eq!((position.offset, position.tail.len()), (0, 0));
    }

    #[test]
    fn a_position_is_found_again_whatever_was_cut() {
        let mut position = Position::default();
        let content = b"one\ntwo\nthree\nfour\n";
        position.advance(b"one\ntwo\nthree\n");
        assert_eq!(position.find(content), Some(14));
        position.tail = b"two\nthree\n".to_vec();
        assert_eq!(position.find(&content[4..]), Some(10));
        assert_eq!(position.find(b"four\n"), None);
        assert_eq!(Position::default().find(content), Some(0));
    }

    proptest! {
        /// Checks that the records stored after a position was kept are found in the log again.
        #[test]
        fn what_was_stored_is_not_stored_twice(
            text in "[ab\r\n]{0,60}",
            at in any::<proptest::sample::Index>(),
        ) {
            let bytes = text.as_bytes();
            let (all, end) = records(bytes, false);
            let stored = at.index(all.len() + 1);
            let mut from = 0;
            for record in &all[..stored] {
                from += taken(&bytes[from..], record).unwrap();
            }
            let (rest, more) = records(&bytes[from..], false);
            prop_assert_eq!(rest, all[stored..].to_vec());
            prop_assert_eq!(from + more, end);
        }

        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..200), all: bool) {
            let (found, at) = records(&bytes, all);
            prop_assert!(at <= bytes.len() && (!all || at == bytes.len()));
            prop_assert!(found.iter().all(|it| !it.is_empty() && it.len() <= MAX_RECORD));
        }
    }
}
