//! One stream as its device knows it: which numbers were given, which are on disk, which are
//! settled (acknowledged by the control plane, as records or as gaps) and which gaps are still to
//! be told. Every number that was given is one of these, whatever happens; a number that turns
//! out to be nowhere is told as damaged.
//! See decisions 0044, 0045, 0048 and 0064.

use std::collections::BTreeMap;

use holdfast_base::ids::Name;
use holdfast_records::{Gap, GapReason, Range, RangeSet, StreamName};
use serde::{Deserialize, Serialize};

/// A segment is closed at so many bytes on disk: what a window of time or a drop looks through.
const SEGMENT_BYTES: u64 = 256 * 1024;
/// And at so many blocks: single records make small ones, and a start reads the last segment.
const SEGMENT_BLOCKS: u32 = 1_024;
/// And after so long, in milliseconds: a ttl drops whole segments. A quarter of the ttl, if that
/// is shorter.
const SEGMENT_SPAN: u64 = 6 * 3_600_000;
/// Doubts that are told apart; of more, the oldest two count as one.
const DOUBTS: usize = 32;

/// Records that stand together on disk. Numbers within that it does not hold were thinned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Its first number.
    pub first: u64,
    /// Its last number.
    pub last: u64,
    /// How many records.
    pub count: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Earliest time of a record, in milliseconds since 1970.
    pub earliest: u64,
    /// Latest.
    pub latest: u64,
}

/// Blocks that follow each other, as they are found again without reading them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Its first number; within what it is known by, which is where it began.
    pub first: u64,
    /// Its last number.
    pub last: u64,
    /// Records.
    pub count: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Blocks.
    pub blocks: u32,
    /// Earliest time of a record.
    pub earliest: u64,
    /// Latest.
    pub latest: u64,
    /// How often it was thinned.
    pub thinned: u32,
}

impl Segment {
    fn of(block: &Block) -> Self {
        Self {
            first: block.first,
            last: block.last,
            count: block.count,
            bytes: block.bytes,
            blocks: 1,
            earliest: block.earliest,
            latest: block.latest,
            thinned: 0,
        }
    }

    fn add(&mut self, block: &Block) {
        self.first = self.first.min(block.first);
        self.last = self.last.max(block.last);
        self.count += block.count;
        self.bytes += block.bytes;
        self.blocks += 1;
        self.earliest = self.earliest.min(block.earliest);
        self.latest = self.latest.max(block.latest);
    }

    fn is_full(&self, next: &Block, ttl: Option<u64>) -> bool {
        let span = ttl.map_or(SEGMENT_SPAN, |ttl| SEGMENT_SPAN.min(ttl / 4));
        self.bytes >= SEGMENT_BYTES
            || self.blocks >= SEGMENT_BLOCKS
            || next.latest.saturating_sub(self.earliest) > span
    }
}

/// What of a stream is stored beside its blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its name.
    pub name: StreamName,
    /// No number below this is given any more.
    pub next: u64,
    /// What the control plane has acknowledged, as records or as gaps.
    pub settled: RangeSet,
    /// What will not come, and is not acknowledged yet.
    pub gaps: BTreeMap<GapReason, RangeSet>,
    /// Records that were withheld or reduced and are to be shipped all the same.
    #[serde(default)]
    pub wanted: RangeSet,
    /// Numbers below this one may stand for other records at the control plane; 0: none does.
    #[serde(default, skip_serializing_if = "is_zero")]
    unsure: u64,
    /// From this number on records were stored while the clock could not be relied on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    doubt: Option<u64>,
    /// Records of former doubts, in the order of their numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dated: Vec<Dated>,
    /// The workload or local access that made it; None: the agent, or it is not known any more.
    #[serde(default)]
    pub owner: Option<Name>,
    /// Time of the last record, in milliseconds since 1970.
    #[serde(default)]
    pub latest: u64,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// Records that were stored while the clock could not be relied on. Their own times say nothing:
