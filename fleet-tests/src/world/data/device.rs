//! Device of the data world: its real cores over a simulated disk. A change is on disk as a whole
//! or not at all, and the process may end between any two steps.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_agent::core::data::quota::{self, How, Relief, Rules};
use holdfast_agent::core::data::stream::{Block, Kept, Segment, Stream};
use holdfast_records::{
    DataPolicies, Format, GapReason, Range, RangeSet, Record, StreamName, StreamPolicy,
};

use super::super::Dice;

/// Bytes on disk of a record: far more than its value, so that a small world fills segments.
const WEIGHT: u64 = 9 * 1024;
/// Number of records per block.
const BLOCK: usize = 6;
/// Distance by which a ceiling is raised ahead of the numbers in use.
const AHEAD: u64 = 40;

/// Error that stands for the end of the process at this point.
#[derive(Debug)]
pub(super) struct Crash;

/// Content of the disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    pub(super) streams: BTreeMap<u32, Kept>,
    pub(super) segments: BTreeMap<(u32, u64), Segment>,
    pub(super) blocks: BTreeMap<(u32, u64), (Block, Vec<Record>)>,
    /// Number of the control plane's store that has the settled records.
    pub(super) store: Option<u64>,
}

#[derive(Debug, Default)]
struct Change {
    remove: Vec<(u32, u64)>,
    add: Vec<(u32, Block, Vec<Record>)>,
    streams: BTreeMap<u32, Kept>,
    segments: BTreeMap<(u32, u64), Option<Segment>>,
    store: Option<u64>,
}

impl Image {
    fn apply(&mut self, change: Change) {
        for key in change.remove {
            self.blocks.remove(&key);
        }
        for (id, block, records) in change.add {
            self.blocks.insert((id, block.first), (block, records));
        }
        for (key, segment) in change.segments {
            match segment {
                Some(segment) => drop(self.segments.insert(key, segment)),
                None => drop(self.segments.remove(&key)),
            }
        }
        self.streams.extend(change.streams);
        self.store = change.store.or(self.store);
    }

    fn heads(&self, id: u32, from: u64, to: u64) -> Vec<Block> {
        let before = self.blocks.range((id, 0)..=(id, from)).next_back();
        let begin = before.map_or(from, |((_, first), _)| *first);
        let all = self.blocks.range((id, begin)..=(id, to)).map(|(_, (block, _))| *block);
        all.filter(|block| block.last >= from).collect()
    }
}

/// Device with its buffer.
#[derive(Debug)]
pub(super) struct Device {
    /// Content of `data.redb` on disk.
    pub(super) image: Image,
    /// True: the disk claims that a step is durable before it is.
    pub(super) lies: bool,
    /// State before the last step, which a lying disk falls back to.
    former: Image,
    /// Content of `data.ceilings` on disk.
    pub(super) ceilings: BTreeMap<StreamName, u64>,
    /// True: `data.redb` does not exist.
    pub(super) fresh: bool,
    rolled_back: bool,
    pub(super) policies: DataPolicies,
    /// Most bytes of all records together.
    pub(super) limit: u64,
    /// True: the process may end between any two steps.
    pub(super) brittle: bool,
    /// State of the process; None: it does not run.
    pub(super) memory: Option<Memory>,
}

/// State that a running agent has in memory.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) streams: BTreeMap<u32, Stream>,
    ids: BTreeMap<StreamName, u32>,
    marked: BTreeSet<u32>,
    segments: BTreeSet<(u32, u64)>,
    store: Option<u64>,
}

