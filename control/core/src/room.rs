//! Whether there is room for data. The file system that it shares with everything else keeps a
//! reserve, so that what devices should run can be stored whatever they send.

const MIB: u64 = 1024 * 1024;

/// The file system of the data folder, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// What it has.
    pub total: u64,
    /// What of it can still be written to.
    pub free: u64,
}

impl Disk {
    /// The reserve unless told otherwise: a twentieth.
    fn usual_reserve(self) -> u64 {
        (self.total / 20).clamp(16 * MIB, 1024 * MIB)
    }
}

/// What the disk gives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// What was asked for.
    wanted: Option<u64>,
    /// As it was last seen.
    disk: Option<Disk>,
    low: bool,
    /// Bytes that went from the store since it is low: its file, which never gets smaller, takes
    /// as many without growing.
    given_back: u64,
}

impl Room {
    /// With this reserve; None: the usual one.
    pub fn new(reserve: Option<u64>) -> Self {
        Self { wanted: reserve, ..Self::default() }
    }

    /// The disk was looked at. A disk that cannot be looked at holds nothing back. Gives whether it
    /// is low, if that has changed.
    pub fn look(&mut self, disk: Option<Disk>) -> Option<bool> {
        self.disk = disk;
        let before = self.low;
        let reserve = self.reserve();
        // It ends a little above where it begins.
        let least = if before { reserve.saturating_add(reserve / 16) } else { reserve };
        self.low = disk.is_some_and(|disk| disk.free < least);
        if !self.low {
            self.given_back = 0;
        }
        (self.low != before).then_some(self.low)
    }

    /// So many bytes have gone from the store.
    pub fn gave_back(&mut self, bytes: u64) {
        if self.low {
            self.given_back = self.given_back.saturating_add(bytes);
        }
    }

    /// Whether so many bytes may come into the store; they count as stored then. On a disk that is
    /// low only as many as went from it, and none where half of the reserve is gone even so.
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

    /// Less than the reserve is free.
    pub fn is_low(&self) -> bool {
        self.low
    }

    /// Bytes that are free, if that can be told.
    pub fn free(&self) -> Option<u64> {
        self.disk.map(|disk| disk.free)
    }

    /// Bytes that are kept free of data.
    pub fn reserve(&self) -> u64 {
        self.wanted.or_else(|| self.disk.map(Disk::usual_reserve)).unwrap_or(0)
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
        // It ends above where it began.
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
