//! Table of what every implementation of [`DataStore`] does.

use holdfast_control::ports::data_store::{
    Block, DataBatch, DataError, DataStore, Direction, Head, StreamRow,
};
use holdfast_control::ports::rows::{Answer, Tally};
use holdfast_control::ports::store::Fence;
use holdfast_records::Range;

/// Runs the whole table, each row on a new store from `make`.
pub fn data_store_contract(make: impl Fn() -> Box<dyn DataStore>) {
    what_is_written_is_read_by_ranges(&*make());
    what_goes_is_gone(&*make());
    a_claim_excludes_earlier_leases(&*make());
    shards_are_claimed_alone(&*make());
}

/// Makes the row of an empty stream.
pub fn row(id: u64) -> StreamRow {
    let (device, stream) = ("d".parse().unwrap(), format!("s{id}").parse().unwrap());
    let (tenant, tally) = ("default".parse().unwrap(), Tally::default());
    StreamRow { id, tenant, device, owner: 7, stream, gone: false, tally }
}

/// Makes a block of five numbers.
pub fn block(stream: u64, first: u64, content: u8) -> (u64, Head, Vec<u8>) {
    let last = first + 4;
    let head = Head { first, last, count: 5, min_time: 1, max_time: 2, stored: 3, bytes: 3 };
    (stream, head, vec![content; 3])
}

fn full() -> DataBatch {
    let segment = |to| Some((to, Answer::Received));
    DataBatch {
        streams: vec![row(1), row(2)],
        segments: vec![(1, vec![(1, segment(4)), (6, segment(9))]), (2, vec![(2, segment(2))])],
        blocks: vec![block(1, 1, 1), block(1, 6, 6), block(1, 11, 11)],
        ..DataBatch::default()
    }
}

fn segments(store: &dyn DataStore, from: u64, to: u64, most: usize) -> Vec<u64> {
    let all = store.segments(1, Range { from, to }, most).unwrap();
    all.into_iter().map(|segment| segment.from).collect()
}

fn heads(store: &dyn DataStore, from: u64, to: u64, direction: Direction) -> Vec<u64> {
    let all = store.heads(1, Range { from, to }, 2, direction).unwrap();
    all.into_iter().map(|head| head.first).collect()
}

fn what_is_written_is_read_by_ranges(store: &dyn DataStore) {
    store.commit(&full()).unwrap();
    assert_eq!(store.streams().unwrap(), [row(1), row(2)]);
    for (from, to, most, expected) in
        [(0, 100, 9, &[1, 6][..]), (4, 6, 9, &[1, 6]), (5, 5, 9, &[]), (2, 100, 1, &[1])]
    {
        assert_eq!(segments(store, from, to, most), expected, "{from} to {to}");
    }
    for (from, to, direction, expected) in [
        (0, 99, Direction::Up, &[1, 6][..]),
        (0, 99, Direction::Down, &[11, 6]),
        (2, 6, Direction::Down, &[6]),
        (7, 6, Direction::Down, &[]),
        (7, 6, Direction::Up, &[]),
    ] {
        assert_eq!(heads(store, from, to, direction), expected, "{from} to {to}");
    }
    assert_eq!(store.block(1, 6).unwrap(), Some(Block::Whole(vec![6; 3])));
    assert_eq!(store.block(2, 6).unwrap(), None);
    assert_eq!(store.id().unwrap(), store.id().unwrap());
    assert_eq!(store.damaged(), None);
}

fn what_goes_is_gone(store: &dyn DataStore) {
    store.commit(&full()).unwrap();
    let gone = DataBatch {
        gone_blocks: vec![(1, 6)],
        set_aside: vec![(1, 11)],
        segments: vec![(1, vec![(1, None)])],
        gone_streams: vec![2],
        ..DataBatch::default()
    };
    store.commit(&gone).unwrap();
    assert_eq!(heads(store, 0, 99, Direction::Up), [1]);
    assert_eq!(store.block(1, 6).unwrap(), None);
    assert_eq!(store.block(1, 11).unwrap(), None);
    assert_eq!(segments(store, 0, 100, 9), [6]);
    assert_eq!(store.streams().unwrap(), [row(1)]);
}

fn of(id: u64, fence: Option<Fence>) -> DataBatch {
    DataBatch { fence, streams: vec![row(id)], ..DataBatch::default() }
}

fn is_lost(outcome: Result<(), DataError>, expected: Fence) -> bool {
    matches!(outcome, Err(DataError::Lost(fence)) if fence == expected)
}

fn a_claim_excludes_earlier_leases(store: &dyn DataStore) {
    let fence = |epoch| Fence { shard: 0, epoch };
    store.claim(fence(3)).unwrap();
    store.commit(&of(1, Some(fence(3)))).unwrap();
    store.claim(fence(5)).unwrap();
    assert!(is_lost(store.commit(&of(2, Some(fence(3)))), fence(3)));
    assert!(is_lost(store.claim(fence(4)), fence(4)), "it was given before the present one");
    store.claim(fence(5)).unwrap();
    store.commit(&of(3, Some(fence(5)))).unwrap();
    store.commit(&of(4, None)).unwrap();
    // A commit claims too: its lease may be newer than the last claim.
    store.commit(&of(5, Some(fence(6)))).unwrap();
    assert!(is_lost(store.commit(&of(6, Some(fence(5)))), fence(5)));
    let ids: Vec<u64> = store.streams().unwrap().iter().map(|row| row.id).collect();
    assert_eq!(ids, [1, 3, 4, 5], "nothing of a refused batch is written");
}

fn shards_are_claimed_alone(store: &dyn DataStore) {
    let fence = |shard, epoch| Fence { shard, epoch };
    store.claim(fence(0, 1)).unwrap();
    store.claim(fence(1, 9)).unwrap();
    store.commit(&of(1, Some(fence(0, 1)))).unwrap();
    assert!(is_lost(store.commit(&of(2, Some(fence(1, 8)))), fence(1, 8)));
}
