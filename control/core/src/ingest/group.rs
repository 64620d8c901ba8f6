//! Group of batches that become durable together: streams that it opens, what each batch adds, and
//! the one change of the store that comes of it. A batch sees what earlier batches of its group
//! have added.
//!
//! See decisions 0058, 0059 and 0080.
//! See decision 0153.

use std::collections::BTreeMap;

use holdfast_control_rows::{DataBatch, Head, Segment, StreamRow};
use holdfast_records::{Acked, Range, RangeSet, Record, StreamName};

use super::{BatchFault, Checked, Compared, MAX_STREAMS, Tally};
use super::{conflicts, count_stored, doubtful, pieces, repeated, take, touched};
use crate::ledger::{LoadedLedger, MAX_SEQUENCE};
use crate::streams::{Key, Known, Machine, key_of};

/// Maximum number of batches in a group. It bounds how long the first of them waits for the others.
pub const GROUP: usize = 256;

/// Size in bytes after which a group takes no further batch.
pub const GROUP_BYTES: usize = 8 * 1024 * 1024;

/// Numbers of records and batches of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that are new.
    pub records: u64,
    /// Records that were received before, or conflict.
    pub repeated: u64,
}

/// Stream that a group changes: its row, the loaded part of its ledger, and its new records.
#[derive(Debug, Clone)]
pub struct OpenStream {
    /// Row of the stream, as the group has changed it.
    pub row: StreamRow,
    ledger: LoadedLedger,
    records: Vec<Record>,
}

impl OpenStream {
    fn of(row: StreamRow) -> Self {
        Self { row, ledger: LoadedLedger::new(), records: Vec::new() }
    }

    /// Returns the next range of the ledger that must be loaded before the batch is put. None: all
    /// is.
    pub fn wanted(&self, batch: &Checked) -> Option<Range> {
        let touched = touched(&self.row.tally, batch);
        touched.iter().find_map(|range| self.ledger.wanted(range.from, range.to).iter().next())
    }

    /// Adds the stored segments that touch a range of [`OpenStream::wanted`].
    pub fn load(&mut self, range: Range, segments: Vec<Segment>) {
        self.ledger.load(range, segments);
    }

    /// Returns the numbers of which the caller finds out whether a block holds them, see
    /// [`doubtful`].
    pub fn doubtful(&self, batch: &Checked) -> RangeSet {
        doubtful(&self.ledger, batch)
    }

    /// Returns the numbers whose records the caller compares with the stored ones, see
    /// [`repeated`].
    pub fn repeated(&self, batch: &Checked, held: &RangeSet) -> RangeSet {
        repeated(&self.ledger, batch, held)
    }
}

/// Changes of a group of batches, before they are committed.
#[derive(Debug)]
pub struct Group {
    /// Time of the group, in seconds since 1970.
    now: u64,
    /// True if somebody reads new records along.
    is_read_along: bool,
    /// Highest id of a stream that is in the store.
    known_id: u64,
    last_id: u64,
    open: BTreeMap<Key, OpenStream>,
    batch: DataBatch,
    counts: Counts,
}

/// Outcome of a group: what is committed, and what is known once that is durable.
#[derive(Debug)]
pub struct Finished {
    /// Change of the store; it may be empty.
    pub batch: DataBatch,
    /// Numbers of records.
    pub counts: Counts,
    last_id: u64,
    rows: Vec<StreamRow>,
    /// New records by stream, for those who read along.
    pub records: Vec<(Key, Vec<Record>)>,
}

impl Finished {
    /// Notes the streams of a group that is durable.
    pub fn note(&mut self, known: &mut Known) {
        known.last_id = known.last_id.max(self.last_id);
        self.rows.drain(..).for_each(|row| known.insert(row));
    }
}

impl Group {
    /// Begins a group. `now` is in seconds since 1970.
    pub fn new(known: &Known, now: u64, is_read_along: bool) -> Self {
        Self {
            now,
            is_read_along,
            known_id: known.last_id,
            last_id: known.last_id,
            open: BTreeMap::new(),
            batch: DataBatch::default(),
            counts: Counts::default(),
        }
    }

