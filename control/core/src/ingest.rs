//! What becomes of a batch: which of its records are new, and what the stream's ledger says
//! afterwards. Each record counts once by device, stream and number, whatever is repeated,
//! reordered or overlapping; what a batch says of numbers that were received takes nothing back.

use std::collections::BTreeMap;

use holdfast_base::codec;
use holdfast_records::block::{MAX_RECORD, pack, unpack};
use holdfast_records::message::{MAX_BATCH, MAX_BATCH_GAPS, MAX_BATCH_RECORDS};
use holdfast_records::{
    Batch, Format, Gap, GapReason, Layout, Range, RangeSet, Record, StreamName,
};
use serde::{Deserialize, Serialize};

use super::ledger::{Answer, MAX_SEQUENCE, Stretch, is_by_policy};

/// Most streams of a device: what its agent has at most.
pub const MAX_STREAMS: usize = 1_000;

/// Segments of one ledger from which on the oldest are summed up: about ten megabytes on disk.
pub const SUM_UP_AT: u64 = 250_000;

/// Segments of one ledger beyond which no batch is taken that adds to them, until they are summed
/// up: a device cannot fill the disk by numbers that it leaves out.
pub const MAX_SEGMENTS: u64 = 300_000;

/// Longest value that is kept as a stream's latest, beside its records: it is in memory.
pub const MAX_LATEST: usize = 1_024;

/// What a stream keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Seconds after a record came; absent: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<u64>,
    /// Bytes of blocks; absent: as many as there is room for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// What is known of a stream beside its ledger and its records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Records received, each counted once.
    pub received: u64,
    /// Records that came again.
    pub duplicates: u64,
    /// Records that came with the number of another one, and are to come again with one of their
    /// own: the device was copied, or put back to an earlier state.
    #[serde(default)]
    pub conflicts: u64,
    /// Records that came after one with a higher number.
    pub late: u64,
    /// The highest number received; 0: none.
    pub highest: u64,
    /// Numbers that stand in gaps, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gaps: BTreeMap<GapReason, u64>,
    /// Of those: above `highest`.
    #[serde(default)]
    pub gaps_above: u64,
    /// Segments of the ledger.
    pub segments: u64,
    /// Below this number the ledger is summed up; 0: nowhere.
    #[serde(default)]
    pub summed_below: u64,
    /// Of `gaps`: numbers that are summed up, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub summed: BTreeMap<GapReason, u64>,
    /// Records that are in the store.
    pub kept: u64,
    /// Bytes of the blocks that are in the store.
    pub bytes: u64,
    /// Numbers that the widest of those blocks spans.
    #[serde(default)]
    pub span: u64,
    /// Not later than the oldest block that is in the store was stored, in seconds since 1970.
    #[serde(default)]
    pub oldest_stored: u64,
    /// When the last record came, in seconds since 1970.
    pub last_stored: u64,
    /// The record with the highest number, its value if that is short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<Latest>,
}

/// The newest record of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latest {
    /// Its number.
    pub seq: u64,
    /// When the agent took it in, in milliseconds since 1970.
    pub time: u64,
    /// It is CBOR.
    pub cbor: bool,
    /// None: it is longer than [`MAX_LATEST`].
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Option::is_none")]
    pub value: Option<Vec<u8>>,
}

impl Latest {
    /// The record, if its value is known.
    pub fn record(&self) -> Option<Record> {
        let format = if self.cbor { Format::Cbor } else { Format::Plain };
        let value = self.value.clone()?;
        Some(Record { seq: self.seq, time: self.time, format, value })
    }
}

impl Tally {
    /// Numbers below the highest that have no answer.
    pub fn unknown(&self) -> u64 {
        let gaps: u64 = self.gaps.values().sum();
        let answered = self.received.saturating_add(gaps.saturating_sub(self.gaps_above));
        self.highest.saturating_sub(answered)
    }

    /// Numbers that did not come: in a gap, or without an answer below the highest.
    pub fn missing(&self) -> u64 {
        self.gaps.values().fold(self.unknown(), |sum, count| sum.saturating_add(*count))
    }

