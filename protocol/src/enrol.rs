//! Enrolment and renewal: the JSON documents that go over HTTPS before a device can speak MQTT,
//! and the token that starts it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use holdfast_base::ids::{Labels, Name, hex, unhex};

/// Server name in the control plane's certificate that agents and the command line check,
/// whatever address they dial: addresses change, and the CA is our own.
pub const SERVER_NAME: &str = "control.holdfast.internal";

/// `POST` [`EnrolRequest`] here.
pub const ENROL_PATH: &str = "/api/v1/enrol";
/// `POST` [`RenewRequest`] here.
pub const RENEW_PATH: &str = "/api/v1/renew";

/// An enrolment token: `hf1.<id>.<secret>.<sha256 of the CA certificate>`. It authenticates both
/// sides: the secret the device, the digest the control plane, from the first contact on.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolToken {
    /// Public part, for lists and revocation: 8 bytes of hexadecimal.
    pub id: String,
    /// 32 random bytes.
    pub secret: [u8; 32],
    /// sha256 of the CA certificate in DER.
    pub ca_sha256: [u8; 32],
}

/// Why a text is not a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an enrolment token: it is hf1.<id>.<secret>.<ca sha256>; copy it whole, or make one with `holdfast token create`"
)]
pub struct NotAToken;

impl FromStr for EnrolToken {
    type Err = NotAToken;
    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let mut parts = text.trim().split('.');
        let (Some("hf1"), Some(id), Some(secret), Some(ca), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NotAToken);
        };
        unhex::<8>(id).ok_or(NotAToken)?;
        Ok(Self {
            id: id.to_owned(),
            secret: unhex(secret).ok_or(NotAToken)?,
            ca_sha256: unhex(ca).ok_or(NotAToken)?,
        })
    }
}

impl fmt::Display for EnrolToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf1.{}.{}.{}", self.id, hex(&self.secret), hex(&self.ca_sha256))
    }
}

impl fmt::Debug for EnrolToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnrolToken({}, secret withheld)", self.id)
    }
}

/// A device asks to be known. Repeated with the same key it gives the same device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrolRequest {
    /// The token's text.
    pub token: String,
    /// The name the device would like; without, the control plane makes one from the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// Labels that the device claims; the token's labels win over them.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// The device's ECDSA P-256 public key: SubjectPublicKeyInfo in DER, base64.
    pub public_key: String,
    /// Signature (ECDSA P-256, SHA-256, ASN.1, base64) over [`enrol_proof`].
    pub proof: String,
}

/// A known device asks for a fresh certificate, or whether it has been approved. Repeating a
/// recorded one only makes another certificate for the same key, useless without the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenewRequest {
    /// As in [`EnrolRequest`].
    pub public_key: String,
    /// Signature over [`renew_proof`], as in [`EnrolRequest`].
    pub proof: String,
}

/// What a device signs to enrol: it holds the key, and means this token.
pub fn enrol_proof(token_id: &str, public_key: &str) -> Vec<u8> {
    format!("holdfast/v1/enrol\n{token_id}\n{public_key}").into_bytes()
}

/// What a device signs to renew.
pub fn renew_proof(public_key: &str) -> Vec<u8> {
    format!("holdfast/v1/renew\n{public_key}").into_bytes()
}

/// The answer to both requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum EnrolAnswer {
    /// The device is known and may connect.
    Approved(Box<Enrolment>),
    /// It waits for a person; ask again with a [`RenewRequest`].
    #[serde(rename_all = "camelCase")]
    Pending {
        /// The name it will have.
        device: Name,
        /// Ask again after so many seconds.
        retry_after_seconds: u32,
    },
}

/// Everything a device needs to speak MQTT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Enrolment {
    /// The tenant.
    pub tenant: Name,
    /// The device's name.
    pub device: Name,
    /// Part of its topics.
    pub shard: u8,
    /// Its topics begin with this.
    pub topic_prefix: String,
    /// Its certificate, PEM.
    pub certificate: String,
    /// Seconds since the epoch from which the certificate holds.
    pub not_before: u64,
    /// Seconds since the epoch until which the certificate holds.
    pub not_after: u64,
    /// The CA certificate, PEM.
    pub ca: String,
    /// The control plane's Ed25519 public key, 32 bytes, base64.
    pub signing_key: String,
    /// `host:port` of the brokers, best first; without host (`:8883`): the host that was asked.
    pub mqtt: Vec<String>,
    /// The control plane's clock, seconds since the epoch: a floor for the device's.
    pub server_time: u64,
    /// Keys of labels that were claimed and do not count: the token does not allow them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_labels: Vec<String>,
}

/// The body of every error of the HTTPS API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiErrorBody {
    /// The error.
    pub error: ApiError,
}

/// An error that says what was wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// Stable word for programs: `invalid`, `not-found`, `refused`, `unauthorized`, `conflict`,
    /// `too-large`, `unavailable`, `internal`.
    pub code: String,
    /// In words.
    pub message: String,
    /// Each fault of a document, with its path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

/// One fault of a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fault {
    /// Where: `spec.resources.memory`.
    pub path: String,
    /// What: `"12Q": unknown unit`.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_hides_its_secret() {
        let token =
            EnrolToken { id: "0011223344556677".into(), secret: [7; 32], ca_sha256: [9; 32] };
        let text = token.to_string();
        assert_eq!(text.parse::<EnrolToken>().unwrap(), token);
        assert_eq!(format!("{text}\n").parse::<EnrolToken>().unwrap(), token);
        assert!(!format!("{token:?}").contains("0707"));
        for bad in ["", "hf1", "hf2.0011223344556677.aa.bb", text.trim_end_matches('9')] {
            assert!(bad.parse::<EnrolToken>().is_err(), "{bad}");
        }
    }
}
