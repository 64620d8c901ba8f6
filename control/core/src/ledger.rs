//! Gap ledger of one stream: the status of each sequence number, kept as segments that do not
//! overlap.
//!
//! A segment is one row of the data store. A [`LoadedLedger`] holds the segments that one change can
//! touch, so that the rest of a long ledger stays on disk.
//!
//! See decisions 0056 and 0092.

use std::collections::BTreeMap;

use holdfast_records::{GapReason, Range, RangeSet};
use serde::Serialize;

pub use holdfast_control_rows::{Answer, Rows, Segment, is_by_policy};

/// Highest sequence number that is accepted, 2^53 - 1: the largest that a JSON number holds
/// exactly. At a million records a second a stream reaches it after 285 years.
pub const MAX_SEQUENCE: u64 = (1 << 53) - 1;

type Segments = BTreeMap<u64, (u64, Answer)>;

/// Part of a ledger that is in memory, with what the store held when it was loaded.
#[derive(Debug, Clone, Default)]
pub struct LoadedLedger {
    /// Numbers whose status is known here: every segment that touches them is in memory as a whole.
    loaded: RangeSet,
    segments: Segments,
    /// Segments as the store has them, for [`LoadedLedger::rows`] to compare with.
    before: Segments,
}

impl LoadedLedger {
    /// Creates a stretch with nothing loaded.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the ranges that must still be loaded before the numbers from `from` to `to` can be
    /// changed.
    ///
    /// One number more on each side is included, because adjacent segments of one status merge:
    /// when `10..=19` is received in the store and `20..=29` arrives, row 10 grows to `10..=29` and
    /// no row 20 is written.
    pub fn wanted(&self, from: u64, to: u64) -> RangeSet {
        self.loaded.missing(from.saturating_sub(1), to.saturating_add(1))
    }

    /// Adds the segments of the store that touch `range`. A segment that reaches beyond `range` is
    /// known as a whole afterwards.
    pub fn load(&mut self, range: Range, segments: impl IntoIterator<Item = Segment>) {
        self.loaded.insert(range.from, range.to);
        for segment in segments {
            self.loaded.insert(segment.from, segment.to);
            let value = (segment.to, segment.answer);
            self.segments.insert(segment.from, value);
            self.before.insert(segment.from, value);
        }
    }

    /// Returns the rows that differ from the store, in the order of their numbers.
    pub fn rows(&self) -> Rows {
        let gone = self.before.keys().filter(|from| !self.segments.contains_key(from));
        let mut rows: Rows = gone.map(|from| (*from, None)).collect();
        let other = |(from, value): &(&u64, &(u64, Answer))| self.before.get(from) != Some(value);
        rows.extend(self.segments.iter().filter(other).map(|(from, value)| (*from, Some(*value))));
        rows.sort_by_key(|(from, _)| *from);
        rows
    }

    /// Returns the number of segments minus that in the store; negative after merging.
    pub fn growth(&self) -> i64 {
        let count = |segments: &Segments| i64::try_from(segments.len()).unwrap_or(i64::MAX);
        count(&self.segments) - count(&self.before)
    }

    /// Returns the segments that contain at least one number from `from` to `to`, uncut.
    pub fn touching(&self, from: u64, to: u64) -> Vec<Segment> {
        let segment = |(from, (to, answer)): (&u64, &(u64, Answer))| Segment {
            from: *from,
            to: *to,
            answer: *answer,
        };
        let mut found = Vec::new();
        // The segment that begins before `from` reaches into the range if it ends at `from` or
        // later. Segments do not overlap, so no other one before it can.
        if let Some(first) = self.segments.range(..from).next_back().map(segment)
            && first.to >= from
        {
            found.push(first);
        }
        if from <= to {
            found.extend(self.segments.range(from..=to).map(segment));
        }
        found
    }