    /// Of [`Tally::missing`] those that a policy left on the device.
    pub fn by_policy(&self) -> u64 {
        let asked = self.gaps.iter().filter(|(reason, _)| is_by_policy(**reason));
        asked.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Of [`Tally::missing`] all others: what people call missing.
    pub fn lost(&self) -> u64 {
        self.missing().saturating_sub(self.by_policy())
    }
}

/// A batch of which all is as it should be, unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Which stream.
    pub stream: StreamName,
    /// See [`Batch::from`].
    pub from: u64,
    /// See [`Batch::to`].
    pub to: u64,
    /// See [`Batch::rest`].
    pub rest: Option<GapReason>,
    /// See [`Batch::gaps`].
    pub gaps: Vec<Gap>,
    /// See [`Batch::fetched`].
    pub fetched: bool,
    /// See [`Batch::doubt`].
    pub doubt: bool,
    /// Its records, by number.
    pub records: Vec<Record>,
    /// As they came.
    pub block: Vec<u8>,
}

/// Why a payload is no batch that can ever be stored.
#[derive(Debug)]
pub enum Unfit {
    /// It does not even say which batch it would be.
    Malformed(codec::CodecError),
    /// It does, and this is wrong with it.
    Batch {
        /// Its stream.
        stream: StreamName,
        /// Its first number.
        from: u64,
        /// Its last.
        to: u64,
        /// What is wrong, in words.
        why: String,
    },
}

/// Reads and checks what a device published on `data`.
///
/// # Errors
/// [`Unfit`], whatever the bytes are.
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

fn whole(batch: &Batch, size: usize) -> Result<Vec<Record>, String> {
    if size > MAX_BATCH {
        return Err(format!("a batch of {size} bytes: at most {MAX_BATCH}"));
    }
    let numbers = |from: u64, to: u64| (1..=to).contains(&from) && to <= MAX_SEQUENCE;
    if !numbers(batch.from, batch.to) {
        return Err(format!(
            "numbers {} to {}: they rise from 1 to {MAX_SEQUENCE} at most",
            batch.from, batch.to
        ));
    }
    if batch.gaps.len() > MAX_BATCH_GAPS {
        return Err(format!("{} gaps: at most {MAX_BATCH_GAPS}", batch.gaps.len()));
    }
    if let Some(gap) = batch.gaps.iter().find(|gap| !numbers(gap.from, gap.to)) {
        return Err(format!("a gap from {} to {}: no such numbers", gap.from, gap.to));
    }
    if batch.block.is_empty() {
        return Ok(Vec::new());
    }
    let records = unpack(&batch.block).map_err(|error| error.to_string())?;
    if records.len() > MAX_BATCH_RECORDS {
        return Err(format!("{} records: at most {MAX_BATCH_RECORDS}", records.len()));
    }
    if records.iter().any(|record| record.value.len() > MAX_RECORD) {
        return Err(format!("a record of more than {MAX_RECORD} bytes"));
    }
    if !records.is_sorted_by(|one, other| one.seq < other.seq) {
        return Err("numbers of records do not rise".into());
    }
    let outside = records.iter().find(|record| !(batch.from..=batch.to).contains(&record.seq));
    match outside {
        Some(record) => {
            Err(format!("record {} is not within {} to {}", record.seq, batch.from, batch.to))
        }
        None => Ok(records),
    }
}

/// What must be in memory of a ledger before this batch is taken.
pub fn touched(tally: &Tally, batch: &Checked) -> RangeSet {
    let mut numbers = RangeSet::new();
    numbers.insert(batch.from, batch.to);
    for gap in &batch.gaps {
        numbers.insert(gap.from, gap.to);
    }
    if tally.gaps_above > 0
        && let Some(last) = batch.records.last()
        && last.seq > tally.highest
    {
        numbers.insert(tally.highest + 1, last.seq);
    }
    numbers
}

/// What a batch that was taken brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// Numbers of the records that are new.
    pub fresh: RangeSet,
}

/// Numbers that one block spans at most. A record is looked for in the blocks that begin within so
/// many numbers before it, for blocks of one stream may interleave.
pub const SPAN: u64 = 65_536;

/// Records as they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Number of the first.
    pub first: u64,
    /// Number of the last.
    pub last: u64,
    /// How many.
    pub count: u64,
    /// The earliest time, in milliseconds since 1970.
    pub min_time: u64,
    /// The latest.
    pub max_time: u64,
    /// A block, see [`holdfast_records::block`].
    pub block: Vec<u8>,
}

/// What is to be stored of a batch of which these numbers are new, and the new records themselves.
/// A block of which all is new is stored as it came.
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

