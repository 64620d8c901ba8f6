//! The ways to those who are told of alarms. One attempt each, within a bound of time; who tries
//! again, and when, is decided in `core/alarms`.
//! See decision 0118.

mod alertmanager;
mod smtp;
mod tls;
mod webhook;

use std::time::Duration;

use crate::core::alarms::{Message, Outcome};
use crate::core::notification::Target;

/// How long an attempt may take in all.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read.
const ANSWER: usize = 2_048;

/// Delivers a message, or says why not. `since`: when its alarms began; `repeat`: after how long it
/// is told again; both in seconds.
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
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}
