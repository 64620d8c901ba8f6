//! Progress of a stream of which only changes or window aggregates are shipped: what was read, what
//! of it is decided, and when there is something to ship.
//!
//! See decision 0051.

use holdfast_query::Number;
use holdfast_records::{RangeSet, Record, Ship};

use crate::data::reduce::Reducer;

/// Longest time for which the numbers of records that were reduced away stay unreported, in
/// milliseconds; otherwise they go along with the next records.
pub(super) const REPORT_AFTER: u64 = 900_000;

/// Progress of one stream's reduction.
#[derive(Debug)]
pub(super) struct Reduction {
    pub(super) ship: Ship,
    /// Reducer; `None` when the policy cannot be carried out and everything is shipped.
    pub(super) reducer: Option<Reducer>,
    /// First sequence number that is not acknowledged.
    pub(super) from: u64,
    /// Last sequence number that is decided; below `from` when none is.
    pub(super) to: u64,
    /// Next sequence number to read.
    pub(super) next: u64,
    pub(super) records: Vec<Record>,
    /// Numbers that were read and had records missing, which were thinned out before.
    pub(super) thinned: RangeSet,
    /// Time at which the first of the decided numbers was decided, in milliseconds since 1970.
    pub(super) since: u64,
    pub(super) problem: String,
}

impl Reduction {
    pub(super) fn new(ship: Ship, from: u64, kept: Option<Number>) -> Self {
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
    pub(super) fn align(&mut self, ship: &Ship, from: u64) {
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