    /// Returns those numbers from `from` to `to` that have no status.
    pub fn unanswered(&self, from: u64, to: u64) -> RangeSet {
        let mut rest = RangeSet::new();
        rest.insert(from, to);
        for segment in self.touching(from, to) {
            rest.remove(segment.from, segment.to);
        }
        rest
    }

    /// Returns those of `numbers` whose status fulfils `is`.
    pub fn within(&self, numbers: &RangeSet, is: impl Fn(Answer) -> bool) -> RangeSet {
        let mut found = RangeSet::new();
        for range in numbers.iter() {
            for segment in self.touching(range.from, range.to) {
                if is(segment.answer) {
                    found.insert(segment.from.max(range.from), segment.to.min(range.to));
                }
            }
        }
        found
    }

    /// Returns those of `numbers` that are [`Answer::Summed`].
    pub fn summed_within(&self, numbers: &RangeSet) -> RangeSet {
        self.within(numbers, |answer| answer == Answer::Summed)
    }

    /// Returns how many numbers from `from` to `to` stand in gaps.
    pub fn gaps_within(&self, from: u64, to: u64) -> u64 {
        let gaps = self.touching(from, to).into_iter();
        gaps.filter(|segment| matches!(segment.answer, Answer::Gap(_)))
            .map(|segment| segment.to.min(to) - segment.from.max(from) + 1)
            .fold(0, u64::saturating_add)
    }

    /// Sets the status of the numbers from `from` to `to` where they have none, or one for which
    /// `gives_way` is true. Returns the ranges that changed, each with its former status.
    ///
    /// Example: with `1..=10` received, setting `5..=15` to a gap that overrides nothing changes
    /// `11..=15` alone and returns `[(11..=15, None)]`.
    pub fn set(
        &mut self,
        from: u64,
        to: u64,
        answer: Answer,
        gives_way: impl Fn(Answer) -> bool,
    ) -> Vec<(Range, Option<Answer>)> {
        if from > to {
            return Vec::new();
        }
        // `pieces` becomes everything that stands where the touched segments stood, from left to
        // right: what an old segment has left of `from`, the hole before the overlap, the overlap
        // with the new or the old status, and what the last one has right of `to`. With `1..=4`
        // thinned, receiving `3..=6` gives 1-2 thinned, 3-4 received (was thinned), 5-6 received
        // (had no status). `put` then merges 3-6. The additions of 1 cannot overflow: numbers are
        // at most MAX_SEQUENCE.
        let mut pieces: Vec<Segment> = Vec::new();
        let mut changed = Vec::new();
        let mut next = from;
        for old in self.touching(from, to) {
            self.segments.remove(&old.from);
            if old.from < from {
                pieces.push(Segment { to: from - 1, ..old });
            }
            let (low, high) = (old.from.max(from), old.to.min(to));
            if next < low {
                pieces.push(Segment { from: next, to: low - 1, answer });
                changed.push((Range { from: next, to: low - 1 }, None));
            }
            if gives_way(old.answer) {
                pieces.push(Segment { from: low, to: high, answer });
                changed.push((Range { from: low, to: high }, Some(old.answer)));
            } else {
                pieces.push(Segment { from: low, to: high, ..old });
            }
            if old.to > to {
                pieces.push(Segment { from: to + 1, ..old });
            }
            next = high + 1;
        }
        if next <= to {
            pieces.push(Segment { from: next, to, answer });
            changed.push((Range { from: next, to }, None));
        }
        self.put(pieces);
        changed
    }

    /// Inserts pieces, in ascending order, where no segments are, and merges each with neighbours
    /// of the same status.
    fn put(&mut self, pieces: Vec<Segment>) {
        for piece in pieces {
            let mut piece = piece;
            if let Some((from, (to, answer))) = self.segments.range(..piece.from).next_back()
                && *to + 1 == piece.from
                && *answer == piece.answer
            {
                piece.from = *from;
            }
            if let Some((to, answer)) = self.segments.get(&(piece.to + 1))
                && *answer == piece.answer
            {
                let to = *to;
                self.segments.remove(&(piece.to + 1));
                piece.to = to;
            }
            self.segments.insert(piece.from, (piece.to, piece.answer));
        }
    }

