//! The gap ledger of one stream: what became of each of its numbers, as segments that do not
//! overlap. A segment is one row of the data store; a [`LoadedLedger`] holds those that a change can
//! touch, so that the rest of a long ledger stays on disk.

use std::collections::BTreeMap;

use holdfast_records::{GapReason, Range, RangeSet};
use serde::Serialize;

/// The largest sequence number that is believed: what a JSON number holds exactly. At a million
/// records a second a stream reaches it in 285 years.
pub const MAX_SEQUENCE: u64 = (1 << 53) - 1;

/// What became of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// It was received.
    Received,
    /// The device says that it will not come, and why.
    Gap(GapReason),
    /// It was received or stands in a gap: only the blocks that are kept tell which, see
    /// [`LoadedLedger::sum_up`]. It gives way to a record that they do not hold.
    Summed,
}

impl Answer {
    /// Every answer.
    pub const ALL: [Self; 9] = [
        Self::Received,
        Self::Gap(GapReason::Expired),
        Self::Gap(GapReason::Quota),
        Self::Gap(GapReason::Thinned),
        Self::Gap(GapReason::Reduced),
        Self::Gap(GapReason::Withheld),
        Self::Gap(GapReason::Damaged),
        Self::Gap(GapReason::DiskFull),
        Self::Summed,
    ];

    /// As the store writes it.
    pub fn code(self) -> u8 {
        match self {
            Self::Received => 0,
            Self::Gap(GapReason::Expired) => 1,
            Self::Gap(GapReason::Quota) => 2,
            Self::Gap(GapReason::Thinned) => 3,
            Self::Gap(GapReason::Reduced) => 4,
            Self::Gap(GapReason::Withheld) => 5,
            Self::Gap(GapReason::Damaged) => 6,
            Self::Gap(GapReason::DiskFull) => 7,
            Self::Summed => 255,
        }
    }

    /// From what the store wrote.
    pub fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.code() == code)
    }
}

/// Numbers that follow each other and have the same answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The first.
    pub from: u64,
    /// The last.
    pub to: u64,
    /// What became of them.
    pub answer: Answer,
}

/// What of the store a change of a ledger replaces: None deletes the segment that begins there.
pub type Rows = Vec<(u64, Option<(u64, Answer)>)>;

type Segments = BTreeMap<u64, (u64, Answer)>;

/// The part of a ledger that is in memory.
#[derive(Debug, Clone, Default)]
pub struct LoadedLedger {
    /// Which numbers are known here: all segments that touch them are in memory, whole.
    loaded: RangeSet,
    segments: Segments,
    /// As the store has them.
    before: Segments,
}

impl LoadedLedger {
    /// One of which nothing is loaded.
    pub fn new() -> Self {
        Self::default()
    }

    /// What must still be loaded before these numbers can be changed, their neighbours included,
    /// for segments of one answer grow together.
    pub fn wanted(&self, from: u64, to: u64) -> RangeSet {
        self.loaded.missing(from.saturating_sub(1), to.saturating_add(1))
    }

    /// Takes in the segments of the store that touch `range`.
    pub fn load(&mut self, range: Range, segments: impl IntoIterator<Item = Segment>) {
        self.loaded.insert(range.from, range.to);
        for segment in segments {
            self.loaded.insert(segment.from, segment.to);
            let value = (segment.to, segment.answer);
            self.segments.insert(segment.from, value);
            self.before.insert(segment.from, value);
        }
    }

    /// What of the store changed, by number.
    pub fn rows(&self) -> Rows {
        let gone = self.before.keys().filter(|from| !self.segments.contains_key(from));
        let mut rows: Rows = gone.map(|from| (*from, None)).collect();
        let other = |(from, value): &(&u64, &(u64, Answer))| self.before.get(from) != Some(value);
        rows.extend(self.segments.iter().filter(other).map(|(from, value)| (*from, Some(*value))));
        rows.sort_by_key(|(from, _)| *from);
        rows
    }

    /// How many segments more than in the store.
    pub fn growth(&self) -> i64 {
        let count = |segments: &Segments| i64::try_from(segments.len()).unwrap_or(i64::MAX);
        count(&self.segments) - count(&self.before)
    }

    /// The segments that hold one of these numbers, whole.
    pub fn touching(&self, from: u64, to: u64) -> Vec<Segment> {
        let segment = |(from, (to, answer)): (&u64, &(u64, Answer))| Segment {
            from: *from,
            to: *to,
            answer: *answer,
        };
        let mut found = Vec::new();
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

    /// What of these numbers has no answer.
    pub fn unanswered(&self, from: u64, to: u64) -> RangeSet {
        let mut rest = RangeSet::new();
        rest.insert(from, to);
        for segment in self.touching(from, to) {
            rest.remove(segment.from, segment.to);
        }
        rest
    }

    /// Those of these numbers whose answer is one of these.
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

    /// Those of these numbers that are summed up.
    pub fn summed_within(&self, numbers: &RangeSet) -> RangeSet {
        self.within(numbers, |answer| answer == Answer::Summed)
    }

    /// How many of these numbers stand in gaps.
    pub fn gaps_within(&self, from: u64, to: u64) -> u64 {
        let gaps = self.touching(from, to).into_iter();
        gaps.filter(|segment| matches!(segment.answer, Answer::Gap(_)))
            .map(|segment| segment.to.min(to) - segment.from.max(from) + 1)
            .fold(0, u64::saturating_add)
    }

    /// Gives these numbers an answer where they have none, or one that `gives_way`. What changed,
    /// with the answer that it had.
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

    /// Puts pieces where nothing is, in their order, grown together with their neighbours.
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

    /// Makes one of all neighbours that have an answer, so that a ledger of very many pieces stays
    /// bounded; whoever stands alone, and numbers without an answer, stay as they are. Everything
    /// that is loaded is summed up. Gives how many numbers stood in the gaps that are no longer
    /// told from what was received, by reason.
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
            match summed.last_mut() {
                Some(last) if last.to + 1 == from => {
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

/// Whether these numbers were left on the device because a policy says so: such records are no loss
/// and can be fetched or asked. Everything else that did not come is missing. This is the one place
/// that tells the two apart.
pub fn is_by_policy(reason: GapReason) -> bool {
    matches!(reason, GapReason::Reduced | GapReason::Withheld)
}

/// Why numbers did not come, as the API says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The first.
    pub from: u64,
    /// The last.
    pub to: u64,
    /// A [`GapReason`]'s word, or `unknown`.
    pub reason: &'static str,
    /// See [`is_by_policy`].
    #[serde(skip)]
    pub by_policy: bool,
}

/// Makes the list of what is missing out of segments that come in their order: gaps, and below
/// `highest` whatever has no answer.
#[derive(Debug)]
pub struct MissingList {
    next: u64,
    highest: u64,
}

impl MissingList {
    /// From this number on; `highest` is the highest that was received.
    pub fn new(from: u64, highest: u64) -> Self {
        Self { next: from.max(1), highest }
    }

    fn unknown(&mut self, before: u64, found: &mut Vec<Missing>) {
        let to = before.saturating_sub(1).min(self.highest);
        if self.next <= to {
            found.push(Missing { from: self.next, to, reason: "unknown", by_policy: false });
        }
    }

    /// The next segment.
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

    /// There are no more segments.
    pub fn end(&mut self, found: &mut Vec<Missing>) {
        self.unknown(u64::MAX, found);
    }
}
