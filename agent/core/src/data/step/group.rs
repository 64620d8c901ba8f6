//! Storing a group of publishes. First each record gets its sequence number; no number is used
//! before a ceiling covers it ([`Contents::needed`]). Then room is made, and the drops that made
//! it and the records that need it become one change: durable together or not at all.
//!
//! See decision 0044.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_base::ids::Name;
use holdfast_records::{DataPolicies, Format, GapReason, Range, Record, StreamName};

use super::{Blocks, Change, Contents, Room, Stored};
use crate::data::places::{self, Place};
use crate::data::stream::Stream;

/// Records of one stream that are to be stored.
#[derive(Debug)]
pub struct Publish {
    /// Workload that publishes; `None` for the agent.
    pub owner: Option<Name>,
    /// Stream that the records belong to.
    pub stream: StreamName,
    /// Time of the records, in milliseconds since 1970.
    pub time: u64,
    /// True when `time` is of a clock that cannot be relied on.
    pub doubted: bool,
    /// Records, each with its format.
    pub records: Vec<(Format, Vec<u8>)>,
}

/// Outcome of one publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Nothing to store: an empty range before the next number.
    Nothing(Range),
    /// No stream can be made: the device has as many as it may have.
    TooManyStreams,
    /// No stream can be made: its publisher has made as many as one may make.
    TooManyOfOne,
    /// The records got these numbers in this stream; the answer waits for the step.
    Numbered(u32, Range),
}

/// Records of one stream in a group.
#[derive(Debug, Default)]
struct Part {
    records: Vec<Record>,
    first: u64,
    /// True when some records are dated by a clock that cannot be relied on.
    doubted: bool,
}

/// A group whose records have their sequence numbers.
#[derive(Debug, Default)]
pub struct Numbered {
    parts: BTreeMap<u32, Part>,
    /// Outcomes, one for each publish, in the order of the group.
    pub answers: Vec<Answer>,
    /// Streams that were forgotten for new ones.
    pub forgotten: Vec<StreamName>,
}

/// Result of storing a group: the change, and the answer for each publish.
#[derive(Debug)]
pub struct StoredGroup<P> {
    /// Rows that change.
    pub change: Change<P>,
    /// Streams whose records became gaps instead, for want of room.
    pub dropped: BTreeSet<u32>,
    /// Bytes of the records' values as they were published.
    pub payload: u64,
}

impl Contents {
    /// Gives each record its sequence number. `now_ms` is in milliseconds since 1970.
    pub fn number(&mut self, group: impl IntoIterator<Item = Publish>, now_ms: u64) -> Numbered {
        let mut numbered = Numbered::default();
        for publish in group {
            let answer = self.number_one(publish, now_ms, &mut numbered);
            numbered.answers.push(answer);
        }
        numbered
    }

    fn number_one(&mut self, publish: Publish, now_ms: u64, numbered: &mut Numbered) -> Answer {
        let known = self.id(&publish.stream);
        let next = known.and_then(|id| self.streams.get(&id)).map(Stream::next);
        if publish.records.is_empty() {
            let next = next.unwrap_or(self.base);
            return Answer::Nothing(Range { from: next, to: next.saturating_sub(1) });
        }
        if known.is_none() {
            // A stream that gets records in this very group is busy: it may have nothing on disk
            // yet, and must not be forgotten for the next new one.
            let busy = |id| numbered.parts.contains_key(&id);
            match places::place(&self.streams, publish.owner.as_ref(), busy) {
                Place::Free => {}
                Place::Instead(id) => {
                    numbered.forgotten.extend(self.forget(id, now_ms));
                }
                Place::TooMany => return Answer::TooManyStreams,
                Place::TooManyOfOne => return Answer::TooManyOfOne,
            }
        }
        let id = self.id_of(&publish.stream, self.base, publish.owner);
        let next = next.unwrap_or(self.base);
        let part = numbered.parts.entry(id).or_default();
        if part.records.is_empty() {
            part.first = next;
        }
        let from = part.first + u64::try_from(part.records.len()).unwrap_or(0);
        let mut seq = from;
        part.doubted |= publish.doubted;
        part.records.extend(publish.records.into_iter().map(|(format, value)| {
            let record = Record { seq, time: publish.time, format, value };
            seq += 1;
            record
        }));
        Answer::Numbered(id, Range { from, to: seq - 1 })
    }

    /// Ceilings that must be raised before the group is stored.
    pub fn needed(&self, numbered: &Numbered) -> Vec<(StreamName, u64)> {
        let parts = numbered.parts.iter();
        let needed = parts.filter_map(|(id, part)| {
            let last = part.first + u64::try_from(part.records.len()).unwrap_or(0);
            Some((self.streams.get(id)?.name().clone(), last))
        });
        needed.collect()
    }

    /// Packs the group, makes room for it and stores it. To be called once the ceilings of
    /// [`Contents::needed`] are on disk.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn store<B: Blocks>(
        &mut self,
        numbered: Numbered,
        blocks: &B,
        policies: &DataPolicies,
        room: Room,
    ) -> Result<StoredGroup<B::Packed>, B::Error> {
        let (mut change, mut dropped, mut payload) = (Change::default(), BTreeSet::new(), 0);
        // Streams take their turn one after the other, in memory, and all of it becomes one change.
        for (id, part) in numbered.parts {
            if part.doubted && self.streams.get_mut(&id).is_some_and(Stream::doubt) {
                self.marked.insert(id);
            }
            payload += part.records.iter().map(|it| it.value.len()).sum::<usize>();
            let packed: Vec<B::Packed> = B::cut(&part.records)
                .into_iter()
                .filter_map(|records| {
                    let (first, last) = (records.first()?.seq, records.last()?.seq);
                    Some(B::pack(id, first, last, records))
                })
                .collect();
            drop(part);
            let need = packed.iter().map(|packed| packed.block().bytes).sum();
            let has_room = self.make_room(id, need, blocks, policies, room, &mut change)?;
            let ttl = self.policy(policies, id).and_then(|policy| policy.ttl_ms);
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            for packed in packed {
                let block = packed.block();
                if has_room {
                    let closed = stream.stored(&block, ttl);
                    self.segments.extend(closed.map(|start| (id, start)));
                    change.add.insert((id, block.first), packed);
                } else {
                    stream.lost(Range { from: block.first, to: block.last }, GapReason::Quota);
                    self.marked.insert(id);
                    dropped.insert(id);
                }
            }
        }
        // Marked state goes along at no further cost.
        self.take_marks(&mut change);
        let payload = u64::try_from(payload).unwrap_or(u64::MAX);
        Ok(StoredGroup { change, dropped, payload })
    }
}
