//! Repair of a stream whose block the disk has changed: the block is set aside, and its records
//! stand in the ledger as damaged unless another block holds them too.
//!
//! See decision 0059.
//! See decision 0153.

use holdfast_control_rows::{DataBatch, Head, Segment, StreamRow};
use holdfast_records::{Range, RangeSet};

use super::damage;
use crate::ledger::LoadedLedger;

/// Repair under way: the stream, and the damaged block.
#[derive(Debug)]
pub struct Repair {
    row: StreamRow,
    head: Head,
    ledger: LoadedLedger,
}

/// Outcome of a repair.
#[derive(Debug, PartialEq, Eq)]
pub struct Repaired {
    /// Row of the stream afterwards.
    pub row: StreamRow,
    /// Change of the store.
    pub batch: DataBatch,
    /// Number of records that are newly missing.
    pub missing: u64,
}

impl Repair {
    /// Begins the repair of a stream with a damaged block.
    pub fn of(row: StreamRow, head: Head) -> Self {
        Self { row, head, ledger: LoadedLedger::new() }
    }

    /// Returns the numbers that the block may have held. The caller finds out which of them other
    /// blocks hold: blocks of a stream may interleave.
    pub fn numbers(&self) -> Range {
        Range { from: self.head.first, to: self.head.reach(self.row.tally.span) }
    }

    /// Returns the next range of the ledger that must be loaded. None: all is.
    pub fn wanted(&self) -> Option<Range> {
        let Range { from, to } = self.numbers();
        self.ledger.wanted(from, to).iter().next()
    }

    /// Adds the stored segments that touch a range of [`Repair::wanted`].
    pub fn load(&mut self, range: Range, segments: Vec<Segment>) {
        self.ledger.load(range, segments);
    }

    /// Ends the repair. `others` are the numbers that other blocks hold.
    pub fn finish(self, others: &RangeSet) -> Repaired {
        let numbers = self.numbers();
        let Self { mut row, head, mut ledger } = self;
        let mut lost = RangeSet::from_ranges([numbers]);
        lost.subtract(others);
        let missing = damage(&mut ledger, &mut row.tally, &lost, head.is_dense());
        row.tally.kept = row.tally.kept.saturating_sub(head.count);
        row.tally.bytes = row.tally.bytes.saturating_sub(head.bytes);
        let batch = DataBatch {
            streams: vec![row.clone()],
            segments: vec![(row.id, ledger.rows())],
            set_aside: vec![(row.id, head.first)],
            ..DataBatch::default()
        };
        Repaired { row, batch, missing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::tests::row;
    use holdfast_control_rows::{Answer, Tally};
    use holdfast_records::GapReason;

    #[test]
    fn what_no_other_block_holds_is_missing_afterwards() {
        let tally = Tally {
            received: 9,
            highest: 9,
            kept: 10,
            bytes: 100,
            span: 5,
            segments: 1,
            ..Tally::default()
        };
        let stored = Segment { from: 1, to: 9, answer: Answer::Received };
        let head =
            Head { first: 3, last: 6, count: 4, min_time: 1, max_time: 2, stored: 3, bytes: 40 };
        for (others, missing, rows) in [
            (RangeSet::new(), 4, 3),
            (RangeSet::from_ranges([Range { from: 5, to: 9 }]), 2, 3),
            (RangeSet::from_ranges([Range { from: 1, to: 9 }]), 0, 0),
        ] {
            let mut repair =
                Repair::of(StreamRow { tally: tally.clone(), ..row(4, "d", "s") }, head);
            while let Some(range) = repair.wanted() {
                repair.load(range, vec![stored]);
            }
            let Repaired { row, batch, missing: found } = repair.finish(&others);
            assert_eq!(found, missing, "{others:?}");
            assert_eq!((row.tally.kept, row.tally.bytes), (6, 60), "the block goes in any case");
            assert_eq!(row.tally.received, 9 - missing);
            assert_eq!(row.tally.gaps.get(&GapReason::Damaged).copied().unwrap_or(0), missing);
            assert_eq!(batch.set_aside, [(4, 3)]);
            assert_eq!(batch.segments[0].1.len(), rows, "{others:?}: {:?}", batch.segments);
            assert_eq!(batch.streams, [row]);
        }
    }

    #[test]
    fn a_damaged_head_hides_no_other_block() {
        let tally = Tally { span: 5, ..Tally::default() };
        let head = Head {
            first: 3,
            last: u64::MAX,
            count: 4,
            min_time: 1,
            max_time: 2,
            stored: 3,
            bytes: 40,
        };
        let repair = Repair::of(StreamRow { tally, ..row(4, "d", "s") }, head);
        assert_eq!(repair.numbers(), Range { from: 3, to: 7 });
    }
}
