//! Builds the next batch of a stream: its range of sequence numbers, its records, and the gaps it
//! reports.
//!
//! See decision 0044.

use holdfast_base::WIRE_VERSION;
use holdfast_base::codec;
use holdfast_records::block as wire;
use holdfast_records::message::{MAX_BATCH, MAX_BATCH_RECORDS};
use holdfast_records::{
    Batch, GapReason, Layout, Order, Range, RangeSet, Record, Ship, StreamName, StreamPolicy,
};

use super::super::Ready;
use super::super::block::Head;
use super::super::file::FileError;
use super::Worker;

/// Most gaps in one batch: a few hundred bytes.
const MAX_GAPS: usize = 64;
/// Most records that are gathered for one batch; a usual batch holds fewer.
pub(super) const MAX_GATHERED: usize = 8_192;
/// Most tries to make a batch fit; each cuts it.
const MAX_CUTS: usize = 8;
/// Most damaged blocks that are met while one batch is made.
const MAX_ROUNDS: usize = 16;

/// Records that were read, and the sequence numbers they account for.
#[derive(Default)]
pub(super) struct ReadRecords {
    pub(super) records: Vec<Record>,
    /// Sequence numbers that the blocks account for.
    pub(super) covered: RangeSet,
    /// True when everything in the requested range was read.
    whole: bool,
}

impl Worker {
    /// Builds the next batch, of about `bytes` bytes. Damaged blocks that are met become gaps, and
    /// the choice is made again. Records that were requested in full go first, then what is
    /// unshipped, then gaps.
    pub(super) fn batch(&mut self, name: &StreamName, bytes: usize) -> Option<Ready> {
        self.open()?;
        let id = self.ids.get(name).copied()?;
        let policy = self.policy(id);
        for _ in 0..MAX_ROUNDS {
            let stream = self.streams.get(&id)?;
            let open = stream.unshipped();
            let next = match policy.order {
                Order::OldestFirst => open.iter().next(),
                Order::NewestFirst => open.iter().next_back(),
            };
            let wanted = stream.kept().wanted.iter().next();
            let gap = stream.unreported_gaps(1).first().copied();
            let made = match (wanted, next) {
                (Some(range), _) => self.batch_of_wanted(id, range, &policy, bytes),
                (None, Some(range)) if policy.ship == Ship::Never => {
                    self.encode(id, range, Some(GapReason::Withheld), &[], &policy)
                }
                (None, Some(_)) if policy.ship != Ship::Always => {
                    // By rising sequence number whatever the policy's order, for the reducer
                    // compares each record with the one before.
                    let first = open.iter().next()?;
                    match self.batch_of_reduced(id, first, bytes) {
                        None if self.streams.get(&id)?.unshipped() == open => return None,
                        made => made,
                    }
                }
                (None, Some(range)) => self.batch_of_unshipped(id, range, &policy, bytes),
                (None, None) => {
                    let gap = gap?;
                    let range = Range { from: gap.from, to: gap.to };
                    self.encode(id, range, Some(gap.reason), &[], &policy)
                }
            };
            if made.is_some() {
                return made;
            }
        }
        None
    }

    /// Builds a batch of records that were requested in full, as far as they are still there.
    fn batch_of_wanted(
        &mut self,
        id: u32,
        range: Range,
        policy: &StreamPolicy,
        bytes: usize,
    ) -> Option<Ready> {
        let found = self.read_range(id, range, false, bytes)?;
        let run = found.covered.iter().next();
        let gone = match run {
            Some(run) if run.from > range.from => {
                Some(Range { from: range.from, to: run.from - 1 })
            }
            Some(_) => None,
            None => Some(range),
        };
        if let (Some(gone), Some(stream)) = (gone, self.streams.get_mut(&id)) {
            stream.clear_wanted(gone);
            self.mark(id);
        }
        let run = run?;
        let records = found.records.into_iter().filter(|it| (run.from..=run.to).contains(&it.seq));
        self.fit(id, run, records.collect(), GapReason::Thinned, false, policy, bytes)
    }

    fn batch_of_unshipped(
        &mut self,
        id: u32,
        range: Range,
        policy: &StreamPolicy,
        bytes: usize,
    ) -> Option<Ready> {
        let newest = policy.order == Order::NewestFirst;
        let found = self.read_range(id, range, newest, bytes)?;
        let span = found.span(range, newest);
        if !self.record_lost(id, &found, span) {
            return None;
        }
        self.fit(id, span, found.records, GapReason::Thinned, newest, policy, bytes)
    }

    /// Notes as lost what should have been on disk and is missing or damaged. False when there was
    /// something.
    pub(super) fn record_lost(&mut self, id: u32, found: &ReadRecords, span: Range) -> bool {
        let lost = found.covered.missing(span.from, span.to);
        lost.iter().for_each(|lost| self.bad_block(id, lost));
        lost.is_empty()
    }

    /// Builds a batch of the span and cuts it until it fits. `why` is the reason for the numbers of
    /// the span that none of the records has.
    #[allow(clippy::too_many_arguments, reason = "one step of two callers next to it")]
    pub(super) fn fit(
        &self,
        id: u32,
        mut span: Range,
        mut records: Vec<Record>,
        why: GapReason,
        newest: bool,
        policy: &StreamPolicy,
        bytes: usize,
    ) -> Option<Ready> {
        for _ in 0..MAX_CUTS {
            let holes = span.len() > u64::try_from(records.len()).unwrap_or(u64::MAX);
            let ready = self.encode(id, span, holes.then_some(why), &records, policy)?;
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

    pub(super) fn read_range(
        &mut self,
        id: u32,
        range: Range,
        newest: bool,
        bytes: usize,
    ) -> Option<ReadRecords> {
        self.try_read_range(id, range, newest, bytes).map_err(|error| self.read_failed(&error)).ok()
    }

    /// Reads records of a range, block by block, until they take about `bytes` bytes on disk.
    fn try_read_range(
        &self,
        id: u32,
        range: Range,
        newest: bool,
        bytes: usize,
    ) -> Result<ReadRecords, FileError> {
        let mut found = ReadRecords { whole: true, ..ReadRecords::default() };
        let (Some(stream), Some(file)) = (self.streams.get(&id), &self.file) else {
            return Err(FileError::Other("the buffer is not open".into()));
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
                    found.whole = false;
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
            // A damaged block stays uncovered, and becomes a gap.
            let Some(all) = file.records(id, &head)? else { continue };
            let (from, to) = (head.block.first.max(range.from), head.block.last.min(range.to));
            found.covered.insert(from, to);
            found.records.extend(all.into_iter().filter(|it| (from..=to).contains(&it.seq)));
        }
        Ok(found)
    }

    /// Encodes a batch, with gaps that were not reported yet.
    fn encode(
        &self,
        id: u32,
        range: Range,
        rest: Option<GapReason>,
        records: &[Record],
        policy: &StreamPolicy,
    ) -> Option<Ready> {
        let stream = self.streams.get(&id)?;
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
