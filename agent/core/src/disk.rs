//! Room on the disk of the data folder: when it counts as full or low, and what a write that failed
//! says about it.
//!
//! A full disk stops no workload: it is reported, and what cannot be written waits. See decision
//! 0009.

/// Free space below which the disk counts as full, in bytes: a few saved states and a report.
pub const FULL: u64 = 256 * 1024;
/// Free space below which it is reported as low, in bytes.
pub const LOW: u64 = 32 * 1024 * 1024;

/// Room on a disk, in the steps that are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Enough room, or nothing is known to the contrary.
    Enough,
    /// Less than [`LOW`].
    Low,
    /// Less than [`FULL`], or a write failed for want of space since there was more than that.
    Full,
}

/// Cause of a write to the store that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The disk is full.
    NoSpace,
    /// Another cause, of which the store's own error tells.
    Store,
}

/// Disk of the data folder, as it was seen last.
#[derive(Debug, Default)]
pub struct Disk {
    /// Free bytes. None: never looked at, or they could not be had.
    free: Option<u64>,
    /// True if a write failed for want of space, and there was not enough since.
    is_full: bool,
}

impl Disk {
    /// Notes a regular look at the `free` bytes; None: they cannot be had now. Enough of them end
    /// what a failed write said.
    pub fn looked(&mut self, free: Option<u64>) {
        self.free = free;
        if free.is_some_and(|free| free >= FULL) {
            self.is_full = false;
        }
    }

    /// Notes that a write failed for want of space. It holds until a look finds enough: a file may
    /// need more than [`FULL`], and a quota is not seen in the free bytes.
    pub fn lacked_space(&mut self) {
        self.is_full = true;
    }

    /// Decides why a write to the store failed, by the `free` bytes right after it; None: they
    /// cannot be had. The store's error does not tell: it passes through a library.
    pub fn store_failed(&mut self, free: Option<u64>) -> Cause {
        if free.is_some_and(|free| free < FULL) {
            self.lacked_space();
            return Cause::NoSpace;
        }
        Cause::Store
    }

    /// Free bytes, as last looked at. None: they could not be had.
    pub fn free(&self) -> Option<u64> {
        self.free
    }

    /// Room for reports.
    pub fn room(&self) -> Room {
        match self.free {
            _ if self.is_full => Room::Full,
            Some(free) if free < FULL => Room::Full,
            Some(free) if free < LOW => Room::Low,
            _ => Room::Enough,
        }
    }
}

/// True if so many `free` bytes are little; None, where they cannot be had, is not.
pub fn is_low(free: Option<u64>) -> bool {
    free.is_some_and(|free| free < LOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_goes_by_the_free_bytes() {
        for (free, room, low) in [
            (None, Room::Enough, false),
            (Some(0), Room::Full, true),
            (Some(FULL - 1), Room::Full, true),
            (Some(FULL), Room::Low, true),
            (Some(LOW - 1), Room::Low, true),
            (Some(LOW), Room::Enough, false),
            (Some(u64::MAX), Room::Enough, false),
        ] {
            let mut disk = Disk::default();
            disk.looked(free);
            assert_eq!((disk.room(), disk.free(), is_low(free)), (room, free, low), "{free:?}");
        }
        assert_eq!(Disk::default().room(), Room::Enough, "before the first look");
    }

    #[test]
    fn a_write_without_space_counts_until_a_look_finds_enough() {
        for (free, room) in [
            (None, Room::Full),
            (Some(0), Room::Full),
            (Some(FULL - 1), Room::Full),
            (Some(FULL), Room::Low),
            (Some(LOW), Room::Enough),
        ] {
            let mut disk = Disk::default();
            disk.looked(Some(LOW));
            disk.lacked_space();
            assert_eq!(disk.room(), Room::Full, "whatever was free before");
            disk.looked(free);
            assert_eq!(disk.room(), room, "{free:?}");
        }
    }

    #[test]
    fn a_store_that_cannot_be_written_is_a_full_disk_or_its_own_trouble() {
        for (free, cause, room) in [
            (None, Cause::Store, Room::Enough),
            (Some(0), Cause::NoSpace, Room::Full),
            (Some(FULL - 1), Cause::NoSpace, Room::Full),
            (Some(FULL), Cause::Store, Room::Enough),
            (Some(u64::MAX), Cause::Store, Room::Enough),
        ] {
            let mut disk = Disk::default();
            disk.looked(Some(LOW));
            assert_eq!((disk.store_failed(free), disk.room()), (cause, room), "{free:?}");
        }
        let mut disk = Disk::default();
        disk.lacked_space();
        assert_eq!(disk.store_failed(Some(LOW)), Cause::Store);
        assert_eq!(disk.room(), Room::Full, "only a look ends it");
    }
}
