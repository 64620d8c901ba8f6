//! Readers: tools of people that follow streams over MQTT. They are few, and each takes records at
//! its own pace: what waits for one is bounded by its feed, and disturbs neither devices nor other
//! readers.
//!
//! See decision 0060.

mod connection;
mod policy;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use holdfast_base::ids::Name;
use holdfast_records::StreamName;

pub(super) use connection::Connection;

/// Encoding in which a record is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Cbor,
}

impl Form {
    const ALL: [Self; 2] = [Self::Json, Self::Cbor];

    /// First level of this encoding's topics.
    fn root(self) -> &'static str {
        match self {
            Self::Json => "data",
            Self::Cbor => "data-cbor",
        }
    }

    /// Topic of a stream in this encoding, for example `data/pump-1/flow`.
    fn topic(self, device: &Name, stream: &StreamName) -> String {
        format!("{}/{device}/{stream}", self.root())
    }
}

/// Counted places for readers.
#[derive(Debug)]
pub(super) struct Readers {
    most: usize,
    taken: AtomicUsize,
}

impl Readers {
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: AtomicUsize::new(0) }
    }

    /// Takes a place for a reader; `None` when all are taken.
    fn enter(self: &Arc<Self>) -> Option<Place> {
        let more = |taken| (taken < self.most).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Place(Arc::clone(self)))
    }
}

/// Place of one reader, which is given back on drop.
#[derive(Debug)]
struct Place(Arc<Readers>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}
