//! Delivery of messages about alarms to their receivers: one attempt each, bounded in time. Whether
//! and when it is tried again is decided in `core/alarms`.
//!
//! See decision 0118.

mod alertmanager;
mod smtp;
mod tls;
mod webhook;

use std::time::Duration;

use crate::core::alarms::{Message, NotDelivered, Outcome};
use crate::core::notification::Target;

/// Longest time of one attempt.
const PATIENCE: Duration = Duration::from_secs(20);

/// Longest time to establish a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Maximum number of bytes that are read of a receiver's reply.
const ANSWER: usize = 2_048;

/// Delivers a message. Returns the receiver's reply, or why it failed. `now` and `since` (the begin
/// of its alarms) are in seconds since 1970; `repeat` is the time after which it is told again, in
/// seconds.
pub async fn deliver(
    target: &Target,
    message: &Message,
    now: u64,
    since: u64,
    repeat: u64,
) -> Outcome {
    let sending = async {
        match target {
            Target::Webhook(hook) => webhook::deliver(hook, message, now).await,
            Target::Email(mail) => smtp::deliver(mail, message).await,
            Target::Alertmanager(other) => {
                alertmanager::deliver(other, message, now, since, repeat).await
            }
        }
    };
    match tokio::time::timeout(PATIENCE, Box::pin(sending)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(NotDelivered::Late(PATIENCE.as_secs())),
    }
}
