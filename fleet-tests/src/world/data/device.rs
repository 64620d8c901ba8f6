//! The device's half of the data world: the shipped steps of its buffer over a simulated disk. A
//! change is on disk as a whole or not at all, and the process ends between any two writes.
//!
//! See decision 0137.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Instant;

use holdfast_agent::core::data::step::{
    Answer, Blocks, Ceilings, Change, Contents, Found, Moment, Publish, Ready, Room, Step, Stored,
};
use holdfast_agent::core::data::stream::{Block, Kept, Segment};
use holdfast_records::{DataPolicies, Format, Given, Range, RangeSet, Record, StreamName};

use super::super::Dice;

/// Bytes on disk of a record: far more than its value, so that a small world fills segments.
const WEIGHT: u64 = 9 * 1024;
/// Records of a block.
const BLOCK: usize = 6;

/// Size that is aimed at for a batch: a few blocks, or less than one as on a link whose budget is
/// nearly used up.
pub(super) fn size(dice: &mut Dice) -> usize {
    if dice.permille(300) {
        dice.between(40, 400) as usize
    } else {
        (dice.between(1, 20) * WEIGHT) as usize
    }
}

/// The process ended here.
#[derive(Debug)]
pub(super) struct Crash;

/// A block on the simulated disk, which is not encoded.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    block: Block,
    records: Vec<Record>,
}

impl Stored for Piece {
    fn block(&self) -> Block {
        self.block
    }

    fn rows(&self) -> u16 {
        1
    }
}

/// Head of a block on the simulated disk.
pub(super) struct Head(Block);

impl Stored for Head {
    fn block(&self) -> Block {
        self.0
    }

    fn rows(&self) -> u16 {
        1
    }
}

/// Content of the disk: `data.redb` and its journal.
#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    streams: BTreeMap<u32, Kept>,
    segments: BTreeMap<(u32, u64), Segment>,
    blocks: BTreeMap<(u32, u64), Piece>,
    /// Control plane's store that has what is settled.
    pub(super) store: Option<u64>,
    base: Option<u64>,
    /// True once what was lost before this file is accounted for.
    whole: bool,
}

impl Image {
    fn apply(&mut self, change: Change<Piece>) {
        for key in change.remove.keys() {
            self.blocks.remove(key);
        }
        self.blocks.extend(change.add);
        for (key, segment) in change.segments {
            match segment {
                Some(segment) => drop(self.segments.insert(key, segment)),
                None => drop(self.segments.remove(&key)),
            }
        }
        for (id, kept) in change.streams {
            match kept {
                Some(kept) => drop(self.streams.insert(id, kept)),
                None => drop(self.streams.remove(&id)),
            }
        }
        self.store = change.store.or(self.store);
        self.base = change.base.or(self.base);
        self.whole |= change.whole;
    }

    fn heads(&self, id: u32, from: u64, to: u64) -> Vec<Block> {
        let before = self.blocks.range((id, 0)..=(id, from)).next_back();
        let begin = before.map_or(from, |((_, first), _)| *first);
        let all = self.blocks.range((id, begin)..=(id, to)).map(|(_, piece)| piece.block);
        all.filter(|block| block.last >= from).collect()
    }
}

impl Blocks for Image {
    type Head = Head;
    type Packed = Piece;
    type Error = Infallible;

    fn heads(&self, id: u32, from: u64, to: u64) -> Result<(Vec<Head>, Vec<Range>), Infallible> {
        Ok((self.heads(id, from, to).into_iter().map(Head).collect(), Vec::new()))
    }

    fn records(&self, id: u32, head: &Head) -> Result<Option<Vec<Record>>, Infallible> {
        Ok(self.blocks.get(&(id, head.0.first)).map(|piece| piece.records.clone()))
    }

    fn pack(_: u32, first: u64, last: u64, records: &[Record]) -> Piece {
        let block = Block { first, last, ..block_of(records) };
        Piece { block, records: records.to_vec() }
    }

    fn cut(records: &[Record]) -> Vec<&[Record]> {
        records.chunks(BLOCK).collect()
    }
}

/// A device's buffer.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) image: Image,
    /// The disk says that a step is durable before it is.
    pub(super) lies: bool,
    /// The step before the last: what a disk that lies falls back to.
    former: Image,
    /// On disk: `data.ceilings`.
    ceilings: Ceilings,
    rolled_back: bool,
    pub(super) policies: DataPolicies,
    /// Bytes of all records.
    limit: u64,
    /// The process may end between any two writes.
    pub(super) brittle: bool,
    /// State in memory; `None` while the process does not run.
    pub(super) memory: Option<Contents>,
    /// Time given to marks, whatever the hour: the world says when they are stored.
    moment: Instant,
}

