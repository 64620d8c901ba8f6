//! Verification of ID tokens. A token is believed only when a key of the provider has signed it by
//! one of three algorithms, for this client, for this login, and now.
//!
//! See decision 0165.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::keys::{Algorithm, Keys};
use super::refusal::BadToken;

/// Longest ID token, in bytes. One with some hundred groups has 20 KiB.
const MAX_TOKEN: usize = 64 * 1024;

/// Time by which the provider's clock may differ from this one, in seconds: five minutes.
pub const SKEW: u64 = 300;

/// Claims of a verified ID token.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims(pub Map<String, Value>);

/// What an ID token must say to be believed.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Issuer, compared letter by letter.
    pub issuer: &'a str,
    /// Id of the client that the token must be for.
    pub client: &'a str,
    /// Nonce of the login. None: the login had none (device flow).
    pub nonce: Option<&'a str>,
    /// Present time, in seconds since 1970.
    pub now: u64,
}

/// Verifies an ID token and returns its claims.
///
/// # Errors
/// [`BadToken`]. [`BadToken::UnknownKey`] may be cured by fetching the keys again.
pub fn verify(token: &str, keys: &Keys, expected: &Expected<'_>) -> Result<Claims, BadToken> {
    if token.len() > MAX_TOKEN {
        return Err(BadToken::Form);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(BadToken::Form)?;
    let (header, payload) = signed.split_once('.').ok_or(BadToken::Form)?;
    if payload.contains('.') {
        return Err(BadToken::Form);
    }
    let header = object(header)?;
    let algorithm = algorithm(&header)?;
    let kid = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) => Some(kid.as_str()),
        Some(_) => return Err(BadToken::Form),
    };
    let signature = decode(signature)?;
    let key = keys.choose(kid, algorithm)?;
    if !key.verifies(signed.as_bytes(), &signature) {
        return Err(BadToken::Signature);
    }
    let claims = object(payload)?;
    check(&claims, expected)?;
    Ok(Claims(claims))
}

fn decode(part: &str) -> Result<Vec<u8>, BadToken> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| BadToken::Form)
}

fn object(part: &str) -> Result<Map<String, Value>, BadToken> {
    match serde_json::from_slice(&decode(part)?) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(BadToken::Form),
    }
}

fn algorithm(header: &Map<String, Value>) -> Result<Algorithm, BadToken> {
    if header.contains_key("crit") {
        return Err(BadToken::Critical);
    }
    let name = header.get("alg").and_then(Value::as_str).ok_or(BadToken::Form)?;
    Algorithm::of(name).ok_or_else(|| BadToken::Algorithm(name.chars().take(20).collect()))
}

/// Checks the claims of a token whose signature is right.
fn check(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), BadToken> {
    let text = |name| claims.get(name).and_then(Value::as_str);
    let time = |name: &'static str| match claims.get(name) {
        Some(Value::Number(number)) => seconds(number).ok_or(BadToken::Claim(name)),
        _ => Err(BadToken::Claim(name)),
    };
    let issuer = text("iss").ok_or(BadToken::Claim("iss"))?;
    if issuer != expected.issuer {
        return Err(BadToken::Issuer(issuer.chars().take(200).collect()));
    }
    audience(claims, expected.client)?;
    if text("sub").is_none_or(str::is_empty) {
        return Err(BadToken::Claim("sub"));
    }
    let (expires, issued, now) = (time("exp")?, time("iat")?, expected.now);
    if expires.saturating_add(SKEW) <= now {
        return Err(BadToken::Expired(now - expires));
    }
    let begins = if claims.contains_key("nbf") { issued.max(time("nbf")?) } else { issued };
    if begins > now.saturating_add(SKEW) {
        return Err(BadToken::Early(begins - now));
    }
    // A token is fetched in the moment of the login, so an old one is somebody's copy.
    if issued.saturating_add(SKEW) < now {
        return Err(BadToken::Old(now - issued));
    }
    match expected.nonce {
        Some(nonce) if text("nonce") != Some(nonce) => Err(BadToken::Nonce),
        _ => Ok(()),
    }
}

/// Time in whole seconds; some providers write fractions.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded just before")]
fn seconds(number: &serde_json::Number) -> Option<u64> {
    number.as_u64().or_else(|| {
        let float = number.as_f64()?;
        (0.0..1e15).contains(&float).then_some(float as u64)
    })
}

/// Checks that a token is for this client, and was asked for by it.
fn audience(claims: &Map<String, Value>, client: &str) -> Result<(), BadToken> {
    let audiences: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(all)) => {
            let texts: Option<Vec<&str>> = all.iter().map(Value::as_str).collect();
            texts.ok_or(BadToken::Claim("aud"))?
        }
        _ => return Err(BadToken::Claim("aud")),
    };
    if !audiences.contains(&client) {
        let shown: String = audiences.join(", ").chars().take(200).collect();
        return Err(BadToken::Audience(shown));
    }
    match claims.get("azp") {
        Some(Value::String(party)) if party == client => Ok(()),
        Some(Value::String(party)) => Err(BadToken::Party(party.chars().take(200).collect())),
        // With several audiences the token must say for whom it was issued.
        None if audiences.len() == 1 => Ok(()),
        _ => Err(BadToken::Claim("azp")),
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
