//! Takes in batches of data records: which records are new, and what the ledger of the stream says
//! afterwards. Each record counts once by device, stream and sequence number, whatever is repeated,
//! reordered or overlapping. A batch cannot take back that a number was received.
//!
//! See decisions 0056, 0057, 0080 and 0092.

pub mod group;
pub mod pressure;
pub mod repair;

use std::collections::BTreeMap;

use holdfast_base::codec;
use holdfast_records::block::{BlockError, MAX_RECORD, pack, unpack};
use holdfast_records::message::{MAX_BATCH, MAX_BATCH_GAPS, MAX_BATCH_RECORDS};
use holdfast_records::{
    Batch, Format, Gap, GapReason, Layout, Range, RangeSet, Record, StreamName,
};
use serde::{Deserialize, Serialize};

use super::ledger::{Answer, LoadedLedger, MAX_SEQUENCE};
pub use holdfast_control_rows::{Latest, Piece, Tally};

/// Most streams of a device; an agent has no more.
pub const MAX_STREAMS: usize = 1_000;

/// Segments of one ledger from which on the oldest are summed up. They take about 10 MB on disk.
pub const SUM_UP_AT: u64 = 250_000;

/// Segments of one ledger beyond which batches that add to them are refused until older ones are
/// summed up, so that a device cannot fill the disk by leaving out numbers.
pub const MAX_SEGMENTS: u64 = 300_000;

/// Longest value in bytes that is held in memory as the newest record of a stream.
pub const MAX_LATEST: usize = 1_024;

/// Limits on what the store keeps of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Seconds for which a record is kept after its arrival. Absent: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<u64>,
    /// Bytes of blocks that are kept. Absent: as many as there is room for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Unpacked batch that has passed all checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Stream that the records belong to.
    pub stream: StreamName,
    /// First number, see [`Batch::from`].
    pub from: u64,
    /// Last number, see [`Batch::to`].
    pub to: u64,
    /// Reason for numbers that are not mentioned, see [`Batch::rest`].
    pub rest: Option<GapReason>,
    /// Gaps anywhere in the stream, see [`Batch::gaps`].
    pub gaps: Vec<Gap>,
    /// True if the records were requested by a fetch, see [`Batch::fetched`].
    pub fetched: bool,
    /// True if the numbers may stand for other records, see [`Batch::doubt`].
    pub doubt: bool,
    /// Records in the order of their numbers.
    pub records: Vec<Record>,
    /// Packed records as they arrived.
    pub block: Vec<u8>,
}

/// Fault for which a batch can never be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchFault {
    /// Batch of more than [`MAX_BATCH`] bytes, with their number.
    #[error("a batch of {0} bytes: at most {MAX_BATCH}")]
    Bytes(usize),
    /// Range of numbers that does not rise, or leaves the numbers that there are.
    #[error("numbers {from} to {to}: they rise from 1 to {MAX_SEQUENCE} at most")]
    Numbers {
        /// First number of the batch.
        from: u64,
        /// Last number of the batch.
        to: u64,
    },
    /// More gaps than [`MAX_BATCH_GAPS`], with their number.
    #[error("{0} gaps: at most {MAX_BATCH_GAPS}")]
    Gaps(usize),
    /// Gap over numbers that there are not.
    #[error("a gap from {from} to {to}: no such numbers")]
    Gap {
        /// First number of the gap.
        from: u64,
        /// Last number of the gap.
        to: u64,
    },
    /// Block of records that cannot be unpacked.
    #[error(transparent)]
    Block(BlockError),
    /// More records than [`MAX_BATCH_RECORDS`], with their number.
    #[error("{0} records: at most {MAX_BATCH_RECORDS}")]
    Records(usize),
    /// Record larger than [`MAX_RECORD`].
    #[error("a record of more than {MAX_RECORD} bytes")]
    Record,
    /// Records that are not in the order of their numbers.
    #[error("numbers of records do not rise")]
    Order,
    /// Record whose number is not one of the batch's.
    #[error("record {seq} is not within {from} to {to}")]
    Outside {
        /// Number of the record.
        seq: u64,
        /// First number of the batch.
        from: u64,
        /// Last number of the batch.
        to: u64,
    },
    /// Ledger that has as many pieces as it may have.
    #[error("the stream's ledger has {MAX_SEGMENTS} pieces: too many numbers were left out")]
    Pieces,
    /// Numbers that the batch answers for and says nothing about.
    #[error("numbers {from} to {to} have neither a record nor a reason")]
    Unanswered {
        /// First such number.
        from: u64,
        /// Last number of its range.
        to: u64,
    },
    /// New stream of a device that has as many as it may have, with their number.
    #[error("the device has {0} streams already: no more are taken")]
    Streams(usize),
}

/// Reason for which a payload can never be stored.
#[derive(Debug)]
pub enum Unfit {
    /// The payload cannot be decoded, so that not even its stream is known.
    Malformed(codec::CodecError),
    /// The payload is a batch with a fault.
    Batch {
        /// Stream of the faulty batch.
        stream: StreamName,
        /// First number of the faulty batch.
        from: u64,
        /// Last number of the faulty batch.
        to: u64,
        /// Fault of the batch.
        why: BatchFault,
    },
}

/// Decodes, checks and unpacks a payload that a device published on `data`.
///
/// # Errors
/// [`Unfit`]; no bytes cause a panic.
pub fn check(payload: &[u8]) -> Result<Checked, Unfit> {
    let batch: Batch = codec::decode(payload).map_err(Unfit::Malformed)?;
    match whole(&batch, payload.len()) {
        Ok(records) => Ok(Checked {
            stream: batch.stream,
            from: batch.from,
            to: batch.to,
            rest: batch.rest,
            gaps: batch.gaps,
            fetched: batch.fetched,
            doubt: batch.doubt,
            records,
            block: batch.block,
        }),
        Err(why) => Err(Unfit::Batch { stream: batch.stream, from: batch.from, to: batch.to, why }),
    }
}

