//! Course of shipping: when a summary of the buffer is asked for, when the next batch is made, and
//! for which batches an acknowledgement is awaited. [`Shipper`] decides which stream is next.
//!
//! ```text
//! buffer changed ─▶ look ─▶ summary ─▶ offers ─▶ next ─▶ batch made ─▶ sent ─▶ arrived
//!                    ▲                             │                            │
//!                    └──── acknowledged ◀──────────┴── wait, until something ◀──┘
//!                                                      changes or the time comes
//! ```
//!
//! See decisions 0047 and 0049.

use std::collections::VecDeque;

use holdfast_records::{Acked, Range, RangeSet, StreamName, TrafficClass};

use super::ship::{Next, Now, Offer, Shipper};

/// Shortest interval between two summaries of a buffer that is being filled, in milliseconds.
const LOOK: u64 = 100;
/// Maximum number of batches that an acknowledgement may still come for.
const SENT: usize = 32;

/// Batch that was sent, until it is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Stream of the batch.
    pub stream: StreamName,
    /// Sequence numbers that the batch accounts for.
    pub range: Range,
    /// Number of records in it.
    pub records: u64,
}

/// Batches that were sent and not acknowledged, the last `SENT` of them. They outlive the
/// connection: a batch that was stored may be acknowledged over the next one.
#[derive(Debug, Clone, Default)]
pub struct SentBatches(VecDeque<Sent>);

impl SentBatches {
    /// Notes a batch that is sent.
    pub fn add(&mut self, sent: Sent) {
        if self.0.len() >= SENT {
            self.0.pop_front();
        }
        self.0.push_back(sent);
    }

    /// Takes the batch of an acknowledgement. None: no such batch was sent, so that the control
    /// plane cannot have stored it.
    pub fn take(&mut self, stream: &StreamName, range: Range) -> Option<Sent> {
        let at = self.0.iter().position(|it| it.stream == *stream && it.range == range)?;
        self.0.remove(at)
    }

    /// Number of batches that are not acknowledged.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if every batch is acknowledged.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Outcome of one batch that the control plane has acknowledged or refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The batch is stored.
    Stored {
        /// Batch as it was sent.
        sent: Sent,
        /// Numbers that stand for other records at the control plane, which knows numbers up to
        /// `highest`.
        conflict: RangeSet,
        /// Highest number that the control plane knows, with `conflict`; else 0.
        highest: u64,
    },
    /// The batch can never be stored as it is, for this reason.
    Refused(String),
}

/// State of shipping. All times are in milliseconds since the boot.
#[derive(Debug)]
pub struct Outbound {
    shipper: Shipper,
    /// Class of traffic of the batch that is being made.
    class: TrafficClass,
    /// True while a summary is asked for.
    looking: bool,
    /// True if the buffer changed since the last summary.
    stale: bool,
    look_at: u64,
    /// Time before which nothing is decided anew. None: at once.
    wake_at: Option<u64>,
    sent: SentBatches,
}

impl Outbound {
    /// Creates the state with a seed for its jitter. The buffer is looked at first.
    pub fn new(seed: u64) -> Self {
        Self {
            shipper: Shipper::new(seed),
            class: TrafficClass::Data,
            looking: false,
            stale: true,
            look_at: 0,
            wake_at: None,
            sent: SentBatches::default(),
        }
    }

    /// Notes that the link is up.
    pub fn connected(&mut self, now: u64) {
        self.shipper.connected(now);
        self.stale = true;
    }

    /// Notes that the link is down.
    pub fn disconnected(&mut self) {
        self.shipper.disconnected();
        self.wake_at = None;
    }

    /// Notes that the buffer, or what is to be shipped of it, has changed.
    pub fn changed(&mut self) {
        self.stale = true;
    }

    /// Time before which no summary is asked for.
    pub fn look_at(&self) -> u64 {
        self.look_at
    }

