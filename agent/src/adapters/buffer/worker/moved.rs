//! Records whose numbers stand for other ones at the control plane: this device was copied, or put
//! back to an earlier state. They get new numbers, above all that it knows, a segment a step.

use holdfast_records::{GapReason, Given, Range, RangeSet, Record, StreamName};

use super::super::block::{self, Packed};
use super::super::change::Change;
use super::super::file::Trouble;
use super::Worker;
use crate::core::data::stream::{Block, Stream};

/// What becomes of a segment.
#[derive(Default)]
struct Moving {
    change: Change,
    /// The blocks that it has then.
    left: Vec<Block>,
    /// Numbers that blocks answered for, and the records.
    numbers: RangeSet,
    records: Vec<Record>,
}

impl Worker {
    /// These numbers stand for other records at the control plane, which knows numbers up to
    /// `highest`. Where a step fails, the rest is shipped again, and told again.
    pub(super) fn renumber(&mut self, name: &StreamName, conflict: &RangeSet, highest: u64) {
        let Some(id) = self.ids.get(name).copied() else { return };
        if let Err(trouble) = self.renumbered(id, conflict, highest) {
            tracing::error!(stream = %name, "records keep numbers that stand for others, for now");
            self.read_failed(&trouble);
        }
        self.reductions.remove(&id);
        self.mark(id);
    }

    fn renumbered(&mut self, id: u32, conflict: &RangeSet, highest: u64) -> Result<(), Trouble> {
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

    /// Reads what of a segment is to be moved.
    fn moving(&self, id: u32, start: u64, contested: &RangeSet) -> Result<Moving, Trouble> {
        let mut moving = Moving::default();
        let (Some(stream), Some(file)) = (self.streams.get(&id), &self.file) else {
            return Err(Trouble::Other("the buffer is not open".into()));
        };
        let Some(segment) = stream.segment(start) else { return Ok(moving) };
        let (heads, _) = file.heads(id, segment.first, segment.last)?;
        for head in heads {
            let Block { first, last, .. } = head.block;
            let mine = contested.within(first, last);
            // One that cannot be read is told as damaged when it is shipped next.
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
            // What stays is cut where something goes: a block answers for all of its numbers.
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

    /// Stores records with new numbers, and takes them away from the old ones, in one step.
    fn move_segment(&mut self, id: u32, start: u64, moving: Moving) -> Result<(), Trouble> {
        let Moving { mut change, left, numbers, mut records } = moving;
        let Some(stream) = self.streams.get(&id) else { return Ok(()) };
        let count = u64::try_from(records.len()).unwrap_or(u64::MAX);
        // What was thinned out between them is lost under new numbers, too.
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

    /// The control plane knows these numbers of a device that was put back to an earlier state, or
    /// copied: none is given again. Where it knows less than what it has acknowledged, it was put
    /// back itself: what is here is shipped again. False: that could not be stored.
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
