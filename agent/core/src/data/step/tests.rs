//! Tables of the steps, over a disk in memory.

use std::convert::Infallible;

use holdfast_records::{Format, Overflow};

use super::*;
use crate::data::Limits;

/// Disk of a test: blocks of one record each, of 100,000 bytes.
#[derive(Default)]
struct Disk(BTreeMap<Key, (Block, Vec<Record>)>);

struct Form(Block, Vec<Record>);

impl Stored for Form {
    fn block(&self) -> Block {
        self.0
    }

    fn rows(&self) -> u16 {
        1
    }
}

impl Blocks for Disk {
    type Head = Form;
    type Packed = Form;
    type Error = Infallible;

    fn heads(&self, id: u32, from: u64, to: u64) -> Result<(Vec<Form>, Vec<Range>), Infallible> {
        let all = self.0.range((id, 0)..=(id, to)).map(|(_, (block, _))| *block);
        let within = all.filter(|block| block.last >= from);
        Ok((within.map(|block| Form(block, Vec::new())).collect(), Vec::new()))
    }

    fn records(&self, id: u32, head: &Form) -> Result<Option<Vec<Record>>, Infallible> {
        Ok(self.0.get(&(id, head.0.first)).map(|(_, records)| records.clone()))
    }

    fn pack(_: u32, first: u64, last: u64, records: &[Record]) -> Form {
        let count = records.len() as u64;
        let block = Block { first, last, count, bytes: count * 100_000, earliest: 5, latest: 5 };
        Form(block, records.to_vec())
    }

    fn cut(records: &[Record]) -> Vec<&[Record]> {
        records.chunks(1).collect()
    }
}

impl Disk {
    fn apply(&mut self, change: Change<Form>) {
        self.0.retain(|key, _| !change.remove.contains_key(key));
        self.0.extend(change.add.into_iter().map(|(key, it)| (key, (it.0, it.1))));
    }
}

fn publish(stream: &str, owner: Option<&str>, count: usize) -> Publish {
    Publish {
        owner: owner.map(|owner| owner.parse().unwrap()),
        stream: stream.parse().unwrap(),
        time: 5,
        doubted: false,
        records: vec![(Format::Plain, b"x".to_vec()); count],
    }
}

fn policies(overflow: Overflow, quota: u64) -> DataPolicies {
    let streams = vec!["*".parse().unwrap()];
    let quota_bytes = Some(quota);
    let policy = StreamPolicy { streams, overflow, quota_bytes, ..StreamPolicy::default() };
    DataPolicies { streams: [("p".parse().unwrap(), policy)].into(), ..DataPolicies::default() }
}

const WIDE: Room = Room { limit: u64::MAX, low: false };

