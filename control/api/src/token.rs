//! Enrolment tokens.

use holdfast_base::ids::Labels;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::document::Metadata;

/// An enrolment token, without its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// Always `holdfast/v1`.
    pub api_version: String,
    /// Always `Token`.
    pub kind: String,
    /// Id of the token as name; the labels are those that devices get when they enrol with it.
    pub metadata: Metadata,
    /// Time at which the token expires.
    pub expires_at: String,
    /// Number of devices that may enrol with the token.
    pub uses: u32,
    /// Number of devices that have enrolled with the token.
    pub used: u32,
    /// Keys of labels that devices may choose themselves when they enrol; `*` stands for every key.
    #[serde(default)]
    pub allow_labels: Vec<String>,
    /// Approval of devices that enrol with the token: at once, or by an operator.
    pub approve: Approve,
    /// State of the token: `active`, `expired`, `used` or `revoked`.
    pub state: String,
}

/// Approval of devices that enrol: accepted at once (`auto`) or by an operator (`manual`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Approve {
    /// The device is accepted at once.
    Auto,
    /// The device waits for an operator's approval.
    Manual,
}

/// Request of `POST /api/v1/tokens`: a new enrolment token.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewToken {
    /// Life of the token in seconds, from 1 second to ten years. Default: 86400, a day.
    #[serde(default = "a_day")]
    pub ttl_seconds: u64,
    /// Number of devices that may enrol with the token, at least 1. Default: 1.
    #[serde(default = "once")]
    pub uses: u32,
    /// Labels that devices get when they enrol with the token.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub labels: Labels,
    /// Keys of labels that devices may choose themselves when they enrol, at most 64; `*` stands
    /// for every key. Default: none.
    #[serde(default)]
    pub allow_labels: Vec<String>,
    /// Approval of devices that enrol with the token: `auto` accepts them at once, `manual` lets
    /// them wait for an operator. Default: `auto`.
    #[serde(default = "auto")]
    pub approve: Approve,
}

fn a_day() -> u64 {
    86_400
}

fn once() -> u32 {
    1
}

fn auto() -> Approve {
    Approve::Auto
}

/// Response to `POST /api/v1/tokens`: the only time that the secret is shown.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    /// The token with its secret: `hf1.<id>.<secret>.<sha256 of the CA>`.
    pub token: String,
    /// Id of the token, by which it is listed and revoked.
    pub id: String,
}

/// An enrolment token with the devices that used it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenUse {
    /// The token, without its secret.
    #[serde(flatten)]
    pub token: Token,
    /// Devices that enrolled with the token and are still known, the newest first, at most 100.
    pub devices: Vec<TokenDevice>,
}

/// A device that enrolled with a token.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenDevice {
    /// Name of the device.
    pub name: String,
    /// Time at which the device enrolled.
    pub enrolled_at: String,
    /// Keys of labels that the device claimed and did not get, because the token does not allow
    /// them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uncounted_labels: Vec<String>,
}
