//! Renumbers records whose sequence numbers stand for other records at the control plane, because
//! this device was copied or restored to an earlier state. They get new numbers above all that it
//! knows, one segment in each step.
//!
//! See decision 0080.

use holdfast_records::{GapReason, Given, Range, RangeSet, Record, StreamName};

use super::super::block::{self, Packed};
use super::super::change::Change;
use super::super::file::FileError;
use super::Worker;
use crate::core::data::stream::{Block, Stream};

/// Changes to one segment while records are moved out of it.
#[derive(Default)]
struct Moving {
    change: Change,
    /// Blocks that remain in the segment.
    left: Vec<Block>,
    /// Sequence numbers that are taken out, with their records in `records`.
    numbers: RangeSet,
    records: Vec<Record>,
}

impl Worker {
    /// Renumbers the records under the numbers in `conflict`, which stand for other records at the
    /// control plane; it knows numbers up to `highest`. If a step fails, the rest keeps its
    /// numbers, is shipped again, and conflicts again.
    pub(super) fn renumber(&mut self, name: &StreamName, conflict: &RangeSet, highest: u64) {
        let Some(id) = self.ids.get(name).copied() else { return };
        if let Err(error) = self.renumbered(id, conflict, highest) {
            tracing::error!(stream = %name, "records keep numbers that stand for others, for now");
            self.read_failed(&error);
        }
        self.reductions.remove(&id);
        self.mark(id);
    }

    fn renumbered(&mut self, id: u32, conflict: &RangeSet, highest: u64) -> Result<(), FileError> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        let contested = stream.contested(conflict);
        if contested.is_empty() {
            return Ok(());
        }
        tracing::warn!(stream = %stream.name(), records = contested.count(), above = highest, "these numbers stand for other records at the control plane: given anew");
        stream.skip_to(highest.saturating_add(1));
        let mine = |start: u64, stream: &Stream| {
            let segment = stream.segment(start)?;
            (!contested.within(segment.first, segment.last).is_empty()).then_some(start)
        };
        let starts: Vec<u64> =
            stream.segments().filter_map(|(start, _)| mine(start, stream)).collect();
        for start in starts {
            let moving = self.moving(id, start, &contested)?;
            if !moving.numbers.is_empty() {
                self.move_segment(id, start, moving)?;
            }
        }
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        stream.move_gaps(&contested);
        let last = (stream.name().clone(), stream.next() - 1);
        self.raise(&[last])?;
        self.marked.insert(id);
        let mut change = Change::default();
        self.take_marks(&mut change);
        self.apply(change, 0)
    }

    /// Reads the records of a segment that have to move, and repacks the blocks they leave.
    fn moving(&self, id: u32, start: u64, contested: &RangeSet) -> Result<Moving, FileError> {
        let mut moving = Moving::default();
        let (Some(stream), Some(file)) = (self.streams.get(&id), &self.file) else {
            return Err(FileError::Other("the buffer is not open".into()));
        };
        let Some(segment) = stream.segment(start) else { return Ok(moving) };
        let (heads, _) = file.heads(id, segment.first, segment.last)?;
        for head in heads {
            let Block { first, last, .. } = head.block;
            let mine = contested.within(first, last);
            // A damaged block stays, and is reported as a gap when it is shipped.
            let records = if mine.is_empty() { None } else { file.records(id, &head)? };
            let Some(records) = records else {
                moving.left.push(head.block);
                continue;
            };
            moving.numbers.union(&mine);
            let (gone, stay): (Vec<_>, Vec<_>) =
                records.into_iter().partition(|record| mine.contains(record.seq));
            moving.records.extend(gone);
            moving.change.remove.insert((id, first), block::rows(head.length));
            // The rest of the block is cut where a record leaves: a block accounts for all numbers
            // of its range, so a block across the hole would still claim the moved ones.
            for run in mine.missing(first, last).iter() {
                let from = stay.partition_point(|record| record.seq < run.from);
                let to = stay.partition_point(|record| record.seq <= run.to);
                let Some(records) = stay.get(from..to).filter(|it| !it.is_empty()) else {
                    continue;
                };
                let packed = Packed::new(id, run.from, run.to, records);
                moving.left.push(packed.block);
                moving.change.add.insert((id, run.from), packed);
            }
        }
        Ok(moving)
    }

    /// Stores a segment's records under new numbers and takes them from the old ones, in one step.
    fn move_segment(&mut self, id: u32, start: u64, moving: Moving) -> Result<(), FileError> {
        let Moving { mut change, left, numbers, mut records } = moving;
        let Some(stream) = self.streams.get(&id) else { return Ok(()) };
        let count = u64::try_from(records.len()).unwrap_or(u64::MAX);
        // Contested numbers without a record were thinned out here. They become a gap under new
        // numbers: 10 contested numbers with 6 records become 6 new records and a gap of 4.
        let thinned = numbers.count().saturating_sub(count);
        let first = stream.next();
        let last = first.saturating_add(count + thinned);
        self.raise(&[(stream.name().clone(), last)])?;
        for (record, seq) in records.iter_mut().zip(first..) {
            record.seq = seq;
        }
        let ttl = self.policy(id).ttl_ms;
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        stream.moved(start, &left, &numbers);
        self.segments.insert((id, start));
        for records in block::cut(&records) {
            let (Some(one), Some(other)) = (records.first(), records.last()) else { continue };
            let packed = Packed::new(id, one.seq, other.seq, records);
            let closed = stream.stored(&packed.block, ttl);
            self.segments.extend(closed.map(|start| (id, start)));
            change.add.insert((id, one.seq), packed);
        }
        if thinned > 0 {
            let from = stream.next();
            stream.lost(Range { from, to: from + thinned - 1 }, GapReason::Thinned);
        }
        self.marked.insert(id);
        self.take_marks(&mut change);
        self.apply(change, 0)
    }

    /// Takes over the numbers that the control plane knows of a device that was restored or copied,
    /// so that none is given again. Where it knows less than it has acknowledged, it was restored
    /// itself: what is here is pending again. False when this could not be stored.
    pub(super) fn diverged(&mut self, given: Vec<Given>) -> bool {
        if self.open().is_none() {
            return false;
        }
        let mut ahead = Vec::new();
        for Given { stream: name, highest } in given {
            let id = self.id_of(&name, highest.saturating_add(1).max(self.base), None);
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            if stream.diverged(highest) {
                ahead.push(id);
            }
            self.marked.insert(id);
        }
        if !ahead.is_empty() {
            tracing::warn!(
                "the control plane does not know any more what it has acknowledged: what is still here is shipped again"
            );
        }
        let kept = self.unsettle(|id| !ahead.contains(&id)).and_then(|()| {
            self.cover_all()?;
            let mut change = Change::default();
            self.take_marks(&mut change);
            self.apply(change, 0)
        });
        self.queue.changed.notify_one();
        kept.is_ok()
    }
}
