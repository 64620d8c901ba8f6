//! Repair of streams whose blocks were found damaged, by the core's [`Repair`].
//!
//! See decision 0059.

use std::sync::atomic::Ordering;

use holdfast_records::{Range, RangeSet};

use super::super::Data;
use super::super::blocks::{ALL_SEGMENTS, BlockRead, held, read_block};
use crate::core::ingest::repair::{Repair, Repaired};
use crate::ports::data_store::{Direction, StreamRow};
use crate::ports::store::StoreError;

/// Repairs the ledgers of streams whose blocks were found damaged: the block's records are marked
/// as missing.
pub(in crate::service) fn all(data: &Data) -> Result<(), StoreError> {
    loop {
        let Some(block) = data.damaged().first().cloned() else { return Ok(()) };
        let (machine, stream, id, first) = &block;
        let known = data.known();
        let row = known.stream(machine, stream);
        let row = row.filter(|row| row.id == *id).cloned();
        drop(known);
        if let Some(row) = row {
            set_aside(data, row, *first)?;
        }
        data.damaged().remove(&block);
    }
}

/// Sets one damaged block aside, and marks its records as missing unless another block has them
/// too.
fn set_aside(data: &Data, row: StreamRow, first: u64) -> Result<(), StoreError> {
    let store = &*data.store;
    let only = Range { from: first, to: first };
    let Some(head) = store.heads(row.id, only, 1, Direction::Up)?.pop() else { return Ok(()) };
    if !matches!(read_block(store, &row, &head)?, BlockRead::Damaged) {
        return Ok(());
    }
    let mut repair = Repair::of(row.clone(), head);
    let numbers = repair.numbers();
    let others = held(store, &row, &RangeSet::from_ranges([numbers]), Some(first))?;
    while let Some(range) = repair.wanted() {
        repair.load(range, store.segments(row.id, range, ALL_SEGMENTS)?);
    }
    let Repaired { row, batch, missing } = repair.finish(&others);
    data.commit_data(batch)?;
    data.counters.blocks_damaged.fetch_add(1, Ordering::Relaxed);
    let (device, stream) = (&row.device, &row.stream);
    tracing::error!(%device, %stream, from = numbers.from, to = numbers.to, missing, "the disk has changed a block of records: it is set aside, and what was in it stands in the ledger as damaged");
    data.known_mut().replace(row);
    Ok(())
}