impl Device {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            image: Image::default(),
            lies: false,
            former: Image::default(),
            ceilings: BTreeMap::new(),
            fresh: true,
            rolled_back: false,
            policies: DataPolicies::default(),
            limit,
            brittle: true,
            memory: None,
        }
    }

    /// Ends the process, as `kill -9` or a power failure would.
    pub(super) fn crash(&mut self) {
        self.memory = None;
    }

    /// Falls back to the state before the last step, which the disk had claimed to be durable.
    pub(super) fn roll_back(&mut self) {
        self.memory = None;
        self.image = std::mem::take(&mut self.former);
        self.former = self.image.clone();
        self.rolled_back = true;
    }

    /// Makes the file unreadable; it is set aside at the next start.
    pub(super) fn destroy(&mut self) {
        self.memory = None;
        self.image = Image::default();
        self.former = Image::default();
        self.fresh = true;
    }

    fn policy(&self, name: &StreamName) -> StreamPolicy {
        self.policies.of(name).map(|(_, policy)| policy.clone()).unwrap_or_default()
    }

    /// Starts the process.
    pub(super) fn start(&mut self, dice: &mut Dice) -> Result<(), Crash> {
        let mut memory = Memory { store: self.image.store, ..Memory::default() };
        for (id, kept) in &self.image.streams {
            let closed: BTreeMap<u64, Segment> = self
                .image
                .segments
                .range((*id, 0)..=(*id, u64::MAX))
                .map(|((_, start), segment)| (*start, *segment))
                .collect();
            let ends = closed.values().map(|segment| segment.last + 1).max().unwrap_or(0);
            let mut stream = Stream::load(kept.clone(), closed);
            for block in self.image.heads(*id, ends, u64::MAX) {
                let closed = stream.found(&block);
                memory.segments.extend(closed.map(|start| (*id, start)));
            }
            memory.ids.insert(stream.name().clone(), *id);
            memory.streams.insert(*id, stream);
        }
        if self.fresh || self.rolled_back {
            for (name, ceiling) in &self.ceilings {
                let id = memory.id_of(name, 1);
                if let Some(stream) = memory.streams.get_mut(&id) {
                    stream.skip_to(ceiling + 1);
                    memory.marked.insert(id);
                }
            }
        }
        // The loss is recorded on disk before the file counts as whole.
        let mut change = Change::default();
        memory.take_marks(&mut change);
        self.step(change, dice)?;
        (self.fresh, self.rolled_back) = (false, false);
        self.memory = Some(memory);
        Ok(())
    }

    fn point(&self, dice: &mut Dice) -> Result<(), Crash> {
        if self.brittle && dice.permille(15) { Err(Crash) } else { Ok(()) }
    }

    /// Performs one durable step; the process may end before or after it.
    fn step(&mut self, change: Change, dice: &mut Dice) -> Result<(), Crash> {
        self.point(dice)?;
        if self.lies {
            self.former = self.image.clone();
        }
        self.image.apply(change);
        self.point(dice)
    }

    /// Stores a group. Returns the numbers of each stream's records, and whether they may be
    /// acknowledged: if not, they were dropped.
    pub(super) fn store(
        &mut self,
        group: Vec<(StreamName, Vec<Vec<u8>>)>,
        (now, trusted): (u64, bool),
        dice: &mut Dice,
    ) -> Result<Vec<(StreamName, Range, bool)>, Crash> {
        let mut memory = self.memory.take().ok_or(Crash)?;
        let mut parts: BTreeMap<u32, Vec<Record>> = BTreeMap::new();
        let mut told = Vec::new();
        for (name, values) in group {
            let after = self.ceilings.get(&name).map_or(1, |ceiling| ceiling + 1);
            let id = memory.id_of(&name, after);
            let part = parts.entry(id).or_default();
            let last = part.last().map(|record| record.seq + 1);
            let first = last.or(memory.streams.get(&id).map(Stream::next)).unwrap_or(1);
            part.extend((first..).zip(values).map(|(seq, value)| Record {
                seq,
                time: now,
                format: Format::Plain,
                value,
            }));
            let to = part.last().map_or(0, |record| record.seq);
            told.push((name, Range { from: first, to }));
        }
        self.point(dice)?;
        let mut raised = false;
        for (name, range) in &told {
            if self.ceilings.get(name).is_none_or(|ceiling| *ceiling < range.to) {
                self.ceilings.insert(name.clone(), range.to + AHEAD);
                raised = true;
            }
        }
        if raised {
            self.point(dice)?;
        }
        let (mut change, mut dropped) = (Change::default(), BTreeSet::new());
        for (id, records) in parts {
            let blocks: Vec<_> = records.chunks(BLOCK).map(|cut| (block_of(cut), cut)).collect();
            let need = blocks.iter().map(|(block, _)| block.bytes).sum();
            if !trusted && memory.streams.get_mut(&id).is_some_and(Stream::doubt) {
                memory.marked.insert(id);
            }
            let room = self.make_room(&mut memory, id, need, &mut change);
            let name = memory.streams.get(&id).map(|it| it.name().clone());
            let ttl = name.and_then(|name| self.policy(&name).ttl_ms);
            let Some(stream) = memory.streams.get_mut(&id) else { continue };
            for (block, cut) in blocks {
                if room {
                    let closed = stream.stored(&block, ttl);
                    memory.segments.extend(closed.map(|start| (id, start)));
                    change.add.push((id, block, cut.to_vec()));
                } else {
                    stream.lost(Range { from: block.first, to: block.last }, GapReason::Quota);
                    memory.marked.insert(id);
                    dropped.insert(stream.name().clone());
                }
            }
        }
        memory.take_marks(&mut change);
        self.step(change, dice)?;
        self.memory = Some(memory);
        let kept = |name: &StreamName| !dropped.contains(name);
        Ok(told.into_iter().map(|(name, range)| (name.clone(), range, kept(&name))).collect())
    }

    fn make_room(&self, memory: &mut Memory, id: u32, need: u64, change: &mut Change) -> bool {
        let mut tried = BTreeSet::new();
        for _ in 0..4_096 {
            let rules = |id: u32| {
                let name = memory.streams.get(&id).map(|stream| stream.name().clone());
                Rules::from(&name.map(|name| self.policy(&name)).unwrap_or_default())
            };
            match quota::relief(&memory.streams, rules, id, need, self.limit, &tried) {
                Relief::Enough => return true,
                Relief::Refuse => return false,
                Relief::Drop { id, start, how, bytes } => {
                    let freed =
                        self.drop_from(memory, (id, start), how, bytes, GapReason::Quota, change);
                    if freed == 0 {
                        tried.insert((id, start, how == How::Settled));
                    }
                }
            }
        }
        false
    }

    fn drop_from(
        &self,
        memory: &mut Memory,
        (id, start): (u32, u64),
        how: How,
        bytes: u64,
        why: GapReason,
        change: &mut Change,
    ) -> u64 {
        // Records of this very step are not on disk yet, and are not dropped.
        let within = memory.streams.get(&id).and_then(|stream| stream.segment(start).copied());
        let Some(within) = within else { return 0 };
        let new = |(other, block, _): &(u32, Block, Vec<Record>)| {
            *other == id && block.first <= within.last && block.last >= within.first
        };
        if change.add.iter().any(new) {
            return 0;
        }
        if let How::Thin(every) = how {
            return self.thin(memory, (id, start), every, change);
        }
        let Some(stream) = memory.streams.get_mut(&id) else { return 0 };
        let Some(segment) = stream.segment(start).copied() else { return 0 };
        let mut heads = self.image.heads(id, segment.first, segment.last);
        heads.retain(|head| {
            let settled = &stream.kept().settled;
            !change.remove.contains(&(id, head.first))
                && (how != How::Settled || settled.missing(head.first, head.last).is_empty())
        });
        if how == How::Newest {
            heads.reverse();
        }
        let mut freed = 0;
        for head in heads {
            if freed >= bytes {
                break;
            }
            freed += head.bytes;
            stream.dropped(start, &head, why);
            change.remove.push((id, head.first));
        }
        if freed > 0 {
            memory.segments.insert((id, start));
            memory.marked.insert(id);
        }
        freed
    }

    fn thin(
        &self,
        memory: &mut Memory,
        (id, start): (u32, u64),
        every: u32,
        change: &mut Change,
    ) -> u64 {
        let Some(stream) = memory.streams.get_mut(&id) else { return 0 };
        let Some(segment) = stream.segment(start).copied() else { return 0 };
        let mut heads = self.image.heads(id, segment.first, segment.last);
        heads.retain(|head| !change.remove.contains(&(id, head.first)));
        let (Some(first), Some(last)) = (heads.first(), heads.last()) else { return 0 };
        let (mut from, last) = (first.first, last.last);
        let records = heads.iter().flat_map(|head| &self.image.blocks[&(id, head.first)].1);
        let kept: Vec<Record> = records.step_by(every as usize).cloned().collect();
        let cuts: Vec<&[Record]> = kept.chunks(BLOCK).collect();
        let mut blocks = Vec::new();
        change.remove.extend(heads.iter().map(|head| (id, head.first)));
        for (at, cut) in cuts.iter().enumerate() {
            let to = if at + 1 == cuts.len() { last } else { cut[cut.len() - 1].seq };
            let block = Block { first: from, last: to, ..block_of(cut) };
            blocks.push(block);
            change.add.push((id, block, cut.to_vec()));
            from = to + 1;
        }
        stream.thinned(start, &blocks);
        let now = stream.segment(start).map_or(0, |segment| segment.bytes);
        memory.segments.insert((id, start));
        memory.marked.insert(id);
        segment.bytes.saturating_sub(now)
    }

    /// Drops records whose ttl has passed, if the clock is relied on.
    pub(super) fn expire(&mut self, now: u64, dice: &mut Dice) -> Result<(), Crash> {
        let mut memory = self.memory.take().ok_or(Crash)?;
        let mut change = Change::default();
        for (id, stream) in &mut memory.streams {
            if stream.date(now) {
                memory.marked.insert(*id);
            }
        }
        let ids: Vec<u32> = memory.streams.keys().copied().collect();
        for id in ids {
            let stream = &memory.streams[&id];
            let Some(ttl) = self.policy(stream.name()).ttl_ms else { continue };
            for start in stream.expired(ttl, now) {
                let why = GapReason::Expired;
                self.drop_from(&mut memory, (id, start), How::Oldest, u64::MAX, why, &mut change);
            }
        }
        if !change.remove.is_empty() {
            memory.take_marks(&mut change);
            self.step(change, dice)?;
        }
        self.memory = Some(memory);
        Ok(())
    }

    /// Returns the records on disk.
    pub(super) fn on_disk(&self) -> BTreeSet<(StreamName, u64)> {
        let name = |id: &u32| self.image.streams.get(id).map(|kept| kept.name.clone());
        let blocks = self.image.blocks.iter().filter_map(|((id, _), (_, all))| {
            let name = name(id)?;
            Some(all.iter().map(move |record| (name.clone(), record.seq)))
        });
        blocks.flatten().collect()
    }

    /// Returns how long records of this stream are kept, in milliseconds.
    pub(super) fn ttl(&self, name: &StreamName) -> Option<u64> {
        self.policy(name).ttl_ms
    }

    /// Stores state that is only in memory.
    pub(super) fn keep_marks(&mut self, dice: &mut Dice) -> Result<(), Crash> {
        let mut memory = self.memory.take().ok_or(Crash)?;
        let mut change = Change::default();
        memory.take_marks(&mut change);
        self.step(change, dice)?;
        self.memory = Some(memory);
        Ok(())
    }

    /// Handles the control plane's statement which store it has.
    pub(super) fn stored_in(&mut self, store: u64, dice: &mut Dice) -> Result<(), Crash> {
        let mut memory = self.memory.take().ok_or(Crash)?;
        if memory.store != Some(store) {
            if memory.store.is_some() {
                for (id, stream) in &mut memory.streams {
                    let mut there = RangeSet::new();
                    for head in self.image.heads(*id, 0, u64::MAX) {
                        there.insert(head.first, head.last);
                    }
                    stream.unsettle(&there);
                    memory.marked.insert(*id);
                }
            }
            let mut change = Change { store: Some(store), ..Change::default() };
            memory.take_marks(&mut change);
            self.step(change, dice)?;
            memory.store = Some(store);
        }
        self.memory = Some(memory);
        Ok(())
    }

    /// Notes that the control plane has stored these numbers.
    pub(super) fn settle(&mut self, name: &StreamName, range: Range) {
        let Some(memory) = &mut self.memory else { return };
        let Some(id) = memory.ids.get(name).copied() else { return };
        if let Some(stream) = memory.streams.get_mut(&id) {
            stream.settle(range);
        }
        memory.marked.insert(id);
    }

    /// Continues above the numbers that the control plane knows, on a device that was copied or
    /// restored.
    pub(super) fn diverged(
        &mut self,
        given: Vec<(StreamName, u64)>,
        dice: &mut Dice,
    ) -> Result<(), Crash> {
        let mut memory = self.memory.take().ok_or(Crash)?;
        for (name, highest) in given {
            let id = memory.id_of(&name, highest + 1);
            let Some(stream) = memory.streams.get_mut(&id) else { continue };
            assert!(!stream.diverged(highest), "{name}: the control plane was not put back");
            self.ceilings.insert(name, stream.next() + AHEAD);
            memory.marked.insert(id);
        }
        let mut change = Change::default();
        memory.take_marks(&mut change);
        self.step(change, dice)?;
        self.memory = Some(memory);
        Ok(())
    }

    /// Assigns new numbers to records whose numbers stand for other records at the control plane,
    /// which knows numbers up to `highest`.
    pub(super) fn renumber(
        &mut self,
        name: &StreamName,
        (conflict, highest): (&RangeSet, u64),
        dice: &mut Dice,
    ) -> Result<(), Crash> {
        let mut memory = self.memory.take().ok_or(Crash)?;
        let id = memory.ids.get(name).copied();
        if let Some(id) = id
            && let Some(stream) = memory.streams.get_mut(&id)
        {
            let contested = stream.contested(conflict);
            if !contested.is_empty() {
                stream.skip_to(highest + 1);
                let starts: Vec<u64> = stream.segments().map(|(start, _)| start).collect();
                for start in starts {
                    self.move_segment(&mut memory, (id, start), &contested, dice)?;
                }
                if let Some(stream) = memory.streams.get_mut(&id) {
                    stream.move_gaps(&contested);
                }
                memory.marked.insert(id);
                let mut change = Change::default();
                memory.take_marks(&mut change);
                self.step(change, dice)?;
            }
        }
        self.memory = Some(memory);
        Ok(())
    }

    fn move_segment(
        &mut self,
        memory: &mut Memory,
        (id, start): (u32, u64),
        contested: &RangeSet,
        dice: &mut Dice,
    ) -> Result<(), Crash> {
        let Some(stream) = memory.streams.get_mut(&id) else { return Ok(()) };
        let Some(segment) = stream.segment(start).copied() else { return Ok(()) };
        let mut change = Change::default();
        let (mut left, mut numbers, mut moved) = (Vec::new(), RangeSet::new(), Vec::new());
        for head in self.image.heads(id, segment.first, segment.last) {
            let mine = contested.within(head.first, head.last);
            if mine.is_empty() {
                left.push(head);
                continue;
            }
            numbers.union(&mine);
            let records = self.image.blocks[&(id, head.first)].1.clone();
            let (gone, stay): (Vec<_>, Vec<_>) =
                records.into_iter().partition(|record| mine.contains(record.seq));
            moved.extend(gone);
            change.remove.push((id, head.first));
            for run in mine.missing(head.first, head.last).iter() {
                let within = |record: &&Record| (run.from..=run.to).contains(&record.seq);
                let records: Vec<Record> = stay.iter().filter(within).cloned().collect();
                if !records.is_empty() {
                    let block = Block { first: run.from, last: run.to, ..block_of(&records) };
                    left.push(block);
                    change.add.push((id, block, records));
                }
            }
        }
        if numbers.is_empty() {
            return Ok(());
        }
        let last = stream.next() + moved.len() as u64;
        self.ceilings.insert(stream.name().clone(), last + AHEAD);
        for (record, seq) in moved.iter_mut().zip(stream.next()..) {
            record.seq = seq;
        }
        stream.moved(start, &left, &numbers);
        memory.segments.insert((id, start));
        for cut in moved.chunks(BLOCK) {
            let block = block_of(cut);
            let closed = stream.stored(&block, None);
            memory.segments.extend(closed.map(|start| (id, start)));
            change.add.push((id, block, cut.to_vec()));
        }
        memory.marked.insert(id);
        memory.take_marks(&mut change);
        self.step(change, dice)
    }

    /// Returns a device with a copy of this one's disk.
    pub(super) fn copy(&self) -> Self {
        Self {
            image: self.image.clone(),
            lies: false,
            former: Image::default(),
            ceilings: self.ceilings.clone(),
            fresh: self.fresh,
            rolled_back: false,
            policies: self.policies.clone(),
            limit: self.limit,
            brittle: self.brittle,
            memory: None,
        }
    }

    /// Returns records of a stream on disk from this number on, at most `most` and none above `to`.
    pub(super) fn page(&self, id: u32, from: u64, to: u64, most: usize) -> Vec<Record> {
        self.image
            .heads(id, from, to)
            .iter()
            .flat_map(|head| &self.image.blocks[&(id, head.first)].1)
            .filter(|record| (from..=to).contains(&record.seq))
            .take(most)
            .cloned()
            .collect()
    }

    /// Returns the state of a number if power failed now.
    pub(super) fn fate(&self, name: &StreamName, seq: u64) -> Fate {
        let lost = self.fresh || self.rolled_back;
        let within_ceiling = self.ceilings.get(name).is_some_and(|ceiling| seq <= *ceiling);
        let Some((id, kept)) = self.image.streams.iter().find(|(_, kept)| kept.name == *name)
        else {
            return if lost && within_ceiling { Fate::Gap } else { Fate::Nothing };
        };
        if kept.settled.contains(seq) {
            return Fate::Settled;
        }
        if kept.gaps.values().any(|gaps| gaps.contains(seq)) {
            return Fate::Gap;
        }
        if let Some(head) = self.image.heads(*id, seq, seq).into_iter().next() {
            let records = &self.image.blocks[&(*id, head.first)].1;
            return match records.iter().find(|record| record.seq == seq) {
                Some(record) => Fate::Kept(record.value.clone()),
                None => Fate::Gap,
            };
        }
        if lost && within_ceiling { Fate::Gap } else { Fate::Nothing }
    }

    /// Asserts that the device's figures agree with its disk.
    pub(super) fn consistent(&self) {
        let Some(memory) = &self.memory else { return };
        for (id, stream) in &memory.streams {
            let heads = self.image.heads(*id, 0, u64::MAX);
            let name = stream.name();
            let sum = |of: fn(&Block) -> u64| heads.iter().map(of).sum::<u64>();
            assert_eq!(stream.bytes(), sum(|head| head.bytes), "{name}: bytes");
            assert_eq!(stream.count(), sum(|head| head.count), "{name}: records");
            let unsaid = heads.windows(2).find(|pair| pair[0].last >= pair[1].first);
            assert!(unsaid.is_none(), "{name}: blocks overlap: {unsaid:?}");
            for head in &heads {
                let held = stream
                    .segments()
                    .filter(|(_, it)| it.first <= head.first && it.last >= head.last)
                    .count();
                assert_eq!(held, 1, "{name}: block {head:?} is in one segment");
            }
            if stream.unshipped().is_empty() {
                assert_eq!(stream.waiting(), 0, "{name}: nothing waits");
            }
        }
    }
}