impl Tally {
    /// Counts what goes into the store at `now`, in seconds since 1970.
    pub fn store(&mut self, pieces: &[Piece], records: &[Record], now: u64) {
        if pieces.is_empty() {
            return;
        }
        if self.kept == 0 {
            self.oldest_stored = now;
        }
        self.oldest_stored = self.oldest_stored.min(now);
        self.last_stored = now;
        for piece in pieces {
            self.kept = self.kept.saturating_add(piece.count);
            self.span = self.span.max(piece.last - piece.first + 1);
            let bytes = u64::try_from(piece.block.len()).unwrap_or(u64::MAX);
            self.bytes = self.bytes.saturating_add(bytes);
        }
        let known = self.latest.as_ref().map_or(0, |latest| latest.seq);
        if let Some(last) = records.last().filter(|last| last.seq > known) {
            let short = last.value.len() <= MAX_LATEST;
            self.latest = Some(Latest {
                seq: last.seq,
                time: last.time,
                cbor: last.format == Format::Cbor,
                value: short.then(|| last.value.clone()),
            });
        }
    }
}

/// Numbers of a batch's records of which the ledger does not tell whether they were received: the
/// blocks that are kept do. All that [`touched`] says is loaded in `ledger`.
pub fn doubtful(ledger: &Stretch, batch: &Checked) -> RangeSet {
    ledger.summed_within(&runs(&batch.records))
}

/// Numbers of a batch's records that were received before: what is stored of them tells whether
/// these are the same records. `held`: see [`take`].
pub fn repeated(ledger: &Stretch, batch: &Checked, held: &RangeSet) -> RangeSet {
    if batch.fetched {
        return RangeSet::new();
    }
    let mut repeated = ledger.within(&runs(&batch.records), |answer| answer == Answer::Received);
    repeated.union(held);
    repeated
}

/// What a comparison of repeated records with those that are stored came to. Numbers in neither
/// could not be compared: retention has taken what was stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    /// The same records, byte for byte and with the same time.
    pub same: RangeSet,
    /// Other ones.
    pub other: RangeSet,
}

impl Compared {
    /// Compares with a record that is stored, if the batch has one of its number.
    pub fn add(&mut self, batch: &Checked, stored: &Record) {
        let at = batch.records.binary_search_by_key(&stored.seq, |record| record.seq);
        let Some(record) = at.ok().and_then(|at| batch.records.get(at)) else { return };
        let set = if record == stored { &mut self.same } else { &mut self.other };
        set.insert(stored.seq, stored.seq);
    }
}

/// Ranges of numbers told as conflicts of one batch; of more, all between the first and the last
/// are one.
pub const MAX_CONFLICTS: usize = 256;

/// Numbers of a batch that stand for other records here: they are not taken, and the device gives
/// what it has of them other numbers. Where the batch says that its numbers are in doubt, what
/// cannot be compared is another record, and a loss is another loss: it is told twice rather than
/// not at all.
pub fn conflicts(
    ledger: &Stretch,
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
        // With a record goes what it stands for.
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

/// Takes a batch in. All that [`touched`] says is loaded in `ledger`; `held`: those of the
/// [`doubtful`] numbers whose records are kept; `conflicts`: see [`conflicts`].
///
/// # Errors
/// Why the batch can never be stored, in words; then nothing is changed.
pub fn take(
    ledger: &mut Stretch,
    tally: &mut Tally,
    batch: &Checked,
    held: &RangeSet,
    conflicts: &RangeSet,
) -> Result<Taken, String> {
    let mut runs = runs(&batch.records);
    unanswered(ledger, batch, &runs)?;
    let came = runs.count();
    runs.subtract(conflicts);
    tally.conflicts = tally.conflicts.saturating_add(came - runs.count());
    if tally.segments >= MAX_SEGMENTS && !is_repeated(ledger, batch, &runs, held) {
        return Err(format!(
            "the stream's ledger has {MAX_SEGMENTS} pieces: too many numbers were left out"
        ));
    }
    let before = ledger.growth();
    let fresh = receive(ledger, tally, &runs, held);
    explain(ledger, tally, batch);
    let segments = i64::try_from(tally.segments).unwrap_or(i64::MAX);
    let segments = segments.saturating_add(ledger.growth() - before);
    tally.segments = u64::try_from(segments).unwrap_or(0);
    Ok(Taken { fresh })
}

/// True when the batch says nothing that is not known.
fn is_repeated(ledger: &Stretch, batch: &Checked, runs: &RangeSet, held: &RangeSet) -> bool {
    let mut doubtful = ledger.summed_within(runs);
    doubtful.subtract(held);
    let numbers = batch.gaps.iter().map(|gap| (gap.from, gap.to));
    let mut numbers = numbers.chain([(batch.from, batch.to)]);
    doubtful.is_empty()
        && numbers.all(|(from, to)| ledger.unanswered(from, to).is_empty())
        && runs.iter().all(|run| ledger.gaps_within(run.from, run.to) == 0)
}

/// Numbers that follow each other, as ranges.
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

/// Refuses a batch that says nothing of some of its numbers: to acknowledge it would lose them
/// without a word.
fn unanswered(ledger: &Stretch, batch: &Checked, runs: &RangeSet) -> Result<(), String> {
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
        Some(first) => Err(format!(
            "numbers {} to {} have neither a record nor a reason",
            first.from, first.to
        )),
    }
}

