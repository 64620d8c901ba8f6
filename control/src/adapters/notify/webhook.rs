//! Delivery to a webhook: the message as JSON, signed so that its receiver knows where it comes
//! from and when it was sent.
//!
//! See decision 0119.

use holdfast_base::ids::hex;
use ring::hmac;

use super::tls;
use crate::core::alarms::{Message, NotDelivered, Outcome};
use crate::core::notification::Webhook;

/// Header with the signature `t=SECONDS,v1=HEX`: HMAC-SHA256 of `SECONDS.BODY` with the document's
/// secret, in Stripe's format.
const SIGNATURE: &str = "X-Holdfast-Signature";

/// Header with the message's id, which is the same in every attempt.
const ID: &str = "X-Holdfast-Id";

pub(super) async fn deliver(hook: &Webhook, message: &Message, now: u64) -> Outcome {
    let body =
        serde_json::to_vec(message).map_err(|error| NotDelivered::Json(error.to_string()))?;
    let client = tls::client(&hook.url, hook.ca.as_deref())?;
    let mut request =
        client.post(&hook.url).header("Content-Type", "application/json").header(ID, &message.id);
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
