//! Storing of data records. Batches wait in a bounded queue for the one thread that writes data,
//! which takes a group of them, decides, commits one transaction, and acknowledges after that. A
//! device whose batch does not fit into the queue sends it again; all devices are asked to hold
//! back before it comes to that.
//!
//! The thread's turn is in `turn.rs`; what a turn does beside it stands in `group.rs`, `repair.rs`,
//! `deletion.rs` and `diverged.rs`, what devices and the store are told in `outcome.rs`.
//!
//! See decisions 0058, 0059, 0064, 0080 and 0136.

mod deletion;
mod diverged;
mod group;
mod outcome;
mod quota;
mod repair;
mod turn;

pub(in crate::service) use deletion::abandon;
pub use group::{Took, take_batch};
pub(in crate::service) use turn::run;
