//! The next batch of a stream: which of its numbers, which records, and what of it will not come.

use holdfast_base::WIRE_VERSION;
use holdfast_base::codec;
use holdfast_records::block as wire;
use holdfast_records::message::{MAX_BATCH, MAX_BATCH_RECORDS};
use holdfast_records::{
    Batch, GapReason, Layout, Order, Range, RangeSet, Record, Ship, StreamName, StreamPolicy,
};

use super::super::Ready;
use super::super::block::Head;
use super::super::file::Trouble;
use super::Worker;

/// Gaps told with one batch: a few hundred bytes.
const GAPS: usize = 64;
/// Records that are gathered for one batch: what it holds as a rule is less.
pub(super) const MANY: usize = 8_192;
/// Tries to make a batch fit: each cuts it.
const CUTS: usize = 8;
/// Damaged blocks that are come upon while one batch is made.
const ROUNDS: usize = 16;

/// Records as they were found, and what they answer for.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) records: Vec<Record>,
    /// Numbers that blocks answer for.
    pub(super) covered: RangeSet,
    /// Everything that was asked for is in it.
    whole: bool,
}

impl Worker {
    /// Makes the next batch. What turns out to be damaged on the way changes what is next.
    pub(super) fn batch(&mut self, name: &StreamName, bytes: usize) -> Option<Ready> {
        self.open()?;
        let id = self.ids.get(name).copied()?;
        let policy = self.policy(id);
        for _ in 0..ROUNDS {
            let stream = self.streams.get(&id)?;
            let open = stream.unshipped();
            let next = match policy.order {
                Order::OldestFirst => open.iter().next(),
                Order::NewestFirst => open.iter().next_back(),
            };
            let wanted = stream.kept().wanted.iter().next();
            let gap = stream.untold(1).first().copied();
            let made = match (wanted, next) {
                (Some(range), _) => self.of_wanted(id, range, &policy, bytes),
                (None, Some(range)) if policy.ship == Ship::Never => {
                    self.made(id, range, Some(GapReason::Withheld), &[], &policy)
                }
                (None, Some(_)) if policy.ship != Ship::Always => {
                    // In the order of their numbers, whatever the policy's order.
                    let first = open.iter().next()?;
                    match self.of_reduced(id, first, bytes) {
                        None if self.streams.get(&id)?.unshipped() == open => return None,
                        made => made,
                    }
                }
                (None, Some(range)) => self.of_unshipped(id, range, &policy, bytes),
                (None, None) => {
                    let gap = gap?;
                    let range = Range { from: gap.from, to: gap.to };
                    self.made(id, range, Some(gap.reason), &[], &policy)
                }
            };
            if made.is_some() {
                return made;
            }
        }
        None
    }

    /// Records that were asked for, as they are, as far as they are still there.
    fn of_wanted(
        &mut self,
        id: u32,
        range: Range,
        policy: &StreamPolicy,
        bytes: usize,
    ) -> Option<Ready> {
        let taken = self.taken(id, range, false, bytes)?;
        let run = taken.covered.iter().next();
        let gone = match run {
            Some(run) if run.from > range.from => {
                Some(Range { from: range.from, to: run.from - 1 })
            }
            Some(_) => None,
            None => Some(range),
        };
        if let (Some(gone), Some(stream)) = (gone, self.streams.get_mut(&id)) {
            stream.had(gone);
            self.mark(id);
        }
        let run = run?;
        let records = taken.records.into_iter().filter(|it| (run.from..=run.to).contains(&it.seq));
        self.fitting(id, run, records.collect(), GapReason::Thinned, false, policy, bytes)
    }

    fn of_unshipped(
        &mut self,
        id: u32,
        range: Range,
        policy: &StreamPolicy,
        bytes: usize,
    ) -> Option<Ready> {
        let newest = policy.order == Order::NewestFirst;
        let taken = self.taken(id, range, newest, bytes)?;
        let span = taken.span(range, newest);
        if !self.note_lost(id, &taken, span) {
            return None;
        }
        self.fitting(id, span, taken.records, GapReason::Thinned, newest, policy, bytes)
    }

    /// What should be on disk and is not, or cannot be read, is lost. False: something was.
    pub(super) fn note_lost(&mut self, id: u32, taken: &Taken, span: Range) -> bool {
        let lost = taken.covered.missing(span.from, span.to);
        lost.iter().for_each(|lost| self.bad_block(id, lost));
        lost.is_empty()
    }

