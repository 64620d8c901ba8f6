//! Keys that a provider publishes (JWKS), as far as they can verify ID tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde_json::Value;

use super::refusal::BadToken;

/// Most keys of a provider that are looked at. A provider that rotates has two or three.
pub const MAX_KEYS: usize = 64;

/// Reason why what a provider publishes as its keys is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKeys {
    /// It is no JSON object with a list `keys`.
    #[error("what it publishes as its keys (jwks_uri) is no key set (JWKS)")]
    Form,
    /// There are too many.
    #[error("it publishes more than {MAX_KEYS} keys")]
    Many,
    /// None of them verifies an accepted algorithm.
    #[error("it publishes no key for RS256 (2048 bits or more), ES256 or EdDSA")]
    None,
}

/// Algorithm of a signature that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// RSA with SHA-256, PKCS #1 v1.5.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// Returns the algorithm of this name. None: it is not accepted, as `none` and `HS256`.
    pub(super) fn of(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// Public key of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    id: Option<String>,
    material: Material,
}

/// Numbers of a key. Its variant fixes the one algorithm that the key may be used with.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl Key {
    /// Reads a key. None: it is for something else.
    fn of(key: &Value) -> Option<Self> {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        let number = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        if text("use").is_some_and(|used| used != "sig") {
            return None;
        }
        let operations = key.get("key_ops").and_then(Value::as_array);
        if operations.is_some_and(|all| !all.iter().any(|one| one == "verify")) {
            return None;
        }
        let material = match (text("kty")?, text("crv")) {
            ("RSA", _) => Material::Rsa { n: number("n")?, e: number("e")? },
            ("EC", Some("P-256")) => {
                let (x, y) = (number("x")?, number("y")?);
                if x.len() != 32 || y.len() != 32 {
                    return None;
                }
                Material::P256([&[4_u8][..], x.as_slice(), y.as_slice()].concat())
            }
            ("OKP", Some("Ed25519")) => Material::Ed25519(number("x").filter(|x| x.len() == 32)?),
            _ => return None,
        };
        let made = Self { id: text("kid").map(str::to_owned), material };
        // A key that says its algorithm is for no other.
        text("alg").is_none_or(|name| name == made.algorithm().name()).then_some(made)
    }

    fn algorithm(&self) -> Algorithm {
        match &self.material {
            Material::Rsa { .. } => Algorithm::Rs256,
            Material::P256(_) => Algorithm::Es256,
            Material::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// True if the key has signed the message.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match &self.material {
            Material::Rsa { n, e } => RsaPublicKeyComponents { n, e }.verify(
                &RSA_PKCS1_2048_8192_SHA256,
                message,
                signature,
            ),
            Material::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            Material::Ed25519(point) => {
                UnparsedPublicKey::new(&ED25519, point).verify(message, signature)
            }
        };
        verified.is_ok()
    }
}

/// Keys of a provider that can verify ID tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// Reads a key set (JWKS). Keys for other purposes are left out.
    ///
    /// # Errors
    /// [`BadKeys`].
    pub fn read(bytes: &[u8]) -> Result<Self, BadKeys> {
        let set: Value = serde_json::from_slice(bytes).map_err(|_| BadKeys::Form)?;
        let all = set.get("keys").and_then(Value::as_array).ok_or(BadKeys::Form)?;
        if all.len() > MAX_KEYS {
            return Err(BadKeys::Many);
        }
        let keys: Vec<Key> = all.iter().filter_map(Key::of).collect();
        if keys.is_empty() { Err(BadKeys::None) } else { Ok(Self(keys)) }
    }

    /// Chooses the key for a token. The token's algorithm must be the one that the key is made for:
    /// otherwise whoever writes the header would decide what a key means.
    pub(super) fn choose(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<&Key, BadToken> {
        let fits = |key: &&Key| key.algorithm() == algorithm;
        let Some(kid) = kid else {
            let mut fitting = self.0.iter().filter(fits);
            return match (fitting.next(), fitting.next()) {
                (Some(key), None) => Ok(key),
                (None, _) => Err(BadToken::UnknownKey(String::new())),
                _ => Err(BadToken::Ambiguous(algorithm.name())),
            };
        };
        let shown = || kid.chars().take(80).collect::<String>();
        let mut named = self.0.iter().filter(|key| key.id.as_deref() == Some(kid)).peekable();
        if named.peek().is_none() {
            return Err(BadToken::UnknownKey(shown()));
        }
        named
            .find(fits)
            .ok_or_else(|| BadToken::WrongKey { key: shown(), algorithm: algorithm.name() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(keys: Value) -> Result<Keys, BadKeys> {
        Keys::read(json!({ "keys": keys }).to_string().as_bytes())
    }

    #[test]
    fn only_keys_that_verify_signatures_are_taken() {
        let x = URL_SAFE_NO_PAD.encode([7; 32]);
        let good = json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "a" });
        assert!(read(json!([good])).is_ok());
        for (field, value) in [
            ("use", json!("enc")),
            ("alg", json!("RS256")),
            ("key_ops", json!(["sign"])),
            ("crv", json!("X25519")),
            ("kty", json!("oct")),
            ("x", json!("AAAA")),
            ("x", json!("!")),
        ] {
            let mut key = good.clone();
            key[field] = value.clone();
            assert_eq!(read(json!([key])), Err(BadKeys::None), "{field} {value}");
        }
        let secret = json!({ "kty": "oct", "k": x, "kid": "a", "alg": "HS256" });
        assert_eq!(read(json!([secret, 7, null, good])).unwrap().0.len(), 1);
    }

    #[test]
    fn a_key_set_is_bounded_and_has_a_form() {
        assert_eq!(read(json!(vec![json!({}); MAX_KEYS + 1])), Err(BadKeys::Many));
        for text in ["", "[]", "{}", "{\"keys\":{}}", "\u{0}"] {
            assert_eq!(Keys::read(text.as_bytes()), Err(BadKeys::Form), "{text}");
        }
    }
}
