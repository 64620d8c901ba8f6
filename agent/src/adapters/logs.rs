//! Workloads' logs: plain files that the workloads append to themselves, kept within a bound by
//! cutting their beginning off, and read from their end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};

/// At most so much of a log's end is looked at for its last lines.
const MAX_TAIL: u64 = 1024 * 1024;
/// What can be cut off at once has to be whole blocks of the file system: 64 KiB suits all.
const BLOCK: u64 = 64 * 1024;

/// What a look at a log found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Look {
    /// How long it was, in bytes.
    pub found: u64,
    /// How long it is now; less, when it was cut.
    pub left: u64,
}

/// Cuts the log's beginning off when it is longer than `limit` bytes, so that about `keep` of them
/// are left.
///
/// # Errors
/// Whatever the file system says; no log yet is an empty one.
pub fn bound(path: &Path, limit: u64, keep: u64) -> io::Result<Look> {
    let length = match std::fs::metadata(path) {
        Ok(meta) => meta.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Look::default()),
        Err(error) => return Err(error),
    };
    if length <= limit {
        return Ok(Look { found: length, left: length });
    }
    let file = open(path)?;
    let cut = (length - keep).div_ceil(BLOCK) * BLOCK;
    if cut < length && fallocate(&file, FallocateFlags::COLLAPSE_RANGE, 0, cut).is_ok() {
        return Ok(Look { found: length, left: length - cut });
    }
    // The file system cannot (tmpfs, overlay): what is kept is copied to the front. What the
    // workload writes in this moment may be lost; it is a log, and it was too long.
    Ok(Look { found: length, left: copy_down(file, keep)? })
}

fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)
}

fn copy_down(mut file: File, keep: u64) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut end = Vec::new();
    file.seek(SeekFrom::Start(length.saturating_sub(keep)))?;
    (&mut file).take(keep).read_to_end(&mut end)?;
    // From a line's beginning.
    let first = end.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let kept = end.get(first..).unwrap_or_default();
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(kept)?;
    Ok(u64::try_from(kept.len()).unwrap_or(u64::MAX))
}

/// The log's last `lines` lines, and where it ends: what comes later begins there.
///
/// # Errors
/// Whatever the file system says; no log yet is an empty one.
pub fn tail(path: &Path, lines: u32) -> io::Result<(Vec<u8>, u64)> {
    let mut file = match open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_TAIL)))?;
    let mut end = Vec::new();
    file.take(MAX_TAIL).read_to_end(&mut end)?;
    let lines = usize::try_from(lines).unwrap_or(usize::MAX);
    let body = end.strip_suffix(b"\n").unwrap_or(&end);
    let breaks = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    let start = match lines {
        0 => end.len(),
        lines => breaks.map(|(at, _)| at + 1).nth(lines - 1).unwrap_or(0),
    };
    Ok((end.split_off(start), length))
}

/// At most `most` bytes of the log from `from` on, and where they end. A log that was cut since
/// begins anew at its present end.
///
/// # Errors
/// Whatever the file system says.
pub fn since(path: &Path, from: u64, most: usize) -> io::Result<(Vec<u8>, u64)> {
    let Ok(mut file) = open(path) else { return Ok((Vec::new(), from)) };
    let length = file.metadata()?.len();
    if length < from {
        return Ok((Vec::new(), length));
    }
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(u64::try_from(most).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    let end = from + u64::try_from(bytes.len()).unwrap_or(0);
    Ok((bytes, end))
}

/// Part of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The file's number: another one is another log.
    pub inode: u64,
    /// How long the log is, in bytes.
    pub length: u64,
    /// What was asked for; empty beyond the end.
    pub bytes: Vec<u8>,
}

/// At most `most` bytes of the log from `from` on. None: there is no log yet.
///
/// # Errors
/// Whatever the file system says.
pub fn piece(path: &Path, from: u64, most: usize) -> io::Result<Option<Piece>> {
    use std::os::unix::fs::MetadataExt as _;
    let mut file = match open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let meta = file.metadata()?;
    let mut bytes = Vec::new();
    if meta.len() > from {
        file.seek(SeekFrom::Start(from))?;
        file.take(u64::try_from(most).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    }
    Ok(Some(Piece { inode: meta.ino(), length: meta.len(), bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_and_a_writer_goes_on_behind_it() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("log");
        let mut writer = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        for number in 0..40_000 {
            writeln!(writer, "line {number}").unwrap();
        }
        let limit = 200_000;
        let look = bound(&path, limit, limit / 4 * 3).unwrap();
        assert!(look.found > limit && look.left <= limit, "{look:?}");
        let again = bound(&path, limit, limit / 4 * 3).unwrap();
        assert_eq!(again, Look { found: look.left, left: look.left }, "once is enough");
        writeln!(writer, "after the cut").unwrap();
        let (end, length) = tail(&path, 2).unwrap();
        assert_eq!(String::from_utf8(end).unwrap(), "line 39999\nafter the cut\n");
        assert_eq!(length, std::fs::metadata(&path).unwrap().len());
        assert!(length <= limit);
        writeln!(writer, "later").unwrap();
        assert_eq!(since(&path, length, 100).unwrap().0, b"later\n");
        assert_eq!(since(&path, u64::MAX, 100).unwrap().1, length + 6);
    }

    #[test]
    fn what_cannot_be_collapsed_is_copied() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("log");
        std::fs::write(&path, "first\nsecond\nthird\n").unwrap();
        assert_eq!(bound(&path, 16, 12).unwrap(), Look { found: 19, left: 6 });
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "third\n");
        assert_eq!(tail(&path, 0).unwrap().0, b"");
        assert_eq!(tail(&scratch.path().join("none"), 5).unwrap(), (Vec::new(), 0));
    }
}
