//! The audit log as a chain: checkpoints, retention, counted refusals, verification with the fleet
//! as the witness, and export.
//!
//! See decisions NEW-the-audit-log-is-a-chain, NEW-the-fleet-is-the-witness and
//! NEW-refusals-are-counted.

mod export;
mod part;
mod sender;
mod sinks;
mod verifying;

pub use export::AuditLines;
pub use part::{Audit, Seen};
pub use sender::{AuditSender, Forward};
pub use sinks::run;
