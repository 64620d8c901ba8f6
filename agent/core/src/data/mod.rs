//! Decisions about data streams: sequence numbers, what a full buffer drops, what is shipped when,
//! the link budget, and the horizon.

pub mod budget;
pub mod damage;
pub mod fetch;
pub mod horizon;
pub mod outbound;
pub mod places;
pub mod quota;
pub mod recent;
pub mod reduce;
pub mod report;
pub mod route;
pub mod ship;
pub mod step;
pub mod stream;
pub mod wait;

/// Configured bounds of the buffer on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of records; None: a tenth of the disk, at most 1 GiB.
    pub quota: Option<u64>,
    /// Bytes that stay free on the disk for everything else; None: a twentieth of the disk, from
    /// 16 MiB to 1 GiB.
    pub reserve: Option<u64>,
    /// Bytes that may be written to the flash in its life; None: not known.
    pub endurance: Option<u64>,
}
