//! Numbers that stand for other records at the control plane, because this device was copied or
//! restored to an earlier state. The records get new numbers above all that it knows, one segment in
//! each step.
//!
//! See decision 0080.

use holdfast_records::{DataPolicies, GapReason, Given, Range, RangeSet, Record};

use super::{Blocks, Change, Contents, Step, Stored};
use crate::data::stream::{Block, Stream};

/// Progress of giving new numbers to the records of one stream. If a step fails, the rest keeps its
/// numbers, is shipped again, and conflicts again.
#[derive(Debug)]
pub struct Renumbering {
    id: u32,
    contested: RangeSet,
    /// Segments that hold contested numbers and are still to be changed, the last one first.
    starts: Vec<u64>,
    is_done: bool,
}

/// Changes to one segment while records are moved out of it.
struct Moving<P> {
    change: Change<P>,
    /// Blocks that remain in the segment.
    left: Vec<Block>,
    /// Sequence numbers that are taken out, with their records in `records`.
    numbers: RangeSet,
    records: Vec<Record>,
}

impl Contents {
    /// Begins to renumber the records under the numbers in `conflict`, which stand for other
    /// records at the control plane; it knows numbers up to `highest`. `None` when nothing here has
    /// such a number.
    pub fn renumber(&mut self, id: u32, conflict: &RangeSet, highest: u64) -> Option<Renumbering> {
        let stream = self.streams.get_mut(&id)?;
        let contested = stream.contested(conflict);
        if contested.is_empty() {
            return None;
        }
        stream.skip_to(highest.saturating_add(1));
        self.reductions.remove(&id);
        let is_hit = |first, last| !contested.within(first, last).is_empty();
        let hit = stream.segments().filter(|(_, segment)| is_hit(segment.first, segment.last));
        let starts = hit.map(|(start, _)| start).rev().collect();
        Some(Renumbering { id, contested, starts, is_done: false })
    }

    /// Takes over the numbers that the control plane knows of a device that was restored or copied,
    /// so that none is given again. Where it knows less than it has acknowledged, it was restored
    /// itself: what is here is pending again. Returns the step, and true when something is pending
    /// again.
    ///
    /// # Errors
    /// When the disk cannot be read.
    #[allow(clippy::type_complexity, reason = "a step and a flag of one decision")]
    pub fn diverged<B: Blocks>(
        &mut self,
        blocks: &B,
        given: Vec<Given>,
    ) -> Result<(Step<B::Packed>, bool), B::Error> {
        let mut ahead = Vec::new();
        self.reductions.clear();
        for Given { stream: name, highest } in given {
            let id = self.id_of(&name, highest.saturating_add(1).max(self.base), None);
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            if stream.diverged(highest) {
                ahead.push(id);
            }
            self.marked.insert(id);
        }
        self.unsettle(blocks, |id| ahead.contains(&id))?;
        let ceilings = self.given();
        let mut change = Change::default();
        self.take_marks(&mut change);
        Ok((Step { ceilings, change }, !ahead.is_empty()))
    }
}

impl Renumbering {
    /// Number of records and gaps that get new numbers.
    pub fn count(&self) -> u64 {
        self.contested.count()
    }

    /// Returns the next step; `None` when all are done. The former step has to be durable.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn next<B: Blocks>(
        &mut self,
        contents: &mut Contents,
        blocks: &B,
        policies: &DataPolicies,
    ) -> Result<Option<Step<B::Packed>>, B::Error> {
        let id = self.id;
        while let Some(start) = self.starts.pop() {
            let Some(stream) = contents.streams.get(&id) else { return Ok(None) };
            let moving = moving(stream, (id, start), &self.contested, blocks)?;
            if !moving.numbers.is_empty() {
                return Ok(contents.move_segment::<B>((id, start), moving, policies));
            }
        }
        if self.is_done {
            return Ok(None);
        }
        self.is_done = true;
        let Some(stream) = contents.streams.get_mut(&id) else { return Ok(None) };
        stream.move_gaps(&self.contested);
        let ceilings = vec![(stream.name().clone(), stream.next() - 1)];
        contents.marked.insert(id);
        let mut change = Change::default();
        contents.take_marks(&mut change);
        Ok(Some(Step { ceilings, change }))
    }
}

