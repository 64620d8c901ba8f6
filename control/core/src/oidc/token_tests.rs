//! Hostile ID tokens, each refused for its own reason, and good ones of each algorithm.

use ring::hmac;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA512, RsaKeyPair,
};
use serde_json::json;

use super::*;

const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://id.example.com";

/// Private key of these tests alone.
const RSA: &[u8] = include_bytes!("rsa-of-tests.der");

/// A provider with a key of each sort, and somebody else with keys of the same ids.
struct World {
    random: SystemRandom,
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl World {
    fn new() -> Self {
        let random = SystemRandom::new();
        let signing = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let p256 = EcdsaKeyPair::generate_pkcs8(signing, &random).unwrap();
        let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        Self {
            rsa: RsaKeyPair::from_pkcs8(RSA).unwrap(),
            p256: EcdsaKeyPair::from_pkcs8(signing, p256.as_ref(), &random).unwrap(),
            ed: Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap(),
            random,
        }
    }

    fn published(&self) -> Value {
        let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(self.rsa.public());
        let point = self.p256.public_key().as_ref();
        json!({ "keys": [
            { "kty": "RSA", "kid": "r", "use": "sig", "n": b64(n), "e": b64(e) },
            { "kty": "EC", "crv": "P-256", "kid": "p", "x": b64(&point[1..33]), "y": b64(&point[33..]) },
            { "kty": "OKP", "crv": "Ed25519", "kid": "e", "x": b64(self.ed.public_key()) },
        ] })
    }

    fn keys(&self) -> Keys {
        Keys::read(self.published().to_string().as_bytes()).unwrap()
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let rsa = |padding| {
            let mut signature = vec![0; self.rsa.public().modulus_len()];
            self.rsa.sign(padding, &self.random, message, &mut signature).unwrap();
            signature
        };
        match algorithm {
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            "RS512" => rsa(&RSA_PKCS1_SHA512),
            "ES256" => self.p256.sign(&self.random, message).unwrap().as_ref().to_vec(),
            "EdDSA" => self.ed.sign(message).as_ref().to_vec(),
            _ => Vec::new(),
        }
    }

    /// A token that is signed by `signer`, whatever its header says.
    fn token(&self, header: &Value, claims: &Value, signer: &str) -> String {
        let signed = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
        let signature = self.sign(signer, signed.as_bytes());
        format!("{signed}.{}", b64(signature))
    }

    fn usual(&self, claims: &Value) -> String {
        self.token(&json!({ "alg": "ES256", "kid": "p" }), claims, "ES256")
    }
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "holdfast", "sub": "1", "exp": NOW + 60, "iat": NOW - 5,
        "nonce": "n", "groups": ["ops"],
    })
}

fn expected() -> Expected<'static> {
    Expected { issuer: ISSUER, client: "holdfast", nonce: Some("n"), now: NOW }
}

fn judge(world: &World, token: &str) -> Result<Claims, BadToken> {
    verify(token, &world.keys(), &expected())
}

#[test]
fn good_tokens_of_each_algorithm_are_believed() {
    let world = World::new();
    for (alg, kid) in [("RS256", "r"), ("ES256", "p"), ("EdDSA", "e")] {
        let token = world.token(&json!({ "alg": alg, "kid": kid, "typ": "JWT" }), &claims(), alg);
        assert_eq!(judge(&world, &token).unwrap().0["groups"], json!(["ops"]), "{alg}");
        // Without an id: one key of each algorithm is published, so it is clear which.
        let token = world.token(&json!({ "alg": alg }), &claims(), alg);
        assert!(judge(&world, &token).is_ok(), "{alg}");
    }
}

