//! Who may use the API, and what the control plane says of itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Scope;

/// `POST /api/v1/session`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// `hfa1.<id>.<secret>`.
    pub token: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(withheld)")
    }
}

/// A session of the pages. Its secret is in the cookie alone.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Id of the access token that it was begun with.
    pub operator: String,
    /// What the token is for, as people call who has it; absent: it says nothing of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator_name: Option<String>,
    /// What it may do: the token's scope.
    pub scope: Scope,
    /// Goes into the header `X-CSRF-Token` of every request that is not GET or HEAD.
    pub csrf: String,
    /// When it ends.
    pub expires_at: String,
}

/// An access token, without its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// Its id, and when it was made.
    pub metadata: AccessMetadata,
    /// What it is for, in words; may be empty.
    pub comment: String,
    /// What it may do.
    pub scope: Scope,
    /// When it ends; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// When it was last used, a few minutes behind at most; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<String>,
}

/// Which access token.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessMetadata {
    /// Its id.
    pub name: String,
    /// When it was made.
    pub created_at: String,
}

/// `POST /api/v1/access`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewAccess {
    /// What it is for, in words: at most 200 characters of one line.
    #[serde(default)]
    pub comment: String,
    /// What it may do; default `read`.
    #[serde(default)]
    pub scope: Scope,
    /// How long it counts, in seconds: up to ten years; absent: until it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
}

/// The answer to [`NewAccess`]: the only time that the secret is shown.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct CreatedAccess {
    /// Its id.
    pub id: String,
    /// `hfa1.<id>.<secret>`.
    pub token: String,
}

impl std::fmt::Debug for CreatedAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedAccess").field("id", &self.id).finish_non_exhaustive()
    }
}

/// `GET /api/v1/about`: which control plane this is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// Of the program.
    pub version: String,
    /// Raised by every restore.
    pub epoch: u64,
    /// Newest revision of the store.
    pub resource_version: u64,
    /// When this process started.
    pub started_at: String,
    /// In certificates' SPIFFE ids.
    pub trust_domain: String,
    /// The one tenant.
    pub tenant: String,
    /// Address that the API listens on; absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_address: Option<String>,
    /// Addresses of the API that other machines may reach, as far as the control plane knows: those
    /// that devices are told for MQTT, the one that it listens on, the machine's own.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// The certificate authority.
    pub ca: Authority,
    /// When the server's own certificate ends; it is replaced long before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_certificate_not_after: Option<String>,
}

/// A certificate authority, its public part.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Authority {
    /// Of its certificate, hexadecimal: what `holdfast login` and enrolment tokens pin.
    pub sha256: String,
    /// Its certificate.
    pub pem: String,
    /// When it ends.
    pub not_after: String,
}

/// `GET /api/v1/licences`: what the programs are made of.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Licences {
    /// By name and version.
    pub items: Vec<Licence>,
}

/// A crate that is in one of the programs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Licence {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// An SPDX expression.
    pub licence: String,
}
