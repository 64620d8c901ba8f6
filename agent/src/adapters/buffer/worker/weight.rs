//! Weight of a step: amounts by which the bytes that it wrote are divided by cause.

use super::super::change::Change;

/// Amounts of a step, by which the bytes it wrote are divided by cause.
pub(super) struct Weight {
    /// Bytes of the added blocks.
    pub(super) rows: u64,
    /// Number of removed rows.
    pub(super) removed: u64,
    /// Bytes of the records' values as they were published.
    pub(super) payload: u64,
}

impl Weight {
    pub(super) fn of(change: &Change, payload: u64) -> Self {
        let rows = change.add.values().map(|packed| packed.block.bytes).sum();
        let removed = change.remove.values().map(|rows| u64::from(*rows)).sum();
        Self { rows, removed, payload }
    }
}
