//! Summary of the streams of a buffer: what waits of each, and since when.

use holdfast_records::{DataPolicies, Ship, StreamName};

use super::Contents;
use super::reduction::Reduction;

/// State of one stream in the buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSummary {
    /// Name of the stream.
    pub name: StreamName,
    /// Highest sequence number given; 0 before the first record.
    pub last: u64,
    /// Number of records that the control plane has not acknowledged.
    pub waiting: u64,
    /// Bytes that the stream takes on disk.
    pub bytes: u64,
    /// Bytes stored since the agent started; never falls.
    pub taken: u64,
    /// Number of records on disk.
    pub count: u64,
    /// Time of the oldest record on disk, in milliseconds since 1970.
    pub oldest: Option<u64>,
    /// Time of the oldest record that is not acknowledged, in milliseconds since 1970.
    pub oldest_waiting: Option<u64>,
    /// True when there are gaps that the control plane has not acknowledged yet.
    pub unreported_gaps: bool,
    /// True when records were requested in full, though the policy reduces or withholds them.
    pub wanted: bool,
    /// Earliest time at which the stream may be shipped, in milliseconds since 1970, while a
    /// reduction window is open.
    pub due: Option<u64>,
    /// Reason why the stream's policy cannot be followed; empty when it is.
    pub problem: String,
}

impl StreamSummary {
    /// Estimates the bytes of the records that are not acknowledged, by their share of the count.
    pub fn waiting_bytes(&self) -> u64 {
        let part = u128::from(self.bytes) * u128::from(self.waiting.min(self.count));
        u64::try_from(part / u128::from(self.count.max(1))).unwrap_or(u64::MAX)
    }

    /// Subtracts records that were shipped; the next summary has the exact number.
    pub fn subtract(&mut self, records: u64) {
        self.waiting = self.waiting.saturating_sub(records);
        self.unreported_gaps = false;
        self.wanted = false;
    }
}

impl Contents {
    /// Summary of each stream.
    pub fn summary(&self, policies: &DataPolicies) -> Vec<StreamSummary> {
        let streams = self.streams.iter().map(|(id, stream)| {
            let last = stream.next() - 1;
            let policy = policies.of(stream.name()).map(|(_, policy)| &policy.ship);
            let reduces = !matches!(policy, None | Some(Ship::Always | Ship::Never));
            let reduction = self.reductions.get(id).filter(|_| reduces);
            StreamSummary {
                name: stream.name().clone(),
                last,
                waiting: stream.waiting(),
                bytes: stream.bytes(),
                taken: stream.taken(),
                count: stream.count(),
                oldest: stream.oldest(),
                oldest_waiting: stream.oldest_waiting(),
                unreported_gaps: stream.has_unreported_gaps(),
                wanted: !stream.kept().wanted.is_empty(),
                due: reduction.and_then(|it| it.due(last)),
                problem: reduction.map(Reduction::problem).unwrap_or_default(),
            }
        });
        streams.collect()
    }
}
