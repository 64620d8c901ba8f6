//! Bounds of the queue of batches, and for how long devices are asked to hold back, in
//! milliseconds.
//!
//! See decision 0064.

/// Maximum number of batches of one tenant in the queue, about what one or two seconds of work take.
pub const QUEUE: usize = 1_024;

/// Maximum number of bytes of one tenant in the queue, as they were received.
const QUEUE_BYTES: u64 = 64 * 1024 * 1024;

/// Number of bytes of all tenants in the queue beyond which each has its own share alone.
const ALL_BYTES: u64 = 128 * 1024 * 1024;

/// Bytes that a tenant may have in the queue however much others have: the largest batch fits in a
/// few times, so that a few loud tenants never keep a calm one out.
const SHARE_BYTES: u64 = 1024 * 1024;

/// Time for which devices hold back when the store cannot be written.
pub const HOLD_FAILED: u32 = 5_000;

/// Time for which devices hold back when the disk has no room for data.
pub const HOLD_LOW: u32 = 15_000;

/// Time for which devices hold back whose tenant has used up its quota of data for the day. It ends
/// at midnight, or earlier when the quota is raised: so they ask again now and then.
pub const HOLD_QUOTA: u32 = 60_000;

/// Time for which a device holds back whose batch did not fit into the queue.
pub const HOLD_FULL: u32 = 2_000;

/// Time for which devices hold back when the queue is half full.
const HOLD_BUSY: u32 = 300;

/// Returns whether a batch of `bytes` fits into the queue behind the bytes that wait: of its tenant,
/// and of all tenants.
pub fn fits(waiting_bytes: u64, all_bytes: u64, bytes: u64) -> bool {
    let own = waiting_bytes.saturating_add(bytes);
    own <= QUEUE_BYTES && (all_bytes.saturating_add(bytes) <= ALL_BYTES || own <= SHARE_BYTES)
}

/// Returns for how long devices hold back that are acknowledged now; 0: they need not.
pub fn hold(waiting: u64, waiting_bytes: u64) -> u32 {
    let busy = waiting > QUEUE as u64 / 2 || waiting_bytes > QUEUE_BYTES / 2;
    if busy { HOLD_BUSY } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_hold_back_before_the_queue_is_full() {
        let (half, all) = (QUEUE as u64 / 2, QUEUE_BYTES);
        for (waiting, bytes, expected) in
            [(0, 0, 0), (half, all / 2, 0), (half + 1, 0, HOLD_BUSY), (0, all / 2 + 1, HOLD_BUSY)]
        {
            assert_eq!(hold(waiting, bytes), expected, "{waiting} {bytes}");
        }
        assert!(fits(all - 1, all - 1, 1) && !fits(all - 1, all - 1, 2) && !fits(1, 1, u64::MAX));
    }

    #[test]
    fn a_full_queue_keeps_a_share_for_each_tenant() {
        assert!(fits(0, ALL_BYTES, 1024) && fits(SHARE_BYTES - 1, u64::MAX, 1));
        assert!(!fits(SHARE_BYTES, ALL_BYTES, 1) && fits(SHARE_BYTES, ALL_BYTES - 1, 1));
    }
}
