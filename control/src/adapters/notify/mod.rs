//! Delivery of messages about alarms to their receivers: one attempt each, bounded in time. Whether
//! and when it is tried again is decided in `core/alarms`.
//!
//! See decision 0118.

mod alertmanager;
mod limits;
mod smtp;
mod syslog;
pub(super) mod tls;
mod webhook;

use futures_util::future::BoxFuture;

use self::limits::PATIENCE;
use crate::core::alarms::{NotDelivered, Outcome};
use crate::core::audit_sink::SinkTarget;
use crate::core::notification::Target;
use crate::service::{AuditSender, Delivery, Forward, Notifier};

/// Receivers on the network.
#[derive(Debug, Clone, Copy, Default)]
pub struct Receivers;

impl Notifier for Receivers {
    fn deliver<'a>(&'a self, delivery: Delivery<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(deliver(delivery))
    }
}

impl AuditSender for Receivers {
    fn forward<'a>(&'a self, forward: Forward<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let Forward { to, batch, now } = forward;
            let sending = async {
                match to {
                    SinkTarget::Webhook(hook) => webhook::forward(hook, batch, now).await,
                    SinkTarget::Syslog(server) => syslog::deliver(server, batch, now).await,
                }
            };
            match tokio::time::timeout(PATIENCE, Box::pin(sending)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(NotDelivered::Late(PATIENCE.as_secs())),
            }
        })
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