fn whole(batch: &Batch, size: usize) -> Result<Vec<Record>, BatchFault> {
    if size > MAX_BATCH {
        return Err(BatchFault::Bytes(size));
    }
    let numbers = |from: u64, to: u64| (1..=to).contains(&from) && to <= MAX_SEQUENCE;
    if !numbers(batch.from, batch.to) {
        return Err(BatchFault::Numbers { from: batch.from, to: batch.to });
    }
    if batch.gaps.len() > MAX_BATCH_GAPS {
        return Err(BatchFault::Gaps(batch.gaps.len()));
    }
    if let Some(gap) = batch.gaps.iter().find(|gap| !numbers(gap.from, gap.to)) {
        return Err(BatchFault::Gap { from: gap.from, to: gap.to });
    }
    if batch.block.is_empty() {
        return Ok(Vec::new());
    }
    let records = unpack(&batch.block).map_err(BatchFault::Block)?;
    if records.len() > MAX_BATCH_RECORDS {
        return Err(BatchFault::Records(records.len()));
    }
    if records.iter().any(|record| record.value.len() > MAX_RECORD) {
        return Err(BatchFault::Record);
    }
    if !records.is_sorted_by(|one, other| one.seq < other.seq) {
        return Err(BatchFault::Order);
    }
    let outside = records.iter().find(|record| !(batch.from..=batch.to).contains(&record.seq));
    match outside {
        Some(record) => {
            Err(BatchFault::Outside { seq: record.seq, from: batch.from, to: batch.to })
        }
        None => Ok(records),
    }
}

/// Returns the numbers whose segments of the ledger must be loaded before the batch is taken in.
pub fn touched(tally: &Tally, batch: &Checked) -> RangeSet {
    let mut numbers = RangeSet::new();
    numbers.insert(batch.from, batch.to);
    for gap in &batch.gaps {
        numbers.insert(gap.from, gap.to);
    }
    // Gaps above the highest number so far that the batch passes are no longer above it, and
    // `receive` has to count them.
    if tally.gaps_above > 0
        && let Some(last) = batch.records.last()
        && last.seq > tally.highest
    {
        numbers.insert(tally.highest + 1, last.seq);
    }
    numbers
}

/// Result of a batch that was taken in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// Numbers of the records that are new.
    pub fresh: RangeSet,
}

/// Most numbers that one block spans. Blocks of one stream may interleave, so a record is looked
/// for in all blocks that begin within this many numbers before it.
pub const SPAN: u64 = 65_536;

/// Returns the blocks to be stored of a batch, and its new records. `fresh` holds the numbers that
/// are new. A block that has only new records is stored as it arrived.
pub fn pieces(batch: Checked, fresh: &RangeSet) -> (Vec<Piece>, Vec<Record>) {
    let Checked { mut records, block, .. } = batch;
    let all = records.len();
    records.retain(|record| fresh.contains(record.seq));
    let span = |records: &[Record]| match records {
        [first, .., last] => last.seq - first.seq < SPAN,
        _ => true,
    };
    let mut pieces = Vec::new();
    if records.len() == all && span(&records) {
        pieces.extend(piece(&records, Some(block)));
    } else {
        let mut rest = records.as_slice();
        while let Some(first) = rest.first() {
            let count = rest.partition_point(|record| record.seq - first.seq < SPAN);
            let (some, others) = rest.split_at(count);
            pieces.extend(piece(some, None));
            rest = others;
        }
    }
    (pieces, records)
}

fn piece(records: &[Record], block: Option<Vec<u8>>) -> Option<Piece> {
    let times = || records.iter().map(|record| record.time);
    Some(Piece {
        first: records.first()?.seq,
        last: records.last()?.seq,
        count: u64::try_from(records.len()).unwrap_or(u64::MAX),
        min_time: times().min()?,
        max_time: times().max()?,
        block: block.unwrap_or_else(|| pack(records, Layout::Smallest, true)),
    })
}

/// Adds new blocks and their records to the figures. `now` is in seconds since 1970.
pub fn count_stored(tally: &mut Tally, pieces: &[Piece], records: &[Record], now: u64) {
    if pieces.is_empty() {
        return;
    }
    if tally.kept == 0 {
        tally.oldest_stored = now;
    }
    tally.oldest_stored = tally.oldest_stored.min(now);
    tally.last_stored = now;
    for piece in pieces {
        tally.kept = tally.kept.saturating_add(piece.count);
        tally.span = tally.span.max(piece.last - piece.first + 1);
        let bytes = u64::try_from(piece.block.len()).unwrap_or(u64::MAX);
        tally.bytes = tally.bytes.saturating_add(bytes);
    }
    let known = tally.latest.as_ref().map_or(0, |latest| latest.seq);
    if let Some(last) = records.last().filter(|last| last.seq > known) {
        let short = last.value.len() <= MAX_LATEST;
        tally.latest = Some(Latest {
            seq: last.seq,
            time: last.time,
            cbor: last.format == Format::Cbor,
            value: short.then(|| last.value.clone()),
        });
    }
}

/// Returns the numbers of a batch's records that lie in summed up segments of the ledger, which
/// does not tell whether they were received. The blocks in the store tell it. The segments of
/// [`touched`] must be loaded in `ledger`.
pub fn doubtful(ledger: &LoadedLedger, batch: &Checked) -> RangeSet {
    ledger.summed_within(&runs(&batch.records))
}

/// Returns the numbers of a batch's records that were received before. The caller compares these
/// with the stored records, to find out whether they are the same. `held` is the one of [`take`].
pub fn repeated(ledger: &LoadedLedger, batch: &Checked, held: &RangeSet) -> RangeSet {
    if batch.fetched {
        return RangeSet::new();
    }
    let mut repeated = ledger.within(&runs(&batch.records), |answer| answer == Answer::Received);
    repeated.union(held);
    repeated
}

/// Result of the comparison of repeated records with stored ones. Numbers in neither set could not
/// be compared, because retention has deleted the stored record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    /// Numbers whose records are the same, byte for byte and with the same time.
    pub same: RangeSet,
    /// Numbers whose records differ.
    pub other: RangeSet,
}

