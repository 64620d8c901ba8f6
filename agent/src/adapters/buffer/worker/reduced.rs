//! Streams of which changes or windows are shipped: records go through the core's reducer in the
//! order of their numbers, and what it has decided waits here until it is acknowledged. A restart
//! reads again what was not.

use holdfast_query::Number;
use holdfast_records::{GapReason, Range, RangeSet, Record, Ship};

use super::super::Ready;
use super::{Worker, batch};
use crate::core::data::reduce::Reducer;

/// Bytes of blocks that are read for one batch: the others come with the next one.
const READ: u64 = 2 * 1024 * 1024;
/// And at once.
const PIECE: usize = 128 * 1024;
/// What stands for nothing is told when so long nothing else was, in milliseconds.
const PATIENCE: u64 = 900_000;

/// How far a stream's reduction has come.
#[derive(Debug)]
pub(super) struct Reduction {
    ship: Ship,
    /// None: the policy cannot be carried out, and everything is shipped.
    reducer: Option<Reducer>,
    /// The first number that is not settled.
    from: u64,
    /// The last one that is decided; below `from`: none.
    to: u64,
    /// The next one that is to be read.
    next: u64,
    records: Vec<Record>,
    /// What was read of which something was thinned out before.
    thinned: RangeSet,
    /// When the first of it was decided, in milliseconds since 1970.
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

    /// Goes on at the first number that is not settled.
    fn align(&mut self, ship: &Ship, from: u64) {
        self.thinned.remove(1, from.saturating_sub(1));
        let sound = self.ship == *ship && self.from <= from && from <= self.next;
        if sound {
            self.records.retain(|record| record.seq >= from);
            self.from = from;
            self.to = self.to.max(from.saturating_sub(1));
        } else if self.ship == *ship && self.to + 1 >= self.next && self.next < from {
            // What is between is settled or lost, and nothing is held back.
            self.records.clear();
            (self.from, self.to, self.next) = (from, from.saturating_sub(1), from);
        } else {
            let kept = self.reducer.as_ref().and_then(Reducer::kept);
            *self = Self::new(ship.clone(), from, kept.filter(|_| self.ship == *ship));
        }
    }

    /// Why the policy does not do what it says.
    pub(super) fn problem(&self) -> String {
        match &self.reducer {
            Some(reducer) => reducer.problem(),
            None => self.problem.clone(),
        }
    }

    /// When there is something to ship, in milliseconds since 1970, as far as all up to `last` was
    /// read; None: it is not known before it is read.
    pub(super) fn due(&self, last: u64) -> Option<u64> {
        if self.next <= last || !self.records.is_empty() {
            return None;
        }
        let told = (self.to >= self.from).then(|| self.since.saturating_add(PATIENCE));
        let closed = self.reducer.as_ref().and_then(Reducer::due);
        told.into_iter().chain(closed).min()
    }
}

impl Worker {
    /// The next batch of a stream that is reduced. `range`: its first numbers that are not
    /// settled.
    pub(super) fn of_reduced(&mut self, id: u32, range: Range, bytes: usize) -> Option<Ready> {
        let policy = self.policy(id);
        let mut reduction = self
            .reductions
            .remove(&id)
            .unwrap_or_else(|| Reduction::new(policy.ship.clone(), range.from, None));
        reduction.align(&policy.ship, range.from);
        let whole = self.reduce(id, range, &mut reduction);
        let made = if whole { self.decided(id, range, &reduction, &policy, bytes) } else { None };
        self.reductions.insert(id, reduction);
        made
    }

    /// Reads on. False: what is to be read has changed.
    fn reduce(&mut self, id: u32, range: Range, reduction: &mut Reduction) -> bool {
        let mut read = 0;
        while reduction.next <= range.to && read < READ && reduction.records.len() < batch::MANY {
            let ahead = Range { from: reduction.next, to: range.to };
            let Some(taken) = self.taken(id, ahead, false, PIECE) else { return false };
            let span = taken.span(ahead, false);
            if !self.note_lost(id, &taken, span) {
                return false;
            }
            read += u64::try_from(PIECE).unwrap_or(0);
            if u64::try_from(taken.records.len()).is_ok_and(|count| count < span.len()) {
                reduction.thinned.insert(span.from, span.to);
            }
            reduction.next = span.to + 1;
            match &mut reduction.reducer {
                Some(reducer) => taken.records.into_iter().for_each(|record| reducer.push(record)),
                None => {
                    reduction.records.extend(taken.records);
                    reduction.to = span.to;
                }
            }
        }
        let now = self.queue.time.now_ms();
        if let Some(reducer) = &mut reduction.reducer {
            let ends = reduction.next > range.to
                && self.streams.get(&id).is_some_and(|stream| range.to + 1 < stream.next());
            // What follows is settled or lost: nothing stands for both.
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
        true
    }

    fn decided(
        &self,
        id: u32,
        range: Range,
        reduction: &Reduction,
        policy: &holdfast_records::StreamPolicy,
        bytes: usize,
    ) -> Option<Ready> {
        if reduction.to < reduction.from {
            return None;
        }
        let stream = self.streams.get(&id)?;
        let now = self.queue.time.now_ms();
        let due = !reduction.records.is_empty()
            || stream.has_untold_gaps()
            || (reduction.to >= range.to && range.to + 1 < stream.next())
            || now >= reduction.since.saturating_add(PATIENCE)
            || now < reduction.since;
        if !due {
            return None;
        }
        let span = Range { from: reduction.from, to: reduction.to };
        let whole = reduction.thinned.within(span.from, span.to).is_empty();
        let why = if whole { GapReason::Reduced } else { GapReason::Thinned };
        self.fitting(id, span, reduction.records.clone(), why, false, policy, bytes)
    }
}
