//! Logs of the workloads: plain files that the workloads append to themselves. They are kept within
//! a bound by cutting off their beginning, and read by offsets that count all bytes ever written.
//!
//! See decisions 0001, 0038 and 0106.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_base::ids::Name;
use holdfast_protocol::message::{LogPart, ReplyCode, ReplyError};
use rustix::fs::{FallocateFlags, fallocate};

use crate::core::follow::{Piece, Position, TAIL};
use crate::core::history::History;

/// Most bytes at the end of a log that are searched for its last lines.
const MAX_TAIL: u64 = 16 * 1024 * 1024;
/// Bytes read at a time while searching for line ends.
const CHUNK: u64 = 64 * 1024;
/// Unit in which a log's beginning is cut off, where the file system's own block size will not do.
/// Only whole blocks can be cut; 64 KiB suits all file systems.
const BLOCK: u64 = 64 * 1024;
/// Longest log, in bytes, that is searched for its position after a restart of the agent.
const MAX_SEARCHED: u64 = 8 * 1024 * 1024;

/// Histories of all logs, by workload: written where logs are cut, read where they are sent.
#[derive(Debug, Clone, Default)]
pub struct Histories(Arc<Mutex<BTreeMap<Name, History>>>);

impl Histories {
    /// Locks the histories; held while a log is read or cut, so that neither happens during the
    /// other.
    pub fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, History>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Result of a size poll of a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SizePoll {
    /// Length before the cut, in bytes.
    pub found: u64,
    /// Length now, in bytes; smaller than `found` when the log was cut.
    pub left: u64,
    /// True when something was written since the last poll.
    pub grew: bool,
}

/// Polls the size of a log. If it is more than `limit` bytes, cuts off its beginning so that about
/// `keep` bytes are left. `time` converts the file's time of change to a time to record, both in
/// seconds since 1970; 0 means unknown.
///
/// # Errors
/// The file system's error. A log that does not exist counts as empty.
pub fn poll_size(
    path: &Path,
    limit: u64,
    keep: u64,
    history: &mut History,
    time: impl FnOnce(u64) -> u64,
) -> io::Result<SizePoll> {
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(SizePoll::default()),
        Err(error) => return Err(error),
    };
    let length = meta.len();
    let changed = u64::try_from(meta.mtime()).unwrap_or(0);
    update(path, &meta, history);
    let grew = history.mark(time(changed));
    if length <= limit {
        return Ok(SizePoll { found: length, left: length, grew });
    }
    let file = open(path)?;
    // By the file system's blocks, or in larger pieces where it allocates those (bigalloc).
    // Example: of 1,000,000 bytes with 500,000 to keep, blocks of 4,096 cut 499,712; in pieces of
    // 64 KiB it is 458,752.
    for block in [meta.blksize().max(1), BLOCK] {
        let cut = (length - keep) / block * block;
        if cut > 0 {
            let mut last = [0];
            file.read_exact_at(&mut last, cut - 1)?;
            if fallocate(&file, FallocateFlags::COLLAPSE_RANGE, 0, cut).is_ok() {
                history.cut(cut, last != *b"\n");
                return Ok(SizePoll { found: length, left: length - cut, grew });
            }
        }
    }
    // The file system cannot collapse a range (tmpfs, btrfs), so the bytes to keep are copied to
    // the front. What the workload writes between the last read and the end of the copy may be
    // lost.
    let (found, left, partial) = copy_down(file, keep)?;
    history.see(meta.ino(), found);
    history.cut(found - left, partial);
    Ok(SizePoll { found, left, grew })
}

/// Records in the history that a run of the workload is about to begin.
pub fn start(path: &Path, history: &mut History) {
    // A log that does not exist has nothing to record.
    if let Ok(meta) = std::fs::metadata(path) {
        update(path, &meta, history);
    }
    history.start();
}

/// Brings the history up to the length of the log. After a restart of the agent, its position is
/// found by the bytes that were at its end.
fn update(path: &Path, meta: &Metadata, history: &mut History) {
    // `tail` is set only by a restart. The workload may have gone on writing, and a former agent
    // may have cut the log after it stored the history: the stored last bytes are searched, and
    // where they are found tells how much was cut. If they are not found in a log that was searched
    // whole, it is another log, with a new number.
    if !history.tail.is_empty() && history.inode == meta.ino() {
        let end = history.end();
        let offset = end - history.base;
        let tail = std::mem::take(&mut history.tail);
        let position = Position { inode: 0, offset, tail, seq: 0 };
        let content = piece(path, 0, usize::try_from(MAX_SEARCHED).unwrap_or(usize::MAX));
        let found = content.ok().flatten().and_then(|it| position.find(&it.bytes));
        match found.and_then(|found| u64::try_from(found).ok()) {
            Some(found) if found == offset => {}
            // The tail was at `offset` and is at `found` now: that much was cut.
            Some(found) => history.cut(offset - found, true),
            None if offset > MAX_SEARCHED => {}
            None => history.lose(history.id.wrapping_add(1).max(1)),
        }
    }
    history.tail.clear();
    history.see(meta.ino(), meta.len());
}

fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)
}

/// Copies the last `keep` bytes of a log to its front and truncates it. Returns its former length,
/// its new length, and whether it begins within a line.
fn copy_down(mut file: File, keep: u64) -> io::Result<(u64, u64, bool)> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(keep);
    let mut end = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    // Up to the real end: something may have been written since its length was read.
    (&mut file).take(keep.saturating_mul(2)).read_to_end(&mut end)?;
    // From the beginning of a line.
    let first = end.iter().position(|&byte| byte == b'\n').map(|at| at + 1);
    let kept = end.get(first.unwrap_or(0)..).unwrap_or_default();
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(kept)?;
    let bytes = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    Ok((from + bytes(&end), bytes(kept), first.is_none()))
}

/// Opens a log and brings its history up to date. `None` when there is no log yet.
fn open_updated(path: &Path, history: &mut History) -> io::Result<Option<File>> {
    let file = match open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    update(path, &file.metadata()?, history);
    Ok(Some(file))
}

/// Reason why a requested part of a log cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum NoPart {
    /// The requested run is older than the runs whose starts are kept, or never was.
    #[error("no such run of the workload is known here: the starts of the last 10 runs are kept")]
    NoRun,
    /// All bytes of the requested run were cut off the log's beginning.
    #[error(
        "what the workload wrote in that run was cut off the log: it was too long ago, or too much came after it"
    )]
    Cut,
    /// The file cannot be read.
    #[error("the log cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

impl From<NoPart> for ReplyError {
    fn from(why: NoPart) -> Self {
        let code = match why {
            NoPart::NoRun | NoPart::Cut => ReplyCode::NotFound,
            NoPart::Unreadable(_) => ReplyCode::Failed,
        };
        Self::new(code, why.to_string())
    }
}

/// Computes the offsets of the requested part of a log, end exclusive; `u64::MAX` as the end of a
/// followed log.
///
/// # Errors
/// The reason why there is no such part.
pub fn span(path: &Path, history: &mut History, part: &LogPart) -> Result<(u64, u64), NoPart> {
    let Some(file) = open_updated(path, history)? else {
        return Ok((history.end(), u64::MAX));
    };
    let (mut from, mut to) = (history.base, history.end());
    let mut whole_line = history.partial;
    let follow = part.follow_seconds > 0 && part.until == 0 && part.back == 0;
    if part.back > 0 {
        let run = history.run(usize::try_from(part.back).unwrap_or(usize::MAX));
        let Some((start, end)) = run else {
            return Err(NoPart::NoRun);
        };
        if end <= from && start < end {
            return Err(NoPart::Cut);
        }
        whole_line &= start < from;
        (from, to) = (from.max(start), end);
    }
    if part.since > 0 {
        let since = history.since(part.since);
        if since > from {
            (from, whole_line) = (since, true);
        }
    }
    if part.until > 0 {
        to = to.min(history.until(part.until));
    }
    if part.log == history.id {
        return Ok((part.from, if follow { u64::MAX } else { to }));
    }
    if whole_line {
        from = line_start(&file, history, from)?;
    }
    to = to.max(from);
    if part.log == 0 {
        from = last_lines(&file, history.base, (from, to), part.tail)?;
    }
    Ok((from, if follow { u64::MAX } else { to }))
}

/// Reads at most `most` bytes of the log from offset `at` to before `to`, and returns the offset at
/// which they begin: later than `at` where that was cut off.
///
/// # Errors
/// The file system's error.
pub fn read(
    path: &Path,
    history: &mut History,
    at: u64,
    to: u64,
    most: usize,
) -> io::Result<(u64, Vec<u8>)> {
    let Some(file) = open_updated(path, history)? else {
        return Ok((at.min(history.end()), Vec::new()));
    };
    let mut at = at.min(history.end());
    if at < history.base {
        at = history.base;
        if history.partial {
            at = line_start(&file, history, at)?;
        }
    }
    let much = usize::try_from(to.saturating_sub(at)).unwrap_or(usize::MAX).min(most);
    Ok((at, at_offset(&file, at - history.base, much)?))
}

