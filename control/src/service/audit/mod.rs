//! The audit log as a chain: checkpoints, retention, counted refusals, verification with the fleet
//! as the witness, and export.
//!
//! See decisions 0169 and 0170.

mod busy;
mod export;
mod part;
mod sender;
mod sinks;
mod verifying;
mod whole;

pub use export::AuditLines;
pub use part::{Audit, Seen};
pub use sender::{AuditSender, Forward};
pub use sinks::run;
