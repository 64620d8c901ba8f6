//! The file `data.ceilings`: for each stream, a sequence number above which none was given, and the
//! first number of streams that are not listed. It survives a damaged or lost `data.redb`, so that
//! no sequence number is given twice. Ceilings are raised ahead of use, further the more a stream
//! publishes, so that the file is seldom replaced; they are lowered to what was given when the
//! buffer is closed.
//!
//! The empty file `buffer.made` says that sequence numbers were given at all: a folder that has it
//! but not the other two files is not taken for a new device's.
//!
//! See decision 0045.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use holdfast_records::StreamName;
use holdfast_records::crc::crc;

use crate::adapters::files;
use crate::core::data::step;

/// Name that stands in the file for all streams that are not listed; no stream can be called so.
const OTHERS: &str = "*";

/// Path of the file that says that sequence numbers were given.
pub(super) fn mark(data: &Path) -> PathBuf {
    data.join("buffer.made")
}

/// Ceilings as they are on disk.
#[derive(Debug)]
pub(super) struct Ceilings {
    path: PathBuf,
    /// Content of the ceilings' file.
    pub(super) known: step::Ceilings,
    mark: PathBuf,
    marked: bool,
}

impl Ceilings {
    /// Reads the file. Never fails; see `damaged`.
    pub(super) fn open(data: &Path) -> Self {
        let (path, mark) = (data.join("data.ceilings"), mark(data));
        let marked = mark.try_exists().unwrap_or(true);
        let read = match std::fs::read_to_string(&path) {
            Ok(text) => parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !marked => {
                Some((1, BTreeMap::new()))
            }
            Err(_) => None,
        };
        let damaged = read.is_none();
        let (base, by_stream) = read.unwrap_or((1, BTreeMap::new()));
        let mut known = step::Ceilings::new(base, by_stream);
        known.damaged = damaged;
        Self { path, known, mark, marked }
    }

    /// Makes sure, durably, that these streams may give sequence numbers up to the ones in
    /// `needed`, and new streams from `base` on. Streams in `gone` lose their ceiling. Returns the
    /// bytes written, 0 when nothing had to change.
    ///
    /// # Errors
    /// When the file cannot be replaced; the ceilings stay as they were.
    pub(super) fn cover(
        &mut self,
        needed: &[(StreamName, u64)],
        gone: &BTreeSet<StreamName>,
        base: u64,
    ) -> io::Result<u64> {
        let raised = self.known.raised(needed, gone, base);
        if raised.is_none() && (self.marked || needed.is_empty()) {
            return Ok(0);
        }
        // The mark goes first. After a crash in between there is a mark and no ceilings, which
        // reads as damage and is safe; ceilings without a mark could vanish and pass for a new
        // device.
        if !self.marked {
            files::replace(&self.mark, b"", 0o600)?;
            self.marked = true;
        }
        raised.map_or(Ok(0), |raised| self.replace(raised))
    }

    /// Lowers the ceilings to the last sequence numbers given, since no stream gives another one
    /// until the next start.
    ///
    /// # Errors
    /// When the file cannot be replaced; the ceilings stay as they were.
    pub(super) fn lower(&mut self, given: BTreeMap<StreamName, u64>, base: u64) -> io::Result<()> {
        let lowered = self.known.lowered(given, base);
        lowered.map_or(Ok(()), |lowered| self.replace(lowered).map(drop))
    }

    fn replace(&mut self, new: step::Ceilings) -> io::Result<u64> {
        let text = format(new.by_stream(), new.base());
        files::replace(&self.path, text.as_bytes(), 0o600)?;
        self.known = new;
        Ok(u64::try_from(text.len()).unwrap_or(0))
    }
}

fn format(ceilings: &BTreeMap<StreamName, u64>, base: u64) -> String {
    let others = if base > 1 { format!("{base} {OTHERS}\n") } else { String::new() };
    let lines: String =
        ceilings.iter().map(|(stream, ceiling)| format!("{ceiling} {stream}\n")).collect();
    let lines = others + &lines;
    let sum = crc(&[lines.as_bytes()]);
    format!("{lines}{sum:08x}\n")
}