/// Reads at most `most` bytes of a file from position `offset`.
fn at_offset(file: &File, offset: u64, most: usize) -> io::Result<Vec<u8>> {
    let mut file: &File = file;
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(offset))?;
    file.take(u64::try_from(most).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Finds the offset of the next line, at or after `at`; `at` itself when no line ends within 64
/// KiB.
fn line_start(file: &File, history: &History, at: u64) -> io::Result<u64> {
    let inside = at - history.base;
    // The byte before `at` tells whether a line begins there; the first byte has none.
    let from = inside.saturating_sub(1);
    let most = usize::try_from(CHUNK).unwrap_or(usize::MAX);
    let bytes = at_offset(file, from, most)?;
    let found = bytes.iter().position(|byte| *byte == b'\n');
    let found = found.and_then(|found| u64::try_from(found).ok());
    Ok(found.map_or(at, |found| history.base + from + found + 1))
}

/// Finds the offset at which the last `lines` lines between two offsets begin.
fn last_lines(file: &File, base: u64, (from, to): (u64, u64), lines: u32) -> io::Result<u64> {
    let from = from.max(to.saturating_sub(MAX_TAIL));
    let (mut left, mut at) = (lines, to);
    while left > 0 && at > from {
        let start = from.max(at.saturating_sub(CHUNK));
        let most = usize::try_from(at - start).unwrap_or(usize::MAX);
        let bytes = at_offset(file, start - base, most)?;
        for (index, _) in bytes.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let line = start + u64::try_from(index).unwrap_or(0) + 1;
            // The end of the very last line begins no further line.
            if line == to {
                continue;
            }
            left -= 1;
            if left == 0 {
                return Ok(line);
            }
        }
        at = start;
    }
    Ok(at)
}

/// Reads the last bytes of a log, by which its position is found again after a restart.
pub fn last_bytes(path: &Path, history: &History) -> Vec<u8> {
    let length = history.end() - history.base;
    let from = length.saturating_sub(u64::try_from(TAIL).unwrap_or(0));
    let most = usize::try_from(length - from).unwrap_or(0);
    open(path).and_then(|file| at_offset(&file, from, most)).unwrap_or_default()
}