/// they are as old as the moment at which it could be relied on again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Dated {
    from: u64,
    to: u64,
    /// That moment, in milliseconds since 1970.
    at: u64,
}

impl Kept {
    /// Where the doubt began that this number was stored in; None: the clock was right.
    fn doubted(&self, number: u64) -> Option<u64> {
        let dated = self.dated.iter().find(|it| (it.from..=it.to).contains(&number));
        dated.map(|it| it.from).or(self.doubt.filter(|from| number >= *from))
    }
}

/// A stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    kept: Kept,
    segments: BTreeMap<u64, Segment>,
    bytes: u64,
    count: u64,
    waiting: u64,
    /// Bytes that were ever stored, as far as this process knows.
    taken: u64,
}

impl Stream {
    /// A new one; `next` is the first number that it gives. What is below was given before and is
    /// lost.
    pub fn new(name: StreamName, next: u64) -> Self {
        let mut gaps = BTreeMap::new();
        if next > 1 {
            let lost = RangeSet::from_ranges([Range { from: 1, to: next - 1 }]);
            gaps.insert(GapReason::Damaged, lost);
        }
        let kept = Kept {
            name,
            next: next.max(1),
            settled: RangeSet::new(),
            gaps,
            wanted: RangeSet::new(),
            unsure: 0,
            doubt: None,
            dated: Vec::new(),
            owner: None,
            latest: 0,
        };
        Self::load(kept, BTreeMap::new())
    }

    /// It was made by this workload or local access.
    #[must_use]
    pub fn made_by(mut self, owner: Option<Name>) -> Self {
        self.kept.owner = owner;
        self
    }

    /// As it was stored: its row, and the segments that were closed.
    pub fn load(kept: Kept, segments: BTreeMap<u64, Segment>) -> Self {
        let mut stream = Self { kept, segments, bytes: 0, count: 0, waiting: 0, taken: 0 };
        for segment in stream.segments.values() {
            stream.bytes += segment.bytes;
            stream.count += segment.count;
            stream.kept.latest = segment.latest;
        }
        if let Some(last) = stream.segments.values().map(|segment| segment.last).max() {
            stream.kept.next = stream.kept.next.max(last + 1);
        }
        stream.count_waiting();
        stream
    }

    /// Numbers without an answer: exactly, where nothing was thinned out; in proportion where the
    /// holes of a thinned segment are not known without reading it.
    fn count_waiting(&mut self) {
        self.waiting = 0;
        for segment in self.segments.values() {
            let within = |set: &RangeSet| set.within(segment.first, segment.last).count();
            let span = segment.last - segment.first + 1;
            // Gaps that are not told are no records: what a full buffer refused lies between them.
            let gaps: u64 = self.kept.gaps.values().map(within).sum();
            let open = span.saturating_sub(within(&self.kept.settled)).saturating_sub(gaps);
            self.waiting += if segment.thinned == 0 {
                open.min(segment.count)
            } else {
                let part = u128::from(segment.count) * u128::from(open) / u128::from(span);
                u64::try_from(part).unwrap_or(u64::MAX)
            };
        }
    }

    /// What is stored of it beside its blocks.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Its name.
    pub fn name(&self) -> &StreamName {
        &self.kept.name
    }

    /// The next number that it gives.
    pub fn next(&self) -> u64 {
        self.kept.next
    }

    /// Who made it, as far as that is known.
    pub fn owner(&self) -> Option<&Name> {
        self.kept.owner.as_ref()
    }

    /// Time of the last record.
    pub fn latest(&self) -> u64 {
        self.kept.latest
    }