impl Device {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            image: Image::default(),
            lies: false,
            former: Image::default(),
            ceilings: Ceilings::default(),
            rolled_back: false,
            policies: DataPolicies::default(),
            limit,
            brittle: true,
            memory: None,
            moment: Instant::now(),
        }
    }

    /// `kill -9`, or power off.
    pub(super) fn crash(&mut self) {
        self.memory = None;
    }

    /// The disk had said that the last step was durable, and it was not.
    pub(super) fn roll_back(&mut self) {
        self.memory = None;
        self.image = std::mem::take(&mut self.former);
        self.former = self.image.clone();
        self.rolled_back = true;
    }

    /// The file is unreadable and is set aside at the next start.
    pub(super) fn destroy(&mut self) {
        self.memory = None;
        self.image = Image::default();
        self.former = Image::default();
    }

    /// Starts the process.
    pub(super) fn start(&mut self, dice: &mut Dice) -> Result<(), Crash> {
        let mut found = Found {
            rolled_back: self.rolled_back,
            base: self.image.base,
            store: self.image.store,
            whole: self.image.whole,
            ..Found::default()
        };
        for (id, kept) in &self.image.streams {
            let closed = self.image.segments.range((*id, 0)..=(*id, u64::MAX));
            let closed = closed.map(|((_, start), segment)| (*start, *segment)).collect();
            let Ok(()) = found.add(&self.image, *id, kept.clone(), closed);
        }
        // How far the last raises went is not on disk.
        self.ceilings = Ceilings::new(self.ceilings.base(), self.ceilings.by_stream().clone());
        let mut memory = Contents::default();
        // No clock is needed: the ceilings are never lost here.
        let loaded = memory.load(found, &mut self.ceilings, 0);
        if let Some(change) = loaded.change {
            self.step(change, dice)?;
        }
        self.rolled_back = false;
        let given = memory.given();
        self.raise(&mut memory, &given, dice)?;
        self.memory = Some(memory);
        Ok(())
    }

    fn point(&self, dice: &mut Dice) -> Result<(), Crash> {
        if self.brittle && dice.permille(15) { Err(Crash) } else { Ok(()) }
    }

    /// One durable step, with the process ending before or after it.
    fn step(&mut self, change: Change<Piece>, dice: &mut Dice) -> Result<(), Crash> {
        self.point(dice)?;
        if self.lies {
            self.former = self.image.clone();
        }
        self.image.apply(change);
        self.point(dice)
    }

    /// Writes ceilings, unless they are high enough.
    fn raise(
        &mut self,
        memory: &mut Contents,
        needed: &[(StreamName, u64)],
        dice: &mut Dice,
    ) -> Result<(), Crash> {
        if let Some(raised) = self.ceilings.raised(needed, memory.gone(), memory.base()) {
            self.point(dice)?;
            self.ceilings = raised;
        }
        memory.covered();
        Ok(())
    }

    fn carry_out(
        &mut self,
        memory: &mut Contents,
        step: Step<Piece>,
        dice: &mut Dice,
    ) -> Result<(), Crash> {
        self.raise(memory, &step.ceilings, dice)?;
        self.step(step.change, dice)
    }

    /// Stores a group; gives the numbers of each stream's records, and whether they may be
    /// acknowledged: if not, they were dropped.
    pub(super) fn store(
        &mut self,
        group: Vec<(StreamName, Vec<Vec<u8>>)>,
        (now, trusted): (u64, bool),
        dice: &mut Dice,
    ) -> Result<Vec<(StreamName, Range, bool)>, Crash> {
        let mut memory = self.memory.take().ok_or(Crash)?;
        let names: Vec<StreamName> = group.iter().map(|(name, _)| name.clone()).collect();
        let publishes = group.into_iter().map(|(stream, values)| {
            let records = values.into_iter().map(|value| (Format::Plain, value)).collect();
            Publish { owner: None, stream, time: now, doubted: !trusted, records }
        });
        let mut numbered = memory.number(publishes, now);
        let answers = std::mem::take(&mut numbered.answers);
        self.point(dice)?;
        let needed = memory.needed(&numbered);
        self.raise(&mut memory, &needed, dice)?;
        let room = Room { limit: self.limit, low: false };
        let Ok(stored) = memory.store(numbered, &self.image, &self.policies, room);
        self.step(stored.change, dice)?;
        self.memory = Some(memory);
        let told = names.into_iter().zip(answers).map(|(name, answer)| match answer {
            Answer::Numbered(id, range) => (name, range, !stored.dropped.contains(&id)),
            other => panic!("{name}: {other:?}"),
        });
        Ok(told.collect())
    }

    /// Drops what its ttl has passed for, by a clock that is relied on.
    pub(super) fn expire(&mut self, now: u64, dice: &mut Dice) -> Result<(), Crash> {
        let mut memory = self.memory.take().ok_or(Crash)?;
        let Ok(change) = memory.expire(now, &self.image, &self.policies, self.moment);
        if let Some(change) = change {
            self.step(change, dice)?;
        }
        self.memory = Some(memory);
        Ok(())
    }

    /// Records on disk.
    pub(super) fn on_disk(&self) -> BTreeSet<(StreamName, u64)> {
        let name = |id: &u32| self.image.streams.get(id).map(|kept| kept.name.clone());
        let blocks = self.image.blocks.iter().filter_map(|((id, _), piece)| {
            let name = name(id)?;
            Some(piece.records.iter().map(move |record| (name.clone(), record.seq)))
        });
        blocks.flatten().collect()
    }

    /// Time for which records of this stream are kept, in milliseconds.
    pub(super) fn ttl(&self, name: &StreamName) -> Option<u64> {
        self.policies.of(name).and_then(|(_, policy)| policy.ttl_ms)
    }

    /// Stores marks that are only in memory.
    pub(super) fn keep_marks(&mut self, dice: &mut Dice) -> Result<(), Crash> {
        let mut memory = self.memory.take().ok_or(Crash)?;
        self.step(memory.marks(), dice)?;
        self.memory = Some(memory);
        Ok(())
    }

    /// The control plane says which store it has.
    pub(super) fn stored_in(&mut self, store: u64, dice: &mut Dice) -> Result<(), Crash> {
        let mut memory = self.memory.take().ok_or(Crash)?;
        if !memory.has_store(store) {
            let Ok(change) = memory.set_store(&self.image, store);
            self.step(change, dice)?;
            memory.confirm_store(store);
        }
        self.memory = Some(memory);
        Ok(())
    }

    /// The control plane has stored this.
    pub(super) fn settle(&mut self, name: &StreamName, range: Range) {
        let Some(memory) = &mut self.memory else { return };
        if let Some(id) = memory.id(name) {
            memory.settle(id, &RangeSet::from_ranges([range]), self.moment);
        }
    }

    /// The control plane knows numbers up to these of a device that was copied or put back.
    pub(super) fn diverged(
        &mut self,
        given: Vec<(StreamName, u64)>,
        dice: &mut Dice,
    ) -> Result<(), Crash> {
        let mut memory = self.memory.take().ok_or(Crash)?;
        let given = given.into_iter().map(|(stream, highest)| Given { stream, highest }).collect();
        let Ok((step, again)) = memory.diverged(&self.image, given);
        assert!(!again, "the control plane was not put back");
        self.carry_out(&mut memory, step, dice)?;
        self.memory = Some(memory);
        Ok(())
    }

    /// Renumbers records whose numbers stand for others at the control plane, which knows numbers up to
    /// `highest`.
    pub(super) fn renumber(
        &mut self,
        name: &StreamName,
        (conflict, highest): (&RangeSet, u64),
        dice: &mut Dice,
    ) -> Result<(), Crash> {
        let mut memory = self.memory.take().ok_or(Crash)?;
        let id = memory.id(name);
        if let Some(mut renumbering) = id.and_then(|id| memory.renumber(id, conflict, highest)) {
            loop {
                let Ok(step) = renumbering.next(&mut memory, &self.image, &self.policies);
                match step {
                    Some(step) => self.carry_out(&mut memory, step, dice)?,
                    None => break,
                }
            }
        }
        self.memory = Some(memory);
        Ok(())
    }

    /// Copies the disk to another device, whose process does not run.
    pub(super) fn copy(&self) -> Self {
        Self {
            image: self.image.clone(),
            lies: false,
            former: Image::default(),
            ceilings: self.ceilings.clone(),
            rolled_back: false,
            policies: self.policies.clone(),
            limit: self.limit,
            brittle: self.brittle,
            memory: None,
            moment: self.moment,
        }
    }

    /// Builds the next batch of a stream, of about `bytes` bytes, by the shipped step. `now` is in
    /// milliseconds since 1970.
    pub(super) fn batch(&mut self, name: &StreamName, bytes: usize, now: u64) -> Option<Ready> {
        let at = Moment { wall: now, now: self.moment };
        let memory = self.memory.as_mut()?;
        let Ok(ready) = memory.batch(&self.image, &self.policies, name, bytes, at);
        ready
    }

    /// Requests records of a stream in full, of at most `most` bytes.
    pub(super) fn want(&mut self, name: &StreamName, most: u64) {
        let Some(memory) = &mut self.memory else { return };
        if let Some(id) = memory.id(name) {
            let Ok(_chosen) = memory.want(&self.image, id, (0, u64::MAX), most, self.moment);
        }
    }

    /// Names of the streams, while the process runs.
    pub(super) fn names(&self) -> Vec<StreamName> {
        let streams = self.memory.iter().flat_map(|memory| memory.streams().values());
        streams.map(|stream| stream.name().clone()).collect()
    }

    /// Tells what would become of a number if the power went now.
    pub(super) fn fate(&self, name: &StreamName, seq: u64) -> Fate {
        let lost = !self.image.whole || self.rolled_back;
        let within_ceiling =
            self.ceilings.by_stream().get(name).is_some_and(|ceiling| seq <= *ceiling);
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
            let records = &self.image.blocks[&(*id, head.first)].records;
            return match records.iter().find(|record| record.seq == seq) {
                Some(record) => Fate::Kept(record.value.clone()),
                None => Fate::Gap,
            };
        }
        if lost && within_ceiling { Fate::Gap } else { Fate::Nothing }
    }

    /// Checks that the report of the device agrees with its disk.
    pub(super) fn consistent(&self) {
        let Some(memory) = &self.memory else { return };
        for (id, stream) in memory.streams() {
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

/// Place of a sequence number on the disk of the device.
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
