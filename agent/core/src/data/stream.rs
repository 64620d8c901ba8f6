//! One stream as its device knows it: the sequence numbers that were given, those on disk, those
//! that are settled (acknowledged by the control plane, as records or as gaps), and the gaps that
//! are still to be reported. Every number that was given is one of these, whatever happens; a
//! number that turns out to be nowhere is reported as damaged.
//!
//! See decisions 0044, 0045, 0048 and 0064.

use std::collections::BTreeMap;

use holdfast_base::ids::Name;
use holdfast_records::{Gap, GapReason, Range, RangeSet, StreamName};
use serde::{Deserialize, Serialize};

/// Size on disk at which a segment is closed, in bytes: the unit in which windows of time are
/// searched and records are dropped.
const SEGMENT_BYTES: u64 = 256 * 1024;
/// Number of blocks at which a segment is closed: single records make small ones, and a start reads
/// the last segment.
const SEGMENT_BLOCKS: u32 = 1_024;
/// Time span at which a segment is closed, in milliseconds, because a ttl drops whole segments. A
/// quarter of the ttl, if that is shorter.
const SEGMENT_SPAN: u64 = 6 * 3_600_000;
/// Maximum number of periods of an unreliable clock that are told apart; of more, the oldest two
/// count as one.
const DOUBTS: usize = 32;

/// Block of records that are stored together on disk. Numbers between `first` and `last` that it
/// does not contain were thinned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Sequence number of its first record.
    pub first: u64,
    /// Sequence number of its last record.
    pub last: u64,
    /// Number of records stored.
    pub count: u64,
    /// Bytes on disk, compressed.
    pub bytes: u64,
    /// Earliest time of a record, in milliseconds since 1970.
    pub earliest: u64,
    /// Latest time of a record, in milliseconds since 1970.
    pub latest: u64,
}

/// Segment: an index of consecutive blocks, by which they are found without reading them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Lowest sequence number still stored. The map key keeps the segment's original start, which
    /// may be lower.
    pub first: u64,
    /// Highest sequence number still stored.
    pub last: u64,
    /// Number of records stored.
    pub count: u64,
    /// Bytes on disk, of all blocks.
    pub bytes: u64,
    /// Number of blocks stored.
    pub blocks: u32,
    /// Earliest time of a record, in milliseconds since 1970.
    pub earliest: u64,
    /// Latest time of a record, in milliseconds since 1970.
    pub latest: u64,
    /// Number of times that it was thinned.
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

/// Row of a stream: everything that is stored of it beside its blocks and segments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Name of the stream.
    pub name: StreamName,
    /// Next sequence number; no lower one is given any more.
    pub next: u64,
    /// Settled numbers: those the control plane has acknowledged, as records or as gaps.
    pub settled: RangeSet,
    /// Gaps by reason: numbers that will never be shipped, and that are not acknowledged yet.
    pub gaps: BTreeMap<GapReason, RangeSet>,
    /// Numbers of withheld or reduced records that are to be shipped after all, because of a fetch.
    #[serde(default)]
    pub wanted: RangeSet,
    /// Numbers below this one may denote other records at the control plane, because the histories
    /// diverged; 0: none does.
    #[serde(default, skip_serializing_if = "is_zero")]
    unsure: u64,
    /// First number that was stored since the clock became unreliable. None: it is reliable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    doubt: Option<u64>,
    /// Records of earlier periods of an unreliable clock, in the order of their numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dated: Vec<Dated>,
    /// The workload or local access that made it; None: the agent, or it is not known any more.
    #[serde(default)]
    pub owner: Option<Name>,
    /// Time of the last record stored, in milliseconds since 1970.
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

/// Range of records that were stored while the clock was unreliable. Their own times say nothing:
/// for a ttl they count as stored when the clock became reliable again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Dated {
    from: u64,
    to: u64,
    /// Time at which the clock became reliable again, in milliseconds since 1970.
    at: u64,
}

