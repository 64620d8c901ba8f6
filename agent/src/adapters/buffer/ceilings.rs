//! `data.ceilings`: for each stream a number above which none was given. It outlives a damaged
//! `data.redb`, so that no number comes twice. Replaced whole, seldom: ceilings are raised far
//! ahead.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use holdfast_protocol::data::StreamName;
use holdfast_protocol::data::crc::crc;

use crate::adapters::files;

/// How far ahead a ceiling is raised: a file of a few KiB is replaced once in so many records.
const AHEAD: u64 = 65_536;

/// The ceilings, as they stand on disk.
#[derive(Debug)]
pub(super) struct Ceilings {
    path: PathBuf,
    by_stream: BTreeMap<StreamName, u64>,
    /// The file was there and could not be read.
    pub(super) damaged: bool,
}

impl Ceilings {
    /// Reads them.
    pub(super) fn open(data: &Path) -> Self {
        let path = data.join("data.ceilings");
        let read = match std::fs::read_to_string(&path) {
            Ok(text) => parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(BTreeMap::new()),
            Err(_) => None,
        };
        Self { path, damaged: read.is_none(), by_stream: read.unwrap_or_default() }
    }

    /// The ceiling of a stream.
    pub(super) fn of(&self, stream: &StreamName) -> Option<u64> {
        self.by_stream.get(stream).copied()
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&StreamName, u64)> {
        self.by_stream.iter().map(|(stream, ceiling)| (stream, *ceiling))
    }

    /// Makes sure that these streams may give numbers up to the ones given.
    ///
    /// # Errors
    /// When the file cannot be replaced; the ceilings stay.
    pub(super) fn cover(&mut self, needed: &[(StreamName, u64)]) -> io::Result<u64> {
        let short: Vec<_> = needed
            .iter()
            .filter(|(stream, to)| self.of(stream).is_none_or(|ceiling| ceiling < *to))
            .collect();
        if short.is_empty() {
            return Ok(0);
        }
        let mut raised = self.by_stream.clone();
        for (stream, to) in short {
            raised.insert(stream.clone(), to.saturating_add(AHEAD));
        }
        let text = format(&raised);
        files::replace(&self.path, text.as_bytes(), 0o600)?;
        self.by_stream = raised;
        Ok(u64::try_from(text.len()).unwrap_or(0))
    }
}

fn format(ceilings: &BTreeMap<StreamName, u64>) -> String {
    let lines: String =
        ceilings.iter().map(|(stream, ceiling)| format!("{ceiling} {stream}\n")).collect();
    let sum = crc(&[lines.as_bytes()]);
    format!("{lines}{sum:08x}\n")
}

fn parse(text: &str) -> Option<BTreeMap<StreamName, u64>> {
    let (lines, sum) = text.strip_suffix('\n')?.rsplit_once('\n').unwrap_or(("", text.trim()));
    let lines = if lines.is_empty() { String::new() } else { format!("{lines}\n") };
    if format!("{:08x}", crc(&[lines.as_bytes()])) != sum {
        return None;
    }
    let line = |line: &str| {
        let (ceiling, stream) = line.split_once(' ')?;
        Some((stream.parse().ok()?, ceiling.parse().ok()?))
    };
    lines.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_are_raised_ahead_and_a_flipped_bit_is_noticed() {
        let scratch = tempfile::tempdir().unwrap();
        let mut ceilings = Ceilings::open(scratch.path());
        assert!(!ceilings.damaged);
        let stream: StreamName = "pump/temp".parse().unwrap();
        assert!(ceilings.cover(&[(stream.clone(), 1)]).unwrap() > 0);
        assert_eq!(ceilings.cover(&[(stream.clone(), AHEAD)]).unwrap(), 0, "it is covered");
        assert!(ceilings.cover(&[("b".parse().unwrap(), 7)]).unwrap() > 0);
        let again = Ceilings::open(scratch.path());
        assert_eq!(again.of(&stream), Some(1 + AHEAD));
        assert_eq!(again.iter().count(), 2);
        let path = scratch.path().join("data.ceilings");
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                std::fs::write(&path, &bytes).unwrap();
                let read = Ceilings::open(scratch.path());
                assert!(read.damaged, "byte {at} bit {bit}");
            }
            std::fs::write(&path, &whole[..at]).unwrap();
            assert!(Ceilings::open(scratch.path()).damaged, "cut at {at}");
        }
    }
}
