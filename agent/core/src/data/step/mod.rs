//! Steps of the buffer: what one durable step writes, drops and answers. [`Contents`] is the state
//! of all streams in memory; each of its methods turns a request into a [`Change`], reads stored
//! blocks through [`Blocks`], and writes nothing itself. Whoever calls it raises the ceilings of a
//! step first, then applies its change as a whole, then sends the answers; after a failure, memory
//! may be ahead of the disk and is loaded anew.
//!
//! See decisions 0047, 0064 and 0137.

mod batch;
mod ceilings;
mod gather;
mod group;
mod load;
mod moved;
mod reduced;
mod reduction;
mod room;
mod summary;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use holdfast_base::ids::Name;
use holdfast_records::{
    DataPolicies, GapReason, Range, RangeSet, Record, StreamName, StreamPolicy,
};

use super::fetch::Choice;
use super::stream::{Block, Kept, Segment, Stream};
use reduction::Reduction;

pub use batch::{Moment, Ready};
pub use ceilings::Ceilings;
pub use gather::{Gather, MAX_WAIT};
pub use group::{Answer, Numbered, Publish, StoredGroup};
pub use load::{Found, Loaded};
pub use moved::Renumbering;
pub use room::Room;
pub use summary::StreamSummary;

/// Longest delay until a change that is only marked in memory is stored, such as an acknowledgement
/// of the control plane. If it is lost meanwhile, a batch is sent twice, which the control plane
/// notices.
const STORE_MARKS_AFTER: Duration = Duration::from_secs(30);

/// Key of a block or a segment: stream, first sequence number.
pub type Key = (u32, u64);

/// A block in the form in which it is stored, or the head of one.
pub trait Stored {
    /// Sequence numbers, times and size of the block.
    fn block(&self) -> Block;
    /// Number of rows that the block takes on disk.
    fn rows(&self) -> u16;
}

/// Reads of stored blocks, and the form in which blocks are stored.
pub trait Blocks {
    /// Description of a stored block, which is read without its records.
    type Head: Stored;
    /// Block that is packed and ready to be written.
    type Packed: Stored;
    /// Reason why the disk cannot be read.
    type Error;

    /// Returns the heads of the blocks that hold sequence numbers within `from..=to`, in their
    /// order, and the numbers of blocks whose heads are damaged.
    ///
    /// # Errors
    /// When the disk cannot be read.
    #[allow(clippy::type_complexity, reason = "heads and damaged ranges, as one answer")]
    fn heads(
        &self,
        stream: u32,
        from: u64,
        to: u64,
    ) -> Result<(Vec<Self::Head>, Vec<Range>), Self::Error>;

    /// Returns the records of a block; `None` when the block is damaged.
    ///
    /// # Errors
    /// When the disk cannot be read.
    fn records(&self, stream: u32, head: &Self::Head) -> Result<Option<Vec<Record>>, Self::Error>;

    /// Packs records whose sequence numbers rise. The block accounts for `first..=last`, also where
    /// records are missing in it.
    fn pack(stream: u32, first: u64, last: u64, records: &[Record]) -> Self::Packed;

    /// Cuts records into parts that each become one block.
    fn cut(records: &[Record]) -> Vec<&[Record]>;
}

/// Rows that change together, in one durable step or not at all. Removals are applied before
/// additions.
#[derive(Debug)]
pub struct Change<P> {
    /// Removed blocks, with their numbers of rows.
    pub remove: BTreeMap<Key, u16>,
    /// Added blocks.
    pub add: BTreeMap<Key, P>,
    /// Segments by stream and start; `None` removes one.
    pub segments: BTreeMap<Key, Option<Segment>>,
    /// States of streams; `None` removes one.
    pub streams: BTreeMap<u32, Option<Kept>>,
    /// First sequence number of new streams, if it is stored with this step.
    pub base: Option<u64>,
    /// Control plane's data store, if it is stored with this step.
    pub store: Option<u64>,
    /// True when the file counts as complete from this step on: what was lost before it is
    /// accounted for.
    pub whole: bool,
    /// The link's ledger, encoded, if it is stored with this step.
    pub ledger: Option<Vec<u8>>,
}

impl<P> Default for Change<P> {
    fn default() -> Self {
        Self {
            remove: BTreeMap::new(),
            add: BTreeMap::new(),
            segments: BTreeMap::new(),
            streams: BTreeMap::new(),
            base: None,
            store: None,
            whole: false,
            ledger: None,
        }
    }
}

impl<P> Change<P> {
    /// True when nothing changes.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty()
            && self.add.is_empty()
            && self.segments.is_empty()
            && self.streams.is_empty()
            && self.base.is_none()
            && self.store.is_none()
            && !self.whole
            && self.ledger.is_none()
    }
}

/// Ceilings that must be raised durably, and the change that is applied after that.
#[derive(Debug)]
pub struct Step<P> {
    /// Sequence numbers up to which streams are about to give numbers.
    pub ceilings: Vec<(StreamName, u64)>,
    /// Rows that change.
    pub change: Change<P>,
}

