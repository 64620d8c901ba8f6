//! Fence of a lease: what a process shows with each write, so that its successor is safe from it.
//!
//! See decision 0136.

/// Part of the fleet that one process serves at a time.
pub type Shard = u8;

/// Right to write for a shard. It holds while its epoch is the newest of the shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    /// Shard that is written for.
    pub shard: Shard,
    /// Epoch of the lease, from 1. Each new lease of the shard has a higher one.
    pub epoch: u64,
}
