//! Ceilings: for each stream, a sequence number above which none was given, and the first number of
//! streams that are not listed. They survive a lost database, so that no number is given twice, and
//! are raised ahead of use, further the more a stream publishes, so that they are seldom written.
//!
//! See decision 0045.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_records::StreamName;

/// Ceilings of all streams, as they are on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ceilings {
    by_stream: BTreeMap<StreamName, u64>,
    /// Size of the last raise, by stream.
    ahead: BTreeMap<StreamName, u64>,
    base: u64,
    /// True when what is on disk cannot be read, or is missing although sequence numbers were
    /// given.
    pub damaged: bool,
}

impl Default for Ceilings {
    fn default() -> Self {
        Self::new(1, BTreeMap::new())
    }
}

impl Ceilings {
    /// Longest raise of a ceiling: the file of a few KiB is replaced once in so many records of a
    /// stream.
    pub const MAX_RAISE: u64 = 65_536;
    /// First raise of a ceiling, doubled with each further one. Should the database be lost, the
    /// numbers between the last one given and the ceiling are reported as a gap, so a raise should
    /// be small for a quiet stream.
    pub const FIRST_RAISE: u64 = 256;

    /// Creates ceilings as they were read. Streams that are not listed begin at `base`.
    pub fn new(base: u64, by_stream: BTreeMap<StreamName, u64>) -> Self {
        Self { by_stream, ahead: BTreeMap::new(), base, damaged: false }
    }

    /// First sequence number of streams that have no ceiling.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Ceiling of each stream.
    pub fn by_stream(&self) -> &BTreeMap<StreamName, u64> {
        &self.by_stream
    }

    /// Returns ceilings by which these streams may give sequence numbers up to the ones in
    /// `needed`, and new streams from `base` on. Streams in `gone` lose their ceiling. `None` when
    /// nothing has to change.
    pub fn raised(
        &self,
        needed: &[(StreamName, u64)],
        gone: &BTreeSet<StreamName>,
        base: u64,
    ) -> Option<Self> {
        let base = base.max(self.base);
        let short = |known: &BTreeMap<StreamName, u64>, stream: &StreamName, to: u64| {
            known.get(stream).is_none_or(|ceiling| *ceiling < to)
        };
        let same = base == self.base
            && needed.iter().all(|(stream, to)| !short(&self.by_stream, stream, *to))
            && gone.iter().all(|stream| !self.by_stream.contains_key(stream));
        if same {
            return None;
        }
        let mut new = Self { base, ..self.clone() };
        new.by_stream.retain(|stream, _| !gone.contains(stream));
        for (stream, to) in needed {
            if short(&new.by_stream, stream, *to) {
                // The first raise is by 256, the next by 512, up to 65,536. A stream of few records
                // stays close to its ceiling, so that few numbers are reported as lost should the
                // database be; a busy one replaces the file only once in 65,536 records.
                let ahead = new
                    .ahead
                    .get(stream)
                    .map_or(Self::FIRST_RAISE, |last| (last * 2).min(Self::MAX_RAISE));
                new.by_stream.insert(stream.clone(), to.saturating_add(ahead));
                new.ahead.insert(stream.clone(), ahead);
            }
        }
        new.ahead.retain(|stream, _| new.by_stream.contains_key(stream));
        Some(new)
    }

    /// Returns ceilings at the last sequence numbers given, since no stream gives another one until
    /// the next start. `None` when nothing changes, or when what is on disk is not known.
    pub fn lowered(&self, given: BTreeMap<StreamName, u64>, base: u64) -> Option<Self> {
        let base = base.max(self.base);
        let same = given == self.by_stream && base == self.base;
        (!self.damaged && !same).then(|| Self::new(base, given))
    }
}