#[test]
fn another_signature_or_header_is_refused() {
    let (world, other) = (World::new(), World::new());
    let foreign = other.token(&json!({ "alg": "ES256", "kid": "p" }), &claims(), "ES256");
    assert_eq!(judge(&world, &foreign), Err(BadToken::Signature), "another key with this id");
    for (header, signer, why) in [
        (json!({ "alg": "none" }), "", BadToken::Algorithm("none".into())),
        (json!({ "alg": "None", "kid": "p" }), "", BadToken::Algorithm("None".into())),
        (json!({ "alg": "HS256", "kid": "r" }), "", BadToken::Algorithm("HS256".into())),
        (json!({ "alg": "RS512", "kid": "r" }), "RS512", BadToken::Algorithm("RS512".into())),
        (json!({ "alg": "RS256", "kid": "r" }), "RS512", BadToken::Signature),
        (json!({ "alg": "ES256", "kid": "p" }), "", BadToken::Signature),
        (json!({ "alg": "ES256", "kid": "x" }), "ES256", BadToken::UnknownKey("x".into())),
        (
            json!({ "alg": "ES256", "kid": "r" }),
            "ES256",
            BadToken::WrongKey { key: "r".into(), algorithm: "ES256" },
        ),
        (
            json!({ "alg": "RS256", "kid": "p" }),
            "RS256",
            BadToken::WrongKey { key: "p".into(), algorithm: "RS256" },
        ),
        (json!({ "alg": "ES256", "kid": "p", "crit": ["b64"] }), "ES256", BadToken::Critical),
        (json!({ "alg": "ES256", "kid": 7 }), "ES256", BadToken::Form),
        (json!({ "kid": "p" }), "ES256", BadToken::Form),
        (json!([]), "ES256", BadToken::Form),
    ] {
        assert_eq!(judge(&world, &world.token(&header, &claims(), signer)), Err(why), "{header}");
    }
    // A key that the token brings along is not looked at.
    let jwk = other.published()["keys"][1].clone();
    let header = json!({ "alg": "ES256", "kid": "p", "jwk": jwk, "jku": "https://evil.example" });
    let token = other.token(&header, &claims(), "ES256");
    assert_eq!(judge(&world, &token), Err(BadToken::Signature));
    // The public key as the secret of an HMAC, as in the old confusion of keys.
    let public = world.published()["keys"][0]["n"].as_str().unwrap().to_owned();
    let signed = format!("{}.{}", b64(r#"{"alg":"HS256","kid":"r"}"#), b64(claims().to_string()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, public.as_bytes()), signed.as_bytes());
    let token = format!("{signed}.{}", b64(tag));
    assert_eq!(judge(&world, &token), Err(BadToken::Algorithm("HS256".into())));
}

#[test]
fn two_keys_that_fit_need_an_id() {
    let (world, other) = (World::new(), World::new());
    let mut set = world.published();
    let mut second = other.published()["keys"][1].clone();
    second["kid"] = json!("q");
    set["keys"].as_array_mut().unwrap().push(second);
    let keys = Keys::read(set.to_string().as_bytes()).unwrap();
    let token = world.token(&json!({ "alg": "ES256" }), &claims(), "ES256");
    assert_eq!(verify(&token, &keys, &expected()), Err(BadToken::Ambiguous("ES256")));
    assert!(verify(&world.usual(&claims()), &keys, &expected()).is_ok());
}

#[test]
fn what_was_changed_or_is_no_token_is_refused() {
    let world = World::new();
    let good = world.usual(&claims());
    let parts: Vec<&str> = good.split('.').collect();
    let mut admin = claims();
    admin["groups"] = json!(["admins"]);
    let changed = format!("{}.{}.{}", parts[0], b64(admin.to_string()), parts[2]);
    assert_eq!(judge(&world, &changed), Err(BadToken::Signature));
    for text in [
        String::new(),
        "..".into(),
        "a.b".into(),
        format!("{good}.x"),
        format!("{good}="),
        format!(" {good}"),
        format!("{}.{}.", parts[0], parts[1]).replace(parts[0], "e30"),
        good.replace('.', ":"),
        "A".repeat(MAX_TOKEN + 1),
    ] {
        assert_eq!(judge(&world, &text), Err(BadToken::Form), "{text:.60}");
    }
    let empty = format!("{}.{}.", parts[0], parts[1]);
    assert_eq!(judge(&world, &empty), Err(BadToken::Signature));
}

#[test]
fn each_claim_is_held_to_what_is_expected() {
    let world = World::new();
    let audience = |text: &str| BadToken::Audience(text.into());
    for (field, value, why) in [
        (
            "iss",
            json!("https://id.example.com/"),
            BadToken::Issuer("https://id.example.com/".into()),
        ),
        ("iss", json!(null), BadToken::Claim("iss")),
        ("aud", json!("other"), audience("other")),
        ("aud", json!(["other", "another"]), audience("other, another")),
        ("aud", json!([]), audience("")),
        ("aud", json!("holdfast2"), audience("holdfast2")),
        ("aud", json!(["holdfast", 7]), BadToken::Claim("aud")),
        ("aud", json!(null), BadToken::Claim("aud")),
        ("aud", json!(["holdfast", "other"]), BadToken::Claim("azp")),
        ("azp", json!("other"), BadToken::Party("other".into())),
        ("azp", json!(7), BadToken::Claim("azp")),
        ("sub", json!(""), BadToken::Claim("sub")),
        ("sub", json!(7), BadToken::Claim("sub")),
        ("exp", json!(NOW - SKEW), BadToken::Expired(SKEW)),
        ("exp", json!(null), BadToken::Claim("exp")),
        ("exp", json!("never"), BadToken::Claim("exp")),
        ("exp", json!(-1), BadToken::Claim("exp")),
        ("exp", json!(1e300), BadToken::Claim("exp")),
        ("iat", json!(NOW + SKEW + 1), BadToken::Early(SKEW + 1)),
        ("iat", json!(NOW - SKEW - 1), BadToken::Old(SKEW + 1)),
        ("iat", json!(null), BadToken::Claim("iat")),
        ("nbf", json!(NOW + SKEW + 1), BadToken::Early(SKEW + 1)),
        ("nbf", json!("now"), BadToken::Claim("nbf")),
        ("nonce", json!("m"), BadToken::Nonce),
        ("nonce", json!(null), BadToken::Nonce),
    ] {
        let mut claims = claims();
        claims[field] = value.clone();
        assert_eq!(judge(&world, &world.usual(&claims)), Err(why), "{field} {value}");
    }
    for (field, value) in [
        ("exp", json!(NOW - SKEW + 1)),
        ("exp", json!(NOW as f64 + 0.5)),
        ("iat", json!(NOW + SKEW)),
        ("iat", json!(NOW - SKEW)),
        ("nbf", json!(NOW)),
        ("aud", json!(["holdfast"])),
        ("azp", json!("holdfast")),
    ] {
        let mut claims = claims();
        claims[field] = value.clone();
        assert!(judge(&world, &world.usual(&claims)).is_ok(), "{field} {value}");
    }
    let mut both = claims();
    both["aud"] = json!(["other", "holdfast"]);
    both["azp"] = json!("holdfast");
    assert!(judge(&world, &world.usual(&both)).is_ok());
    // A device flow has no nonce.
    let device = Expected { nonce: None, ..expected() };
    assert!(verify(&world.usual(&claims()), &world.keys(), &device).is_ok());
}
