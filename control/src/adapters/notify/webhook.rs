//! Delivery to a webhook: the message as JSON, signed so that its receiver knows where it comes
//! from and when it was sent.
//!
//! See decision 0119.

use holdfast_base::ids::hex;
use ring::hmac;
use serde::Serialize;

use super::tls;
use crate::core::alarms::{Message, NotDelivered, Outcome};
use crate::core::audit_sink::SinkBatch;
use crate::core::notification::Webhook;

/// Header with the signature `t=SECONDS,v1=HEX`: HMAC-SHA256 of `SECONDS.BODY` with the document's
/// secret, in Stripe's format.
const SIGNATURE: &str = "X-Holdfast-Signature";

/// Header with the message's id, which is the same in every attempt.
const ID: &str = "X-Holdfast-Id";

pub(super) async fn deliver(hook: &Webhook, message: &Message, now: u64) -> Outcome {
    post(hook, message, &message.id, now).await
}

/// Forwards entries of the audit log. The id names the tenant and the first and the last entry, so
/// that a repeated delivery has the same one.
pub(super) async fn forward(hook: &Webhook, batch: &SinkBatch, now: u64) -> Outcome {
    let first = batch.missing.map(|(from, _)| from);
    let first = first.or(batch.entries.first().map(|entry| entry.number)).unwrap_or(batch.next);
    let id = format!("{}-audit-{first}-{}", batch.tenant, batch.next.saturating_sub(1));
    post(hook, batch, &id, now).await
}

async fn post<T: Serialize>(hook: &Webhook, content: &T, id: &str, now: u64) -> Outcome {
    let body =
        serde_json::to_vec(content).map_err(|error| NotDelivered::Json(error.to_string()))?;
    let client = tls::client(&hook.url, hook.ca.as_deref())?;
    let mut request =
        client.post(&hook.url).header("Content-Type", "application/json").header(ID, id);
    for (name, value) in &hook.headers {
        request = request.header(name, value);
    }
    if let Some(secret) = &hook.secret {
        request = request.header(SIGNATURE, signature(secret, now, &body));
    }
    tls::send(request.body(body), "the webhook").await
}

fn signature(secret: &str, now: u64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{now}.").as_bytes());
    context.update(body);
    format!("t={now},v1={}", hex(context.sign().as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_other_tools() {
        // printf '1795467661.{"a":1}' | openssl dgst -sha256 -hmac 'whsec-example'
        let made = signature("whsec-example", 1_795_467_661, br#"{"a":1}"#);
        assert_eq!(made, SIGNED);
    }

    const SIGNED: &str =
        "t=1795467661,v1=2414ef2d20cd4610ba13f6390c3f3274a95f2e52a71ca0448cac10fe07f2e6fd";
}