fn parse(text: &str) -> Option<(u64, BTreeMap<StreamName, u64>)> {
    let (lines, sum) = text.strip_suffix('\n')?.rsplit_once('\n').unwrap_or(("", text.trim()));
    let lines = if lines.is_empty() { String::new() } else { format!("{lines}\n") };
    if format!("{:08x}", crc(&[lines.as_bytes()])) != sum {
        return None;
    }
    let (mut base, mut ceilings) = (1, BTreeMap::new());
    for line in lines.lines() {
        let (number, stream) = line.split_once(' ')?;
        let number = number.parse().ok()?;
        if stream == OTHERS {
            base = number;
        } else {
            ceilings.insert(stream.parse().ok()?, number);
        }
    }
    Some((base, ceilings))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST_RAISE: u64 = step::Ceilings::FIRST_RAISE;
    const MAX_RAISE: u64 = step::Ceilings::MAX_RAISE;

    #[test]
    fn ceilings_are_raised_ahead_and_a_flipped_bit_is_noticed() {
        let scratch = tempfile::tempdir().unwrap();
        let mut ceilings = Ceilings::open(scratch.path());
        assert!(!ceilings.known.damaged);
        let mut cover = |streams: &[(&str, u64)], gone: &[&str], base| {
            let needed: Vec<_> =
                streams.iter().map(|(name, to)| (name.parse().unwrap(), *to)).collect();
            let gone = gone.iter().map(|name| name.parse().unwrap()).collect();
            ceilings.cover(&needed, &gone, base).unwrap()
        };
        assert!(cover(&[("pump/temp", 1)], &[], 1) > 0);
        assert_eq!(cover(&[("pump/temp", FIRST_RAISE)], &[], 1), 0, "it is covered");
        assert!(cover(&[("b", 7), ("c", 7)], &[], 1) > 0);
        assert!(cover(&[("c", MAX_RAISE)], &["b", "c"], 1_000) > 0);
        assert_eq!(cover(&[], &["b"], 900), 0, "it is gone, and the base is never lowered");
        let again = Ceilings::open(scratch.path());
        let there: Vec<_> =
            again.known.by_stream().iter().map(|(name, at)| (name.as_str(), *at)).collect();
        assert_eq!(there, [("c", MAX_RAISE + 2 * FIRST_RAISE), ("pump/temp", 1 + FIRST_RAISE)]);
        assert_eq!(again.known.base(), 1_000);
        let path = scratch.path().join("data.ceilings");
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                std::fs::write(&path, &bytes).unwrap();
                let read = Ceilings::open(scratch.path());
                assert!(read.known.damaged, "byte {at} bit {bit}");
            }
            std::fs::write(&path, &whole[..at]).unwrap();
            assert!(Ceilings::open(scratch.path()).known.damaged, "cut at {at}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(Ceilings::open(scratch.path()).known.damaged, "numbers were given, and it is gone");
    }
    #[test]
    fn ceilings_are_raised_the_further_the_more_comes_and_end_at_what_was_given() {
        let scratch = tempfile::tempdir().unwrap();
        let mut ceilings = Ceilings::open(scratch.path());
        let stream: StreamName = "a".parse().unwrap();
        let (mut written, mut worst) = (0, 0);
        for number in (1..=2_000_000_u64).step_by(100) {
            let needed = [(stream.clone(), number)];
            written += u64::from(ceilings.cover(&needed, &BTreeSet::new(), 1).unwrap() > 0);
            let ceiling = *ceilings.known.by_stream().values().next().unwrap();
            assert!(
                ceiling >= number
                    && ceiling <= number * 2 + FIRST_RAISE
                    && ceiling <= number + MAX_RAISE
            );
            worst = worst.max(ceiling - number);
        }
        assert!(
            worst > MAX_RAISE / 2 && written < 8 + 2_000_000 / MAX_RAISE + 2,
            "{worst} {written}"
        );
        ceilings.lower(BTreeMap::from([(stream.clone(), 2_000_000)]), 7).unwrap();
        let mut ceilings = Ceilings::open(scratch.path());
        assert_eq!(*ceilings.known.by_stream(), BTreeMap::from([(stream.clone(), 2_000_000)]));
        assert_eq!(ceilings.known.base(), 7);
        let needed = [(stream.clone(), 2_000_001)];
        ceilings.cover(&needed, &BTreeSet::new(), 1).unwrap();
        assert_eq!(*ceilings.known.by_stream().values().next().unwrap(), 2_000_001 + FIRST_RAISE);
        // What is known of no file is not lowered.
        std::fs::write(scratch.path().join("data.ceilings"), "noise").unwrap();
        let mut ceilings = Ceilings::open(scratch.path());
        ceilings.lower(BTreeMap::new(), 1).unwrap();
        assert!(Ceilings::open(scratch.path()).known.damaged);
    }
}
