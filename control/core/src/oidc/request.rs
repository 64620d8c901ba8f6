//! Requests to a provider and its answers, as texts and bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::discovery::{Discovery, check_address};
use super::provider::Provider;

/// Longest text of an error of a provider that is shown, in characters.
const MAX_SAID: usize = 300;

/// Longest code that a person types in, in characters.
const MAX_USER_CODE: usize = 64;

/// Longest time within which a code must be typed in, in seconds.
const MAX_DEVICE_LIFE: u64 = 1_800;

/// Body of a request, and the header `Authorization` that belongs to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Body {
    /// Form (`application/x-www-form-urlencoded`).
    pub form: String,
    /// Value of the header; None: there is none.
    pub authorization: Option<String>,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Body(withheld)")
    }
}

/// Client as a form presents it.
#[derive(Clone, Copy)]
pub struct Form<'a> {
    /// What the provider says of itself.
    pub discovery: &'a Discovery,
    /// Content of the document.
    pub provider: &'a Provider,
    /// Secret of the client, opened.
    pub secret: Option<&'a str>,
}

impl std::fmt::Debug for Form<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Form(withheld)")
    }
}

impl Form<'_> {
    fn body(&self, fields: &[(&str, &str)]) -> Body {
        let client: &str = &self.provider.client_id;
        let mut form = Serializer::new(String::new());
        form.extend_pairs(fields);
        let mut authorization = None;
        match self.secret {
            None => {
                form.append_pair("client_id", client);
            }
            Some(secret) if self.discovery.secret_in_body => {
                form.append_pair("client_id", client).append_pair("client_secret", secret);
            }
            Some(secret) => {
                // RFC 6749, 2.3.1: both are encoded before they are joined.
                let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                let pair = format!("{}:{}", encoded(client), encoded(secret));
                authorization = Some(format!("Basic {}", STANDARD.encode(pair)));
            }
        }
        Body { form: form.finish(), authorization }
    }
}

impl Discovery {
    /// Returns the address that a browser is sent to.
    pub fn login(
        &self,
        provider: &Provider,
        redirect: &str,
        (state, nonce, challenge): (&str, &str, &str),
    ) -> Url {
        let mut url = self.authorization.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &provider.client_id)
            .append_pair("redirect_uri", redirect)
            .append_pair("scope", &provider.scope())
            .append_pair("state", state)
            .append_pair("nonce", nonce)
            .append_pair("code_challenge", challenge)
            .append_pair("code_challenge_method", "S256");
        url
    }
}

/// Returns the body that exchanges a code for tokens.
pub fn code_form(client: &Form<'_>, code: &str, redirect: &str, verifier: &str) -> Body {
    client.body(&[
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", redirect),
        ("code_verifier", verifier),
    ])
}

/// Returns the body that begins a device flow.
pub fn begin_device(client: &Form<'_>) -> Body {
    // The id stands in the body too: not every provider looks for it in the header here.
    let mut body = client.body(&[("scope", &client.provider.scope())]);
    if body.authorization.is_some() {
        body.form = Serializer::new(body.form)
            .append_pair("client_id", &client.provider.client_id)
            .finish();
    }
    body
}

/// Returns the body that asks whether the person has logged in.
pub fn device_form(client: &Form<'_>, device_code: &str) -> Body {
    client.body(&[
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("device_code", device_code),
    ])
}

/// Reason why an answer of a provider does not lead on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// It is not what was asked for.
    #[error("it answered with status {0}, and not with what was asked for")]
    Form(u16),
    /// It refuses.
    #[error("it refused: {0}")]
    Refused(String),
    /// It gave tokens, and no ID token among them.
    #[error("it gave no ID token: is the scope openid allowed for this client?")]
    NoToken,
}

fn object(status: u16, bytes: &[u8]) -> Result<Value, BadAnswer> {
    let value: Value = serde_json::from_slice(bytes).map_err(|_| BadAnswer::Form(status))?;
    if let Some(error) = value.get("error").and_then(Value::as_str) {
        let more = value.get("error_description").and_then(Value::as_str);
        return Err(BadAnswer::said(error, more));
    }
    if value.is_object() && (200..300).contains(&status) {
        Ok(value)
    } else {
        Err(BadAnswer::Form(status))
    }
}

impl BadAnswer {
    /// Makes a refusal of what a provider said.
    pub fn said(error: &str, more: Option<&str>) -> Self {
        let text = match more {
            Some(more) => format!("{error}: {more}"),
            None => error.to_owned(),
        };
        Self::Refused(text.chars().filter(|c| !c.is_control()).take(MAX_SAID).collect())
    }
}

/// Reads the ID token out of an answer.
///
/// # Errors
/// [`BadAnswer`].
pub fn id_token(status: u16, bytes: &[u8]) -> Result<String, BadAnswer> {
    let value = object(status, bytes)?;
    value.get("id_token").and_then(Value::as_str).map(str::to_owned).ok_or(BadAnswer::NoToken)
}

/// Device flow that a provider has begun.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceBegun {
    /// Code of the flow, which is a secret.
    pub device_code: String,
    /// Code that the person types in.
    pub user_code: String,
    /// Address at which the person logs in.
    pub address: String,
    /// The same address with the code in it.
    pub complete: Option<String>,
    /// Seconds after which the code counts no more.
    pub life: u64,
    /// Seconds between two questions.
    pub interval: u64,
}