/// Reads the records of a segment that have to move, and repacks the blocks they leave.
fn moving<B: Blocks>(
    stream: &Stream,
    (id, start): (u32, u64),
    contested: &RangeSet,
    blocks: &B,
) -> Result<Moving<B::Packed>, B::Error> {
    let mut moving = Moving {
        change: Change::default(),
        left: Vec::new(),
        numbers: RangeSet::new(),
        records: Vec::new(),
    };
    let Some(segment) = stream.segment(start) else { return Ok(moving) };
    let (heads, _) = blocks.heads(id, segment.first, segment.last)?;
    for head in heads {
        let block = head.block();
        let mine = contested.within(block.first, block.last);
        // A damaged block stays, and is reported as a gap when it is shipped.
        let records = if mine.is_empty() { None } else { blocks.records(id, &head)? };
        let Some(records) = records else {
            moving.left.push(block);
            continue;
        };
        moving.numbers.union(&mine);
        let (gone, stay): (Vec<_>, Vec<_>) =
            records.into_iter().partition(|record| mine.contains(record.seq));
        moving.records.extend(gone);
        moving.change.remove.insert((id, block.first), head.rows());
        // The rest of the block is cut where a record leaves: a block accounts for all numbers
        // of its range, so a block across the hole would still claim the moved ones.
        for run in mine.missing(block.first, block.last).iter() {
            let from = stay.partition_point(|record| record.seq < run.from);
            let to = stay.partition_point(|record| record.seq <= run.to);
            let Some(records) = stay.get(from..to).filter(|it| !it.is_empty()) else {
                continue;
            };
            let packed = B::pack(id, run.from, run.to, records);
            moving.left.push(packed.block());
            moving.change.add.insert((id, run.from), packed);
        }
    }
    Ok(moving)
}

impl Contents {
    /// Stores a segment's records under new numbers and takes them from the old ones, in one step.
    fn move_segment<B: Blocks>(
        &mut self,
        (id, start): (u32, u64),
        moving: Moving<B::Packed>,
        policies: &DataPolicies,
    ) -> Option<Step<B::Packed>> {
        let Moving { mut change, left, numbers, mut records } = moving;
        let ttl = self.policy(policies, id).and_then(|policy| policy.ttl_ms);
        let stream = self.streams.get_mut(&id)?;
        let count = u64::try_from(records.len()).unwrap_or(u64::MAX);
        // Contested numbers without a record were thinned out here. They become a gap under new
        // numbers: 10 contested numbers with 6 records become 6 new records and a gap of 4.
        let thinned = numbers.count().saturating_sub(count);
        let first = stream.next();
        let last = first.saturating_add(count + thinned);
        let ceilings = vec![(stream.name().clone(), last)];
        for (record, seq) in records.iter_mut().zip(first..) {
            record.seq = seq;
        }
        stream.moved(start, &left, &numbers);
        self.segments.insert((id, start));
        for records in B::cut(&records) {
            let (Some(one), Some(other)) = (records.first(), records.last()) else { continue };
            let packed = B::pack(id, one.seq, other.seq, records);
            let closed = stream.stored(&packed.block(), ttl);
            self.segments.extend(closed.map(|start| (id, start)));
            change.add.insert((id, one.seq), packed);
        }
        if thinned > 0 {
            let from = stream.next();
            stream.lost(Range { from, to: from + thinned - 1 }, GapReason::Thinned);
        }
        self.marked.insert(id);
        self.take_marks(&mut change);
        Some(Step { ceilings, change })
    }
}
