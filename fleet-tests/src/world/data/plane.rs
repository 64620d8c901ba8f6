//! Control plane of the data world: the service's own taking of batches, on its real core of ingest
//! and a data store in memory, of which only committed changes survive.

use std::collections::BTreeMap;

use holdfast_base::WIRE_VERSION;
use holdfast_control::core::ingest::group::{Group, above, highest};
use holdfast_control::core::ledger::{Answer, MissingList, Segment};
use holdfast_control::core::streams::{Known, Machine};
use holdfast_control::ports::data_store::{DataBatch, DataStore as _, StreamRow};
use holdfast_control::service::{Took, take_batch};
use holdfast_records::block::unpack;
use holdfast_records::{Acknowledgement, Range, Record, StreamName};

use crate::stores::MemoryDataStore;

/// Records by sequence number.
type Records = BTreeMap<u64, Record>;

static NO_RECORDS: Records = BTreeMap::new();

/// Control plane that stores batches in groups.
#[derive(Debug)]
pub(super) struct Plane {
    /// Number of the present store.
    pub(super) store: u64,
    durable: MemoryDataStore,
    /// Streams as the process holds them in memory.
    known: Known,
    /// Committed records, as the test reads them.
    records: BTreeMap<StreamName, Records>,
    /// Batches that arrived and are not committed yet.
    waiting: Vec<Vec<u8>>,
    /// Reasons for refused batches: there should be none.
    pub(super) refused: Vec<String>,
    /// Count of sequence numbers that stood for other records.
    pub(super) conflicts: u64,
}

impl Default for Plane {
    fn default() -> Self {
        Self {
            store: 0,
            durable: MemoryDataStore::new(0),
            known: Known::default(),
            records: BTreeMap::new(),
            waiting: Vec::new(),
            refused: Vec::new(),
            conflicts: 0,
        }
    }
}

/// Machine that all batches of a world are from.
fn machine() -> Machine {
    ("acme_d".parse().unwrap(), 1)
}

impl Plane {
    /// Takes a batch that arrived.
    pub(super) fn receive(&mut self, payload: Vec<u8>) {
        self.waiting.push(payload);
    }

    /// Kills the process: uncommitted batches are gone, and streams are read from the store again.
    pub(super) fn crash(&mut self) {
        self.waiting.clear();
        self.known = Known::read(self.store, self.durable.streams().unwrap(), 0);
    }

    /// Loses the machine: another one begins with an empty disk.
    pub(super) fn lose(&mut self) {
        self.store += 1;
        self.durable = MemoryDataStore::new(self.store);
        self.records.clear();
        self.crash();
    }

    /// Returns true if batches wait to be committed.
    pub(super) fn is_busy(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Commits the waiting batches and returns the acknowledgement to send afterwards.
    pub(super) fn commit(&mut self) -> Acknowledgement {
        let mut acked = Vec::new();
        let mut group = Group::new(&self.known, 9, false);
        for payload in std::mem::take(&mut self.waiting) {
            match take_batch(&self.durable, &self.known, &mut group, &machine(), &payload).unwrap()
            {
                Took::Malformed(error) => self.refused.push(error.to_string()),
                Took::Told(told) => {
                    self.refused.extend(told.refused.clone());
                    self.conflicts += told.conflict.iter().map(Range::len).sum::<u64>();
                    acked.push(told);
                }
            }
        }
        let mut finished = group.finish();
        let batch = std::mem::take(&mut finished.batch);
        self.durable.commit(&batch).unwrap();
        finished.note(&mut self.known);
        self.read(&batch);
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

    /// Reads the records of a committed change. None is stored twice.
    fn read(&mut self, batch: &DataBatch) {
        for (id, _, block) in &batch.blocks {
            let row = self.rows().find(|(_, row)| row.id == *id).map(|(name, _)| name.clone());
            let records = self.records.entry(row.unwrap()).or_default();
            for record in unpack(block).unwrap() {
                let twice = records.insert(record.seq, record);
                assert!(twice.is_none(), "stored twice: {twice:?}");
            }
        }
    }

    fn rows(&self) -> impl Iterator<Item = (&StreamName, &StreamRow)> {
        self.known.machines.values().flatten()
    }

    fn segments(&self, stream: &StreamName) -> Vec<Segment> {
        let Some(row) = self.known.stream(&machine(), stream) else { return Vec::new() };
        let all = Range { from: 0, to: u64::MAX };
        self.durable.segments(row.id, all, usize::MAX).unwrap()
    }

    /// Returns the highest sequence number of each stream, for a device whose history has diverged.
    pub(super) fn given(&self) -> Vec<(StreamName, u64)> {
        let highest = |row: &StreamRow| {
            let segments = above(&row.tally)
                .map(|range| self.durable.segments(row.id, range, usize::MAX).unwrap());
            highest(&row.tally, &segments.unwrap_or_default())
        };
        self.rows().map(|(name, row)| (name.clone(), highest(row))).collect()
    }

    /// Returns all stored records.
    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values().flat_map(BTreeMap::values)
    }

    /// Returns the record with this number, if it is stored.
    pub(super) fn record(&self, stream: &StreamName, seq: u64) -> Option<&Record> {
        self.records.get(stream)?.get(&seq)
    }

    /// Returns what the ledger says of a sequence number.
    pub(super) fn answer(&self, stream: &StreamName, seq: u64) -> Option<Answer> {
        let row = self.known.stream(&machine(), stream)?;
        let only = Range { from: seq, to: seq };
        self.durable.segments(row.id, only, 1).unwrap().first().map(|segment| segment.answer)
    }

    /// Asserts that the ledger agrees with itself and with the stored records.
    pub(super) fn consistent(&self) {
        for (name, row) in self.rows() {
            let segments = self.segments(name);
            let records = self.records.get(name).unwrap_or(&NO_RECORDS);
            let (mut received, mut gaps) = (0, BTreeMap::new());
            for Segment { from, to, answer } in &segments {
                match answer {
                    Answer::Received => received += to - from + 1,
                    Answer::Gap(reason) => *gaps.entry(*reason).or_insert(0) += to - from + 1,
                    Answer::Summed => panic!("{name}: nothing is summed up in so small a world"),
                }
            }
            assert_eq!(row.tally.received, received, "{name}: received");
            assert_eq!(row.tally.gaps, gaps, "{name}: gaps");
            assert_eq!(records.len() as u64, received, "{name}: what is stored");
            let highest = records.last_key_value().map_or(0, |(seq, _)| *seq);
            assert_eq!(row.tally.highest, highest, "{name}: the highest");
            assert_eq!(row.tally.segments, segments.len() as u64, "{name}: segments");
            for seq in records.keys() {
                assert_eq!(self.answer(name, *seq), Some(Answer::Received), "{name} {seq}");
            }
            let (mut missing, mut list) = (Vec::new(), MissingList::new(1, highest));
            segments.iter().for_each(|segment| list.add(*segment, &mut missing));
            list.end(&mut missing);
            let listed: u64 = missing.iter().map(|it| it.to - it.from + 1).sum();
            assert_eq!(listed, row.tally.missing(), "{name}: what is missing");
        }
    }

    /// Returns the count of sequence numbers below the highest that the ledger does not account
    /// for.
    pub(super) fn unknown(&self) -> u64 {
        self.rows().map(|(_, row)| row.tally.unknown()).sum()
    }

    /// Returns the number of records that came more than once.
    pub(super) fn duplicates(&self) -> u64 {
        self.rows().map(|(_, row)| row.tally.duplicates).sum()
    }
}
