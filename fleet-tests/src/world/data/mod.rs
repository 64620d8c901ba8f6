//! The world of data streams: a device's buffer and a control plane's store, with their real
//! cores, over disks of which only what was committed survives and a network that loses, repeats
//! and reorders. Either side ends between any two steps; files are damaged, disks lie, clocks
//! jump, policies change.
//!
//! At each step: every acknowledged record is stored once at the control plane, or on the device's
//! disk, or in a gap with its reason; no number means two records. At the end, when all is quiet:
//! each was received or stands in the ledger.

mod copies;
mod device;
mod oracle;
mod plane;
mod run;

pub use copies::{Copied, run as run_copies};
pub use run::{Outcome, run};