    /// Nothing is left of it: no record, nothing to tell, nothing that is wanted.
    pub fn is_spent(&self) -> bool {
        self.segments.is_empty()
            && !self.has_untold_gaps()
            && self.kept.wanted.is_empty()
            && self.unshipped().is_empty()
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes that were stored: a total that rises.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Records on disk.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Records on disk that are not settled.
    pub fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Something is to be told.
    pub fn has_untold_gaps(&self) -> bool {
        self.kept.gaps.values().any(|gaps| !gaps.is_empty())
    }

    /// Its segments by where they began, oldest first.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = (u64, &Segment)> {
        self.segments.iter().map(|(start, segment)| (*start, segment))
    }

    /// The segment that began there.
    pub fn segment(&self, start: u64) -> Option<&Segment> {
        self.segments.get(&start)
    }

    /// Time of the oldest record on disk.
    pub fn oldest(&self) -> Option<u64> {
        self.segments.values().map(|segment| segment.earliest).min()
    }

    /// Time of the oldest record on disk that is not settled, as far as segments tell.
    pub fn oldest_waiting(&self) -> Option<u64> {
        let open =
            |segment: &&Segment| !self.kept.settled.missing(segment.first, segment.last).is_empty();
        self.segments.values().find(open).map(|segment| segment.earliest)
    }

    /// A block is on disk. Gives where a segment began that is closed by it.
    pub fn stored(&mut self, block: &Block, ttl: Option<u64>) -> Option<u64> {
        self.kept.next = self.kept.next.max(block.last + 1);
        self.kept.latest = block.latest;
        self.bytes += block.bytes;
        self.taken += block.bytes;
        self.count += block.count;
        if self.is_open(block) {
            self.waiting += block.count;
        }
        // What is as old as its times say, and what is not, stand apart.
        let doubted = self.kept.doubted(block.first);
        let kept = &self.kept;
        let goes_on =
            |open: &Segment| !open.is_full(block, ttl) && kept.doubted(open.last) == doubted;
        match self.segments.last_entry() {
            Some(mut open) if goes_on(open.get()) => {
                open.get_mut().add(block);
                None
            }
            full => {
                let closed = full.map(|full| *full.key());
                self.segments.insert(block.first, Segment::of(block));
                closed
            }
        }
    }

    /// A block was found on disk after those that are in closed segments. Gives where a segment
    /// began that is closed by it.
    pub fn found(&mut self, block: &Block) -> Option<u64> {
        self.stored(block, None)
    }

    /// What is stored from now on has times of a clock that cannot be relied on. True: so far it
    /// could, and that is to be stored.
    pub fn doubt(&mut self) -> bool {
        let new = self.kept.doubt.is_none();
        self.kept.doubt.get_or_insert(self.kept.next);
        new
    }

    /// The clock can be relied on, and shows this: what was stored while it could not be is as old
    /// as this moment. True: there was some, and that is to be stored.
    pub fn date(&mut self, now: u64) -> bool {
        let Some(from) = self.kept.doubt.take() else { return false };
        let oldest = self.segments.values().map(|segment| segment.first).min();
        let dated = &mut self.kept.dated;
        dated.retain(|it| oldest.is_some_and(|oldest| it.to >= oldest));
        if from < self.kept.next {
            dated.push(Dated { from, to: self.kept.next - 1, at: now });
        }
        if dated.len() > DOUBTS {
            let first = dated.remove(0);
            if let Some(second) = dated.first_mut() {
                (second.from, second.at) = (first.from, second.at.max(first.at));
            }
        }
        true
    }

    /// Where the segments begin that a ttl has passed for, by a clock that can be relied on.
    pub fn expired(&self, ttl: u64, now: u64) -> Vec<u64> {
        let over = |segment: &Segment| {
            if self.kept.doubt.is_some_and(|from| segment.last >= from) {
                return false;
            }
            let within = |it: &&Dated| it.from <= segment.last && segment.first <= it.to;
            let dated = self.kept.dated.iter().rev().find(within);
            dated.map_or(segment.latest, |it| it.at).saturating_add(ttl) < now
        };
        self.segments().filter(|(_, segment)| over(segment)).map(|(start, _)| start).collect()
    }