impl Compared {
    /// Compares a stored record with the record of the same number in the batch, if there is one.
    pub fn add(&mut self, batch: &Checked, stored: &Record) {
        let at = batch.records.binary_search_by_key(&stored.seq, |record| record.seq);
        let Some(record) = at.ok().and_then(|at| batch.records.get(at)) else { return };
        let set = if record == stored { &mut self.same } else { &mut self.other };
        set.insert(stored.seq, stored.seq);
    }
}

/// Most ranges of conflicting numbers reported of one batch. If there are more, all numbers from
/// the first to the last are reported as one range.
pub const MAX_CONFLICTS: usize = 256;

/// Returns the numbers of a batch that stand for other records in the store. They are refused, and
/// the device gives its records of these numbers new ones. If the batch says that its numbers are
/// in doubt ([`Batch::doubt`]), a repeated record that cannot be compared counts as another record,
/// and so does a number that was lost here and comes, or was received here and is lost on the
/// device: a record is stored twice rather than not at all.
pub fn conflicts(
    ledger: &LoadedLedger,
    batch: &Checked,
    repeated: &RangeSet,
    compared: &Compared,
) -> RangeSet {
    if batch.fetched {
        return RangeSet::new();
    }
    let mut conflicts = compared.other.clone();
    if batch.doubt {
        let mut unknown = repeated.clone();
        unknown.subtract(&compared.same);
        conflicts.union(&unknown);
        let is_lost = |answer: Answer| matches!(answer, Answer::Gap(reason) if reason.is_let_go());
        conflicts.union(&ledger.within(&runs(&batch.records), is_lost));
        let lost = batch.gaps.iter().filter(|gap| gap.reason.is_let_go());
        let lost = RangeSet::from_ranges(lost.map(|gap| Range { from: gap.from, to: gap.to }));
        conflicts.union(&ledger.within(&lost, |answer| answer == Answer::Received));
    }
    if batch.rest == Some(GapReason::Reduced) {
        // A record of a reduced stream stands for the numbers before it as well. If 10 and 20 are
        // in the batch and 20 conflicts, all of 11 to 20 do.
        let mut before = batch.from;
        for record in &batch.records {
            if conflicts.contains(record.seq) {
                conflicts.insert(before, record.seq);
            }
            before = record.seq + 1;
        }
    }
    let first = conflicts.iter().next().map(|range| range.from);
    match (first, conflicts.last()) {
        (Some(from), Some(to)) if conflicts.pieces() > MAX_CONFLICTS => {
            RangeSet::from_ranges([Range { from, to }])
        }
        _ => conflicts,
    }
}

/// Takes a batch into the ledger and the figures. The segments of [`touched`] must be loaded in
/// `ledger`. `held` are the [`doubtful`] numbers whose records are in the store; `conflicts` is the
/// result of [`conflicts`].
///
/// # Errors
/// The reason why the batch can never be stored; then nothing has changed.
pub fn take(
    ledger: &mut LoadedLedger,
    tally: &mut Tally,
    batch: &Checked,
    held: &RangeSet,
    conflicts: &RangeSet,
) -> Result<Taken, BatchFault> {
    let mut runs = runs(&batch.records);
    unanswered(ledger, batch, &runs)?;
    let came = runs.count();
    runs.subtract(conflicts);
    tally.conflicts = tally.conflicts.saturating_add(came - runs.count());
    if tally.segments >= MAX_SEGMENTS && !is_repeated(ledger, batch, &runs, held) {
        return Err(BatchFault::Pieces);
    }
    let before = ledger.growth();
    let fresh = receive(ledger, tally, &runs, held);
    explain(ledger, tally, batch);
    let segments = i64::try_from(tally.segments).unwrap_or(i64::MAX);
    let segments = segments.saturating_add(ledger.growth() - before);
    tally.segments = u64::try_from(segments).unwrap_or(0);
    Ok(Taken { fresh })
}

/// Returns true if the batch adds nothing to the ledger.
fn is_repeated(ledger: &LoadedLedger, batch: &Checked, runs: &RangeSet, held: &RangeSet) -> bool {
    let mut doubtful = ledger.summed_within(runs);
    doubtful.subtract(held);
    let numbers = batch.gaps.iter().map(|gap| (gap.from, gap.to));
    let mut numbers = numbers.chain([(batch.from, batch.to)]);
    doubtful.is_empty()
        && numbers.all(|(from, to)| ledger.unanswered(from, to).is_empty())
        && runs.iter().all(|run| ledger.gaps_within(run.from, run.to) == 0)
}

/// Returns the numbers of records, as ranges.
fn runs(records: &[Record]) -> RangeSet {
    let mut runs: Vec<Range> = Vec::new();
    for record in records {
        match runs.last_mut() {
            Some(last) if last.to + 1 == record.seq => last.to = record.seq,
            _ => runs.push(Range { from: record.seq, to: record.seq }),
        }
    }
    RangeSet::from_ranges(runs)
}

/// Refuses a batch that leaves some of its numbers unexplained. To acknowledge it would lose them
/// without a trace.
fn unanswered(ledger: &LoadedLedger, batch: &Checked, runs: &RangeSet) -> Result<(), BatchFault> {
    if batch.rest.is_some() {
        return Ok(());
    }
    let mut open = ledger.unanswered(batch.from, batch.to);
    open.subtract(runs);
    for gap in &batch.gaps {
        open.remove(gap.from, gap.to);
    }
    match open.iter().next() {
        None => Ok(()),
        Some(first) => Err(BatchFault::Unanswered { from: first.from, to: first.to }),
    }
}

