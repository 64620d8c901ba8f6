//! Streams of which only changes or window aggregates are shipped. Records pass the core's reducer
//! in the order of their sequence numbers; its output waits here until it is acknowledged. After a
//! restart, what was not acknowledged is read and reduced again.
//!
//! See decisions 0051 and 0142.

use holdfast_records::{GapReason, Range};

use super::batch::{MAX_GATHERED, Ready, Target};
use super::reduction::{REPORT_AFTER, Reduction};
use super::{Blocks, Contents};

/// Bytes of blocks that one call reads; the rest follows with the next batch.
const MAX_READ: u64 = 2 * 1024 * 1024;
/// Bytes of blocks that are read at a time.
const READ_AT_ONCE: usize = 128 * 1024;

impl Contents {
    /// Builds the next batch of a reduced stream. `range` holds its first sequence numbers that are
    /// not acknowledged.
    pub(super) fn batch_of_reduced<B: Blocks>(
        &mut self,
        blocks: &B,
        target: &Target,
        range: Range,
    ) -> Result<Option<Ready>, B::Error> {
        let ship = &target.policy.ship;
        let mut reduction = self
            .reductions
            .remove(&target.id)
            .unwrap_or_else(|| Reduction::new(ship.clone(), range.from, None));
        reduction.align(ship, range.from);
        // After a failure the reduction begins anew: nothing of it is stored.
        let whole = self.reduce(blocks, target, range, &mut reduction)?;
        let made = if whole { self.batch_of_decided(target, range, &reduction) } else { None };
        self.reductions.insert(target.id, reduction);
        Ok(made)
    }

    /// Reads on and reduces. False when a damaged block changed what there is to read.
    fn reduce<B: Blocks>(
        &mut self,
        blocks: &B,
        target: &Target,
        range: Range,
        reduction: &mut Reduction,
    ) -> Result<bool, B::Error> {
        let mut read = 0;
        while reduction.next <= range.to
            && read < MAX_READ
            && reduction.records.len() < MAX_GATHERED
        {
            let ahead = Range { from: reduction.next, to: range.to };
            let found = self.read_range(blocks, target.id, ahead, false, READ_AT_ONCE)?;
            let span = found.span(ahead, false);
            if !self.record_lost(target, &found, span) {
                return Ok(false);
            }
            read += u64::try_from(READ_AT_ONCE).unwrap_or(0);
            if u64::try_from(found.records.len()).is_ok_and(|count| count < span.len()) {
                reduction.thinned.insert(span.from, span.to);
            }
            reduction.next = span.to + 1;
            match &mut reduction.reducer {
                Some(reducer) => found.records.into_iter().for_each(|record| reducer.push(record)),
                None => {
                    reduction.records.extend(found.records);
                    reduction.to = span.to;
                }
            }
        }
        let now = target.at.wall;
        if let Some(reducer) = &mut reduction.reducer {
            let ends = reduction.next > range.to
                && self.stream(target.id).is_some_and(|stream| range.to + 1 < stream.next());
            // The next number is acknowledged or lost, so no later record can complete a window of
            // this range: it is closed now.
            reducer.close(if ends { u64::MAX } else { now });
            if let Some(decided) = reducer.take() {
                if reduction.to < reduction.from {
                    reduction.since = now;
                }
                reduction.to = reduction.to.max(decided.to);
                reduction.records.extend(decided.records);
            }
            if ends {
                reduction.to = reduction.to.max(range.to);
            }
        }
        Ok(true)
    }

    fn batch_of_decided(
        &self,
        target: &Target,
        range: Range,
        reduction: &Reduction,
    ) -> Option<Ready> {
        if reduction.to < reduction.from {
            return None;
        }
        let stream = self.stream(target.id)?;
        let now = target.at.wall;
        let due = !reduction.records.is_empty()
            || stream.has_unreported_gaps()
            || (reduction.to >= range.to && range.to + 1 < stream.next())
            || now >= reduction.since.saturating_add(REPORT_AFTER)
            || now < reduction.since;
        if !due {
            return None;
        }
        let span = Range { from: reduction.from, to: reduction.to };
        let whole = reduction.thinned.within(span.from, span.to).is_empty();
        let why = if whole { GapReason::Reduced } else { GapReason::Thinned };
        self.fit(target, span, reduction.records.clone(), why, false)
    }
}