    /// Cuts what is too large. `why`: what of the span is in none of the records.
    #[allow(clippy::too_many_arguments, reason = "one step of two callers next to it")]
    pub(super) fn fitting(
        &self,
        id: u32,
        mut span: Range,
        mut records: Vec<Record>,
        why: GapReason,
        newest: bool,
        policy: &StreamPolicy,
        bytes: usize,
    ) -> Option<Ready> {
        for _ in 0..CUTS {
            let holes = span.len() > u64::try_from(records.len()).unwrap_or(u64::MAX);
            let ready = self.made(id, span, holes.then_some(why), &records, policy)?;
            let size = ready.payload.len();
            let fits = size <= (bytes + bytes / 4).min(MAX_BATCH);
            if fits || records.len() <= 1 {
                return Some(ready);
            }
            // As much of it as is likely to fit.
            let keep = (records.len() * bytes / size).clamp(1, records.len() - 1);
            if newest {
                records.drain(..records.len() - keep);
                span.from = records.first()?.seq;
            } else {
                records.truncate(keep);
                span.to = records.last()?.seq;
            }
        }
        None
    }

    pub(super) fn taken(
        &mut self,
        id: u32,
        range: Range,
        newest: bool,
        bytes: usize,
    ) -> Option<Taken> {
        self.take(id, range, newest, bytes).map_err(|trouble| self.read_failed(&trouble)).ok()
    }

    /// Reads records of a range until they are about so many bytes on disk.
    fn take(&self, id: u32, range: Range, newest: bool, bytes: usize) -> Result<Taken, Trouble> {
        let mut taken = Taken { whole: true, ..Taken::default() };
        let (Some(stream), Some(file)) = (self.streams.get(&id), &self.file) else {
            return Err(Trouble::Other("the buffer is not open".into()));
        };
        let within: Vec<(u64, u64)> = stream
            .segments()
            .filter(|(_, segment)| segment.last >= range.from && segment.first <= range.to)
            .map(|(_, segment)| (segment.first.max(range.from), segment.last.min(range.to)))
            .collect();
        let mut size = 0;
        let most = u64::try_from(bytes).unwrap_or(u64::MAX);
        let (mut blocks, mut records): (Vec<Head>, usize) = (Vec::new(), 0);
        let mut segments = within;
        if newest {
            segments.reverse();
        }
        'all: for (from, to) in segments {
            let (mut heads, _) = file.heads(id, from, to)?;
            if newest {
                heads.reverse();
            }
            for head in heads {
                let count = usize::try_from(head.block.count).unwrap_or(usize::MAX);
                let many = records.saturating_add(count) > MAX_BATCH_RECORDS;
                if !blocks.is_empty() && (size + head.block.bytes > most || many) {
                    taken.whole = false;
                    break 'all;
                }
                size += head.block.bytes;
                records = records.saturating_add(count);
                blocks.push(head);
            }
        }
        if newest {
            blocks.reverse();
        }
        for head in blocks {
            // One that is damaged stays uncovered.
            let Some(all) = file.records(id, &head)? else { continue };
            let (from, to) = (head.block.first.max(range.from), head.block.last.min(range.to));
            taken.covered.insert(from, to);
            taken.records.extend(all.into_iter().filter(|it| (from..=to).contains(&it.seq)));
        }
        Ok(taken)
    }

    /// Encodes a batch, with gaps that wait to be told.
    fn made(
        &self,
        id: u32,
        range: Range,
        rest: Option<GapReason>,
        records: &[Record],
        policy: &StreamPolicy,
    ) -> Option<Ready> {
        let stream = self.streams.get(&id)?;
        // What was asked for again was answered before.
        let fetched = stream.is_fetched(range);
        let (answered, gaps) = stream.told_with(range, GAPS);
        // What lies between is known to the control plane, unless its store was lost.
        let rest = rest.or_else(|| (answered != range).then_some(GapReason::Damaged));
        let range = answered;
        let block = if records.is_empty() {
            Vec::new()
        } else {
            wire::pack(records, Layout::Smallest, policy.compress)
        };
        let (from, to) = (range.from, range.to);
        let doubt = stream.is_unsure(from);
        let stream = stream.name().clone();
        let batch = Batch { v: WIRE_VERSION, stream, from, to, rest, gaps, fetched, doubt, block };
        let payload = codec::encode(&batch).ok()?;
        let records = u64::try_from(records.len()).unwrap_or(u64::MAX);
        Some(Ready { stream: batch.stream, range, records, payload })
    }
}

impl Taken {
    /// What these records answer for.
    pub(super) fn span(&self, range: Range, newest: bool) -> Range {
        match (self.covered.iter().next(), self.covered.last()) {
            (Some(first), Some(_)) if !self.whole && newest => Range { from: first.from, ..range },
            (Some(_), Some(last)) if !self.whole => Range { to: last, ..range },
            // Everything was looked through: what is not there is lost.
            _ => range,
        }
    }
}