impl Kept {
    /// First number of the period of an unreliable clock in which this number was stored. None: the
    /// clock was reliable.
    fn doubted(&self, number: u64) -> Option<u64> {
        let dated = self.dated.iter().find(|it| (it.from..=it.to).contains(&number));
        dated.map(|it| it.from).or(self.doubt.filter(|from| number >= *from))
    }
}

/// State of a stream: its row, its segments and the sums over them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    kept: Kept,
    segments: BTreeMap<u64, Segment>,
    bytes: u64,
    count: u64,
    waiting: u64,
    /// Bytes that were stored since this process started.
    taken: u64,
}

impl Stream {
    /// Creates a stream whose first number is `next`. Lower numbers were given before and are lost.
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

    /// Sets the workload or local access that made the stream.
    #[must_use]
    pub fn made_by(mut self, owner: Option<Name>) -> Self {
        self.kept.owner = owner;
        self
    }

    /// Restores a stream from its row and the segments that were closed.
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

    /// Sums the records that are not settled: exactly where nothing was thinned out, and in
    /// proportion in a thinned segment, whose holes are not known without reading it.
    fn count_waiting(&mut self) {
        self.waiting = 0;
        for segment in self.segments.values() {
            let within = |set: &RangeSet| set.within(segment.first, segment.last).count();
            let span = segment.last - segment.first + 1;
            // Numbers in unreported gaps are no records: a full buffer refuses some in between.
            // Example: of 1 to 100, 60 to 69 were refused and 1 to 50 are settled: 40 wait.
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

    /// Row that is stored beside the blocks.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Name of the stream.
    pub fn name(&self) -> &StreamName {
        &self.kept.name
    }

    /// Next sequence number that the stream gives.
    pub fn next(&self) -> u64 {
        self.kept.next
    }

    /// Workload or local access that made the stream. None: the agent, or it is not known.
    pub fn owner(&self) -> Option<&Name> {
        self.kept.owner.as_ref()
    }

    /// Time of the last record stored, in milliseconds since 1970.
    pub fn latest(&self) -> u64 {
        self.kept.latest
    }

    /// True if nothing is left of the stream on the device: no record, no gap to report, no record
    /// to fetch.
    pub fn is_spent(&self) -> bool {
        self.segments.is_empty()
            && !self.has_unreported_gaps()
            && self.kept.wanted.is_empty()
            && self.unshipped().is_empty()
    }

    /// Bytes of all records on disk.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes stored since this process started: a total that only grows.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Number of records on disk.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Number of records on disk that are not settled.
    pub fn waiting(&self) -> u64 {
        self.waiting
    }

    /// True if a gap is to be reported.
    pub fn has_unreported_gaps(&self) -> bool {
        self.kept.gaps.values().any(|gaps| !gaps.is_empty())
    }

    /// Segments by their original start, oldest first.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = (u64, &Segment)> {
        self.segments.iter().map(|(start, segment)| (*start, segment))
    }

    /// Segment with this original start.
    pub fn segment(&self, start: u64) -> Option<&Segment> {
        self.segments.get(&start)
    }

    /// Time of the oldest record on disk, in milliseconds since 1970.
    pub fn oldest(&self) -> Option<u64> {
        self.segments.values().map(|segment| segment.earliest).min()
    }

    /// Time of the oldest record on disk that is not settled, to the precision of a segment, in
    /// milliseconds since 1970.
    pub fn oldest_waiting(&self) -> Option<u64> {
        let open =
            |segment: &&Segment| !self.kept.settled.missing(segment.first, segment.last).is_empty();
        self.segments.values().find(open).map(|segment| segment.earliest)
    }

    /// Notes that a block was stored. Returns the start of the segment that it closed, if it did.
    pub fn stored(&mut self, block: &Block, ttl: Option<u64>) -> Option<u64> {
        self.kept.next = self.kept.next.max(block.last + 1);
        self.kept.latest = block.latest;
        self.bytes += block.bytes;
        self.taken += block.bytes;
        self.count += block.count;
        if self.is_open(block) {
            self.waiting += block.count;
        }
        // A segment holds either records whose times are reliable, or records of one period in
        // which they are not, so that a ttl is right for all of it.
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

    /// Notes a block that was found on disk after those of the closed segments. Returns the start
    /// of the segment that it closed, if it did.
    pub fn found(&mut self, block: &Block) -> Option<u64> {
        self.stored(block, None)
    }

    /// Notes that the clock is unreliable: records stored from now on have doubtful times. Returns
    /// true if it was reliable so far, and the row is to be stored.
    pub fn doubt(&mut self) -> bool {
        let new = self.kept.doubt.is_none();
        self.kept.doubt.get_or_insert(self.kept.next);
        new
    }

    /// Notes that the clock is reliable again and shows `now`, in milliseconds since 1970: records
    /// stored while it was not count as stored at this moment. Returns true if there was such a
    /// period, and the row is to be stored.
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

    /// Starts of the segments whose ttl (milliseconds) has passed, by a clock that is reliable.
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

    /// Records a gap: numbers that were given and will never be on disk.
    pub fn lost(&mut self, range: Range, reason: GapReason) {
        self.kept.next = self.kept.next.max(range.to.saturating_add(1));
        let mut open = self.kept.settled.missing(range.from, range.to);
        // Numbers that are in a gap already keep their first reason.
        self.kept.gaps.values().for_each(|told| open.subtract(told));
        let gaps = self.kept.gaps.entry(reason).or_default();
        gaps.union(&open);
        if gaps.is_empty() {
            self.kept.gaps.remove(&reason);
        }
    }

    /// Notes that a block of the segment with this start was dropped; `why` becomes the reason of
    /// the gap.
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

    /// Notes that the segment with this start was thinned and has these blocks now.
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

    /// Returns those of the conflicting numbers (which denote other records at the control plane)
    /// that are not settled: the records here need other numbers.
    pub fn contested(&self, conflict: &RangeSet) -> RangeSet {
        let last = self.kept.next.saturating_sub(1);
        let mut contested = RangeSet::new();
        for range in conflict.iter() {
            contested.union(&self.kept.settled.missing(range.from, range.to.min(last)));
        }
        contested
    }

    /// Notes that the segment with this start has these blocks now, because the records of `moved`
    /// were stored again with new numbers in the same step. The old numbers are settled: the
    /// control plane has other records by them.
    pub fn moved(&mut self, start: u64, blocks: &[Block], moved: &RangeSet) {
        self.rebuilt(start, blocks, 0);
        moved.iter().for_each(|range| {
            self.kept.settled.insert(range.from, range.to);
        });
        self.count_waiting();
    }

    /// Moves gaps away from contested numbers, after all records on disk were moved: what is left
    /// of the numbers denotes records that are gone. As many new numbers are given and become gaps
    /// with the same reasons. Example: of the contested 5 to 9, 8 and 9 were dropped for want of
    /// room and 5 to 7 moved; with 20 as the next number, 20 and 21 become the gap, and 8 and 9 are
    /// settled.
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

    /// Notes that this device was put back to an earlier state, or copied, and that the control
    /// plane knows numbers up to `highest`. Numbers given so far may denote other records there;
    /// new ones begin above. Returns true if more was acknowledged than the control plane knows, so
    /// that it is the one that was put back.
    pub fn diverged(&mut self, highest: u64) -> bool {
        self.kept.unsure = self.kept.next;
        self.skip_to(highest.saturating_add(1));
        self.kept.settled.last().is_some_and(|last| last > highest)
    }

    /// True if `from`, or numbers after it, may denote other records at the control plane.
    pub fn is_unsure(&self, from: u64) -> bool {
        from < self.kept.unsure
    }

    fn is_open(&self, block: &Block) -> bool {
        !self.kept.settled.missing(block.first, block.last).is_empty()
    }

    /// Settles numbers that the control plane has stored as records or gaps. Numbers that were
    /// never given are ignored. Only numbers of the acknowledgement count, not all gaps that a
    /// batch told of: the acknowledgement does not say which sending of a batch it is for.
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

    /// Reopens all settled numbers, because the control plane has lost what it acknowledged:
    /// records on disk, `there`, are shipped again, and the other numbers become damaged gaps.
    pub fn unsettle(&mut self, there: &RangeSet) {
        let mut gone = std::mem::take(&mut self.kept.settled);
        gone.subtract(there);
        if !gone.is_empty() {
            self.kept.gaps.entry(GapReason::Damaged).or_default().union(&gone);
        }
        self.count_waiting();
    }

    /// Chooses up to `most` gaps that a batch of these numbers can report, and the range that it is
    /// then acknowledged by: its numbers and those gaps, where everything between is settled.
    pub fn gaps_with(&self, range: Range, most: usize) -> (Range, Vec<Gap>) {
        let open = self.unshipped();
        let below = Range { from: 1, to: range.from.saturating_sub(1) };
        let above = Range { from: range.to.saturating_add(1), to: u64::MAX };
        // The range grows to a gap only if no unshipped number lies between. Example: a batch of 10
        // to 19, where 8 is unshipped and 9 and 25 are gaps, with 20 to 24 settled: the range is 9
        // to 25.
        let floor = open.within(below.from, below.to).last().map_or(1, |last| last + 1);
        let roof =
            open.within(above.from, above.to).iter().next().map_or(u64::MAX, |it| it.from - 1);
        let gaps = self.unreported_gaps(usize::MAX);
        let within = gaps.iter().filter(|gap| gap.from >= range.from && gap.to <= range.to);
        let before = gaps.iter().rev().filter(|gap| gap.to < range.from && gap.from >= floor);
        let after = gaps.iter().filter(|gap| gap.from > range.to && gap.to <= roof);
        let mut told: Vec<Gap> = within.chain(before).chain(after).take(most).copied().collect();
        told.sort_unstable();
        let from = told.first().map_or(range.from, |gap| gap.from.min(range.from));
        let to = told.last().map_or(range.to, |gap| gap.to.max(range.to));
        (Range { from, to }, told)
    }

    /// Gaps to report, oldest first, at most `most`.
    pub fn unreported_gaps(&self, most: usize) -> Vec<Gap> {
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

    /// Marks reduced or withheld numbers as to be shipped as they are, for a fetch.
    pub fn want(&mut self, range: Range) {
        if range.to < self.kept.next {
            self.kept.wanted.insert(range.from, range.to);
        }
    }

    /// True if all of these numbers are settled and some are wanted by a fetch: the batch ships
    /// them again.
    pub fn is_fetched(&self, range: Range) -> bool {
        let Range { from, to } = range;
        !self.kept.wanted.within(from, to).is_empty()
            && self.kept.settled.missing(from, to).is_empty()
    }

    /// Clears the marks of [`Stream::want`] once the records are shipped.
    pub fn clear_wanted(&mut self, range: Range) {
        self.kept.wanted.remove(range.from, range.to);
    }

    /// Continues from a number above all that may have been given: the disk may have lost the last
    /// ones, which become a damaged gap.
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
        /// Checks that every number given is settled, in a gap to report, or on disk to be shipped:
        /// exactly one of these, whatever happens and in whatever order.
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
                        if let Some(first) = stream.unreported_gaps(1).first() {
                            let range = Range { from: first.from, to: first.to };
                            let (answered, told) = stream.gaps_with(range, most.max(1));
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
        assert_eq!(
            stream.unreported_gaps(9),
            [Gap { from: 1, to: 69_999, reason: GapReason::Damaged }]
        );
        stream.stored(&block(70_000, 5, 1), None);
        assert_eq!(
            stream.unshipped().iter().collect::<Vec<_>>(),
            [Range { from: 70_000, to: 70_004 }]
        );
        stream.settle(Range { from: 1, to: u64::MAX });
        assert!(!stream.has_unreported_gaps() && stream.waiting() == 0);
        assert_eq!(stream.kept().settled.last(), Some(70_004), "not what was never given");
    }
}
