//! Builds the next batch of a stream: its range of sequence numbers, its records, and the gaps it
//! reports.
//!
//! See decisions 0044 and 0142.

use std::time::Instant;

use holdfast_base::WIRE_VERSION;
use holdfast_base::codec;
use holdfast_records::block as wire;
use holdfast_records::message::{MAX_BATCH, MAX_BATCH_RECORDS};
use holdfast_records::{
    Batch, DataPolicies, GapReason, Layout, Order, Range, RangeSet, Record, Ship, StreamName,
    StreamPolicy,
};

use super::{Blocks, Contents, Stored as _};

/// Most gaps in one batch: a few hundred bytes.
const MAX_GAPS: usize = 64;
/// Most records that are gathered for one batch; a usual batch holds fewer.
pub(super) const MAX_GATHERED: usize = 8_192;
/// Most tries to make a batch fit; each cuts it.
const MAX_CUTS: usize = 8;
/// Most damaged blocks that are met while one batch is made.
const MAX_ROUNDS: usize = 16;

/// A batch of one stream that is ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// Stream that the records belong to.
    pub stream: StreamName,
    /// Sequence numbers that the batch accounts for, records and gaps together.
    pub range: Range,
    /// Number of records in the batch.
    pub records: u64,
    /// Encoded batch, as it goes over the link.
    pub payload: Vec<u8>,
}

/// Time at which a batch is built, by two clocks.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Milliseconds since 1970.
    pub wall: u64,
    /// Monotonic time, for marks that are stored later.
    pub now: Instant,
}

/// Stream that a batch is built of, its policy, and the size that is aimed at.
pub(super) struct Target {
    pub(super) id: u32,
    pub(super) policy: StreamPolicy,
    pub(super) bytes: usize,
    pub(super) at: Moment,
}

/// Records that were read, and the sequence numbers they account for.
#[derive(Default)]
pub(super) struct ReadRecords {
    pub(super) records: Vec<Record>,
    /// Sequence numbers that the blocks account for.
    pub(super) covered: RangeSet,
    /// True when everything in the requested range was read.
    whole: bool,
}