/// Reads at most `most` bytes of the log from position `from`. `None` when there is no log yet.
///
/// # Errors
/// The file system's error.
pub fn piece(path: &Path, from: u64, most: usize) -> io::Result<Option<Piece>> {
    let file = match open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let meta = file.metadata()?;
    let bytes = at_offset(&file, from, most)?;
    Ok(Some(Piece { inode: meta.ino(), length: meta.len(), bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_467_600;

    fn all() -> LogPart {
        LogPart { tail: u32::MAX, ..LogPart::default() }
    }

    /// Reads a part of a log as it is sent, as text.
    fn part(path: &Path, history: &mut History, part: LogPart) -> Result<String, String> {
        let (from, to) = span(path, history, &part).map_err(|why| why.to_string())?;
        let (_, bytes) = read(path, history, from, to, usize::MAX).unwrap();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    #[test]
    fn the_end_is_kept_and_a_reader_keeps_its_place() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("log");
        let mut writer = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        let mut history = History::new(1);
        let limit = 200_000;
        let (mut at, mut followed) = (0, Vec::new());
        for number in 0..40_000 {
            writeln!(writer, "line {number}").unwrap();
            if number % 1_000 == 0 {
                // The follower comes first, or last, or is half the bound behind.
                let look = poll_size(&path, limit, limit / 4 * 3, &mut history, |_| NOW).unwrap();
                assert!(look.left <= limit, "{look:?}");
                // Not more is cut than has to be: whoever is so far behind loses nothing.
                assert!(look.left >= look.found.min(limit / 4 * 3 - 64), "{look:?}");
            }
            if number % 1_700 == 0 {
                let (from, bytes) = read(&path, &mut history, at, u64::MAX, 1 << 20).unwrap();
                assert_eq!(from, at, "nothing was cut before it was read");
                at += bytes.len() as u64;
                followed.extend(bytes);
            }
        }
        let (_, bytes) = read(&path, &mut history, at, u64::MAX, 1 << 20).unwrap();
        followed.extend(bytes);
        let lines = String::from_utf8(followed).unwrap();
        assert!(lines.lines().enumerate().all(|(at, line)| line == format!("line {at}")));
        assert_eq!(lines.lines().count(), 40_000);

        poll_size(&path, limit, limit / 4 * 3, &mut history, |_| NOW).unwrap();
        assert!(history.base > 0);
        let told = part(&path, &mut history, all()).unwrap();
        assert!(told.starts_with("line ") && told.ends_with("\nline 39999\n"), "whole lines");
        // Who has read nothing since is told what was cut, and goes on with a whole line.
        let (from, bytes) = read(&path, &mut history, 10, u64::MAX, 9).unwrap();
        assert!(from >= history.base && bytes.starts_with(b"line "));
        let two = LogPart { tail: 2, ..all() };
        assert_eq!(part(&path, &mut history, two), Ok("line 39998\nline 39999\n".into()));
    }

    #[test]
    fn what_cannot_be_collapsed_is_copied() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("log");
        let mut history = History::new(1);
        std::fs::write(&path, "first\nsecond\nthird\n").unwrap();
        let look = poll_size(&path, 16, 12, &mut history, |_| NOW).unwrap();
        assert_eq!(look, SizePoll { found: 19, left: 6, grew: true });
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "third\n");
        assert_eq!((history.base, history.end()), (13, 19));
        assert_eq!(part(&path, &mut history, LogPart::default()), Ok(String::new()), "no lines");
        assert_eq!(part(&path, &mut history, all()), Ok("third\n".into()));
        let none = scratch.path().join("none");
        assert_eq!(part(&none, &mut History::new(1), all()), Ok(String::new()));
    }

    #[test]
    fn parts_are_found_by_time_by_run_and_by_place() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("log");
        let mut history = History::new(1);
        let mut text = String::new();
        for (add, time) in [("a\nb", NOW), ("c\nd\n", NOW + 60), ("e\n", NOW + 120)] {
            if add == "e\n" {
                history.start();
            }
            text += add;
            std::fs::write(&path, &text).unwrap();
            poll_size(&path, 1 << 20, 1 << 19, &mut history, |_| time).unwrap();
        }
        let mut told = |wanted| part(&path, &mut history, wanted);
        assert_eq!(told(all()), Ok("a\nbc\nd\ne\n".into()));
        assert_eq!(told(LogPart { since: NOW + 61, ..all() }), Ok("e\n".into()));
        let since = LogPart { since: NOW + 1, ..all() };
        assert_eq!(told(since), Ok("d\ne\n".into()), "no half lines");
        assert_eq!(told(LogPart { until: NOW + 60, ..all() }), Ok("a\nbc\nd\n".into()));
        assert_eq!(told(LogPart { since: NOW + 200, ..all() }), Ok(String::new()));
        assert_eq!(told(LogPart { back: 1, ..all() }), Ok("a\nbc\nd\n".into()));
        assert_eq!(told(LogPart { back: 1, tail: 1, ..all() }), Ok("d\n".into()));
        assert!(told(LogPart { back: 2, ..all() }).unwrap_err().contains("no such run"));
        assert_eq!(told(LogPart { log: 1, from: 7, ..all() }), Ok("e\n".into()), "goes on");
        assert_eq!(told(LogPart { log: 9, from: 7, tail: 0, ..all() }), told(all()), "another log");
    }

    #[test]
    fn the_place_is_found_again_after_a_restart_whatever_was_cut() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("log");
        let mut history = History::new(1);
        std::fs::write(&path, "one\ntwo\nthree\nfour\n").unwrap();
        poll_size(&path, 100, 50, &mut history, |_| NOW).unwrap();
        let packed = history.pack(&last_bytes(&path, &history));
        let again = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let mut history = History::unpack(&packed).unwrap();
            poll_size(&path, 1 << 20, 50, &mut history, |_| NOW + 1).unwrap();
            (history.id, history.base, history.end())
        };
        assert_eq!(again("one\ntwo\nthree\nfour\nfive\n"), (1, 0, 24));
        assert_eq!(again("one\ntwo\nthree\nfour\n"), (1, 0, 19));
        std::fs::write(&path, "a first line one\ntwo\nthree\nfour\n").unwrap();
        let mut history = History::new(1);
        poll_size(&path, 100, 50, &mut history, |_| NOW).unwrap();
        history.tail = b"three\nfour\n".to_vec();
        std::fs::write(&path, "three\nfour\nfive\n").unwrap();
        poll_size(&path, 100, 50, &mut history, |_| NOW).unwrap();
        assert_eq!((history.id, history.base, history.end()), (1, 21, 37), "it was cut since");
        assert_eq!(again("quite another text").0, 2, "lost: another log");
    }
}