/// State of a sequence number on the device's disk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Stored as this record.
    Kept(Vec<u8>),
    /// Part of a gap that is to be told.
    Gap,
    /// Settled: the control plane is said to have it.
    Settled,
    /// Unknown to the disk.
    Nothing,
}

fn block_of(records: &[Record]) -> Block {
    let times = || records.iter().map(|record| record.time);
    Block {
        first: records.first().map_or(0, |record| record.seq),
        last: records.last().map_or(0, |record| record.seq),
        count: records.len() as u64,
        bytes: records.len() as u64 * WEIGHT,
        earliest: times().min().unwrap_or(0),
        latest: times().max().unwrap_or(0),
    }
}

impl Memory {
    fn id_of(&mut self, name: &StreamName, next: u64) -> u32 {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = self.streams.last_key_value().map_or(0, |(id, _)| id + 1);
        self.streams.insert(id, Stream::new(name.clone(), next));
        self.ids.insert(name.clone(), id);
        self.marked.insert(id);
        id
    }

    fn take_marks(&mut self, change: &mut Change) {
        for id in std::mem::take(&mut self.marked) {
            if let Some(stream) = self.streams.get(&id) {
                change.streams.insert(id, stream.kept().clone());
            }
        }
        for (id, start) in std::mem::take(&mut self.segments) {
            let segment = self.streams.get(&id).and_then(|stream| stream.segment(start));
            change.segments.insert((id, start), segment.copied());
        }
    }
}