    /// Numbers that were given and will never be on disk.
    pub fn lost(&mut self, range: Range, reason: GapReason) {
        self.kept.next = self.kept.next.max(range.to.saturating_add(1));
        let mut open = self.kept.settled.missing(range.from, range.to);
        // The first reason stands.
        self.kept.gaps.values().for_each(|told| open.subtract(told));
        let gaps = self.kept.gaps.entry(reason).or_default();
        gaps.union(&open);
        if gaps.is_empty() {
            self.kept.gaps.remove(&reason);
        }
    }

    /// A block of the segment that began at `start` is no longer on disk.
    pub fn dropped(&mut self, start: u64, block: &Block, why: GapReason) {
        if let Some(segment) = self.segments.get_mut(&start) {
            segment.count = segment.count.saturating_sub(block.count);
            segment.bytes = segment.bytes.saturating_sub(block.bytes);
            segment.blocks = segment.blocks.saturating_sub(1);
            if segment.blocks == 0 {
                self.segments.remove(&start);
            } else if block.first <= segment.first {
                segment.first = (block.last + 1).min(segment.last);
            } else if block.last >= segment.last {
                segment.last = block.first.saturating_sub(1).max(segment.first);
            }
        }
        self.bytes = self.bytes.saturating_sub(block.bytes);
        self.count = self.count.saturating_sub(block.count);
        if self.is_open(block) {
            self.waiting = self.waiting.saturating_sub(block.count);
        }
        self.lost(Range { from: block.first, to: block.last }, why);
    }

    /// The segment that began at `start` has these blocks now, in the place of more records: the
    /// others were thinned out.
    pub fn thinned(&mut self, start: u64, blocks: &[Block]) {
        self.rebuilt(start, blocks, 1);
        self.count_waiting();
    }

    fn rebuilt(&mut self, start: u64, blocks: &[Block], thinned: u32) {
        let Some(former) = self.segments.remove(&start) else { return };
        let mut now: Option<Segment> = None;
        for block in blocks {
            now.get_or_insert_with(|| Segment {
                blocks: 0,
                count: 0,
                bytes: 0,
                ..Segment::of(block)
            })
            .add(block);
        }
        let (count, bytes) = now.map_or((0, 0), |now| (now.count, now.bytes));
        self.bytes = self.bytes.saturating_sub(former.bytes) + bytes;
        self.count = self.count.saturating_sub(former.count) + count;
        if let Some(now) = now {
            self.segments
                .insert(start, Segment { thinned: former.thinned.saturating_add(thinned), ..now });
        }
    }

    /// Those of these numbers, which stand for other records at the control plane, that are not
    /// answered otherwise: what is here of them needs other numbers.
    pub fn contested(&self, conflict: &RangeSet) -> RangeSet {
        let last = self.kept.next.saturating_sub(1);
        let mut contested = RangeSet::new();
        for range in conflict.iter() {
            contested.union(&self.kept.settled.missing(range.from, range.to.min(last)));
        }
        contested
    }

    /// The segment that began at `start` has these blocks now: the records of `moved` are stored
    /// with new numbers in the same step. The control plane has an answer for the old ones.
    pub fn moved(&mut self, start: u64, blocks: &[Block], moved: &RangeSet) {
        self.rebuilt(start, blocks, 0);
        moved.iter().for_each(|range| {
            self.kept.settled.insert(range.from, range.to);
        });
        self.count_waiting();
    }

    /// What is left of contested numbers when all records on disk are moved stands for records
    /// that are gone: as many new numbers stand in the ledger for them, with their reason.
    pub fn move_gaps(&mut self, contested: &RangeSet) {
        let mut rest = contested.clone();
        rest.subtract(&self.kept.settled);
        let mut lost: Vec<(GapReason, u64)> = Vec::new();
        for (reason, gaps) in &self.kept.gaps {
            let mine: u64 =
                rest.iter().map(|range| gaps.within(range.from, range.to).count()).sum();
            lost.push((*reason, mine));
        }
        let told: u64 = lost.iter().map(|(_, count)| count).sum();
        lost.push((GapReason::Damaged, rest.count().saturating_sub(told)));
        rest.iter().for_each(|range| self.settle(range));
        for (reason, count) in lost.into_iter().filter(|(_, count)| *count > 0) {
            let from = self.kept.next;
            self.lost(Range { from, to: from.saturating_add(count - 1) }, reason);
        }
    }

