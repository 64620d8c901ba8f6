//! Control plane of the data world: its real core of ingest over rows in memory, of which only
//! committed ones survive.

use std::collections::BTreeMap;

use holdfast_base::WIRE_VERSION;
use holdfast_control::core::ingest::{self, BatchFault, Checked, Compared, Tally, Unfit};
use holdfast_control::core::ledger::{Answer, LoadedLedger, MissingList, Segment};
use holdfast_records::block::unpack;
use holdfast_records::{Acked, Acknowledgement, RangeSet, Record, StreamName};

/// Row of a stream, as the store has it.
#[derive(Debug, Clone, Default)]
struct Row {
    segments: BTreeMap<u64, (u64, Answer)>,
    tally: Tally,
    records: BTreeMap<u64, Record>,
}

/// Control plane that stores batches in groups.
#[derive(Debug, Default)]
pub(super) struct Plane {
    /// Number of the present store.
    pub(super) store: u64,
    /// Committed rows.
    durable: BTreeMap<StreamName, Row>,
    /// Batches that arrived and are not committed yet.
    waiting: Vec<Vec<u8>>,
    /// Reasons for refused batches: there should be none.
    pub(super) refused: Vec<String>,
    /// Count of sequence numbers that stood for other records.
    pub(super) conflicts: u64,
}

fn acked_of(stream: StreamName, from: u64, to: u64) -> Acked {
    Acked { stream, from, to, refused: None, conflict: Vec::new(), highest: 0 }
}

impl Plane {
    /// Takes a batch that arrived.
    pub(super) fn receive(&mut self, payload: Vec<u8>) {
        self.waiting.push(payload);
    }

    /// Kills the process: uncommitted batches are gone.
    pub(super) fn crash(&mut self) {
        self.waiting.clear();
    }

    /// Loses the machine: another one begins with an empty disk.
    pub(super) fn lose(&mut self) {
        self.waiting.clear();
        self.durable.clear();
        self.store += 1;
    }

    /// Returns true if batches wait to be committed.
    pub(super) fn is_busy(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Commits the waiting batches and returns the acknowledgement to send afterwards.
    pub(super) fn commit(&mut self) -> Acknowledgement {
        let mut acked = Vec::new();
        for payload in std::mem::take(&mut self.waiting) {
            let batch = match ingest::check(&payload) {
                Ok(batch) => batch,
                Err(Unfit::Malformed(error)) => {
                    self.refused.push(error.to_string());
                    continue;
                }
                Err(Unfit::Batch { stream, from, to, why }) => {
                    self.refused.push(why.to_string());
                    let refused = Some(why.to_string());
                    acked.push(Acked { refused, ..acked_of(stream, from, to) });
                    continue;
                }
            };
            let (stream, from, to) = (batch.stream.clone(), batch.from, batch.to);
            let row = self.durable.entry(stream.clone()).or_default();
            let (refused, conflict) = match row.take(batch).map_err(|why| why.to_string()) {
                Ok(conflict) => (None, conflict),
                Err(why) => (Some(why), RangeSet::new()),
            };
            self.refused.extend(refused.clone());
            self.conflicts += conflict.count();
            let highest = if conflict.is_empty() { 0 } else { row.highest().max(to) };
            let conflict = conflict.iter().collect();
            acked.push(Acked { refused, conflict, highest, ..acked_of(stream, from, to) });
        }
        Acknowledgement {
            v: WIRE_VERSION,
            acked,
            hold_ms: 0,
            store: None,
            diverged: None,
            more: false,
            given: Vec::new(),
        }
    }

    /// Returns the highest sequence number of each stream, for a device whose history has diverged.
    pub(super) fn given(&self) -> Vec<(StreamName, u64)> {
        self.durable.iter().map(|(name, row)| (name.clone(), row.highest())).collect()
    }

    /// Returns all stored records.
    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.durable.values().flat_map(|row| row.records.values())
    }

    /// Returns the record with this number, if it is stored.
    pub(super) fn record(&self, stream: &StreamName, seq: u64) -> Option<&Record> {
        self.durable.get(stream)?.records.get(&seq)
    }

