//! Scopes of access tokens: three levels, each including the one before.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Rights of an access token; each scope includes the one before.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Read devices, workloads, logs, streams, metrics and the audit log; follow streams by MQTT.
    #[default]
    Read,
    /// Everything in `read`; change workloads, policy documents, devices and enrolment tokens;
    /// query devices; store and fetch artifacts.
    Operate,
    /// Everything in `operate`; backups, restores and access tokens.
    Admin,
}

impl Scope {
    /// Returns the word of the scope in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }

    /// Returns the scope of tokens that were stored before scopes existed.
    pub fn of_old() -> Self {
        Self::Admin
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