    /// The device was put back to an earlier state, or copied, and the control plane knows numbers
    /// up to `highest`: what was given so far may stand for other records there, and what is given
    /// from now on is above. True: what was acknowledged goes further than what it knows, so it is
    /// the control plane that was put back.
    pub fn diverged(&mut self, highest: u64) -> bool {
        self.kept.unsure = self.kept.next;
        self.skip_to(highest.saturating_add(1));
        self.kept.settled.last().is_some_and(|last| last > highest)
    }

    /// Numbers from this one on may stand for other records at the control plane.
    pub fn is_unsure(&self, from: u64) -> bool {
        from < self.kept.unsure
    }

    fn is_open(&self, block: &Block) -> bool {
        !self.kept.settled.missing(block.first, block.last).is_empty()
    }

    /// The control plane has stored what answers for these numbers. What was never given cannot
    /// have been stored; and what a batch told of other numbers is not settled by its
    /// acknowledgement, which does not say which sending of a batch it is for.
    pub fn settle(&mut self, range: Range) {
        let last = self.kept.next.saturating_sub(1);
        self.kept.settled.insert(range.from.max(1), range.to.min(last));
        self.kept.wanted.remove(range.from, range.to);
        for gaps in self.kept.gaps.values_mut() {
            gaps.remove(range.from, range.to);
        }
        self.kept.gaps.retain(|_, gaps| !gaps.is_empty());
        self.count_waiting();
    }

    /// What was acknowledged is known nowhere any more: what is on disk, in `there`, is to be
    /// shipped again, and the rest is lost.
    pub fn unsettle(&mut self, there: &RangeSet) {
        let mut gone = std::mem::take(&mut self.kept.settled);
        gone.subtract(there);
        if !gone.is_empty() {
            self.kept.gaps.entry(GapReason::Damaged).or_default().union(&gone);
        }
        self.count_waiting();
    }

    /// Gaps that a batch of these numbers can tell, at most so many, and what it then answers for:
    /// its numbers and those gaps, where all between them is settled.
    pub fn told_with(&self, range: Range, most: usize) -> (Range, Vec<Gap>) {
        let open = self.unshipped();
        let below = Range { from: 1, to: range.from.saturating_sub(1) };
        let above = Range { from: range.to.saturating_add(1), to: u64::MAX };
        let floor = open.within(below.from, below.to).last().map_or(1, |last| last + 1);
        let roof =
            open.within(above.from, above.to).iter().next().map_or(u64::MAX, |it| it.from - 1);
        let gaps = self.untold(usize::MAX);
        let within = gaps.iter().filter(|gap| gap.from >= range.from && gap.to <= range.to);
        let before = gaps.iter().rev().filter(|gap| gap.to < range.from && gap.from >= floor);
        let after = gaps.iter().filter(|gap| gap.from > range.to && gap.to <= roof);
        let mut told: Vec<Gap> = within.chain(before).chain(after).take(most).copied().collect();
        told.sort_unstable();
        let from = told.first().map_or(range.from, |gap| gap.from.min(range.from));
        let to = told.last().map_or(range.to, |gap| gap.to.max(range.to));
        (Range { from, to }, told)
    }

    /// Gaps that are to be told, oldest first, at most so many.
    pub fn untold(&self, most: usize) -> Vec<Gap> {
        let mut gaps: Vec<Gap> = self
            .kept
            .gaps
            .iter()
            .flat_map(|(reason, gaps)| {
                let reason = *reason;
                gaps.iter().map(move |range| Gap { from: range.from, to: range.to, reason })
            })
            .collect();
        gaps.sort_unstable();
        gaps.truncate(most);
        gaps
    }

