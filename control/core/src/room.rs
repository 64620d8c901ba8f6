//! Free space for records on the file system of the data folder. A reserve is kept free of records,
//! so that desired states can be stored whatever devices send.
//!
//! See decision 0059.

pub use holdfast_control_rows::Disk;

const MIB: u64 = 1024 * 1024;

/// Returns the default reserve: a twentieth of the size, from 16 MiB to 1 GiB.
fn usual_reserve(disk: Disk) -> u64 {
    (disk.total / 20).clamp(16 * MIB, 1024 * MIB)
}

/// State of the free space as records are stored and deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// Configured reserve in bytes; None: the default.
    wanted: Option<u64>,
    /// State of the file system when it was last examined.
    disk: Option<Disk>,
    low: bool,
    /// Bytes deleted from the store while space is low. Its file never shrinks, so that it takes as
    /// many bytes again without growing.
    given_back: u64,
}

impl Room {
    /// Creates a state with this reserve in bytes; None: the default.
    pub fn new(reserve: Option<u64>) -> Self {
        Self { wanted: reserve, ..Self::default() }
    }

    /// Takes in the state of the file system; None: it cannot be examined, which holds nothing
    /// back. Some: whether space is low, if that has changed.
    pub fn look(&mut self, disk: Option<Disk>) -> Option<bool> {
        self.disk = disk;
        let before = self.low;
        let reserve = self.reserve();
        // Low space ends a sixteenth above the reserve, so that it does not change with every
        // block: with a reserve of 1,600 it begins below 1,600 and ends at 1,700.
        let least = if before { reserve.saturating_add(reserve / 16) } else { reserve };
        self.low = disk.is_some_and(|disk| disk.free < least);
        if !self.low {
            self.given_back = 0;
        }
        (self.low != before).then_some(self.low)
    }

    /// Notes that `bytes` were deleted from the store.
    pub fn gave_back(&mut self, bytes: u64) {
        if self.low {
            self.given_back = self.given_back.saturating_add(bytes);
        }
    }

    /// Returns whether `bytes` may be stored, and counts them as stored if so. While space is low,
    /// only as many as were deleted meanwhile, and none if less than half of the reserve is free.
    pub fn takes(&mut self, bytes: u64) -> bool {
        if !self.low {
            return true;
        }
        let floor = self.reserve() / 2;
        if bytes > self.given_back || self.disk.is_some_and(|disk| disk.free < floor) {
            return false;
        }
        self.given_back -= bytes;
        true
    }

    /// True if less than the reserve is free.
    pub fn is_low(&self) -> bool {
        self.low
    }

    /// Returns the free bytes. None: the file system cannot be examined.
    pub fn free(&self) -> Option<u64> {
        self.disk.map(|disk| disk.free)
    }

    /// Returns the bytes that are kept free of records.
    pub fn reserve(&self) -> u64 {
        self.wanted.or_else(|| self.disk.map(usual_reserve)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(free: u64) -> Option<Disk> {
        Some(Disk { total: 10_000 * MIB, free })
    }

    #[test]
    fn below_the_reserve_only_what_was_given_back_is_taken() {
        let mut room = Room::new(Some(1_600));
        assert!(room.takes(u64::MAX), "nobody has looked yet");
        assert_eq!(room.look(disk(1_600)), None);
        room.gave_back(50);
        assert_eq!((room.look(disk(1_599)), room.look(disk(1_000))), (Some(true), None));
        assert!(!room.takes(1), "what went before is free space already");
        room.gave_back(300);
        assert!(room.takes(200) && !room.takes(101) && room.takes(100) && !room.takes(1));
        room.gave_back(300);
        assert_eq!(room.look(disk(799)), None);
        assert!(!room.takes(1), "half of the reserve is nobody's");
        // Low space ends above the bound at which it begins.
        assert_eq!((room.look(disk(1_699)), room.look(disk(1_700))), (None, Some(false)));
        assert!(room.takes(u64::MAX));
        assert_eq!((room.look(None), room.is_low()), (None, false));
    }

    #[test]
    fn the_usual_reserve_is_a_twentieth_within_bounds() {
        for (total, reserve) in [(100, 16), (2_000, 100), (100_000, 1_024)] {
            let mut room = Room::new(None);
            room.look(Some(Disk { total: total * MIB, free: 0 }));
            assert_eq!(room.reserve(), reserve * MIB);
        }
        let mut room = Room::new(Some(0));
        assert_eq!(room.look(disk(0)), None, "none is wanted");
    }
}
