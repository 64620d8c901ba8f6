//! Access tokens, sessions of the pages, and facts about the control plane itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Scope;

/// Request of `POST /api/v1/session`: begins a session of the pages.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// Access token with its secret: `hfa1.<id>.<secret>`.
    pub token: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(withheld)")
    }
}

/// A session of the pages. Its secret is sent in a cookie only.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Id of the access token that began the session.
    pub operator: String,
    /// Comment of the access token, by which people know its holder. Absent: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator_name: Option<String>,
    /// Scope of the session: that of its access token.
    pub scope: Scope,
    /// Value for the header `X-CSRF-Token`, needed with every request other than GET and HEAD.
    pub csrf: String,
    /// Time at which the session ends: 12 hours after the login, or earlier with its access token.
    pub expires_at: String,
}

/// An access token, without its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// Id of the token, and the time at which it was created.
    pub metadata: AccessMetadata,
    /// Purpose of the token, in words; may be empty.
    pub comment: String,
    /// Scope of the token: what it may do.
    pub scope: Scope,
    /// Time at which the token expires. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Time at which the token was last used, at most a few minutes behind. Absent: never used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<String>,
}

/// Id and creation time of an access token.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessMetadata {
    /// Id of the token.
    pub name: String,
    /// Time at which the token was created.
    pub created_at: String,
}

/// Request of `POST /api/v1/access`: a new access token.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewAccess {
    /// Purpose of the token: one line of at most 200 characters. Default: empty.
    #[serde(default)]
    pub comment: String,
    /// Scope of the token. Default: `read`.
    #[serde(default)]
    pub scope: Scope,
    /// Life of the token in seconds, at most ten years. Absent: until it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
}

/// Response to `POST /api/v1/access`: the only time that the secret is shown.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct CreatedAccess {
    /// Id of the token, by which it is listed and revoked.
    pub id: String,
    /// The token with its secret: `hfa1.<id>.<secret>`.
    pub token: String,
}

impl std::fmt::Debug for CreatedAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedAccess").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Response to `GET /api/v1/about`: identity and addresses of the control plane.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// Version of the control plane's program, such as `0.9.2`.
    pub version: String,
    /// Epoch of the desired state. Every restore raises it.
    pub epoch: u64,
    /// Newest revision of the store.
    pub resource_version: u64,
    /// Time at which this process started.
    pub started_at: String,
    /// Trust domain, as it appears in the SPIFFE ids of certificates.
    pub trust_domain: String,
    /// Name of the caller's tenant.
    pub tenant: String,
    /// Address and port that the API listens on. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_address: Option<String>,
    /// Addresses at which other machines may reach the API, as far as the control plane knows:
    /// those that devices are told for MQTT, the one that the API listens on, and those of the
    /// machine.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Certificate authority of the control plane.
    pub ca: Authority,
    /// Time at which the server's own certificate expires. It is replaced long before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_certificate_not_after: Option<String>,
}

/// Public part of a certificate authority.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Authority {
    /// SHA-256 of the CA certificate in hexadecimal, which `holdfast login` and enrolment tokens
    /// pin.
    pub sha256: String,
    /// CA certificate as PEM.
    pub pem: String,
    /// Time at which the CA certificate expires.
    pub not_after: String,
}

/// Response to `GET /api/v1/licences`: third-party crates in the programs.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Licences {
    /// Crates, ordered by name and version.
    pub items: Vec<Licence>,
}

/// A third-party crate that is part of one of the programs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Licence {
    /// Name of the crate.
    pub name: String,
    /// Version of the crate.
    pub version: String,
    /// Licence as an SPDX expression, such as `MIT OR Apache-2.0`.
    pub licence: String,
}