    /// Time at which something is to be done without any event. `in_use`: there is a buffer.
    pub fn next_wake(&self, in_use: bool) -> Option<u64> {
        let look = (self.stale && !self.looking && in_use).then_some(self.look_at);
        look.into_iter().chain(self.wake_at).min()
    }

    /// Returns true if a summary of the buffer is to be asked for now.
    pub fn look(&mut self, now: u64) -> bool {
        let due = self.stale && !self.looking && now >= self.look_at;
        if due {
            self.looking = true;
            self.stale = false;
            self.look_at = now + LOOK;
        }
        due
    }

    /// Notes that the summary has come. `has_summary` is false if it could not be had: the last one
    /// stays valid, and the next is asked for.
    pub fn looked(&mut self, has_summary: bool) {
        self.looking = false;
        if has_summary {
            self.wake_at = None;
        } else {
            self.stale = true;
        }
    }

    /// True if the next step is to be decided now.
    pub fn is_due(&self, now: u64) -> bool {
        self.wake_at.is_none_or(|at| now >= at)
    }

    /// Decides the next step; see [`Shipper::next`]. Returns the stream to make a batch of, and its
    /// size. None: nothing is made now.
    pub fn next(
        &mut self,
        offers: &[Offer],
        allowed: impl Fn(TrafficClass) -> Option<u64>,
        now: Now,
    ) -> Option<(StreamName, usize)> {
        self.wake_at = None;
        match self.shipper.next(offers, allowed, now) {
            Next::Nothing => self.wake_at = Some(u64::MAX),
            Next::Wait(until) => self.wake_at = Some(until.max(now.uptime + 1)),
            Next::Ship { stream, bytes, class } => {
                self.class = class;
                return Some((stream, bytes));
            }
        }
        None
    }

    /// Notes that there was nothing to make a batch of, contrary to the summary.
    pub fn nothing(&mut self, stream: StreamName, now: u64) {
        self.shipper.nothing(stream, now);
        self.stale = true;
        self.wake_at = Some(now + LOOK);
    }

    /// Notes that the batch that was made could not be sent.
    pub fn not_sent(&mut self) {
        self.shipper.not_sent();
    }

    /// Notes that a batch of `size` bytes is sent. Returns its number, for [`Outbound::arrived`],
    /// and the class of traffic that it counts for.
    pub fn sent(&mut self, sent: Sent, size: usize, now: u64) -> (u64, TrafficClass) {
        let Range { from, to } = sent.range;
        let number = self.shipper.sent(sent.stream.clone(), from, to, size, now);
        self.wake_at = None;
        self.sent.add(sent);
        (number, self.class)
    }

    /// Notes that the batch of this number has arrived at the broker, or has not.
    pub fn arrived(&mut self, number: u64, arrived: bool, now: u64) {
        self.shipper.arrived(number, arrived, now);
        self.wake_at = None;
    }

    /// Takes in what became of one batch. None: no such batch was sent.
    pub fn acknowledged(&mut self, acked: Acked, now: u64) -> Option<Outcome> {
        let Acked { stream, from, to, refused, conflict, highest } = acked;
        let sent = self.sent.take(&stream, Range { from, to })?;
        self.shipper.acknowledged(&stream, from, to, refused.is_some(), now);
        Some(match refused {
            None => Outcome::Stored { sent, conflict: RangeSet::from_ranges(conflict), highest },
            Some(why) => Outcome::Refused(format!(
                "the control plane does not take records {from} to {to} of {stream}: {why}; they stay here and are tried again"
            )),
        })
    }

    /// Ends an acknowledgement: pauses for as long as the control plane asked, and looks again.
    pub fn hold(&mut self, ms: u32, now: u64) {
        self.shipper.hold(ms, now);
        self.stale = true;
        self.wake_at = None;
    }
}

#[cfg(test)]
mod tests {
    use holdfast_records::Order;

    use super::*;

    fn offer() -> Offer {
        Offer {
            stream: "a".parse().unwrap(),
            priority: 5,
            order: Order::OldestFirst,
            withheld: false,
            windows: Vec::new(),
            waiting: 10,
            bytes: 10_000_000,
            unreported_gaps: false,
            wanted: false,
            oldest: Some(1),
            due: None,
        }
    }

