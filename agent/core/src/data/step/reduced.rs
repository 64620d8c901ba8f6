//! Streams of which only changes or window aggregates are shipped. Records pass the core's reducer
//! in the order of their sequence numbers; its output waits here until it is acknowledged. After a
//! restart, what was not acknowledged is read and reduced again.
//!
//! See decisions 0051 and 0142.

use holdfast_query::Number;
use holdfast_records::{GapReason, Range, RangeSet, Record, Ship};

use super::batch::{MAX_GATHERED, Ready, Target};
use super::{Blocks, Contents};
use crate::data::reduce::Reducer;

/// Bytes of blocks that one call reads; the rest follows with the next batch.
const MAX_READ: u64 = 2 * 1024 * 1024;
/// Bytes of blocks that are read at a time.
const READ_AT_ONCE: usize = 128 * 1024;
/// Longest time for which the numbers of records that were reduced away stay unreported, in
/// milliseconds; otherwise they go along with the next records.
const REPORT_AFTER: u64 = 900_000;

/// Progress of one stream's reduction.
#[derive(Debug)]
pub(super) struct Reduction {
    ship: Ship,
    /// Reducer; `None` when the policy cannot be carried out and everything is shipped.
    reducer: Option<Reducer>,
    /// First sequence number that is not acknowledged.
    from: u64,
    /// Last sequence number that is decided; below `from` when none is.
    to: u64,
    /// Next sequence number to read.
    next: u64,
    records: Vec<Record>,
    /// Numbers that were read and had records missing, which were thinned out before.
    thinned: RangeSet,
    /// Time at which the first of the decided numbers was decided, in milliseconds since 1970.
    since: u64,
    problem: String,
}

impl Reduction {
    fn new(ship: Ship, from: u64, kept: Option<Number>) -> Self {
        let (reducer, problem) = match Reducer::new(&ship) {
            Ok(reducer) => (reducer, String::new()),
            Err(why) => (None, format!("{why}: everything is shipped")),
        };
        let mut reducer = reducer;
        if let Some(reducer) = &mut reducer {
            reducer.restore(kept);
        }
        Self {
            ship,
            reducer,
            from,
            to: from.saturating_sub(1),
            next: from,
            records: Vec::new(),
            thinned: RangeSet::new(),
            since: 0,
            problem,
        }
    }

    /// Moves the reduction to the first number that is not acknowledged, or begins it again if it
    /// does not fit.
    fn align(&mut self, ship: &Ship, from: u64) {
        // Three cases. Acknowledged up to somewhere between `from` and `next`: what is left is
        // kept. Acknowledged beyond `next` with nothing undecided: go on behind it. Otherwise
        // (policy changed, numbers became pending again, or a record inside the reducer is gone):
        // read again from `from`, with the last value kept where the policy is the same.
        self.thinned.remove(1, from.saturating_sub(1));
        let sound = self.ship == *ship && self.from <= from && from <= self.next;
        if sound {
            self.records.retain(|record| record.seq >= from);
            self.from = from;
            self.to = self.to.max(from.saturating_sub(1));
        } else if self.ship == *ship && self.to + 1 >= self.next && self.next < from {
            // What lies between is acknowledged or lost, and the reducer holds nothing back.
            self.records.clear();
            (self.from, self.to, self.next) = (from, from.saturating_sub(1), from);
        } else {
            let kept = self.reducer.as_ref().and_then(Reducer::kept);
            *self = Self::new(ship.clone(), from, kept.filter(|_| self.ship == *ship));
        }
    }

    /// Reason why the policy cannot be followed; empty when it is.
    pub(super) fn problem(&self) -> String {
        match &self.reducer {
            Some(reducer) => reducer.problem(),
            None => self.problem.clone(),
        }
    }

    /// Earliest time at which there is something to ship, in milliseconds since 1970, if everything
    /// up to `last` was read. `None` when more has to be read to know it.
    pub(super) fn due(&self, last: u64) -> Option<u64> {
        if self.next <= last || !self.records.is_empty() {
            return None;
        }
        let reported = (self.to >= self.from).then(|| self.since.saturating_add(REPORT_AFTER));
        let closed = self.reducer.as_ref().and_then(Reducer::due);
        reported.into_iter().chain(closed).min()
    }
}

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
