//! Random interleavings of two holders at one [`DataStore`], compared with a model: whose lease is
//! not the newest that was claimed gets `Lost`, and everything else is written as a whole.

use std::collections::BTreeMap;

use holdfast_control::ports::data_store::{
    Block, DataBatch, DataError, DataStore, Direction, Head, StreamRow,
};
use holdfast_control::ports::rows::{Answer, Segment};
use holdfast_control::ports::store::Fence;
use holdfast_records::Range;
use proptest::prelude::*;

use super::data_contract::{block, row};

/// Part of a batch, in a stream of three.
#[derive(Debug, Clone)]
pub enum Wish {
    /// Writes the stream's row.
    Stream(u64),
    /// Removes the stream's row.
    GoneStream(u64),
    /// Writes a segment of three numbers, or removes it.
    Segment(u64, u64, bool),
    /// Writes a block.
    Block(u64, u64, u8),
    /// Removes a block.
    GoneBlock(u64, u64),
    /// Sets a block aside.
    SetAside(u64, u64),
}

/// One step of a holder, 0 or 1.
#[derive(Debug, Clone)]
pub enum Step {
    /// Gets a newer lease than all before, and claims the shard.
    Claim(usize),
    /// Gets a newer lease, and is paused before it claims.
    Lease(usize),
    /// Claims with the lease that it has.
    ClaimLate(usize),
    /// Commits a batch. The holder may have lost its lease meanwhile.
    Commit(usize, Vec<Wish>),
}

/// Returns random steps of two holders.
pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (stream, place) = (1..4_u64, (0..4_u64).prop_map(|at| 1 + 5 * at));
    let wish = prop_oneof![
        stream.clone().prop_map(Wish::Stream),
        stream.clone().prop_map(Wish::GoneStream),
        (stream.clone(), place.clone(), proptest::bool::weighted(0.7))
            .prop_map(|(id, from, is_there)| Wish::Segment(id, from, is_there)),
        (stream.clone(), place.clone(), any::<u8>())
            .prop_map(|(id, first, content)| Wish::Block(id, first, content)),
        (stream.clone(), place.clone()).prop_map(|(id, first)| Wish::GoneBlock(id, first)),
        (stream, place).prop_map(|(id, first)| Wish::SetAside(id, first)),
    ];
    let step = prop_oneof![
        1 => (0..2_usize).prop_map(Step::Claim),
        1 => (0..2_usize).prop_map(Step::Lease),
        1 => (0..2_usize).prop_map(Step::ClaimLate),
        6 => ((0..2_usize), proptest::collection::vec(wish, 0..6))
            .prop_map(|(holder, wishes)| Step::Commit(holder, wishes)),
    ];
    proptest::collection::vec(step, 1..40)
}

fn batch(fence: Option<Fence>, wishes: &[Wish]) -> DataBatch {
    let mut batch = DataBatch { fence, ..DataBatch::default() };
    for wish in wishes {
        match *wish {
            Wish::Stream(id) => batch.streams.push(row(id)),
            Wish::GoneStream(id) => batch.gone_streams.push(id),
            Wish::Segment(id, from, is_there) => {
                let value = is_there.then_some((from + 2, Answer::Received));
                batch.segments.push((id, vec![(from, value)]));
            }
            Wish::Block(id, first, content) => batch.blocks.push(block(id, first, content)),
            Wish::GoneBlock(id, first) => batch.gone_blocks.push((id, first)),
            Wish::SetAside(id, first) => batch.set_aside.push((id, first)),
        }
    }
    batch
}

#[derive(Debug, Default)]
struct Model {
    given: u64,
    claimed: u64,
    fences: [Option<Fence>; 2],
    streams: BTreeMap<u64, StreamRow>,
    segments: BTreeMap<(u64, u64), (u64, Answer)>,
    blocks: BTreeMap<(u64, u64), (Head, Vec<u8>)>,
}

/// Runs steps against an empty store, and compares each outcome and the content afterwards.
pub fn run(store: &dyn DataStore, steps: &[Step]) {
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Claim(holder) => {
                model.lease(*holder);
                model.claim(store, *holder);
            }
            Step::Lease(holder) => model.lease(*holder),
            Step::ClaimLate(holder) => model.claim(store, *holder),
            Step::Commit(holder, wishes) => model.commit(store, *holder, wishes),
        }
    }
    model.compare(store);
}

impl Model {
    fn lease(&mut self, holder: usize) {
        self.given += 1;
        self.fences[holder] = Some(Fence { shard: 0, epoch: self.given });
    }

    /// Returns whether the lease was lost, and notes the claim otherwise.
    fn is_lost(&mut self, fence: Option<Fence>) -> bool {
        let Some(fence) = fence else { return false };
        let lost = fence.epoch < self.claimed;
        self.claimed = self.claimed.max(fence.epoch);
        lost
    }

    fn claim(&mut self, store: &dyn DataStore, holder: usize) {
        let Some(fence) = self.fences[holder] else { return };
        let outcome = store.claim(fence);
        let lost = self.is_lost(Some(fence));
        assert_eq!(matches!(outcome, Err(DataError::Lost(of)) if of == fence), lost);
        assert_eq!(outcome.is_err(), lost);
    }

    fn commit(&mut self, store: &dyn DataStore, holder: usize, wishes: &[Wish]) {
        let batch = batch(self.fences[holder], wishes);
        let outcome = store.commit(&batch);
        let lost = self.is_lost(batch.fence);
        assert_eq!(outcome.is_err(), lost, "{outcome:?}");
        if lost {
            return;
        }
        self.streams.extend(batch.streams.into_iter().map(|row| (row.id, row)));
        for (id, rows) in batch.segments {
            for (from, value) in rows {
                match value {
                    Some(value) => drop(self.segments.insert((id, from), value)),
                    None => drop(self.segments.remove(&(id, from))),
                }
            }
        }
        for (id, head, block) in batch.blocks {
            self.blocks.insert((id, head.first), (head, block));
        }
        for key in batch.set_aside.iter().chain(&batch.gone_blocks) {
            self.blocks.remove(key);
        }
        batch.gone_streams.iter().for_each(|id| drop(self.streams.remove(id)));
    }

    fn compare(&self, store: &dyn DataStore) {
        let streams: Vec<_> = self.streams.values().cloned().collect();
        assert_eq!(store.streams().unwrap(), streams);
        let all = Range { from: 0, to: u64::MAX };
        for id in 1..4 {
            let range = (id, 0)..=(id, u64::MAX);
            let segments = self.segments.range(range.clone());
            let segments = segments.map(|((_, from), (to, answer))| Segment {
                from: *from,
                to: *to,
                answer: *answer,
            });
            assert_eq!(store.segments(id, all, 99).unwrap(), segments.collect::<Vec<_>>());
            let heads: Vec<Head> = self.blocks.range(range.clone()).map(|(_, it)| it.0).collect();
            assert_eq!(store.heads(id, all, 99, Direction::Up).unwrap(), heads);
            for ((_, first), (_, bytes)) in self.blocks.range(range) {
                let read = store.block(id, *first).unwrap();
                assert_eq!(read, Some(Block::Whole(bytes.clone())));
            }
        }
    }
}