    /// Opens a known stream, or a new one. It is given back with [`Group::close`].
    ///
    /// # Errors
    /// [`BatchFault::Streams`] when the machine gets no further stream.
    pub fn open(
        &mut self,
        known: &Known,
        machine: &Machine,
        stream: &StreamName,
    ) -> Result<OpenStream, BatchFault> {
        if let Some(open) = self.open.remove(&(machine.clone(), stream.clone())) {
            return Ok(open);
        }
        if let Some(row) = known.stream(machine, stream) {
            return Ok(OpenStream::of(row.clone()));
        }
        let new =
            |((of, _), open): &(&Key, &OpenStream)| of == machine && open.row.id > self.known_id;
        if known.count(machine) + self.open.iter().filter(new).count() >= MAX_STREAMS {
            return Err(BatchFault::Streams(MAX_STREAMS));
        }
        self.last_id += 1;
        Ok(OpenStream::of(StreamRow {
            id: self.last_id,
            tenant: machine.0.tenant.clone(),
            device: machine.0.device.clone(),
            owner: machine.1,
            stream: stream.clone(),
            gone: false,
            tally: Tally::default(),
        }))
    }

    /// Gives a stream back to the group.
    pub fn close(&mut self, open: OpenStream) {
        self.open.insert(key_of(&open.row), open);
    }

    /// Returns the blocks that the group has added so far, by stream. None is in the store yet.
    pub fn pending(&self) -> &[(u64, Head, Vec<u8>)] {
        &self.batch.blocks
    }

    /// Adds a batch to an open stream, of which all that is [`OpenStream::wanted`] must be loaded:
    /// sorts out repeated and conflicting records, and stores the rest. Returns the numbers that
    /// conflict.
    ///
    /// Example: sequence numbers 10 to 20 arrive and 10 to 15 are in the ledger. If the stored
    /// blocks hold equal records, 16 to 20 are stored. If they hold other records, 10 to 15 are
    /// reported as a conflict and the device numbers them anew.
    ///
    /// # Errors
    /// A [`BatchFault`] when the batch can never be stored; then nothing of it is added.
    pub fn put(
        &mut self,
        open: &mut OpenStream,
        batch: Checked,
        held: &RangeSet,
        compared: &Compared,
    ) -> Result<RangeSet, BatchFault> {
        let came = batch.records.len() as u64;
        let repeated = open.repeated(&batch, held);
        let conflict = conflicts(&open.ledger, &batch, &repeated, compared);
        let taken = take(&mut open.ledger, &mut open.row.tally, &batch, held, &conflict)?;
        let (pieces, records) = pieces(batch, &taken.fresh);
        count_stored(&mut open.row.tally, &pieces, &records, self.now);
        self.counts.records += records.len() as u64;
        self.counts.repeated += came.saturating_sub(records.len() as u64);
        for piece in pieces {
            let head = Head::of(&piece, self.now);
            self.batch.blocks.push((open.row.id, head, piece.block));
        }
        if self.is_read_along {
            open.records.extend(records);
        }
        Ok(conflict)
    }

    /// Ends the group.
    pub fn finish(mut self) -> Finished {
        // A stream that was opened only for a refused batch is not created.
        self.open.retain(|_, open| open.row.tally != Tally::default());
        let mut rows = Vec::with_capacity(self.open.len());
        let mut records = Vec::new();
        for (key, open) in self.open {
            self.batch.streams.push(open.row.clone());
            let changed = open.ledger.rows();
            if !changed.is_empty() {
                self.batch.segments.push((open.row.id, changed));
            }
            rows.push(open.row);
            if !open.records.is_empty() {
                records.push((key, open.records));
            }
        }
        let Self { batch, counts, last_id, .. } = self;
        Finished { batch, counts, last_id, rows, records }
    }
}

/// Makes an acknowledgement of a range that was stored.
pub fn acked(stream: StreamName, from: u64, to: u64) -> Acked {
    Acked { stream, from, to, refused: None, conflict: Vec::new(), highest: 0 }
}

/// Returns the range in whose segments the highest number of a stream may stand. None: it is the
/// highest received one.
pub fn above(tally: &Tally) -> Option<Range> {
    let from = tally.highest.saturating_add(1);
    (tally.gaps_above > 0).then_some(Range { from, to: MAX_SEQUENCE })
}