/// Marks the numbers of records as received. Returns those that are new, which includes numbers
/// that stood in gaps.
fn receive(
    ledger: &mut LoadedLedger,
    sums: &mut Tally,
    runs: &RangeSet,
    held: &RangeSet,
) -> RangeSet {
    let before = sums.highest;
    if let Some(last) = runs.last().filter(|last| *last > before) {
        sums.highest = last;
        if sums.gaps_above > 0 {
            let passed = ledger.gaps_within(before + 1, last);
            sums.gaps_above = sums.gaps_above.saturating_sub(passed);
        }
    }
    let mut fresh = RangeSet::new();
    for run in runs.iter() {
        let gives_way = |answer: Answer| answer != Answer::Received;
        for (range, had) in ledger.set(run.from, run.to, Answer::Received, gives_way) {
            match had {
                Some(Answer::Summed) => {
                    let new = uncover(sums, &held.missing(range.from, range.to));
                    fresh.union(&new);
                    continue;
                }
                Some(Answer::Gap(reason)) => less(&mut sums.gaps, reason, range.len()),
                Some(Answer::Received) | None => {}
            }
            fresh.insert(range.from, range.to);
        }
    }
    let count = fresh.count();
    sums.received = sums.received.saturating_add(count);
    sums.duplicates = sums.duplicates.saturating_add(runs.count().saturating_sub(count));
    sums.late = sums.late.saturating_add(fresh.within(0, before).count());
    fresh
}

/// Subtracts from the sum of a reason, and removes it when nothing is left.
fn less(sums: &mut BTreeMap<GapReason, u64>, reason: GapReason, count: u64) {
    let left = sums.get(&reason).map_or(0, |sum| sum.saturating_sub(count));
    if left > 0 {
        sums.insert(reason, left);
    } else {
        sums.remove(&reason);
    }
}

/// Takes out of the summed up gaps those numbers whose records came and that no stored block
/// holds, and returns those that are new. A summed up ledger does not tell which of its numbers
/// were received, only how many stood in gaps. So the first numbers are taken for former gaps
/// while that count lasts; the rest was received before and deleted by retention.
fn uncover(tally: &mut Tally, numbers: &RangeSet) -> RangeSet {
    let mut left = tally.summed.values().fold(0, |sum: u64, count| sum.saturating_add(*count));
    let mut new = RangeSet::new();
    for range in numbers.iter() {
        if left == 0 {
            break;
        }
        let to = range.to.min(range.from.saturating_add(left - 1));
        left -= new.insert(range.from, to);
    }
    let mut found = new.count();
    // Reasons that left records on devices (reduced, withheld) are reduced first, because only
    // such records can still come.
    let (fetched, lost): (Vec<_>, Vec<_>) =
        tally.summed.clone().into_iter().partition(|(reason, _)| !reason.is_loss());
    for (reason, count) in fetched.into_iter().chain(lost) {
        let part = count.min(found);
        less(&mut tally.summed, reason, part);
        less(&mut tally.gaps, reason, part);
        found -= part;
    }
    new
}

/// Marks records as missing that were in a damaged block and in no other. Numbers that had been
/// received become a gap with the reason `damaged`, which a record that comes again replaces.
/// `dense` means that the block held every one of `numbers`, so that also summed up numbers are
/// known to have been received. All of the numbers must be loaded in `ledger`. Returns how many are
/// newly missing.
pub fn damage(
    ledger: &mut LoadedLedger,
    tally: &mut Tally,
    numbers: &RangeSet,
    dense: bool,
) -> u64 {
    let was_there =
        |answer: Answer| answer == Answer::Received || (dense && answer == Answer::Summed);
    let lost = ledger.within(numbers, was_there);
    let before = ledger.growth();
    for range in lost.iter() {
        ledger.set(range.from, range.to, Answer::Gap(GapReason::Damaged), was_there);
    }
    let count = lost.count();
    if count > 0 {
        tally.received = tally.received.saturating_sub(count);
        let sum = tally.gaps.entry(GapReason::Damaged).or_default();
        *sum = sum.saturating_add(count);
    }
    let segments = i64::try_from(tally.segments).unwrap_or(i64::MAX);
    let segments = segments.saturating_add(ledger.growth() - before);
    tally.segments = u64::try_from(segments).unwrap_or(0);
    count
}

/// Sums up all that is loaded of a ledger, which must be its beginning.
pub fn sum_up(ledger: &mut LoadedLedger, tally: &mut Tally) {
    for (reason, count) in ledger.sum_up() {
        let sum = tally.summed.entry(reason).or_default();
        *sum = sum.saturating_add(count);
    }
    let segments = i64::try_from(tally.segments).unwrap_or(i64::MAX);
    tally.segments = u64::try_from(segments.saturating_add(ledger.growth())).unwrap_or(0);
}