fn numbers(answers: &[Answer]) -> Vec<(u64, u64)> {
    answers
        .iter()
        .map(|answer| match answer {
            Answer::Nothing(range) | Answer::Numbered(_, range) => (range.from, range.to),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_group_gets_numbers_in_its_order_and_ceilings_before_them() {
    let (mut contents, mut disk) = (Contents::default(), Disk::default());
    let group = [publish("a", None, 3), publish("b", None, 1), publish("a", None, 2)];
    let numbered = contents.number(group.into_iter().chain([publish("a", None, 0)]), 0);
    assert_eq!(numbers(&numbered.answers), [(1, 3), (1, 1), (4, 5), (1, 0)]);
    let needed = contents.needed(&numbered);
    assert!(needed.iter().all(|(name, to)| *to > if name.as_str() == "a" { 5 } else { 1 }));
    let Ok(stored) = contents.store(numbered, &disk, &DataPolicies::default(), WIDE);
    assert!(stored.dropped.is_empty());
    assert_eq!((stored.payload, stored.change.add.len(), stored.change.streams.len()), (6, 6, 2));
    disk.apply(stored.change);
    let numbered = contents.number([publish("a", None, 1)], 0);
    assert_eq!(numbers(&numbered.answers), [(6, 6)]);
    assert!(contents.marks::<Form>().is_empty(), "all of it went along with the group");
}

#[test]
fn room_is_made_in_the_same_change_and_what_finds_none_is_numbered_and_dropped() {
    for (overflow, removed, dropped) in
        [(Overflow::DropOldest, 3, false), (Overflow::DropNewest, 0, true)]
    {
        let (mut contents, mut disk) = (Contents::default(), Disk::default());
        let policies = policies(overflow, 300_000);
        let numbered = contents.number([publish("a", None, 3)], 0);
        let Ok(stored) = contents.store(numbered, &disk, &policies, WIDE);
        disk.apply(stored.change);
        let numbered = contents.number([publish("a", None, 2)], 0);
        // Two blocks are over the quota; a third goes for a 64th of the limit as spare room.
        let room = Room { limit: 400_000, low: false };
        let Ok(stored) = contents.store(numbered, &disk, &policies, room);
        assert_eq!(stored.change.remove.len(), removed, "{overflow:?}");
        assert_eq!(!stored.dropped.is_empty(), dropped, "{overflow:?}");
        let stream = contents.stream(0).unwrap();
        assert_eq!(stream.next(), 6, "numbers are given either way");
        let gap = stream.unreported_gaps(1).first().copied().unwrap();
        let expected = if dropped { (4, 5) } else { (1, 3) };
        assert_eq!((gap.from, gap.to, gap.reason), (expected.0, expected.1, GapReason::Quota));
    }
}

#[test]
fn a_start_goes_on_above_the_ceilings_only_where_something_may_be_lost() {
    let name: StreamName = "a".parse().unwrap();
    for (whole, rolled_back, damaged, next) in [
        (true, false, false, 11),
        (false, false, false, 257),
        (true, true, false, 257),
        // Nothing but the clock bounds what was given.
        (true, true, true, 9_000),
    ] {
        let mut ceilings = Ceilings::new(1, [(name.clone(), 256)].into());
        ceilings.damaged = damaged;
        let streams = [(0, Stream::new(name.clone(), 11))].into();
        let found = Found { streams, whole, rolled_back, ..Found::default() };
        let mut contents = Contents::default();
        let loaded: Loaded<Form> = contents.load(found, &mut ceilings, 9_000);
        assert_eq!(contents.stream(0).map(Stream::next), Some(next), "{whole} {rolled_back}");
        assert_eq!(loaded.change.is_some_and(|it| it.whole), next != 11);
        assert_eq!(loaded.is_gone, !whole);
    }
}

#[test]
fn ceilings_rise_by_doubled_steps_and_a_forgotten_stream_leaves_none() {
    let name: StreamName = "a".parse().unwrap();
    let (none, all) = (BTreeSet::new(), BTreeSet::from([name.clone()]));
    let mut ceilings = Ceilings::default();
    for (needed, expected) in [(1, 257), (258, 258 + 512), (800, 800 + 1_024)] {
        ceilings = ceilings.raised(&[(name.clone(), needed)], &none, 1).unwrap();
        assert_eq!(ceilings.by_stream().get(&name), Some(&expected));
        assert_eq!(ceilings.raised(&[(name.clone(), needed)], &none, 1), None, "it is covered");
    }
    let gone = ceilings.raised(&[], &all, 7).unwrap();
    assert!(gone.by_stream().is_empty() && gone.base() == 7);
}

#[test]
fn room_is_the_quota_or_what_the_disk_has_left() {
    const MIB: u64 = 1024 * 1024;
    let limits = |quota: Option<u64>| Limits {
        quota: quota.map(|it| it * MIB),
        reserve: Some(16 * MIB),
        endurance: None,
    };
    for (quota, free, has, limit, low) in [
        (Some(64), 500, 0, 64, false),
        (None, 5_000, 0, 1_000, false),
        (Some(200), 30, 100, 104, true),
        (Some(64), 10, 0, 0, true),
    ] {
        let room = Room::on_disk(limits(quota), 10_000 * MIB, free * MIB, has * MIB);
        assert_eq!((room.limit / MIB, room.low), (limit, low));
        assert_eq!(room.is_none(), limit == 0);
    }
}