    /// Merges adjacent segments into one with the status [`Answer::Summed`], so that a ledger of
    /// very many segments stays bounded. All that is loaded is summed up; a segment without a
    /// neighbour and numbers without a status stay as they are. Returns how many numbers of each
    /// gap reason can no longer be told from received ones.
    ///
    /// Example: `1..=4` received, 5 thinned, `6..=9` received, 11 received becomes `1..=9` summed
    /// and 11 received, and returns `{thinned: 1}`. Number 10 has no status and remains unknown.
    pub fn sum_up(&mut self) -> BTreeMap<GapReason, u64> {
        let mut summed: Vec<Segment> = Vec::new();
        let mut gaps = BTreeMap::new();
        let mut count = |segment: &Segment| {
            if let Answer::Gap(reason) = segment.answer {
                let sum: &mut u64 = gaps.entry(reason).or_default();
                *sum = sum.saturating_add(segment.to - segment.from + 1);
            }
        };
        for (from, (to, answer)) in std::mem::take(&mut self.segments) {
            let next = Segment { from, to, answer };
            // Neighbours merge whatever their status. A stream that is stored on change alternates
            // between received and reduced (1 received, 2-60 reduced, 61 received, …): no two
            // neighbours are alike, so merging only like ones would never make such a ledger
            // shorter.
            match summed.last_mut() {
                Some(last) if last.to + 1 == from => {
                    // Both sides are counted, but a segment that is Summed already adds nothing:
                    // its gaps were counted when it was made, and the caller adds the result to
                    // that sum.
                    count(last);
                    count(&next);
                    *last = Segment { from: last.from, to, answer: Answer::Summed };
                }
                _ => summed.push(next),
            }
        }
        self.put(summed);
        gaps
    }
}

/// Range of numbers without a record, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// First number of the range.
    pub from: u64,
    /// Last number of the range, inclusive.
    pub to: u64,
    /// Word of the [`GapReason`], such as `quota`; `unknown` for numbers without a status.
    pub reason: &'static str,
    /// True if a policy left the records on the device, see [`is_by_policy`].
    #[serde(skip)]
    pub by_policy: bool,
}

/// Builds the list of missing ranges from segments in ascending order: gaps, and numbers up to
/// `highest` without a status.
///
/// Numbers above `highest` without a status are not missing: they may still arrive. Example: with
/// `highest` 7 and the segments `1..=3` received and 5 in a gap, the list is 4 unknown, 5 with its
/// reason, `6..=7` unknown.
#[derive(Debug)]
pub struct MissingList {
    next: u64,
    highest: u64,
}

impl MissingList {
    /// Creates a list that begins at number `from`. `highest` is the highest number received; 0:
    /// none.
    pub fn new(from: u64, highest: u64) -> Self {
        Self { next: from.max(1), highest }
    }

    fn unknown(&mut self, before: u64, found: &mut Vec<Missing>) {
        let to = before.saturating_sub(1).min(self.highest);
        if self.next <= to {
            found.push(Missing { from: self.next, to, reason: "unknown", by_policy: false });
        }
    }

    /// Adds the next segment, and pushes the ranges that it completes to `found`.
    pub fn add(&mut self, segment: Segment, found: &mut Vec<Missing>) {
        self.unknown(segment.from, found);
        if let Answer::Gap(reason) = segment.answer
            && segment.to >= self.next
        {
            let from = segment.from.max(self.next);
            let by_policy = is_by_policy(reason);
            found.push(Missing { from, to: segment.to, reason: reason.as_str(), by_policy });
        }
        self.next = self.next.max(segment.to.saturating_add(1));
    }

    /// Ends the list after the last segment: pushes the numbers up to `highest` that no segment
    /// reached.
    pub fn end(&mut self, found: &mut Vec<Missing>) {
        self.unknown(u64::MAX, found);
    }
}