/// Marks the numbers of gaps that are neither received nor in a gap yet. Of several gaps for one
/// number the first one stays.
fn explain(ledger: &mut LoadedLedger, sums: &mut Tally, batch: &Checked) {
    let rest = batch.rest.map(|reason| Gap { from: batch.from, to: batch.to, reason });
    // Numbers that one gap of the batch has covered are skipped for the others, so that a hostile
    // batch of many wide gaps costs no more than one of them.
    let mut done = RangeSet::new();
    for gap in batch.gaps.iter().copied().chain(rest) {
        for range in done.missing(gap.from, gap.to).iter() {
            for (range, _) in ledger.set(range.from, range.to, Answer::Gap(gap.reason), |_| false) {
                let count = sums.gaps.entry(gap.reason).or_default();
                *count = count.saturating_add(range.len());
                let above = range.from.max(sums.highest + 1);
                if above <= range.to {
                    sums.gaps_above = sums.gaps_above.saturating_add(range.to - above + 1);
                }
            }
        }
        done.insert(gap.from, gap.to);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::ledger::{Missing, MissingList, Segment};
    use super::*;

    /// A number that a policy left on the device is no loss, in sums and in lists.
    #[test]
    fn what_a_policy_left_on_the_device_is_not_missing() {
        for (reason, asked) in [
            (GapReason::Expired, false),
            (GapReason::Quota, false),
            (GapReason::Thinned, false),
            (GapReason::Reduced, true),
            (GapReason::Withheld, true),
            (GapReason::Damaged, false),
            (GapReason::DiskFull, false),
        ] {
            let tally = Tally { gaps: [(reason, 7)].into(), ..Tally::default() };
            assert_eq!((tally.by_policy(), tally.lost()), if asked { (7, 0) } else { (0, 7) });
            let mut found = Vec::new();
            let segment = Segment { from: 1, to: 7, answer: Answer::Gap(reason) };
            MissingList::new(1, 7).add(segment, &mut found);
            assert_eq!(
                found.iter().map(|it| it.by_policy).collect::<Vec<_>>(),
                [asked],
                "{reason}"
            );
        }
    }

    /// Stream as its data store has it: segments are loaded anew for each batch.
    #[derive(Default)]
    struct Stored {
        rows: BTreeMap<u64, (u64, Answer)>,
        tally: Tally,
        records: BTreeMap<u64, Record>,
    }

    impl Stored {
        fn take(&mut self, batch: Checked) -> Result<(), BatchFault> {
            self.take_in(batch).map(drop)
        }

        /// Returns the numbers that conflict with stored records.
        fn take_in(&mut self, batch: Checked) -> Result<RangeSet, BatchFault> {
            let mut ledger = LoadedLedger::new();
            for range in touched(&self.tally, &batch).iter() {
                for wanted in ledger.wanted(range.from, range.to).iter() {
                    let rows = self.rows.iter().map(|(from, (to, answer))| Segment {
                        from: *from,
                        to: *to,
                        answer: *answer,
                    });
                    let touching: Vec<_> =
                        rows.filter(|row| row.from <= wanted.to && row.to >= wanted.from).collect();
                    ledger.load(wanted, touching);
                }
            }
            let doubtful = doubtful(&ledger, &batch);
            let kept = self.records.keys().map(|seq| Range { from: *seq, to: *seq });
            let kept = RangeSet::from_ranges(kept.filter(|one| doubtful.contains(one.from)));
            let repeated = repeated(&ledger, &batch, &kept);
            let mut compared = Compared::default();
            for stored in self.records.values().filter(|it| repeated.contains(it.seq)) {
                compared.add(&batch, stored);
            }
            let other = conflicts(&ledger, &batch, &repeated, &compared);
            let taken = take(&mut ledger, &mut self.tally, &batch, &kept, &other)?;
            for (from, row) in ledger.rows() {
                match row {
                    Some(row) => drop(self.rows.insert(from, row)),
                    None => drop(self.rows.remove(&from)),
                }
            }
            let (pieces, records) = pieces(batch, &taken.fresh);
            count_stored(&mut self.tally, &pieces, &records, 9);
            for record in pieces.iter().flat_map(|piece| unpack(&piece.block).unwrap()) {
                assert!(self.records.insert(record.seq, record).is_none(), "stored twice");
            }
            Ok(other)
        }

        /// Sums up all segments below a number.
        fn sum_up(&mut self, below: u64) {
            let mut ledger = LoadedLedger::new();
            let rows = self.rows.iter().map(|(from, (to, answer))| Segment {
                from: *from,
                to: *to,
                answer: *answer,
            });
            let rows: Vec<_> = rows.filter(|row| row.to < below).collect();
            ledger.load(Range { from: 0, to: rows.last().map_or(0, |last| last.to) }, rows);
            sum_up(&mut ledger, &mut self.tally);
            for (from, row) in ledger.rows() {
                match row {
                    Some(row) => drop(self.rows.insert(from, row)),
                    None => drop(self.rows.remove(&from)),
                }
            }
        }

        fn missing(&self) -> Vec<Missing> {
            let mut found = Vec::new();
            let mut list = MissingList::new(1, self.tally.highest);
            for (from, (to, answer)) in &self.rows {
                list.add(Segment { from: *from, to: *to, answer: *answer }, &mut found);
            }
            list.end(&mut found);
            found
        }

        /// Checks that rows are in order, do not overlap, and that neighbours of one state are one
        /// row.
        fn is_sound(&self) {
            let rows: Vec<_> = self.rows.iter().collect();
            for (from, (to, _)) in &rows {
                assert!(*from <= to);
            }
            for pair in rows.windows(2) {
                let ((_, (to, one)), (from, (_, other))) = (pair[0], pair[1]);
                assert!(to < from && (to + 1 < *from || one != other), "{pair:?}");
            }
            assert_eq!(self.tally.segments, rows.len() as u64);
        }
    }

    fn record(seq: u64) -> Record {
        Record { seq, time: seq * 10, format: Format::Plain, value: seq.to_string().into() }
    }

    fn batch(
        from: u64,
        to: u64,
        numbers: &[u64],
        gaps: Vec<Gap>,
        rest: Option<GapReason>,
    ) -> Checked {
        let records: Vec<Record> = numbers.iter().map(|seq| record(*seq)).collect();
        let block = pack(&records, Layout::Rows, false);
        Checked {
            stream: "s".parse().unwrap(),
            from,
            to,
            rest,
            gaps,
            fetched: false,
            doubt: false,
            records,
            block,
        }
    }

    /// Returns the same batch with other values, as of another device or another history.
    fn other(mut batch: Checked) -> Checked {
        batch.records.iter_mut().for_each(|record| record.value = b"other".to_vec());
        batch.block = pack(&batch.records, Layout::Rows, false);
        batch
    }

    #[test]
    fn a_repeated_number_with_another_record_is_no_duplicate() {
        let quota = |from, to| Gap { from, to, reason: GapReason::Quota };
        let set = |from, to| RangeSet::from_ranges([Range { from, to }]);
        let mut stored = Stored::default();
        stored.take(batch(1, 6, &[1, 2, 3, 4], vec![quota(5, 6)], None)).unwrap();
        // The same records in other batches are duplicates.
        assert_eq!(stored.take_in(batch(2, 4, &[2, 3, 4], vec![], None)), Ok(RangeSet::new()));
        assert_eq!((stored.tally.duplicates, stored.tally.conflicts), (3, 0));
        // Other records of known numbers are not stored; new ones in the same batch are.
        let mixed = || other(batch(3, 8, &[3, 4, 7, 8], vec![quota(5, 6)], None));
        assert_eq!(stored.take_in(mixed()), Ok(set(3, 4)));
        assert_eq!((stored.tally.duplicates, stored.tally.conflicts), (3, 2));
        assert_eq!(stored.records[&3], record(3));
        assert_eq!(stored.records[&7].value, b"other");
        assert_eq!((stored.tally.received, stored.tally.highest), (6, 8));
        // Redelivered because the acknowledgement was lost: same result, stored once.
        assert_eq!(stored.take_in(mixed()), Ok(set(3, 4)));
        assert_eq!((stored.tally.received, stored.tally.duplicates), (6, 5));
        // The same value at another time is another record.
        let mut later = batch(1, 1, &[1], vec![], None);
        later.records[0].time += 1;
        assert_eq!(stored.take_in(later), Ok(set(1, 1)));
        // The numbers that a conflicting record stands for conflict as well.
        let reduced = other(batch(1, 4, &[2, 4], vec![], Some(GapReason::Reduced)));
        assert_eq!(stored.take_in(reduced), Ok(set(1, 4)));
        // Fetched records never conflict: a `window` record may have the same number.
        let fetched = Checked { fetched: true, ..other(batch(1, 4, &[1, 2, 3, 4], vec![], None)) };
        assert_eq!(stored.take_in(fetched), Ok(RangeSet::new()));
    }

    #[test]
    fn what_is_in_doubt_and_cannot_be_compared_counts_as_another_record() {
        let quota = |from, to| Gap { from, to, reason: GapReason::Quota };
        let damaged = |from, to| Gap { from, to, reason: GapReason::Damaged };
        let set = |from, to| RangeSet::from_ranges([Range { from, to }]);
        let mut stored = Stored::default();
        stored.take(batch(1, 8, &[1, 2, 3, 4], vec![quota(5, 6), damaged(7, 8)], None)).unwrap();
        let doubt = |batch| Checked { doubt: true, ..batch };
        let again = || batch(1, 8, &[1, 2, 3, 4, 5, 6, 7, 8], vec![], None);
        assert_eq!(stored.take_in(doubt(again())), Ok(set(5, 6)), "that loss was another's");
        // Retention has deleted the stored records.
        stored.records.remove(&1);
        stored.records.remove(&2);
        assert_eq!(stored.take_in(batch(1, 4, &[1, 2, 3, 4], vec![], None)), Ok(RangeSet::new()));
        assert_eq!(stored.take_in(doubt(batch(1, 4, &[1, 2, 3, 4], vec![], None))), Ok(set(1, 2)));
        // A loss of numbers that were received here concerns other records.
        let lost = || batch(1, 4, &[3], vec![quota(1, 2), damaged(4, 4)], None);
        assert_eq!(stored.take_in(lost()), Ok(RangeSet::new()));
        assert_eq!(stored.take_in(doubt(lost())), Ok(set(1, 2)));
        // Many conflicts are reported as one range.
        let many: Vec<u64> = (1..=2_000).map(|at| 10 + at * 2).collect();
        stored.take(batch(9, 4_010, &many, vec![], Some(GapReason::Reduced))).unwrap();
        let whole: Vec<u64> = (9..=4_010).collect();
        let all = stored.take_in(other(batch(9, 4_010, &whole, vec![], None))).unwrap();
        assert_eq!(all, set(12, 4_010));
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Known {
        Received,
        Gap(GapReason),
    }

    /// Reference implementation that keeps each number on its own.
    #[derive(Default)]
    struct Naive {
        numbers: BTreeMap<u64, Known>,
        duplicates: u64,
        late: u64,
        highest: u64,
    }

    impl Naive {
        fn received(&self) -> Vec<u64> {
            let received = self.numbers.iter().filter(|(_, known)| **known == Known::Received);
            received.map(|(number, _)| *number).collect()
        }

        fn take(&mut self, batch: &Checked) -> bool {
            let named = |number: u64| {
                batch.records.iter().any(|record| record.seq == number)
                    || batch.gaps.iter().any(|gap| (gap.from..=gap.to).contains(&number))
                    || self.numbers.contains_key(&number)
            };
            if batch.rest.is_none() && !(batch.from..=batch.to).all(named) {
                return false;
            }
            let highest = self.highest;
            for record in &batch.records {
                if self.numbers.insert(record.seq, Known::Received) == Some(Known::Received) {
                    self.duplicates += 1;
                } else if record.seq < highest {
                    self.late += 1;
                }
                self.highest = self.highest.max(record.seq);
            }
            let rest = batch.rest.map(|reason| Gap { from: batch.from, to: batch.to, reason });
            for gap in batch.gaps.iter().chain(&rest) {
                for number in gap.from..=gap.to {
                    self.numbers.entry(number).or_insert(Known::Gap(gap.reason));
                }
            }
            true
        }

        fn missing(&self) -> BTreeMap<u64, &'static str> {
            let gaps = self.numbers.iter().filter_map(|(number, known)| match known {
                Known::Gap(reason) => Some((*number, reason.as_str())),
                Known::Received => None,
            });
            let unknown = (1..=self.highest)
                .filter(|number| !self.numbers.contains_key(number))
                .map(|number| (number, "unknown"));
            gaps.chain(unknown).collect()
        }
    }

    fn reason() -> impl Strategy<Value = GapReason> {
        prop_oneof![
            Just(GapReason::Quota),
            Just(GapReason::Expired),
            Just(GapReason::Reduced),
            Just(GapReason::Damaged),
        ]
    }

    fn batches() -> impl Strategy<Value = Vec<Checked>> {
        let gap = (1u64..80, 0u64..20, reason()).prop_map(|(from, more, reason)| Gap {
            from,
            to: from + more,
            reason,
        });
        let one = (
            1u64..70,
            proptest::collection::vec(prop::bool::weighted(0.7), 1..20),
            proptest::collection::vec(gap, 0..3),
            proptest::option::weighted(0.8, reason()),
        );
        let one = one.prop_map(|(from, mask, gaps, rest)| {
            let to = from + mask.len() as u64 - 1;
            let numbers: Vec<u64> =
                (from..=to).zip(&mask).filter(|(_, there)| **there).map(|(seq, _)| seq).collect();
            batch(from, to, &numbers, gaps, rest)
        });
        proptest::collection::vec(one, 0..25)
    }

    proptest! {
        #[test]
        fn it_comes_to_what_counting_one_by_one_does(batches in batches(), again: u64) {
            let (mut stored, mut naive) = (Stored::default(), Naive::default());
            let repeated = batches.iter().enumerate().filter(|(at, _)| again >> at & 1 == 1);
            let repeated: Vec<_> = repeated.map(|(_, batch)| batch.clone()).collect();
            for batch in batches.into_iter().chain(repeated) {
                let before = (stored.tally.clone(), stored.rows.clone());
                let taken = naive.take(&batch);
                let said = stored.take(batch);
                prop_assert_eq!(said.is_ok(), taken, "{:?}", said);
                if !taken {
                    prop_assert_eq!(&before, &(stored.tally.clone(), stored.rows.clone()));
                }
                stored.is_sound();
                let tally = &stored.tally;
                prop_assert_eq!(
                    (tally.duplicates, tally.late, tally.highest),
                    (naive.duplicates, naive.late, naive.highest)
                );
                let received = naive.received();
                prop_assert_eq!(tally.received, received.len() as u64);
                prop_assert_eq!(tally.kept, tally.received);
                prop_assert_eq!(stored.records.keys().copied().collect::<Vec<_>>(), received);
                let missing = naive.missing();
                prop_assert_eq!(tally.missing(), missing.len() as u64);
                let listed: BTreeMap<u64, &str> = stored.missing().iter()
                    .flat_map(|missing| (missing.from..=missing.to).map(|number| (number, missing.reason)))
                    .collect();
                prop_assert_eq!(listed, missing);
            }
        }

        #[test]
        fn summing_up_in_between_changes_no_sum_and_loses_no_record(
            batches in batches(),
            below in proptest::collection::vec(0u64..90, 25),
        ) {
            let (mut stored, mut naive) = (Stored::default(), Naive::default());
            for (batch, below) in batches.into_iter().zip(below) {
                let taken = naive.take(&batch);
                prop_assert_eq!(stored.take(batch).is_ok(), taken);
                stored.sum_up(below.min(stored.tally.highest + 1));
                let tally = &stored.tally;
                prop_assert_eq!(
                    (tally.duplicates, tally.late, tally.highest),
                    (naive.duplicates, naive.late, naive.highest)
                );
                let received = naive.received();
                prop_assert_eq!(tally.received, received.len() as u64);
                prop_assert_eq!(stored.records.keys().copied().collect::<Vec<_>>(), received);
                prop_assert_eq!(tally.missing(), naive.missing().len() as u64);
                prop_assert_eq!(tally.segments, stored.rows.len() as u64);
            }
        }

        #[test]
        fn no_payload_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _any = check(&bytes);
        }
    }

    fn encoded(from: u64, to: u64, gaps: Vec<Gap>, block: Vec<u8>) -> Vec<u8> {
        let batch = Batch {
            v: holdfast_base::WIRE_VERSION,
            stream: "s".parse().unwrap(),
            from,
            to,
            rest: None,
            gaps,
            fetched: false,
            doubt: false,
            block,
        };
        codec::encode(&batch).unwrap()
    }

    #[test]
    fn hostile_batches_are_refused_with_their_reason() {
        let block = |numbers: &[u64]| {
            let records: Vec<Record> = numbers.iter().map(|seq| record(*seq)).collect();
            pack(&records, Layout::Rows, true)
        };
        let gap = |from, to| vec![Gap { from, to, reason: GapReason::Quota }];
        let many = vec![Gap { from: 1, to: 1, reason: GapReason::Quota }; MAX_BATCH_GAPS + 1];
        for (payload, said) in [
            (encoded(0, 4, vec![], vec![]), "numbers 0 to 4"),
            (encoded(5, 4, vec![], vec![]), "numbers 5 to 4"),
            (encoded(1, u64::MAX, vec![], vec![]), "numbers 1 to 18446744073709551615"),
            (encoded(u64::MAX, u64::MAX, vec![], vec![]), "they rise from 1 to 9007199254740991"),
            (encoded(1, 1, gap(0, 9), block(&[1])), "a gap from 0 to 9"),
            (encoded(1, 1, gap(9, 8), block(&[1])), "a gap from 9 to 8"),
            (encoded(1, 1, gap(1, u64::MAX), block(&[1])), "a gap from 1 to 18446744073709551615"),
            (encoded(1, 1, many, block(&[1])), "257 gaps"),
            (encoded(1, 2, vec![], block(&[1, 2, 3])), "record 3 is not within 1 to 2"),
            (encoded(2, 3, vec![], block(&[1, 2, 3])), "record 1 is not within 2 to 3"),
            (encoded(1, 3, vec![], vec![0xff; 3]), "an unknown kind"),
            (encoded(1, 3, vec![], vec![0; 3]), "a damaged block"),
            (encoded(1, 3, vec![], vec![0; 300_000]), "at most 262144"),
        ] {
            match check(&payload) {
                Err(Unfit::Batch { why, .. }) => {
                    assert!(why.to_string().contains(said), "{said}: {why}")
                }
                other => panic!("{said}: {other:?}"),
            }
        }
        assert!(matches!(check(b"x"), Err(Unfit::Malformed(_))));
    }

    #[test]
    fn the_widest_gaps_are_one_row_each() {
        let mut stored = Stored::default();
        let gap = |from, to, reason| Gap { from, to, reason };
        stored
            .take(batch(5, 5, &[5], vec![gap(1, MAX_SEQUENCE, GapReason::Damaged)], None))
            .unwrap();
        assert_eq!(stored.rows.len(), 3);
        assert_eq!(stored.tally.missing(), MAX_SEQUENCE - 1);
        assert_eq!(stored.tally.unknown(), 0);
        stored.take(batch(MAX_SEQUENCE, MAX_SEQUENCE, &[MAX_SEQUENCE], vec![], None)).unwrap();
        assert_eq!((stored.tally.received, stored.tally.gaps_above), (2, 0));
        stored.is_sound();
    }

    #[test]
    fn a_summed_up_ledger_takes_each_record_once_and_those_of_gaps_after_all() {
        let mut stored = Stored::default();
        for seq in 1..=100 {
            let from = 10 * seq;
            stored.take(batch(from, from + 9, &[from], vec![], Some(GapReason::Reduced))).unwrap();
        }
        stored.take(batch(2_000, 2_000, &[2_000], vec![], None)).unwrap();
        let before = (stored.tally.missing(), stored.tally.unknown());
        stored.sum_up(1_500);
        assert_eq!(stored.rows.len(), 2);
        assert_eq!(stored.tally.summed, [(GapReason::Reduced, 900)].into());
        assert_eq!((stored.tally.missing(), stored.tally.unknown()), before);
        // 10 was received, 11 was reduced and is fetched.
        stored.take(batch(10, 19, &[10, 11], vec![], Some(GapReason::Quota))).unwrap();
        assert_eq!((stored.tally.received, stored.tally.duplicates), (102, 1));
        assert!(stored.records.contains_key(&11), "it is stored");
        assert_eq!((stored.tally.missing(), stored.tally.unknown()), (before.0 - 1, before.1));
        stored.is_sound();
        // The remaining numbers, and then all of them again: each counts once.
        for _ in 0..2 {
            let numbers: Vec<u64> = (10..=1_009).collect();
            stored.take(batch(10, 1_009, &numbers, vec![], None)).unwrap();
            assert_eq!((stored.tally.received, stored.records.len()), (1_001, 1_001));
            assert_eq!((stored.tally.gaps.len(), stored.tally.summed.len()), (0, 0));
        }
        assert_eq!(stored.tally.unknown(), before.1);
        stored.is_sound();
    }

    #[test]
    fn what_retention_took_does_not_come_again_to_a_summed_up_ledger() {
        let mut stored = Stored::default();
        stored.take(batch(1, 3, &[1, 2, 3], vec![], None)).unwrap();
        stored.take(batch(4, 7, &[4, 7], vec![], Some(GapReason::Withheld))).unwrap();
        stored.sum_up(8);
        assert_eq!(stored.rows.len(), 1);
        stored.take(batch(5, 6, &[5, 6], vec![], None)).unwrap();
        stored.records.clear();
        stored.take(batch(1, 7, &[1, 2, 3, 4, 5, 6, 7], vec![], None)).unwrap();
        assert_eq!((stored.tally.received, stored.tally.duplicates), (7, 7));
        assert!(stored.records.is_empty());
        assert_eq!(stored.tally.missing(), 0);
        stored.is_sound();
    }

    #[test]
    fn what_was_in_a_damaged_block_is_missing_until_it_comes_again() {
        let mut stored = Stored::default();
        stored.take(batch(1, 9, &[1, 3, 5, 7, 9], vec![], Some(GapReason::Quota))).unwrap();
        stored.take(batch(12, 12, &[12], vec![], None)).unwrap();
        let all = || Range { from: 0, to: 20 };
        let load = |stored: &Stored| {
            let mut ledger = LoadedLedger::new();
            let rows = stored.rows.iter();
            ledger.load(
                all(),
                rows.map(|(from, (to, answer))| Segment { from: *from, to: *to, answer: *answer }),
            );
            ledger
        };
        let apply = |stored: &mut Stored, ledger: &LoadedLedger| {
            for (from, row) in ledger.rows() {
                match row {
                    Some(row) => drop(stored.rows.insert(from, row)),
                    None => drop(stored.rows.remove(&from)),
                }
            }
        };
        // A damaged block from 3 to 11: gaps and unknown numbers within stay so.
        let mut ledger = load(&stored);
        let numbers = RangeSet::from_ranges([Range { from: 3, to: 11 }]);
        assert_eq!(damage(&mut ledger, &mut stored.tally, &numbers, false), 4);
        assert_eq!(damage(&mut ledger, &mut stored.tally, &numbers, false), 0, "once");
        apply(&mut stored, &ledger);
        stored.is_sound();
        assert_eq!((stored.tally.received, stored.tally.unknown()), (2, 2));
        assert_eq!(stored.tally.gaps[&GapReason::Damaged], 4);
        assert_eq!(stored.missing().len(), 9, "2 to 9 by turns, and 10 to 11");
        // One of the damaged records comes again.
        stored.records.clear();
        stored.take(batch(5, 5, &[5], vec![], None)).unwrap();
        assert_eq!((stored.tally.received, stored.tally.duplicates), (3, 0));
        assert!(stored.records.contains_key(&5));
        // Summed up numbers are known to be lost only if the block held every number.
        stored.sum_up(10);
        let mut ledger = load(&stored);
        let numbers = RangeSet::from_ranges([Range { from: 5, to: 5 }]);
        assert_eq!(damage(&mut ledger, &mut stored.tally, &numbers, false), 0);
        assert_eq!(damage(&mut ledger, &mut stored.tally, &numbers, true), 1);
        assert_eq!((stored.tally.received, stored.tally.unknown()), (2, 2));
    }

    #[test]
    fn what_spans_too_much_is_stored_in_pieces() {
        let checked = batch(1, 3 * SPAN, &[1, SPAN, SPAN + 1, 3 * SPAN], vec![], None);
        let mut fresh = RangeSet::new();
        fresh.insert(1, 3 * SPAN);
        let (found, records) = pieces(checked, &fresh);
        let ends: Vec<_> =
            found.iter().map(|piece| (piece.first, piece.last, piece.count)).collect();
        assert_eq!(ends, [(1, SPAN, 2), (SPAN + 1, SPAN + 1, 1), (3 * SPAN, 3 * SPAN, 1)]);
        assert_eq!(records.len(), 4);
        assert_eq!((found[0].min_time, found[0].max_time), (10, 10 * SPAN));
    }
}
