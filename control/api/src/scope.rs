//! How much an access token may do: one of three scopes, each with everything of the one before.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What an access token may do.
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
    /// Also change workloads, documents about data, devices and enrolment tokens; ask devices;
    /// store and fetch artifacts.
    Operate,
    /// Everything: also backups, restores and access tokens.
    Admin,
}

impl Scope {
    /// As the API says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }

    /// Tokens that were made before there were scopes may do everything.
    pub fn of_old() -> Self {
        Self::Admin
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