    /// Numbers that are neither settled nor in a gap: they are on disk, and to be shipped.
    pub fn unshipped(&self) -> RangeSet {
        let mut open = self.kept.settled.missing(1, self.kept.next.saturating_sub(1));
        self.kept.gaps.values().for_each(|gaps| open.subtract(gaps));
        open
    }

    /// These numbers are to be shipped as they are, though they were reduced or withheld.
    pub fn want(&mut self, range: Range) {
        if range.to < self.kept.next {
            self.kept.wanted.insert(range.from, range.to);
        }
    }

    /// True: all of these numbers were answered before, and records of them are wanted as they are.
    pub fn is_fetched(&self, range: Range) -> bool {
        let Range { from, to } = range;
        !self.kept.wanted.within(from, to).is_empty()
            && self.kept.settled.missing(from, to).is_empty()
    }

    /// They are shipped as they are.
    pub fn had(&mut self, range: Range) {
        self.kept.wanted.remove(range.from, range.to);
    }

    /// Goes on from a number above all that may have been given: what the disk had of the last
    /// ones may be lost.
    pub fn skip_to(&mut self, next: u64) {
        if next > self.kept.next {
            self.lost(Range { from: self.kept.next, to: next - 1 }, GapReason::Damaged);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn block(first: u64, count: u64, time: u64) -> Block {
        let last = first + count - 1;
        Block { first, last, count, bytes: count * 10, earliest: time, latest: time }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Store(u64),
        Lose(u64),
        Drop(usize),
        Settle(u64, u64),
        Tell(usize),
        Skip(u64),
        Unsettle,
        Contest(u64, u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1u64..20).prop_map(Step::Store),
            1 => (1u64..5).prop_map(Step::Lose),
            2 => (0usize..8).prop_map(Step::Drop),
            3 => (0u64..200, 0u64..40).prop_map(|(from, length)| Step::Settle(from, from + length)),
            1 => (0usize..5).prop_map(Step::Tell),
            1 => (0u64..30).prop_map(Step::Skip),
            1 => Just(Step::Unsettle),
            2 => (1u64..200, 0u64..40).prop_map(|(from, length)| Step::Contest(from, from + length)),
        ]
    }

    proptest! {
        /// Every number that was given is settled, in a gap that is to be told, or on disk and to be
        /// shipped: exactly one of these, whatever happens and in whatever order.
        #[test]
        fn every_number_is_accounted_for(steps in proptest::collection::vec(step(), 0..60)) {
            let mut stream = Stream::new("a".parse().unwrap(), 1);
            let (mut blocks, mut time) = (Vec::<Block>::new(), 0);
            let mut settled_once = RangeSet::new();
            for step in steps {
                time += 1_000_000;
                let next = stream.next();
                match step {
                    Step::Store(count) => {
                        let block = block(next, count, time);
                        stream.stored(&block, None);
                        blocks.push(block);
                    }
                    Step::Lose(count) => {
                        let range = Range { from: next, to: next + count - 1 };
                        stream.lost(range, GapReason::Quota);
                    }
                    Step::Drop(at) => {
                        if at < blocks.len() {
                            let block = blocks.remove(at);
                            let start = stream
                                .segments()
                                .map(|(start, _)| start)
                                .rev()
                                .find(|start| *start <= block.first)
                                .unwrap();
                            stream.dropped(start, &block, GapReason::Expired);
                        }
                    }
                    Step::Settle(from, to) => {
                        stream.settle(Range { from, to });
                        settled_once.insert(from.max(1), to.min(next - 1));
                    }
                    Step::Tell(most) => {
                        if let Some(first) = stream.untold(1).first() {
                            let range = Range { from: first.from, to: first.to };
                            let (answered, told) = stream.told_with(range, most.max(1));
                            prop_assert!(!told.is_empty() && told.len() <= most.max(1));
                            let mut known = stream.kept().settled.clone();
                            known.insert(range.from, range.to);
                            told.iter().for_each(|gap| {
                                known.insert(gap.from, gap.to);
                            });
                            let unsaid = known.missing(answered.from, answered.to);
                            prop_assert!(unsaid.is_empty(), "{:?} of {:?}", unsaid, answered);
                            stream.settle(answered);
                            settled_once.insert(answered.from, answered.to);
                        }
                    }
                    Step::Skip(ahead) => stream.skip_to(next + ahead),
                    Step::Contest(from, to) => {
                        let told = RangeSet::from_ranges([Range { from, to }]);
                        let contested = stream.contested(&told);
                        let open = contested.count();
                        let mut new = Vec::new();
                        let starts: Vec<u64> = stream.segments().map(|(start, _)| start).collect();
                        for start in starts {
                            let Some(segment) = stream.segment(start).copied() else { continue };
                            let of = |it: &Block| it.first >= segment.first && it.last <= segment.last;
                            let (mut left, mut gone) = (Vec::new(), RangeSet::new());
                            let (inside, mut others): (Vec<Block>, Vec<Block>) =
                                blocks.into_iter().partition(of);
                            for it in inside {
                                let mine = contested.within(it.first, it.last);
                                new.extend((!mine.is_empty()).then(|| mine.count()));
                                let stays = mine.missing(it.first, it.last);
                                left.extend(stays.iter().map(|run| block(run.from, run.len(), time)));
                                gone.union(&mine);
                            }
                            if !gone.is_empty() {
                                stream.moved(start, &left, &gone);
                            }
                            others.extend(left);
                            blocks = others;
                            blocks.sort_unstable_by_key(|it| it.first);
                        }
                        for count in &new {
                            let block = block(stream.next(), *count, time);
                            stream.stored(&block, None);
                            blocks.push(block);
                        }
                        stream.move_gaps(&contested);
                        let moved = stream.next() - next;
                        prop_assert_eq!(moved, open, "each has another number");
                        settled_once.union(&contested);
                    }
                    Step::Unsettle => {
                        let there = blocks.iter().map(|it| Range { from: it.first, to: it.last });
                        stream.unsettle(&RangeSet::from_ranges(there));
                        settled_once = RangeSet::new();
                    }
                }
                let on_disk: BTreeSet<u64> =
                    blocks.iter().flat_map(|block| block.first..=block.last).collect();
                let settled = &stream.kept().settled;
                let unshipped = stream.unshipped();
                for number in 1..stream.next() {
                    let gaps = stream.kept().gaps.values();
                    let in_gaps = gaps.filter(|gaps| gaps.contains(number)).count();
                    let ways = usize::from(settled.contains(number))
                        + in_gaps
                        + usize::from(unshipped.contains(number));
                    prop_assert_eq!(ways, 1, "{} {:?}", number, &stream);
                    if unshipped.contains(number) {
                        prop_assert!(on_disk.contains(&number), "{}", number);
                    }
                }
                prop_assert!(stream.next() >= next, "numbers never go back");
                prop_assert_eq!(stream.bytes(), blocks.iter().map(|it| it.bytes).sum::<u64>());
                prop_assert_eq!(stream.count(), blocks.iter().map(|it| it.count).sum::<u64>());
                for block in &blocks {
                    let found = stream.segments().any(|(_, segment)| {
                        segment.first <= block.first && block.last <= segment.last
                    });
                    prop_assert!(found, "{:?} is in no segment of {:?}", block, &stream);
                }
                if settled.missing(1, stream.next() - 1).is_empty() {
                    prop_assert_eq!(stream.waiting(), 0);
                }
                // And as it is read again.
                let segments = stream.segments().map(|(at, it)| (at, *it)).collect();
                let again = Stream::load(stream.kept().clone(), segments);
                prop_assert_eq!(again.unshipped(), unshipped);
                prop_assert_eq!(again.bytes(), stream.bytes());
            }
            prop_assert_eq!(&stream.kept().settled, &settled_once, "what is settled stays so");
        }
    }

    #[test]
    fn segments_are_closed_by_bytes_number_and_time() {
        let mut stream = Stream::new("a".parse().unwrap(), 1);
        let mut closed = 0;
        for at in 0..100 {
            let one = Block { bytes: 60_000, ..block(at * 10 + 1, 10, 5) };
            closed += usize::from(stream.stored(&one, None).is_some());
        }
        assert_eq!(closed, 19);
        for at in 0..3_000 {
            closed += usize::from(stream.stored(&block(1_001 + at, 1, 5), None).is_some());
        }
        assert_eq!(closed, 22);
        closed += usize::from(stream.stored(&block(4_001, 1, 1_000_000), Some(100)).is_some());
        assert_eq!(closed, 23);
    }

    #[test]
    fn what_a_wrong_clock_dated_is_as_old_as_the_moment_when_it_was_right_again() {
        const HOUR: u64 = 3_600_000;
        let day = 24 * HOUR;
        let mut stream = Stream::new("a".parse().unwrap(), 1);
        stream.stored(&block(1, 10, 100 * day), None);
        // Booted on a floor of days ago, or decades ahead; then the clock is set.
        assert!(stream.doubt() && !stream.doubt());
        stream.stored(&block(11, 10, 98 * day), None);
        stream.stored(&block(21, 10, 20_000 * day), None);
        assert_eq!(stream.expired(HOUR, 101 * day), [1], "what the clock was right for");
        let again = |stream: &Stream| {
            let segments = stream.segments().map(|(at, it)| (at, *it)).collect();
            Stream::load(stream.kept().clone(), segments)
        };
        let mut stream = again(&stream);
        assert!(stream.date(101 * day) && !stream.date(102 * day));
        stream.stored(&block(31, 10, 101 * day), None);
        let mut stream = again(&stream);
        assert_eq!(stream.segments().count(), 4, "right and wrong ones apart");
        assert_eq!(stream.expired(HOUR, 101 * day + HOUR), [1]);
        assert_eq!(stream.expired(HOUR, 101 * day + HOUR + 1), [1, 11, 21, 31]);
        // However often it goes wrong, little is kept of it, and nothing goes too soon.
        let (mut next, mut stored) = (41, Vec::new());
        for round in 0..100 {
            let now = 200 * day + round * HOUR;
            stream.doubt();
            stream.stored(&block(next, 1, 5), None);
            stream.date(now);
            stream.stored(&block(next + 1, 1, now), None);
            stored.push((next, now));
            next += 2;
        }
        assert!(stream.kept().dated.len() <= DOUBTS);
        for at in 0..100 {
            let now = 200 * day + at * HOUR;
            let gone = stream.expired(5 * HOUR, now);
            let soon =
                stored.iter().find(|(start, at)| at + 5 * HOUR >= now && gone.contains(start));
            assert_eq!(soon, None);
        }
        assert_eq!(stream.expired(HOUR, 300 * day).len(), stream.segments().count());
    }

    #[test]
    fn what_was_lost_with_the_file_is_told_once() {
        let mut stream = Stream::new("a".parse().unwrap(), 70_000);
        assert_eq!(stream.untold(9), [Gap { from: 1, to: 69_999, reason: GapReason::Damaged }]);
        stream.stored(&block(70_000, 5, 1), None);
        assert_eq!(
            stream.unshipped().iter().collect::<Vec<_>>(),
            [Range { from: 70_000, to: 70_004 }]
        );
        stream.settle(Range { from: 1, to: u64::MAX });
        assert!(!stream.has_untold_gaps() && stream.waiting() == 0);
        assert_eq!(stream.kept().settled.last(), Some(70_004), "not what was never given");
    }
}
