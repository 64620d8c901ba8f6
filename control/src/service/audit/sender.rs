//! Port of the delivery of audit entries to a sink. It stands with the service, as `Notifier` does,
//! because its values are the core's.
//!
//! See decision 0169.

use futures_util::future::BoxFuture;

use crate::core::alarms::Outcome;
use crate::core::audit_sink::{SinkBatch, SinkTarget};

/// What is forwarded: entries to one receiver.
#[derive(Debug, Clone, Copy)]
pub struct Forward<'a> {
    /// Receiver of the entries.
    pub to: &'a SinkTarget,
    /// Entries to deliver.
    pub batch: &'a SinkBatch,
    /// Present time, in seconds since 1970.
    pub now: u64,
}

/// Forwards entries to their receivers: one attempt for each call, bounded in time.
pub trait AuditSender: Send + Sync + 'static {
    /// Forwards entries. Returns the receiver's reply, or why it failed.
    fn forward<'a>(&'a self, forward: Forward<'a>) -> BoxFuture<'a, Outcome>;
}
