//! Enrolment and renewal: the JSON documents exchanged over HTTPS before a device can speak MQTT,
//! and the token that permits it.
//!
//! See decisions 0003, 0017, 0084, 0162 and 0161.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use holdfast_base::ids::{Labels, Name, hex, unhex};

/// Server name that agents and the command line check in the control plane's certificate, whatever
/// address they dial: addresses change, and the CA is our own.
pub const SERVER_NAME: &str = "control.holdfast.internal";

/// Path for `POST` with an [`EnrolRequest`].
pub const ENROL_PATH: &str = "/api/v1/enrol";
/// Path for `POST` with a [`RenewRequest`].
pub const RENEW_PATH: &str = "/api/v1/renew";
/// Path for `POST` with a [`NonceRequest`].
pub const NONCE_PATH: &str = "/api/v1/renew/nonce";

/// Enrolment token: `hf1.<id>.<secret>.<sha256 of the CA certificate>`. The secret authenticates
/// the device, the digest the control plane, from the first contact on.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolToken {
    /// Public part for lists and revocation: 8 bytes as 16 hexadecimal digits.
    pub id: String,
    /// Secret part: 32 random bytes.
    pub secret: [u8; 32],
    /// SHA-256 of the CA certificate in DER.
    pub ca_sha256: [u8; 32],
}

/// Error for a text that is not an enrolment token.
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

/// Request of a device to be enrolled. Repeated with the same key it gives the same device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrolRequest {
    /// Text of the enrolment token.
    pub token: String,
    /// Name that the device would like to have; absent: the control plane makes one from the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// Labels that the device claims; labels set by the token take precedence.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// ECDSA P-256 public key of the device: SubjectPublicKeyInfo in DER, base64.
    pub public_key: String,
    /// X25519 public key that the device's secrets are sealed to: 32 bytes, base64. Absent: an
    /// agent that cannot open any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealing_key: Option<String>,
    /// Signature (ECDSA P-256, SHA-256, ASN.1, base64) over [`enrol_proof`].
    pub proof: String,
}

/// Request of a device for a number that its next [`RenewRequest`] is signed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NonceRequest {
    /// Public key of the device, as in [`EnrolRequest`]. The number is good for this key alone.
    pub public_key: String,
}

/// Body of the response to a [`NonceRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NonceAnswer {
    /// Text to be signed once, soon, and at the control plane that gave it.
    pub nonce: String,
}

/// Request of an enrolled device for a fresh certificate, or of a pending one for its approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenewRequest {
    /// Public key of the device, as in [`EnrolRequest`].
    pub public_key: String,
    /// Number from [`NonceAnswer`]. Absent: an older agent, whose request is as good a second time
    /// and therefore yields a certificate for the same key and changes nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// Sealing key, as in [`EnrolRequest`]; it replaces the one that is known. Without a `nonce` it
    /// is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealing_key: Option<String>,
    /// Signature over [`renew_proof`], or without a `nonce` over [`renew_proof_v0`], as in
    /// [`EnrolRequest`].
    pub proof: String,
}

/// Returns the bytes that a device signs to enrol: the signature proves that it holds the key and
/// means this token and this sealing key. Without one they are those of agents before it.
pub fn enrol_proof(token_id: &str, public_key: &str, sealing_key: Option<&str>) -> Vec<u8> {
    let mut text = format!("holdfast/v1/enrol\n{token_id}\n{public_key}");
    if let Some(sealing_key) = sealing_key {
        text.push('\n');
        text.push_str(sealing_key);
    }
    text.into_bytes()
}

/// Returns the bytes that a device signs to renew its certificate with a nonce. The sealing key may
/// be empty.
pub fn renew_proof(public_key: &str, nonce: &str, sealing_key: Option<&str>) -> Vec<u8> {
    let sealing_key = sealing_key.unwrap_or_default();
    format!("holdfast/v1/renew-once\n{public_key}\n{nonce}\n{sealing_key}").into_bytes()
}

/// Returns the bytes that agents without a nonce sign to renew their certificate.
pub fn renew_proof_v0(public_key: &str) -> Vec<u8> {
    format!("holdfast/v1/renew\n{public_key}").into_bytes()
}

/// Body of the response to both requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum EnrolAnswer {
    /// The device is enrolled and may connect.
    Approved(Box<Enrolment>),
    /// The device waits for approval by a person and asks again with a [`RenewRequest`].
    #[serde(rename_all = "camelCase")]
    Pending {
        /// Name that the device will have.
        device: Name,
        /// Seconds to wait before asking again.
        retry_after_seconds: u32,
    },
}

/// Everything that a device needs to speak MQTT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Enrolment {
    /// Tenant that the device belongs to.
    pub tenant: Name,
    /// Name of the device within its tenant.
    pub device: Name,
    /// Shard of the device, a part of its topics.
    pub shard: u8,
    /// Beginning of all the device's topics, with the final `/`.
    pub topic_prefix: String,
    /// Certificate of the device, PEM.
    pub certificate: String,
    /// Start of the certificate's validity, in seconds since 1970.
    pub not_before: u64,
    /// End of the certificate's validity, in seconds since 1970.
    pub not_after: u64,
    /// CA certificate of the control plane, PEM.
    pub ca: String,
    /// Ed25519 public key of the control plane, 32 bytes, base64.
    pub signing_key: String,
    /// Addresses of the brokers as `host:port`, the preferred first; without a host (`:8883`): the
    /// host that the request went to.
    pub mqtt: Vec<String>,
    /// Time of the control plane in seconds since 1970: a lower bound for the device's clock.
    pub server_time: u64,
    /// Keys of claimed labels that have no effect because the token does not allow them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_labels: Vec<String>,
    /// Sealing key of the device that the control plane knows. Absent: none, or a control plane
    /// that seals nothing. A device with another one sends its own with a renewal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealing_key: Option<String>,
}

/// Body of every error response of the HTTPS API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiErrorBody {
    /// Code and explanation of the error.
    pub error: ApiError,
}

/// Error of the HTTPS API: what was wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// Stable word for programs, such as `invalid`; `docs/api.md` lists them.
    pub code: String,
    /// Explanation for a person.
    pub message: String,
    /// Faults of the document that was sent, each with its path; empty for other errors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

/// Fault in one field of a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fault {
    /// Path of the field: `spec.resources.memory`.
    pub path: String,
    /// Explanation for a person: `"12Q": unknown unit`.
    pub message: String,
    /// True: the fault is the field itself, which is unknown, and not its value.
    #[serde(default, rename = "ofKey", skip_serializing_if = "std::ops::Not::not")]
    pub of_key: bool,
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
