//! Rates at which streams and the disk fill, from samples taken at intervals.
//!
//! See decision 0068.

use std::collections::BTreeMap;

use holdfast_base::collect;
use holdfast_records::StreamName;

use crate::adapters::buffer::StreamSummary;
use crate::core::data::horizon::{Filling, Rate, Room};
use crate::core::disk::LOW;

/// Rates of each stream and of the disk.
#[derive(Debug, Default)]
pub(super) struct Rates {
    streams: BTreeMap<StreamName, Rate>,
    disk: Room,
}

impl Rates {
    /// Takes samples of all streams and the disk, of idle ones too, so that a rate falls again.
    /// `free`: free bytes of the disk, if they are known. `now` in milliseconds of uptime.
    pub(super) fn note(&mut self, present: &[StreamSummary], free: Option<u64>, now: u64) {
        let names = collect::set(present.iter().map(|it| &it.name));
        self.streams.retain(|name, _| names.contains(name));
        for stream in present {
            self.streams.entry(stream.name.clone()).or_default().note(stream.taken, now);
        }
        if let Some(free) = free {
            self.disk.note(free, now);
        }
    }

    /// Bytes an hour by which a stream fills, which has room for `left` more; 0: it does not.
    pub(super) fn per_hour(&self, stream: &StreamName, left: u64) -> u64 {
        self.streams.get(stream).map_or(0, |rate| rate.per_hour(left))
    }

    /// Room on the disk until it is low, and the rate at which it fills.
    pub(super) fn disk(&self) -> Filling {
        self.disk.filling(LOW)
    }
}