/// The records: what was not received yet is new, also where a gap stood.
fn receive(ledger: &mut Stretch, sums: &mut Tally, runs: &RangeSet, held: &RangeSet) -> RangeSet {
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
                    let new = sums.uncover(&held.missing(range.from, range.to));
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

/// Takes so many off a sum.
fn less(sums: &mut BTreeMap<GapReason, u64>, reason: GapReason, count: u64) {
    let left = sums.get(&reason).map_or(0, |sum| sum.saturating_sub(count));
    if left > 0 {
        sums.insert(reason, left);
    } else {
        sums.remove(&reason);
    }
}

impl Tally {
    /// Records came for these numbers, which are summed up, and no block holds them: they stood in
    /// gaps, as long as there is one among what is summed up. Beyond that they were received, and
    /// retention took them. Gives those that are new.
    fn uncover(&mut self, numbers: &RangeSet) -> RangeSet {
        let mut left = self.summed.values().fold(0, |sum: u64, count| sum.saturating_add(*count));
        let mut new = RangeSet::new();
        for range in numbers.iter() {
            if left == 0 {
                break;
            }
            let to = range.to.min(range.from.saturating_add(left - 1));
            left -= new.insert(range.from, to);
        }
        let mut found = new.count();
        // What devices may still have goes first: nothing else comes late.
        let (fetched, lost): (Vec<_>, Vec<_>) =
            self.summed.clone().into_iter().partition(|(reason, _)| !reason.is_loss());
        for (reason, count) in fetched.into_iter().chain(lost) {
            let part = count.min(found);
            less(&mut self.summed, reason, part);
            less(&mut self.gaps, reason, part);
            found -= part;
        }
        new
    }
}

/// Records of these numbers were in a block that is damaged, and in no other: what of them was
/// received is missing from now on, and gives way when it comes again. `dense`: all of them were in
/// it, also those of which the ledger does not tell whether they were received. Gives how many are
/// missing now. All of the numbers are loaded in `ledger`.
pub fn damage(ledger: &mut Stretch, tally: &mut Tally, numbers: &RangeSet, dense: bool) -> u64 {
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

/// Sums a ledger up, of which the beginning is loaded, as far as it was received.
pub fn sum_up(ledger: &mut Stretch, tally: &mut Tally) {
    for (reason, count) in ledger.sum_up() {
        let sum = tally.summed.entry(reason).or_default();
        *sum = sum.saturating_add(count);
    }
    let segments = i64::try_from(tally.segments).unwrap_or(i64::MAX);
    tally.segments = u64::try_from(segments.saturating_add(ledger.growth())).unwrap_or(0);
}

/// The gaps: numbers that have no answer yet get this one; of several the first stays.
fn explain(ledger: &mut Stretch, sums: &mut Tally, batch: &Checked) {
    let rest = batch.rest.map(|reason| Gap { from: batch.from, to: batch.to, reason });
    // What one gap has gone through, the others of the batch need not: a hostile batch of many wide
    // gaps costs what one does.
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

    /// What a policy left on the device is no loss, in sums and in lists.
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

    /// A stream as its data store has it: rows that are loaded for each batch anew.
    #[derive(Default)]
    struct Stored {
        rows: BTreeMap<u64, (u64, Answer)>,
        tally: Tally,
        records: BTreeMap<u64, Record>,
    }

    impl Stored {
        fn take(&mut self, batch: Checked) -> Result<(), String> {
            self.take_in(batch).map(drop)
        }

        /// Gives the numbers that stand for other records.
        fn take_in(&mut self, batch: Checked) -> Result<RangeSet, String> {
            let mut ledger = Stretch::new();
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
            self.tally.store(&pieces, &records, 9);
            for record in pieces.iter().flat_map(|piece| unpack(&piece.block).unwrap()) {
                assert!(self.records.insert(record.seq, record).is_none(), "stored twice");
            }
            Ok(other)
        }

        /// Sums up all below this number.
        fn sum_up(&mut self, below: u64) {
            let mut ledger = Stretch::new();
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

        /// The rows are in order, do not overlap, and neighbours of one answer are one row.
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

    /// The same batch with other values: of another device, or another history.
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
        // The same again, however it is cut: duplicates.
        assert_eq!(stored.take_in(batch(2, 4, &[2, 3, 4], vec![], None)), Ok(RangeSet::new()));
        assert_eq!((stored.tally.duplicates, stored.tally.conflicts), (3, 0));
        // Others: none of them is stored, and what is new beside them is.
        let mixed = || other(batch(3, 8, &[3, 4, 7, 8], vec![quota(5, 6)], None));
        assert_eq!(stored.take_in(mixed()), Ok(set(3, 4)));
        assert_eq!((stored.tally.duplicates, stored.tally.conflicts), (3, 2));
        assert_eq!(stored.records[&3], record(3));
        assert_eq!(stored.records[&7].value, b"other");
        assert_eq!((stored.tally.received, stored.tally.highest), (6, 8));
        // Sent again because the answer was lost: answered alike, and stored once.
        assert_eq!(stored.take_in(mixed()), Ok(set(3, 4)));
        assert_eq!((stored.tally.received, stored.tally.duplicates), (6, 5));
        // The same value at another time is another record.
        let mut later = batch(1, 1, &[1], vec![], None);
        later.records[0].time += 1;
        assert_eq!(stored.take_in(later), Ok(set(1, 1)));
        // With a record goes what it stands for.
        let reduced = other(batch(1, 4, &[2, 4], vec![], Some(GapReason::Reduced)));
        assert_eq!(stored.take_in(reduced), Ok(set(1, 4)));
        // What was fetched is as it is; a window may stand for it.
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
        // Retention takes what was stored.
        stored.records.remove(&1);
        stored.records.remove(&2);
        assert_eq!(stored.take_in(batch(1, 4, &[1, 2, 3, 4], vec![], None)), Ok(RangeSet::new()));
        assert_eq!(stored.take_in(doubt(batch(1, 4, &[1, 2, 3, 4], vec![], None))), Ok(set(1, 2)));
        // A loss of numbers that were received is one of other records.
        let lost = || batch(1, 4, &[3], vec![quota(1, 2), damaged(4, 4)], None);
        assert_eq!(stored.take_in(lost()), Ok(RangeSet::new()));
        assert_eq!(stored.take_in(doubt(lost())), Ok(set(1, 2)));
        // However many there are, few are told.
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

    /// The same, number by number, as simply as it can be said.
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
                Err(Unfit::Batch { why, .. }) => assert!(why.contains(said), "{said}: {why}"),
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
        // The rest of it, and all of it again: each once.
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
            let mut ledger = Stretch::new();
            let rows = stored.rows.iter();
            ledger.load(
                all(),
                rows.map(|(from, (to, answer))| Segment { from: *from, to: *to, answer: *answer }),
            );
            ledger
        };
        let apply = |stored: &mut Stored, ledger: &Stretch| {
            for (from, row) in ledger.rows() {
                match row {
                    Some(row) => drop(stored.rows.insert(from, row)),
                    None => drop(stored.rows.remove(&from)),
                }
            }
        };
        // A block from 3 to 11: what stood in gaps or is not known stays so.
        let mut ledger = load(&stored);
        let numbers = RangeSet::from_ranges([Range { from: 3, to: 11 }]);
        assert_eq!(damage(&mut ledger, &mut stored.tally, &numbers, false), 4);
        assert_eq!(damage(&mut ledger, &mut stored.tally, &numbers, false), 0, "once");
        apply(&mut stored, &ledger);
        stored.is_sound();
        assert_eq!((stored.tally.received, stored.tally.unknown()), (2, 2));
        assert_eq!(stored.tally.gaps[&GapReason::Damaged], 4);
        assert_eq!(stored.missing().len(), 9, "2 to 9 by turns, and 10 to 11");
        // It comes again.
        stored.records.clear();
        stored.take(batch(5, 5, &[5], vec![], None)).unwrap();
        assert_eq!((stored.tally.received, stored.tally.duplicates), (3, 0));
        assert!(stored.records.contains_key(&5));
        // What is summed up is known to be lost where the block held every number.
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