impl std::fmt::Debug for DeviceBegun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceBegun").field("life", &self.life).finish_non_exhaustive()
    }
}

impl DeviceBegun {
    /// Reads a provider's answer. Code and addresses are shown on a terminal, so they are clean.
    ///
    /// # Errors
    /// [`BadAnswer`].
    pub fn read(status: u16, bytes: &[u8]) -> Result<Self, BadAnswer> {
        let value = object(status, bytes)?;
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let number = |name: &str| value.get(name).and_then(Value::as_u64);
        let clean = |text: &String| text.chars().all(|c| c.is_ascii_graphic() || c == ' ');
        let address = |name: &str| text(name).filter(|it| clean(it) && check_address(it).is_ok());
        let made = || {
            Some(Self {
                device_code: text("device_code").filter(|code| code.len() <= 4_096)?,
                user_code: text("user_code")
                    .filter(|code| clean(code) && code.len() <= MAX_USER_CODE)?,
                address: address("verification_uri")?,
                complete: address("verification_uri_complete"),
                life: number("expires_in").unwrap_or(MAX_DEVICE_LIFE).min(MAX_DEVICE_LIFE),
                interval: number("interval").unwrap_or(5).clamp(1, 60),
            })
        };
        made().ok_or(BadAnswer::Form(status))
    }
}

/// State of a device flow.
#[derive(Clone, PartialEq, Eq)]
pub enum DeviceState {
    /// The person has not logged in yet.
    Pending,
    /// As before, and the questions come too fast.
    SlowDown,
    /// The person has logged in: the ID token.
    Done(String),
}

impl std::fmt::Debug for DeviceState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pending => "Pending",
            Self::SlowDown => "SlowDown",
            Self::Done(_) => "Done(withheld)",
        })
    }
}

/// Reads a provider's answer to a question of a device flow.
///
/// # Errors
/// [`BadAnswer`]: the flow is over.
pub fn device_state(status: u16, bytes: &[u8]) -> Result<DeviceState, BadAnswer> {
    let said: Option<Value> = serde_json::from_slice(bytes).ok();
    let error = said.as_ref().and_then(|said| said.get("error")).and_then(Value::as_str);
    match error {
        Some("authorization_pending") => Ok(DeviceState::Pending),
        Some("slow_down") => Ok(DeviceState::SlowDown),
        Some("expired_token") => {
            Err(BadAnswer::said("the code was not typed in in time: begin the login again", None))
        }
        Some("access_denied") => {
            Err(BadAnswer::said("the login was refused at the provider", None))
        }
        _ => id_token(status, bytes).map(DeviceState::Done),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bytes(value: &Value) -> Vec<u8> {
        value.to_string().into_bytes()
    }

    #[test]
    fn answers_of_a_token_address() {
        let good = json!({ "id_token": "a.b.c", "access_token": "x" });
        assert_eq!(id_token(200, &bytes(&good)), Ok("a.b.c".into()));
        assert_eq!(id_token(200, &bytes(&json!({ "access_token": "x" }))), Err(BadAnswer::NoToken));
        assert_eq!(id_token(502, b"<html>"), Err(BadAnswer::Form(502)));
        assert_eq!(id_token(302, &bytes(&good)), Err(BadAnswer::Form(302)));
        let bad = json!({ "error": "invalid_grant", "error_description": "old\u{1b}[31m" });
        assert_eq!(
            id_token(400, &bytes(&bad)),
            Err(BadAnswer::Refused("invalid_grant: old[31m".into()))
        );
    }

    #[test]
    fn a_device_flow_goes_through_its_states() {
        let error = |word: &str| device_state(400, &bytes(&json!({ "error": word })));
        assert_eq!(error("authorization_pending"), Ok(DeviceState::Pending));
        assert_eq!(error("slow_down"), Ok(DeviceState::SlowDown));
        for word in ["expired_token", "access_denied", "invalid_client"] {
            assert!(matches!(error(word), Err(BadAnswer::Refused(_))), "{word}");
        }
        let done = device_state(200, &bytes(&json!({ "id_token": "t" })));
        assert_eq!(done, Ok(DeviceState::Done("t".into())));
        let begun = json!({
            "device_code": "d", "user_code": "AB-CD", "verification_uri": "https://a.example/device",
            "verification_uri_complete": "https://a.example/device?c=AB-CD", "expires_in": 99_999,
        });
        let read = DeviceBegun::read(200, &bytes(&begun)).unwrap();
        assert_eq!((read.life, read.interval), (MAX_DEVICE_LIFE, 5));
        for (field, value) in [
            ("user_code", json!("A\u{1b}[2J")),
            ("user_code", json!("A".repeat(65))),
            ("verification_uri", json!("http://a.example")),
            ("verification_uri", json!("javascript:alert(1)")),
            ("device_code", json!(null)),
        ] {
            let mut bad = begun.clone();
            bad[field] = value;
            assert_eq!(DeviceBegun::read(200, &bytes(&bad)), Err(BadAnswer::Form(200)), "{field}");
        }
    }
}