    fn sent(from: u64, to: u64) -> Sent {
        let range = Range { from, to };
        Sent { stream: "a".parse().unwrap(), range, records: to - from + 1 }
    }

    fn acked(from: u64, to: u64, refused: Option<&str>) -> Acked {
        let (stream, refused) = ("a".parse().unwrap(), refused.map(Into::into));
        Acked { stream, from, to, refused, conflict: Vec::new(), highest: 0 }
    }

    fn at(uptime: u64) -> Now {
        Now { uptime, wall: 1_000_000_000 }
    }

    #[test]
    fn one_summary_at_a_time_and_not_too_often() {
        let mut it = Outbound::new(1);
        assert_eq!(it.next_wake(false), None, "there is no buffer");
        assert!(it.look(0) && !it.look(0), "it is asked for");
        it.changed();
        assert!(!it.look(LOOK), "the last one has not come yet");
        it.looked(true);
        assert_eq!(it.next_wake(true), Some(LOOK));
        assert!(!it.look(LOOK - 1) && it.look(LOOK));
        it.looked(true);
        assert!(!it.look(10 * LOOK), "nothing has changed");
        it.changed();
        assert!(it.look(10 * LOOK));
        it.looked(false);
        assert!(it.look(11 * LOOK), "it could not be had, and is asked for again");
    }

    #[test]
    fn nothing_is_decided_twice_before_something_changes() {
        let mut it = Outbound::new(1);
        it.connected(0);
        let now = at(100_000);
        assert_eq!(it.next(&[], |_| None, now), None);
        assert!(!it.is_due(now.uptime + 1_000_000), "there is nothing");
        it.looked(true);
        assert!(it.is_due(now.uptime));
        let made = it.next(&[offer()], |_| None, now);
        assert_eq!(made.unwrap().0.as_str(), "a");
        it.nothing("a".parse().unwrap(), now.uptime);
        assert!(!it.is_due(now.uptime + LOOK - 1) && it.is_due(now.uptime + LOOK));
        assert!(it.look(now.uptime), "the summary was wrong");
        assert_eq!(it.next(&[offer()], |_| None, now), None, "left alone for a moment");
        assert!(it.next_wake(true).is_some_and(|wake| wake > now.uptime));
    }

    #[test]
    fn what_was_never_sent_is_not_acknowledged_and_what_was_sent_once() {
        let mut it = Outbound::new(1);
        it.connected(0);
        it.next(&[offer()], |_| None, at(100_000)).unwrap();
        it.sent(sent(1, 5), 100, 100_000);
        assert_eq!(it.acknowledged(acked(1, 6, None), 100_100), None);
        // Its acknowledgement comes over the next connection.
        it.disconnected();
        it.connected(101_000);
        let Some(Outcome::Stored { sent: stored, .. }) =
            it.acknowledged(acked(1, 5, None), 102_000)
        else {
            panic!("it was sent");
        };
        assert_eq!(stored, sent(1, 5));
        assert_eq!(it.acknowledged(acked(1, 5, None), 102_000), None, "once");
        it.sent(sent(6, 7), 100, 103_000);
        let refused = it.acknowledged(acked(6, 7, Some("no room")), 104_000);
        let Some(Outcome::Refused(why)) = refused else { panic!("{refused:?}") };
        assert!(why.contains("records 6 to 7 of a: no room"), "{why}");
    }

    #[test]
    fn few_batches_are_remembered() {
        let mut batches = SentBatches::default();
        (1..=100).for_each(|from| batches.add(sent(from, from)));
        assert_eq!(batches.len(), SENT);
        let stream = "a".parse().unwrap();
        assert_eq!(batches.take(&stream, Range { from: 1, to: 1 }), None);
        assert!(batches.take(&stream, Range { from: 100, to: 100 }).is_some());
    }
}
