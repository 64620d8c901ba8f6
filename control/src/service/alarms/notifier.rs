//! Port of the delivery of messages about alarms. It stands with the service and not with the other
//! ports, because its values are the core's, and no port imports the core.
//!
//! See decisions 0118 and 0135.

use futures_util::future::BoxFuture;

use crate::core::alarms::{Message, Outcome};
use crate::core::notification::Target;

/// What is delivered: one message to one receiver.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// Receiver of the message.
    pub to: &'a Target,
    /// Message to deliver.
    pub message: &'a Message,
    /// Present time, in seconds since 1970.
    pub now: u64,
    /// Begin of the message's alarms, in seconds since 1970.
    pub since: u64,
    /// Time after which the receiver is told again, in seconds.
    pub repeat: u64,
}

/// Delivers messages to their receivers: one attempt for each call, bounded in time.
pub trait Notifier: Send + Sync + 'static {
    /// Delivers a message. Returns the receiver's reply, or why it failed.
    fn deliver<'a>(&'a self, delivery: Delivery<'a>) -> BoxFuture<'a, Outcome>;
}
