//! World of data streams: a device's buffer and a control plane's store, with their real cores,
//! over disks of which only committed data survives and a network that loses, repeats and reorders.
//! Either side ends between any two steps; files are damaged, disks lie, clocks jump, policies
//! change.
//!
//! At each step: every acknowledged data record is stored once at the control plane, or on the
//! device's disk, or in a gap with its reason; no sequence number stands for two records. At the
//! end, after a period without faults: each record was received or stands in the ledger.

mod copies;
mod device;
mod oracle;
mod plane;
mod run;

pub use copies::{Copied, run as run_copies};
pub use run::{Outcome, run};