impl Contents {
    /// Builds the next batch of a stream, of about `bytes` bytes; `None` when there is nothing to
    /// ship. Records that were requested in full go first, then what is unshipped, then gaps.
    /// Damaged blocks that are met become gaps, and the choice is made again. What is marked on the
    /// way is stored with the next step.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn batch<B: Blocks>(
        &mut self,
        blocks: &B,
        policies: &DataPolicies,
        name: &StreamName,
        bytes: usize,
        at: Moment,
    ) -> Result<Option<Ready>, B::Error> {
        let Some(id) = self.id(name) else { return Ok(None) };
        let policy = self.policy(policies, id).cloned().unwrap_or_default();
        let target = Target { id, policy, bytes, at };
        for _ in 0..MAX_ROUNDS {
            let Some(stream) = self.stream(id) else { return Ok(None) };
            let open = stream.unshipped();
            let next = match target.policy.order {
                Order::OldestFirst => open.iter().next(),
                Order::NewestFirst => open.iter().next_back(),
            };
            let wanted = stream.kept().wanted.iter().next();
            let gap = stream.unreported_gaps(1).first().copied();
            let made = match (wanted, next) {
                (Some(range), _) => self.batch_of_wanted(blocks, &target, range)?,
                (None, Some(range)) if target.policy.ship == Ship::Never => {
                    self.encode(&target, range, Some(GapReason::Withheld), &[])
                }
                (None, Some(_)) if target.policy.ship != Ship::Always => {
                    // By rising sequence number whatever the policy's order, for the reducer
                    // compares each record with the one before.
                    let Some(first) = open.iter().next() else { return Ok(None) };
                    let made = self.batch_of_reduced(blocks, &target, first)?;
                    let same = self.stream(id).is_none_or(|stream| stream.unshipped() == open);
                    if made.is_none() && same {
                        return Ok(None);
                    }
                    made
                }
                (None, Some(range)) => self.batch_of_unshipped(blocks, &target, range)?,
                (None, None) => {
                    let Some(gap) = gap else { return Ok(None) };
                    let range = Range { from: gap.from, to: gap.to };
                    self.encode(&target, range, Some(gap.reason), &[])
                }
            };
            if made.is_some() {
                return Ok(made);
            }
        }
        Ok(None)
    }

    /// Builds a batch of records that were requested in full, as far as they are still there.
    fn batch_of_wanted<B: Blocks>(
        &mut self,
        blocks: &B,
        target: &Target,
        range: Range,
    ) -> Result<Option<Ready>, B::Error> {
        let found = self.read_range(blocks, target.id, range, false, target.bytes)?;
        let run = found.covered.iter().next();
        let gone = match run {
            Some(run) if run.from > range.from => {
                Some(Range { from: range.from, to: run.from - 1 })
            }
            Some(_) => None,
            None => Some(range),
        };
        if let Some(gone) = gone {
            self.had(target.id, gone, target.at.now);
        }
        let Some(run) = run else { return Ok(None) };
        let records = found.records.into_iter().filter(|it| (run.from..=run.to).contains(&it.seq));
        Ok(self.fit(target, run, records.collect(), GapReason::Thinned, false))
    }

    fn batch_of_unshipped<B: Blocks>(
        &mut self,
        blocks: &B,
        target: &Target,
        range: Range,
    ) -> Result<Option<Ready>, B::Error> {
        let newest = target.policy.order == Order::NewestFirst;
        let found = self.read_range(blocks, target.id, range, newest, target.bytes)?;
        let span = found.span(range, newest);
        if !self.record_lost(target, &found, span) {
            return Ok(None);
        }
        Ok(self.fit(target, span, found.records, GapReason::Thinned, newest))
    }

    /// Notes as lost what should have been on disk and is missing or damaged. False when there was
    /// something.
    pub(super) fn record_lost(
        &mut self,
        target: &Target,
        found: &ReadRecords,
        span: Range,
    ) -> bool {
        let lost = found.covered.missing(span.from, span.to);
        lost.iter().for_each(|lost| self.bad_block(target.id, lost, target.at.now));
        lost.is_empty()
    }

    /// Builds a batch of the span and cuts it until it fits. `why` is the reason for the numbers of
    /// the span that none of the records has.
    pub(super) fn fit(
        &self,
        target: &Target,
        mut span: Range,
        mut records: Vec<Record>,
        why: GapReason,
        newest: bool,
    ) -> Option<Ready> {
        let bytes = target.bytes;
        for _ in 0..MAX_CUTS {
            let holes = span.len() > u64::try_from(records.len()).unwrap_or(u64::MAX);
            let ready = self.encode(target, span, holes.then_some(why), &records)?;
            let size = ready.payload.len();
            let fits = size <= (bytes + bytes / 4).min(MAX_BATCH);
            if fits || records.len() <= 1 {
                return Some(ready);
            }
            // The share that is likely to fit. Example: 1,000 records gave 300 KiB where 128 KiB
            // are asked for: 426 are kept. Compression makes this inexact, so up to [`MAX_CUTS`]
            // rounds.
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

    /// Reads records of a range, block by block, until they take about `bytes` bytes on disk.
    pub(super) fn read_range<B: Blocks>(
        &self,
        blocks: &B,
        id: u32,
        range: Range,
        newest: bool,
        bytes: usize,
    ) -> Result<ReadRecords, B::Error> {
        let mut found = ReadRecords { whole: true, ..ReadRecords::default() };
        let Some(stream) = self.stream(id) else { return Ok(found) };
        let mut segments: Vec<(u64, u64)> = stream
            .segments()
            .filter(|(_, segment)| segment.last >= range.from && segment.first <= range.to)
            .map(|(_, segment)| (segment.first.max(range.from), segment.last.min(range.to)))
            .collect();
        let mut size = 0;
        let most = u64::try_from(bytes).unwrap_or(u64::MAX);
        let (mut chosen, mut records): (Vec<B::Head>, usize) = (Vec::new(), 0);
        if newest {
            segments.reverse();
        }
        'all: for (from, to) in segments {
            let (mut heads, _) = blocks.heads(id, from, to)?;
            if newest {
                heads.reverse();
            }
            for head in heads {
                let block = head.block();
                let count = usize::try_from(block.count).unwrap_or(usize::MAX);
                let many = records.saturating_add(count) > MAX_BATCH_RECORDS;
                if !chosen.is_empty() && (size + block.bytes > most || many) {
                    found.whole = false;
                    break 'all;
                }
                size += block.bytes;
                records = records.saturating_add(count);
                chosen.push(head);
            }
        }
        if newest {
            chosen.reverse();
        }
        for head in chosen {
            // A damaged block stays uncovered, and becomes a gap.
            let Some(all) = blocks.records(id, &head)? else { continue };
            let block = head.block();
            let (from, to) = (block.first.max(range.from), block.last.min(range.to));
            found.covered.insert(from, to);
            found.records.extend(all.into_iter().filter(|it| (from..=to).contains(&it.seq)));
        }
        Ok(found)
    }

    /// Encodes a batch, with gaps that were not reported yet.
    fn encode(
        &self,
        target: &Target,
        range: Range,
        rest: Option<GapReason>,
        records: &[Record],
    ) -> Option<Ready> {
        let stream = self.stream(target.id)?;
        // A record that was requested again was acknowledged before.
        let fetched = stream.is_fetched(range);
        let (answered, gaps) = stream.gaps_with(range, MAX_GAPS);
        // Gaps before and behind the range, with nothing unshipped in between, widen it. The control
        // plane knows what lies between; should its store have been lost, this reason applies.
        let rest = rest.or_else(|| (answered != range).then_some(GapReason::Damaged));
        let range = answered;
        let block = if records.is_empty() {
            Vec::new()
        } else {
            wire::pack(records, Layout::Smallest, target.policy.compress)
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

impl ReadRecords {
    /// Range that these records account for: all of it, unless reading stopped early at the size
    /// limit.
    pub(super) fn span(&self, range: Range, newest: bool) -> Range {
        match (self.covered.iter().next(), self.covered.last()) {
            (Some(first), Some(_)) if !self.whole && newest => Range { from: first.from, ..range },
            (Some(_), Some(last)) if !self.whole => Range { to: last, ..range },
            // Everything was read, so what is missing is lost.
            _ => range,
        }
    }
}
