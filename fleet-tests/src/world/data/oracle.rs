//! Invariants of the data world.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_control::core::ledger::Answer;
use holdfast_records::{GapReason, Range, StreamName};

use super::device::{Device, Fate};
use super::plane::Plane;

/// Index of a stream and a sequence number: cheap to compare.
type Number = (usize, u64);

/// Everything that was ever told, and to whom.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    names: Vec<StreamName>,
    /// Records acknowledged to a workload, as they were published.
    acknowledged: BTreeMap<Number, Vec<u8>>,
    /// Acknowledged numbers that the control plane does not account for yet.
    open: BTreeSet<Number>,
    /// Numbers of records that were refused to a workload.
    refused: BTreeSet<Number>,
    /// Record that a number stands for, once it left the device or was acknowledged.
    meaning: BTreeMap<Number, Vec<u8>>,
    /// Reasons that may stand in the ledger.
    pub(super) possible: BTreeSet<GapReason>,
    /// True if a disk has lied: dropped records may come back.
    pub(super) lied: bool,
}

impl Oracle {
    /// Notes that a workload was told that its records are stored.
    pub(super) fn acknowledge(&mut self, stream: &StreamName, range: Range, values: &[Vec<u8>]) {
        assert_eq!(range.len(), values.len() as u64, "as many numbers as records");
        let place = self.place(stream);
        for (seq, value) in (range.from..).zip(values) {
            self.means(stream, seq, value);
            let number = (place, seq);
            let twice = self.acknowledged.insert(number, value.clone());
            assert!(twice.is_none(), "{stream} {seq}: acknowledged for two records");
            self.open.insert(number);
        }
    }

    /// Notes that a workload was told that its records are dropped.
    pub(super) fn refuse(&mut self, stream: &StreamName, range: Range) {
        let place = self.place(stream);
        self.refused.extend((range.from..=range.to).map(|seq| (place, seq)));
    }

    fn place(&mut self, stream: &StreamName) -> usize {
        self.names.iter().position(|name| name == stream).unwrap_or_else(|| {
            self.names.push(stream.clone());
            self.names.len() - 1
        })
    }

    /// Asserts that a number stands for this record wherever it is seen.
    pub(super) fn means(&mut self, stream: &StreamName, seq: u64, value: &[u8]) {
        let number = (self.place(stream), seq);
        let meaning = self.meaning.entry(number).or_insert_with(|| value.to_vec());
        assert_eq!(meaning, value, "{stream} {seq}: one number, two records");
    }

    /// Notes that the control plane has lost everything, and must account for each record again.
    pub(super) fn reopen(&mut self) {
        self.open.extend(self.acknowledged.keys().copied());
    }

    /// Returns the number of acknowledged records.
    pub(super) fn count(&self) -> usize {
        self.acknowledged.len()
    }

    /// Checks every acknowledged record that the control plane did not account for so far.
    pub(super) fn check(&mut self, device: &Device, plane: &Plane) {
        let mut answered = Vec::new();
        for number in &self.open {
            let (stream, seq) = (&self.names[number.0], &number.1);
            let fate = device.fate(stream, *seq);
            match plane.answer(stream, *seq) {
                Some(Answer::Received) => answered.push(*number),
                Some(Answer::Gap(reason)) => {
                    assert!(self.possible.contains(&reason), "{stream} {seq}: {reason}?");
                    let kept = matches!(fate, Fate::Kept(_)) && reason.is_loss();
                    // A batch has one reason for all numbers without a record: among thinned ones,
                    // a reduced one is told as thinned too.
                    let reduced =
                        reason == GapReason::Thinned && self.possible.contains(&GapReason::Reduced);
                    assert!(
                        !kept || self.lied || reduced,
                        "{stream} {seq} is said to be {reason}, and is there"
                    );
                    answered.push(*number);
                }
                Some(Answer::Summed) => unreachable!("nothing is summed up in so small a world"),
                None => match fate {
                    Fate::Kept(value) => assert_eq!(value, self.acknowledged[number]),
                    Fate::Gap => {}
                    // Acknowledged by a store that is lost: the device is told at its next
                    // connection.
                    Fate::Settled if device.image.store != Some(plane.store) => {}
                    Fate::Settled => {
                        panic!("{stream} {seq}: settled, and the control plane does not know it")
                    }
                    Fate::Nothing => panic!("{stream} {seq}: lost without a word"),
                },
            }
        }
        for number in answered {
            self.open.remove(&number);
        }
    }

    /// Asserts, after all has come to rest, that each record was received as it was published or
    /// has a reason. Returns how many were received, and how many have a reason.
    pub(super) fn finish(&self, plane: &Plane) -> (usize, usize) {
        assert!(self.open.is_empty(), "without an answer at the end: {:?}", self.open);
        assert_eq!(plane.unknown(), 0, "numbers of which nothing is known");
        let (mut received, mut gaps) = (0, 0);
        for ((place, seq), value) in &self.acknowledged {
            let stream = &self.names[*place];
            match plane.answer(stream, *seq) {
                Some(Answer::Received) => {
                    let stored = plane.record(stream, *seq).map(|record| &record.value);
                    assert_eq!(stored, Some(value), "{stream} {seq}: another record");
                    received += 1;
                }
                Some(Answer::Gap(_)) => gaps += 1,
                other => panic!("{stream} {seq}: {other:?}"),
            }
        }
        for (place, seq) in &self.refused {
            let (stream, answer) = (&self.names[*place], plane.answer(&self.names[*place], *seq));
            let gap = matches!(answer, Some(Answer::Gap(_)));
            assert!(gap, "{stream} {seq}: refused, and {answer:?}");
        }
        (received, gaps)
    }
}
