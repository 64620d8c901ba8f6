//! Access tokens, sessions of the pages, and facts about the control plane itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Role;

/// Request of `POST /api/v1/session`: begins a session, with an access token, or with the name and
/// password of a local user.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// Access token with its secret: `hfa1.<id>.<secret>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Name of a local user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Password of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Code of the user's authenticator program; asked for by the code `second-factor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Tenant of the user. Absent: the one that the control plane began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(withheld)")
    }
}

/// A session. Its secret is sent in a cookie only.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Id of the access token that began the session, or `user NAME`.
    pub operator: String,
    /// Name of the access token or of the person. Absent: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator_name: Option<String>,
    /// Person who has logged in: the name of a local user, or `NAME@PROVIDER`. Absent: it was
    /// begun with an access token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Tenant of the session.
    pub tenant: String,
    /// Roles of the session.
    pub roles: Vec<Role>,
    /// True if the session was begun with the token that was printed at the first start, which is
    /// meant for setting up: it is to be replaced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub setup: bool,
    /// True if somebody else has set the user's password: another is to be chosen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub must_change: bool,
    /// True if the user's logins need a code of an authenticator program.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub second_factor: bool,
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
    /// Name of the token, by which people know it; may be empty for tokens of earlier versions.
    pub name: String,
    /// Role of the token: what it may do.
    pub role: Role,
    /// Selector of the devices that the token reaches, such as `site=kiel`. Absent: all of its
    /// tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Time until which the secret before the last rotation counts too. Absent: it was not rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former_until: Option<String>,
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
    /// Name of the token, by which people know it: one line of at most 80 characters that no other
    /// access token has. Default: the id of the token. Scripts of earlier versions say `comment`.
    #[serde(default, alias = "comment")]
    pub name: String,
    /// Role of the token. Default: `viewer`. Scripts of earlier versions say `scope`.
    #[serde(default, alias = "scope")]
    pub role: Role,
    /// Selector of the devices that the token reaches, such as `site=kiel`. Absent: all of its
    /// tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Life of the token in seconds, at most ten years. Absent: 90 days, unless it is endless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
    /// True for a token that does not end by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub endless: bool,
}

/// Request of `POST /api/v1/access/{id}/rotate`: a new secret for an access token.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RotateAccess {
    /// Seconds for which the former secret counts beside the new one, at most 30 days. Default: one
    /// day. 0 ends it at once, and every session that was begun with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap_seconds: Option<u64>,
    /// Life of the token in seconds from now, at most ten years. Absent: as long as it had when it
    /// was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
}

/// Response to `GET /api/v1/whoami`: the caller, its roles, and what they allow.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WhoAmI {
    /// Caller in words, such as `access token 0011223344556677` or `user anna`.
    pub caller: String,
    /// Tenant of the caller.
    pub tenant: String,
    /// Roles, each with what it reaches and what gave it. Empty: nothing is allowed.
    pub grants: Vec<Granted>,
    /// Time at which the token or the session ends. Absent: it does not end by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Every action, and whether it is allowed.
    pub actions: Vec<Decision>,
}

/// Role of a caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Granted {
    /// The role.
    pub role: Role,
    /// Selector of the devices that it reaches. Absent: all of the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// What gave it, in words, such as `access token 0011223344556677`.
    pub by: String,
}

/// Decision about one action of a caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Action, as in `x-holdfast-action` of the OpenAPI document.
    pub action: String,
    /// True if it is allowed.
    pub allowed: bool,
    /// Devices that it reaches, such as `site=kiel`. Absent: it reaches all of the tenant, is about
    /// no devices, or is not allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<String>,
    /// Reason: what gave the right, or what is missing.
    pub why: String,
}

/// Response to `POST /api/v1/access` and to its rotation: the only time that the secret is shown.
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
    /// Tenant of the caller.
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
