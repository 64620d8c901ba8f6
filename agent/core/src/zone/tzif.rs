//! Files of the system's time zone database (TZif, RFC 9636), versions 2 to 4.

use super::offset::Offset;
use super::rule::{self, Rule};

/// Largest file that is read, in bytes. The largest one of the database has 4 KiB; files with leap
/// seconds add 400 bytes.
const MAX_FILE: usize = 64 * 1024;
/// Changes before this moment are left out, in seconds since 1970 (2020-01-01): a device's clock is
/// believed from a later time on, and a zone has up to 200 changes before.
const LEAST: i64 = 1_577_836_800;
/// Length of a header in bytes.
const HEADER: usize = 44;

/// Reason why a file is not that of a time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAZone {
    /// The file is longer than any file of the database.
    #[error("more than 64 KiB, which no file of a time zone has")]
    Long,
    /// The file has another format.
    #[error("not a file of a time zone (TZif, version 2 or newer)")]
    Format,
    /// The file ends too early, or its parts contradict each other.
    #[error("a damaged file of a time zone")]
    Damaged,
}

/// What a file says.
pub(super) struct Content {
    /// Moment of each change, and the number of the offset that holds from then on.
    pub(super) changes: Vec<(i64, usize)>,
    pub(super) offsets: Vec<Offset>,
    /// Rule for the time after the last change.
    pub(super) rule: Option<Rule>,
}

/// Numbers of entries in a block of the file, in the order of its header.
struct Counts {
    is_ut: usize,
    is_std: usize,
    leap: usize,
    changes: usize,
    offsets: usize,
    chars: usize,
}

/// Bytes that are not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], NotAZone> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(NotAZone::Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], NotAZone> {
        self.take(N)?.try_into().map_err(|_| NotAZone::Damaged)
    }

    fn header(&mut self) -> Result<(u8, Counts), NotAZone> {
        let head = self.take(HEADER - 24).map_err(|_| NotAZone::Format)?;
        let version = head.get(4).copied().unwrap_or(0);
        if !head.starts_with(b"TZif") || version < b'2' {
            return Err(NotAZone::Format);
        }
        let mut count = || {
            let count = usize::try_from(u32::from_be_bytes(self.array()?));
            count.ok().filter(|it| *it <= MAX_FILE).ok_or(NotAZone::Damaged)
        };
        let (is_ut, is_std, leap) = (count()?, count()?, count()?);
        let (changes, offsets, chars) = (count()?, count()?, count()?);
        Ok((version, Counts { is_ut, is_std, leap, changes, offsets, chars }))
    }
}

/// Reads a file.
pub(super) fn read(file: &[u8]) -> Result<Content, NotAZone> {
    if file.len() > MAX_FILE {
        return Err(NotAZone::Long);
    }
    let mut rest = Rest(file);
    // The first block has times of 32 bits, for old readers.
    let (_, it) = rest.header()?;
    rest.take(it.changes * 5 + it.offsets * 6 + it.chars + it.leap * 8 + it.is_std + it.is_ut)?;
    let (_, it) = rest.header()?;
    let mut moments = Vec::new();
    for _ in 0..it.changes {
        moments.push(i64::from_be_bytes(rest.array()?));
    }
    let numbers = rest.take(it.changes)?;
    let mut kinds = Vec::new();
    for _ in 0..it.offsets {
        let seconds = i32::from_be_bytes(rest.array()?);
        let [_is_summer, name] = rest.array()?;
        kinds.push((i64::from(seconds), usize::from(name)));
    }
    let names = rest.take(it.chars)?;
    let offsets: Vec<Offset> = kinds
        .into_iter()
        .map(|(seconds, at)| Offset { seconds, name: name_at(names, at) })
        .collect();
    rest.take(it.leap * 12 + it.is_std + it.is_ut)?;
    let rule = footer(rest.0)?;
    let changes: Vec<(i64, usize)> =
        moments.into_iter().zip(numbers.iter().map(|number| usize::from(*number))).collect();
    let ascending = changes.is_sorted_by(|a, b| a.0 < b.0);
    let known = changes.iter().all(|(_, number)| *number < offsets.len());
    if offsets.is_empty() || !ascending || !known {
        return Err(NotAZone::Damaged);
    }
    let past = changes.partition_point(|(at, _)| *at <= LEAST).saturating_sub(1);
    let changes = changes.get(past..).unwrap_or_default().to_vec();
    Ok(Content { changes, offsets, rule })
}

/// Reads the rule for the time after the last change: a line of its own at the end, which may be
/// empty.
fn footer(rest: &[u8]) -> Result<Option<Rule>, NotAZone> {
    let line = rest.strip_prefix(b"\n").and_then(|rest| rest.strip_suffix(b"\n"));
    let text = line.and_then(|line| str::from_utf8(line).ok()).ok_or(NotAZone::Damaged)?;
    if text.is_empty() {
        return Ok(None);
    }
    rule::parse(text).map(Some).map_err(|_| NotAZone::Damaged)
}

fn name_at(names: &[u8], at: usize) -> String {
    let name = names.get(at..).unwrap_or_default();
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}