/// Returns the highest number of a stream whose fate is known (received or reported missing), from
/// the segments of the range that [`above`] returned.
pub fn highest(tally: &Tally, above: &[Segment]) -> u64 {
    above.last().map_or(tally.highest, |last| last.to.max(tally.highest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_records::Format;

    fn machine(owner: u64) -> Machine {
        ("default_d".parse().unwrap(), owner)
    }

    fn batch(numbers: &[u64], value: &[u8]) -> Checked {
        let record =
            |seq: &u64| Record { seq: *seq, time: 5, format: Format::Plain, value: value.to_vec() };
        let records: Vec<Record> = numbers.iter().map(record).collect();
        Checked {
            stream: "s".parse().unwrap(),
            from: numbers[0],
            to: *numbers.last().unwrap(),
            rest: None,
            gaps: Vec::new(),
            fetched: false,
            doubt: false,
            block: holdfast_records::block::pack(&records, holdfast_records::Layout::Rows, true),
            records,
        }
    }

    fn put(
        group: &mut Group,
        known: &Known,
        owner: u64,
        batch: Checked,
    ) -> Result<RangeSet, BatchFault> {
        let mut open = group.open(known, &machine(owner), &batch.stream)?;
        while let Some(range) = open.wanted(&batch) {
            open.load(range, Vec::new());
        }
        let repeated = open.repeated(&batch, &RangeSet::new());
        let mut compared = Compared::default();
        for (_, _, block) in group.pending().iter().filter(|(id, ..)| *id == open.row.id) {
            for stored in holdfast_records::block::unpack(block).unwrap() {
                if repeated.contains(stored.seq) {
                    compared.add(&batch, &stored);
                }
            }
        }
        let put = group.put(&mut open, batch, &RangeSet::new(), &compared);
        group.close(open);
        put
    }

    #[test]
    fn a_batch_sees_what_its_group_has_added() {
        let known = Known::default();
        let mut group = Group::new(&known, 9, true);
        assert!(put(&mut group, &known, 1, batch(&[1, 2, 3], b"a")).unwrap().is_empty());
        assert!(put(&mut group, &known, 1, batch(&[3, 4], b"a")).unwrap().is_empty());
        let conflict = put(&mut group, &known, 1, batch(&[4], b"other")).unwrap();
        assert_eq!(conflict.iter().collect::<Vec<_>>(), [Range { from: 4, to: 4 }]);
        // Another machine of the same name has a stream of its own.
        assert!(put(&mut group, &known, 2, batch(&[4], b"other")).unwrap().is_empty());
        let mut finished = group.finish();
        assert_eq!(finished.counts, Counts { records: 5, repeated: 2 });
        let firsts: Vec<_> =
            finished.batch.blocks.iter().map(|(id, head, _)| (*id, head.first)).collect();
        assert_eq!(firsts, [(1, 1), (1, 4), (2, 4)]);
        let received: Vec<_> =
            finished.batch.streams.iter().map(|row| (row.id, row.tally.received)).collect();
        assert_eq!(received, [(1, 4), (2, 1)]);
        assert_eq!(finished.batch.segments.len(), 2);
        let along: Vec<_> = finished.records.iter().map(|(_, all)| all.len()).collect();
        assert_eq!(along, [4, 1]);
        let mut known = known;
        finished.note(&mut known);
        assert_eq!((known.last_id, known.count(&machine(1))), (2, 1));
    }

    #[test]
    fn a_refused_batch_makes_no_stream_and_streams_are_bounded() {
        let known = Known::default();
        let mut group = Group::new(&known, 9, false);
        let unexplained = Checked { to: 9, ..batch(&[1], b"a") };
        put(&mut group, &known, 1, unexplained).unwrap_err();
        assert!(group.finish().batch.is_empty());
        let mut known = Known::default();
        for number in 2..=MAX_STREAMS as u64 {
            let stream = format!("s{number}");
            known
                .insert(StreamRow { owner: 1, ..crate::streams::tests::row(number, "d", &stream) });
        }
        known.last_id = 5_000;
        let mut group = Group::new(&known, 9, false);
        put(&mut group, &known, 1, batch(&[1], b"a")).unwrap();
        let other = Checked { stream: "other".parse().unwrap(), ..batch(&[1], b"a") };
        put(&mut group, &known, 1, other.clone()).unwrap_err();
        put(&mut group, &known, 2, other).unwrap();
        put(&mut group, &known, 1, batch(&[2], b"a")).unwrap();
    }

    #[test]
    fn the_highest_number_may_stand_in_a_gap() {
        let plain = Tally { highest: 9, ..Tally::default() };
        assert_eq!((above(&plain), highest(&plain, &[])), (None, 9));
        let ahead = Tally { gaps_above: 3, ..plain };
        let range = above(&ahead).unwrap();
        assert_eq!(range.from, 10);
        let answer = holdfast_control_rows::Answer::Gap(holdfast_records::GapReason::Quota);
        assert_eq!(highest(&ahead, &[Segment { from: 10, to: 12, answer }]), 12);
    }
}