    /// Returns what the ledger says of a sequence number.
    pub(super) fn answer(&self, stream: &StreamName, seq: u64) -> Option<Answer> {
        let (_, (to, answer)) = self.durable.get(stream)?.segments.range(..=seq).next_back()?;
        (*to >= seq).then_some(*answer)
    }

    /// Asserts that the ledger agrees with itself and with the stored records.
    pub(super) fn consistent(&self) {
        for (name, row) in &self.durable {
            let (mut received, mut gaps) = (0, BTreeMap::new());
            for (from, (to, answer)) in &row.segments {
                match answer {
                    Answer::Received => received += to - from + 1,
                    Answer::Gap(reason) => *gaps.entry(*reason).or_insert(0) += to - from + 1,
                    Answer::Summed => panic!("{name}: nothing is summed up in so small a world"),
                }
            }
            assert_eq!(row.tally.received, received, "{name}: received");
            assert_eq!(row.tally.gaps, gaps, "{name}: gaps");
            assert_eq!(row.records.len() as u64, received, "{name}: what is stored");
            let highest = row.records.last_key_value().map_or(0, |(seq, _)| *seq);
            assert_eq!(row.tally.highest, highest, "{name}: the highest");
            assert_eq!(row.tally.segments, row.segments.len() as u64, "{name}: segments");
            for seq in row.records.keys() {
                assert_eq!(self.answer(name, *seq), Some(Answer::Received), "{name} {seq}");
            }
            let (mut missing, mut list) = (Vec::new(), MissingList::new(1, highest));
            for (from, (to, answer)) in &row.segments {
                list.add(Segment { from: *from, to: *to, answer: *answer }, &mut missing);
            }
            list.end(&mut missing);
            let listed: u64 = missing.iter().map(|it| it.to - it.from + 1).sum();
            assert_eq!(listed, row.tally.missing(), "{name}: what is missing");
        }
    }

    /// Returns the count of sequence numbers below the highest that the ledger does not account
    /// for.
    pub(super) fn unknown(&self) -> u64 {
        self.durable.values().map(|row| row.tally.unknown()).sum()
    }

    /// Returns the number of records that came more than once.
    pub(super) fn duplicates(&self) -> u64 {
        self.durable.values().map(|row| row.tally.duplicates).sum()
    }
}

impl Row {
    /// Returns the highest sequence number in the ledger.
    fn highest(&self) -> u64 {
        self.segments.last_key_value().map_or(0, |(_, (to, _))| *to)
    }

    /// Stores a batch and returns the sequence numbers that stand for other records.
    fn take(&mut self, batch: Checked) -> Result<RangeSet, BatchFault> {
        let mut ledger = LoadedLedger::new();
        for range in ingest::touched(&self.tally, &batch).iter() {
            for wanted in ledger.wanted(range.from, range.to).iter() {
                let touching = self.segments.iter().filter_map(|(from, (to, answer))| {
                    let within = *from <= wanted.to && *to >= wanted.from;
                    within.then_some(Segment { from: *from, to: *to, answer: *answer })
                });
                ledger.load(wanted, touching.collect::<Vec<_>>());
            }
        }
        let none = RangeSet::new();
        let repeated = ingest::repeated(&ledger, &batch, &none);
        let mut compared = Compared::default();
        let numbers = repeated.iter().flat_map(|range| range.from..=range.to);
        for stored in numbers.filter_map(|seq| self.records.get(&seq)) {
            compared.add(&batch, stored);
        }
        let conflict = ingest::conflicts(&ledger, &batch, &repeated, &compared);
        let taken = ingest::take(&mut ledger, &mut self.tally, &batch, &none, &conflict)?;
        for (from, row) in ledger.rows() {
            match row {
                Some(row) => drop(self.segments.insert(from, row)),
                None => drop(self.segments.remove(&from)),
            }
        }
        let (pieces, records) = ingest::pieces(batch, &taken.fresh);
        ingest::count_stored(&mut self.tally, &pieces, &records, 9);
        for record in pieces.iter().flat_map(|piece| unpack(&piece.block).unwrap()) {
            let twice = self.records.insert(record.seq, record);
            assert!(twice.is_none(), "stored twice: {twice:?}");
        }
        Ok(conflict)
    }
}
