//! Disk space that records may take, looked at now and then.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::file::path;
use crate::core::data::Limits;
use crate::core::data::step::Room;

/// Interval between looks at the free space of the disk.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// Room as it was when the disk was last looked at.
#[derive(Debug)]
pub(super) struct Measured {
    limits: Limits,
    at: Option<Instant>,
    room: Room,
}

impl Measured {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, at: None, room: Room::default() }
    }

    /// Returns the room that there is, measured at most [`MEASURE_EVERY`].
    pub(super) fn now(&mut self, data: &Path) -> Room {
        if self.at.is_none_or(|at| at.elapsed() >= MEASURE_EVERY) {
            self.at = Some(Instant::now());
            self.room = measure(data, self.limits);
        }
        self.room
    }
}

fn measure(data: &Path, limits: Limits) -> Room {
    let Ok(disk) = rustix::fs::statvfs(data) else { return Room::unmeasured(limits) };
    let total = disk.f_blocks.saturating_mul(disk.f_frsize);
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let has = std::fs::metadata(path(data)).map_or(0, |it| it.blocks().saturating_mul(512));
    Room::on_disk(limits, total, free, has)
}
