//! Login by an identity provider: what the login page lists, and the device flow of the command
//! line.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Role;

/// Identity providers of a tenant, for the login page. Anyone may read their names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LoginProviders {
    /// Providers in the order of their names.
    pub items: Vec<LoginProvider>,
}

/// Identity provider that one can log in by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LoginProvider {
    /// Name of its `IdentityProvider` document.
    pub name: String,
}

/// Request of `POST /api/v1/login/{provider}/device`: begins a login without a browser on the same
/// machine.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDeviceLogin {
    /// Tenant of the provider. Absent: the one that the control plane began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

/// Login that waits for a person: the code, and where to type it in.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceLogin {
    /// Handle to ask with. It is a secret: whoever has it gets the token.
    pub handle: String,
    /// Code that the person types in.
    pub user_code: String,
    /// Address at which the person logs in.
    pub verification_uri: String,
    /// The same address with the code in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification_uri_complete: Option<String>,
    /// Seconds after which the code counts no more.
    pub expires_in: u64,
    /// Seconds between two questions.
    pub interval: u64,
}

impl std::fmt::Debug for DeviceLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeviceLogin(withheld)")
    }
}

/// Request of `POST /api/v1/login/{provider}/device/ask`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskDeviceLogin {
    /// Handle of the login.
    pub handle: String,
}

impl std::fmt::Debug for AskDeviceLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AskDeviceLogin(withheld)")
    }
}

/// State of a login that waits for a person.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceLoginState {
    /// Seconds until the next question makes sense. Absent: the person has logged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<u64>,
    /// Token of the command line, `hfs1.…`. It counts until `expiresAt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Person who has logged in, as `user NAME@PROVIDER`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// Roles of the person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Role>,
    /// End of the token, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

impl std::fmt::Debug for DeviceLoginState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceLoginState").field("wait", &self.wait).finish_non_exhaustive()
    }
}
