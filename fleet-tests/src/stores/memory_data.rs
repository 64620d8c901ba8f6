//! Data store in memory, for the world of data and as the second implementation of the port's
//! tests.

use std::collections::BTreeMap;
use std::sync::Mutex;

use holdfast_control::ports::data_store::{
    Block, DataBatch, DataError, DataStore, Direction, Head, StreamRow,
};
use holdfast_control::ports::rows::{Answer, Disk, Segment};
use holdfast_control::ports::store::{Fence, Shard, StoreError};
use holdfast_records::Range;

#[derive(Debug, Default)]
struct State {
    claimed: BTreeMap<Shard, u64>,
    streams: BTreeMap<u64, StreamRow>,
    segments: BTreeMap<(u64, u64), (u64, Answer)>,
    blocks: BTreeMap<(u64, u64), (Head, Vec<u8>)>,
}

/// Data store in memory.
#[derive(Debug)]
pub struct MemoryDataStore {
    id: u64,
    state: Mutex<State>,
}

impl MemoryDataStore {
    /// Makes an empty store with this id.
    pub fn new(id: u64) -> Self {
        Self { id, state: Mutex::default() }
    }
}

impl State {
    fn claim(&mut self, fence: Fence) -> Result<(), DataError> {
        let newest = self.claimed.entry(fence.shard).or_default();
        if fence.epoch < *newest {
            return Err(DataError::Lost(fence));
        }
        *newest = fence.epoch;
        Ok(())
    }
}

fn keys(stream: u64, range: Range) -> std::ops::RangeInclusive<(u64, u64)> {
    (stream, range.from)..=(stream, range.to)
}

impl DataStore for MemoryDataStore {
    fn claim(&self, fence: Fence) -> Result<(), DataError> {
        self.state.lock().unwrap().claim(fence)
    }

    fn commit(&self, batch: &DataBatch) -> Result<(), DataError> {
        let mut guard = self.state.lock().unwrap();
        let state = &mut *guard;
        if let Some(fence) = batch.fence {
            state.claim(fence)?;
        }
        state.streams.extend(batch.streams.iter().map(|row| (row.id, row.clone())));
        for (stream, rows) in &batch.segments {
            for (from, row) in rows {
                match row {
                    Some(row) => drop(state.segments.insert((*stream, *from), *row)),
                    None => drop(state.segments.remove(&(*stream, *from))),
                }
            }
        }
        for (stream, head, block) in &batch.blocks {
            state.blocks.insert((*stream, head.first), (*head, block.clone()));
        }
        for key in batch.gone_blocks.iter().chain(&batch.set_aside) {
            state.blocks.remove(key);
        }
        for id in &batch.gone_streams {
            state.streams.remove(id);
        }
        Ok(())
    }

    fn id(&self) -> Result<u64, StoreError> {
        Ok(self.id)
    }

    fn streams(&self) -> Result<Vec<StreamRow>, StoreError> {
        Ok(self.state.lock().unwrap().streams.values().cloned().collect())
    }

    fn segments(&self, stream: u64, range: Range, most: usize) -> Result<Vec<Segment>, StoreError> {
        let state = self.state.lock().unwrap();
        let all = state.segments.range((stream, 0)..=(stream, range.to));
        let all =
            all.map(|((_, from), (to, answer))| Segment { from: *from, to: *to, answer: *answer });
        Ok(all.filter(|segment| segment.to >= range.from).take(most).collect())
    }

    fn heads(
        &self,
        stream: u64,
        range: Range,
        most: usize,
        direction: Direction,
    ) -> Result<Vec<Head>, StoreError> {
        if range.from > range.to {
            return Ok(Vec::new());
        }
        let state = self.state.lock().unwrap();
        let heads = state.blocks.range(keys(stream, range)).map(|(_, (head, _))| *head);
        Ok(match direction {
            Direction::Up => heads.take(most).collect(),
            Direction::Down => heads.rev().take(most).collect(),
        })
    }

    fn block(&self, stream: u64, first: u64) -> Result<Option<Block>, StoreError> {
        let state = self.state.lock().unwrap();
        Ok(state.blocks.get(&(stream, first)).map(|(_, block)| Block::Whole(block.clone())))
    }

    fn disk(&self) -> Option<Disk> {
        None
    }

    fn damaged(&self) -> Option<String> {
        None
    }
}
