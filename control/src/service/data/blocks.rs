//! Reading of stored blocks of records: whole ones, and what of a batch they hold already. All
//! functions block on the disk.
//!
//! See decisions 0059 and 0080.

use holdfast_records::block::unpack;
use holdfast_records::{Range, RangeSet, Record};

use crate::core::ingest::group;
use crate::core::ingest::{Checked, Compared};
use crate::ports::data_store::{Block, DataStore, Direction, Head, StreamRow};
use crate::ports::store::StoreError;

/// Number of block heads that are read at once.
pub(super) const HEADS: usize = 256;

/// Limit of the segments of one ledger that are read at once. No ledger has more.
pub(super) const ALL_SEGMENTS: usize = 1_000_000;

/// Size of stored records, unpacked, with which one batch is compared, in bytes: two blocks of the
/// largest size. It keeps a device that repeats itself from having the whole store read.
const COMPARED: usize = 32 * 1024 * 1024;

/// Outcome of reading a block.
pub(super) enum BlockRead {
    Records(Vec<Record>),
    /// Retention has removed the block meanwhile.
    Gone,
    /// The block's checksum does not match: the disk has changed it.
    Damaged,
    /// The block is as it was written, but its format is unknown: a later version wrote it.
    Unknown,
}

/// Reads and unpacks a block.
pub(super) fn read_block(
    store: &dyn DataStore,
    row: &StreamRow,
    head: &Head,
) -> Result<BlockRead, StoreError> {
    Ok(match store.block(row.id, head.first)? {
        None => BlockRead::Gone,
        Some(Block::Damaged) => BlockRead::Damaged,
        Some(Block::Whole(block)) => match unpack(&block) {
            Ok(records) => BlockRead::Records(records),
            Err(error) => {
                tracing::error!(device = %row.device, stream = %row.stream, first = head.first, %error, "a block that is as it was written cannot be read");
                BlockRead::Unknown
            }
        },
    })
}

/// Returns those of these sequence numbers whose records are stored. In a summed part of a
/// ledger only the blocks tell. The block that begins at `but` does not count.
pub(in crate::service) fn held(
    store: &dyn DataStore,
    row: &StreamRow,
    numbers: &RangeSet,
    but: Option<u64>,
) -> Result<RangeSet, StoreError> {
    let span = row.tally.span.max(1);
    let mut held = RangeSet::new();
    for near in neighbourhoods(numbers, span) {
        let mut from = near.from.saturating_sub(span - 1);
        loop {
            let range = Range { from, to: near.to };
            let heads = store.heads(row.id, range, HEADS, Direction::Up)?;
            for head in heads.iter().filter(|head| Some(head.first) != but) {
                let mine = numbers.within(head.first, head.last);
                if head.is_dense() {
                    held.union(&mine);
                } else if !mine.is_empty()
                    && let BlockRead::Records(records) = read_block(store, row, head)?
                {
                    let mine = records.iter().filter(|record| mine.contains(record.seq));
                    held.union(&RangeSet::from_ranges(
                        mine.map(|record| Range { from: record.seq, to: record.seq }),
                    ));
                }
            }
            match heads.last() {
                Some(last) if heads.len() == HEADS => from = last.first.saturating_add(1),
                _ => break,
            }
        }
    }
    Ok(held)
}

/// Compares those records of a batch that were received before (`numbers`) with the stored
/// ones, which are in the store or in `pending`, which is not committed yet.
pub(super) fn compared(
    store: &dyn DataStore,
    row: &StreamRow,
    batch: &Checked,
    numbers: &RangeSet,
    pending: &[(u64, Head, Vec<u8>)],
) -> Result<Compared, StoreError> {
    let mut compared = Compared::default();
    if numbers.is_empty() {
        return Ok(compared);
    }
    let mut room = COMPARED;
    let mut add = |records: Vec<Record>| {
        let size: usize = records.iter().map(|record| record.value.len() + 64).sum();
        let mine = records.iter().filter(|record| numbers.contains(record.seq));
        mine.for_each(|record| compared.add(batch, record));
        room = room.saturating_sub(size);
        room > 0
    };
    for (_, head, block) in pending.iter().filter(|(id, ..)| *id == row.id) {
        let mine = !numbers.within(head.first, head.last).is_empty();
        if mine
            && let Ok(records) = unpack(block)
            && !add(records)
        {
            return Ok(compared);
        }
    }
    let span = row.tally.span.max(1);
    for near in neighbourhoods(numbers, span) {
        let mut from = near.from.saturating_sub(span - 1);
        loop {
            let range = Range { from, to: near.to };
            let heads = store.heads(row.id, range, HEADS, Direction::Up)?;
            for head in &heads {
                let mine = !numbers.within(head.first, head.last).is_empty();
                if mine
                    && let BlockRead::Records(records) = read_block(store, row, head)?
                    && !add(records)
                {
                    return Ok(compared);
                }
            }
            match heads.last() {
                Some(last) if heads.len() == HEADS => from = last.first.saturating_add(1),
                _ => break,
            }
        }
    }
    Ok(compared)
}

/// Highest sequence number of a stream whose fate is known (received or reported missing), as far
/// as it is committed.
pub(super) fn highest(store: &dyn DataStore, row: &StreamRow) -> Result<u64, StoreError> {
    let segments = match group::above(&row.tally) {
        Some(above) => store.segments(row.id, above, ALL_SEGMENTS)?,
        None => Vec::new(),
    };
    Ok(group::highest(&row.tally, &segments))
}

/// Returns ranges around these numbers. Ranges that one block may cover together are joined.
fn neighbourhoods(numbers: &RangeSet, span: u64) -> Vec<Range> {
    let mut found: Vec<Range> = Vec::new();
    for range in numbers.iter() {
        match found.last_mut() {
            Some(last) if range.from - last.to <= span => last.to = range.to,
            _ => found.push(range),
        }
    }
    found
}