/// State of all streams of a buffer, and what of it is not stored yet.
#[derive(Debug)]
pub struct Contents {
    streams: BTreeMap<u32, Stream>,
    ids: BTreeMap<StreamName, u32>,
    /// First sequence number of new streams: 1, or higher when the state of former streams is lost
    /// or was forgotten.
    base: u64,
    /// Control plane's data store that holds what is acknowledged, if it ever named one.
    store: Option<u64>,
    /// Streams that are forgotten but still have a row on disk.
    forgotten: BTreeSet<u32>,
    /// Names of forgotten streams that still have a ceiling.
    gone: BTreeSet<StreamName>,
    /// Streams whose state is to be stored with the next step.
    marked: BTreeSet<u32>,
    /// Segments to be stored with the next step, by stream and start.
    segments: BTreeSet<Key>,
    /// Time since which something is marked that must not wait for long.
    marked_at: Option<Instant>,
    /// The link's ledger, while it waits to be stored.
    ledger: Option<Vec<u8>>,
    /// Damaged blocks that were met and not reported to the caller yet.
    damaged: Vec<(StreamName, Range)>,
    /// Reductions in progress, by stream. They are not stored: after a start, or when the numbers
    /// that they were made of have changed, they are made anew.
    reductions: BTreeMap<u32, Reduction>,
}

impl Default for Contents {
    fn default() -> Self {
        Self {
            streams: BTreeMap::new(),
            ids: BTreeMap::new(),
            base: 1,
            store: None,
            forgotten: BTreeSet::new(),
            gone: BTreeSet::new(),
            marked: BTreeSet::new(),
            segments: BTreeSet::new(),
            marked_at: None,
            ledger: None,
            damaged: Vec::new(),
            reductions: BTreeMap::new(),
        }
    }
}

impl Contents {
    /// All streams, by their ids.
    pub fn streams(&self) -> &BTreeMap<u32, Stream> {
        &self.streams
    }

    /// Stream of this id.
    pub fn stream(&self, id: u32) -> Option<&Stream> {
        self.streams.get(&id)
    }

    /// Id of a stream.
    pub fn id(&self, name: &StreamName) -> Option<u32> {
        self.ids.get(name).copied()
    }

    /// First sequence number of new streams.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Names of forgotten streams that still have a ceiling.
    pub fn gone(&self) -> &BTreeSet<StreamName> {
        &self.gone
    }

    /// Notes that ceilings were written without those in [`Contents::gone`].
    pub fn covered(&mut self) {
        self.gone.clear();
    }

    /// Bytes that records take on disk.
    pub fn used(&self) -> u64 {
        self.streams.values().map(Stream::bytes).sum()
    }

    /// Highest sequence number that each stream has given.
    pub fn given(&self) -> Vec<(StreamName, u64)> {
        self.streams.values().map(|stream| (stream.name().clone(), stream.next() - 1)).collect()
    }

