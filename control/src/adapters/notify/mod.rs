//! Delivery of messages about alarms to their receivers: one attempt each, bounded in time. Whether
//! and when it is tried again is decided in `core/alarms`.
//!
//! See decision 0118.

mod alertmanager;
mod smtp;
mod tls;
mod webhook;

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::core::alarms::{NotDelivered, Outcome};
use crate::core::notification::Target;
use crate::service::{Delivery, Notifier};

/// Longest time of one attempt.
const PATIENCE: Duration = Duration::from_secs(20);

/// Longest time to establish a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Maximum number of bytes that are read of a receiver's reply.
const ANSWER: usize = 2_048;

/// Receivers on the network.
#[derive(Debug, Clone, Copy, Default)]
pub struct Receivers;

impl Notifier for Receivers {
    fn deliver<'a>(&'a self, delivery: Delivery<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(deliver(delivery))
    }
}

async fn deliver(delivery: Delivery<'_>) -> Outcome {
    let Delivery { to, message, now, since, repeat } = delivery;
    let sending = async {
        match to {
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