    /// Policy of a stream; `None` when no document names it.
    pub fn policy<'a>(&self, policies: &'a DataPolicies, id: u32) -> Option<&'a StreamPolicy> {
        let policy = policies.of(self.streams.get(&id)?.name());
        policy.map(|(_, policy)| policy)
    }

    /// Takes the damaged blocks that were met since the last call, each by stream and numbers.
    pub fn take_damaged(&mut self) -> Vec<(StreamName, Range)> {
        std::mem::take(&mut self.damaged)
    }

    /// Marks a stream to be stored within [`STORE_MARKS_AFTER`].
    fn mark(&mut self, id: u32, now: Instant) {
        self.marked.insert(id);
        self.marked_at.get_or_insert(now);
    }

    /// Keeps the link's ledger until it is stored with the next step.
    pub fn keep_ledger(&mut self, bytes: Vec<u8>, now: Instant) {
        self.ledger = Some(bytes);
        self.marked_at.get_or_insert(now);
    }

    /// Marks sequence numbers as acknowledged by the control plane.
    pub fn settle(&mut self, id: u32, numbers: &RangeSet, now: Instant) {
        if let Some(stream) = self.streams.get_mut(&id) {
            numbers.iter().for_each(|range| stream.settle(range));
        }
        self.mark(id, now);
    }

    /// Notes that numbers which were requested in full are no longer on disk.
    fn had(&mut self, id: u32, range: Range, now: Instant) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.clear_wanted(range);
            self.mark(id, now);
        }
    }

    /// Turns a damaged block into a gap.
    pub fn bad_block(&mut self, id: u32, range: Range, now: Instant) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.lost(range, GapReason::Damaged);
            self.damaged.push((stream.name().clone(), range));
            self.mark(id, now);
        }
    }

    /// Marks records to be shipped in full, of at most `most` bytes on disk: those with a time
    /// within `since..=until`, earliest first. Returns the choice.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn want<B: Blocks>(
        &mut self,
        blocks: &B,
        id: u32,
        window: (u64, u64),
        most: u64,
        now: Instant,
    ) -> Result<Choice, B::Error> {
        let mut choice = Choice::new(window, most);
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(choice) };
        for (_, segment) in stream.segments() {
            if !choice.is_within(segment.earliest, segment.latest) {
                choice.skip();
                continue;
            }
            let (heads, _) = blocks.heads(id, segment.first, segment.last)?;
            if !heads.iter().all(|head| choice.look(&head.block())) {
                break;
            }
        }
        choice.ranges.iter().for_each(|range| stream.want(*range));
        if !choice.ranges.is_empty() {
            self.mark(id, now);
        }
        Ok(choice)
    }

    /// Notes the data store that the control plane ships to; `None` when it is the known one.
    /// What another store had acknowledged is no longer known anywhere, and becomes pending again.
    /// The caller confirms with [`Contents::confirm_store`] once the change is durable.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn set_store<B: Blocks>(
        &mut self,
        blocks: &B,
        store: u64,
    ) -> Result<Change<B::Packed>, B::Error> {
        if self.has_other_store(store) {
            self.reductions.clear();
            self.unsettle(blocks, |_| true)?;
        }
        // In one step with its effect on the streams: stored alone, a crash would leave the new
        // store beside acknowledgements of the lost one.
        let mut change = Change { store: Some(store), ..Change::default() };
        self.take_marks(&mut change);
        Ok(change)
    }

    /// True when this data store is the one that is known.
    pub fn has_store(&self, store: u64) -> bool {
        self.store == Some(store)
    }

    /// True when another data store than this one was known before.
    pub fn has_other_store(&self, store: u64) -> bool {
        self.store.is_some_and(|known| known != store)
    }

    /// Notes that the data store is stored.
    pub fn confirm_store(&mut self, store: u64) {
        self.store = Some(store);
    }

    /// Makes everything that is on disk pending again, of the streams that `of` selects.
    fn unsettle<B: Blocks>(
        &mut self,
        blocks: &B,
        of: impl Fn(u32) -> bool,
    ) -> Result<(), B::Error> {
        for (id, stream) in self.streams.iter_mut().filter(|(id, _)| of(**id)) {
            let mut there = RangeSet::new();
            for (_, segment) in stream.segments() {
                let (heads, _) = blocks.heads(*id, segment.first, segment.last)?;
                for block in heads.iter().map(Stored::block) {
                    there.insert(block.first, block.last);
                }
            }
            stream.unsettle(&there);
            self.marked.insert(*id);
        }
        Ok(())
    }

    /// Returns the id of a stream. A new stream begins at sequence number `next` and belongs to
    /// `owner`.
    fn id_of(&mut self, name: &StreamName, next: u64, owner: Option<Name>) -> u32 {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        // Forgotten ids are not used again until their rows are removed: the step that removes
        // them would remove the new stream's row.
        let last = self.streams.last_key_value().map(|(id, _)| id);
        let id = last.max(self.forgotten.last()).map_or(0, |id| id + 1);
        self.streams.insert(id, Stream::new(name.clone(), next).made_by(owner));
        self.ids.insert(name.clone(), id);
        self.marked.insert(id);
        id
    }

    /// Forgets a stream of which nothing is left, so that another one can take its place. If its
    /// name comes back, it begins above all that it gave, by the raised `base`.
    fn forget(&mut self, id: u32, now_ms: u64) -> Option<StreamName> {
        let stream = self.streams.remove(&id)?;
        self.base = self.base.max(now_ms).max(stream.next());
        self.ids.remove(stream.name());
        self.marked.remove(&id);
        self.reductions.remove(&id);
        self.forgotten.insert(id);
        self.gone.insert(stream.name().clone());
        Some(stream.name().clone())
    }

    /// Moves all marked state into a change that is made anyway.
    fn take_marks<P>(&mut self, change: &mut Change<P>) {
        for id in std::mem::take(&mut self.marked) {
            if let Some(stream) = self.streams.get(&id) {
                change.streams.insert(id, Some(stream.kept().clone()));
            }
        }
        if !self.forgotten.is_empty() {
            let forgotten = std::mem::take(&mut self.forgotten);
            change.streams.extend(forgotten.into_iter().map(|id| (id, None)));
            change.base = Some(self.base);
        }
        for (id, start) in std::mem::take(&mut self.segments) {
            let segment = self.streams.get(&id).and_then(|stream| stream.segment(start));
            change.segments.insert((id, start), segment.copied());
        }
        change.ledger = self.ledger.take().or(change.ledger.take());
        self.marked_at = None;
    }

    /// True when what is marked has waited for long enough to get a step of its own.
    pub fn is_due(&self, now: Instant) -> bool {
        self.marked_at.is_some_and(|at| now.saturating_duration_since(at) >= STORE_MARKS_AFTER)
    }

    /// Returns everything that is only marked in memory, as one change; it may be empty.
    pub fn marks<P>(&mut self) -> Change<P> {
        let mut change = Change::default();
        self.take_marks(&mut change);
        change
    }
}

#[cfg(test)]
mod tests;
