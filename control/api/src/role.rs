//! Roles: named sets of actions that an access token, a person or a binding has.
//!
//! See decision 0157.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Role of an access token or a person: a set of actions. Which action belongs to which role stands
/// in `docs/api.md`.
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
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Reads devices, workloads, logs, streams and alarms, and changes nothing.
    // Stored and sent as `read` before there were roles.
    #[default]
    #[serde(alias = "read")]
    Viewer,
    /// Everything of `viewer`; changes documents, devices, enrolment tokens and alarms, queries
    /// devices, stores artifacts.
    // Stored and sent as `operate` before there were roles.
    #[serde(alias = "operate")]
    Operator,
    /// Everything: people, access tokens, secrets, backups and restores too.
    Admin,
    /// Makes enrolment tokens and admits devices, and sees nothing but them.
    DeviceProvisioner,
    /// Reads and verifies the audit log, and who may do what. Sees documents and devices, no logs
    /// and no records.
    Auditor,
    /// Reads figures for Prometheus, and nothing else.
    Metrics,
}

impl Role {
    /// All roles, the one with the fewest rights of each sort first.
    pub const ALL: [Self; 6] = [
        Self::Viewer,
        Self::Operator,
        Self::Admin,
        Self::DeviceProvisioner,
        Self::Auditor,
        Self::Metrics,
    ];

    /// Returns the word of the role in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::DeviceProvisioner => "device-provisioner",
            Self::Auditor => "auditor",
            Self::Metrics => "metrics",
        }
    }

    /// Returns what the role may do, in a few words for a person.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Viewer => "reads devices, workloads, logs, streams and alarms",
            Self::Operator => "changes workloads, documents, devices and enrolment tokens",
            Self::Admin => "may do everything in its tenant",
            Self::DeviceProvisioner => "makes enrolment tokens and admits devices",
            Self::Auditor => "reads and verifies the audit log and who may do what",
            Self::Metrics => "reads figures for Prometheus",
        }
    }

    /// Returns the role of tokens that were stored before there were scopes or roles.
    pub fn of_old() -> Self {
        Self::Admin
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Error for a word that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no role: the roles are viewer, operator, admin, device-provisioner, auditor and metrics"
)]
pub struct NotARole(pub String);

impl std::str::FromStr for Role {
    type Err = NotARole;

    fn from_str(text: &str) -> Result<Self, NotARole> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| NotARole(text.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_has_its_word_and_former_scopes_are_read() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse::<Role>(), Ok(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
        for (former, role) in
            [("read", Role::Viewer), ("operate", Role::Operator), ("admin", Role::Admin)]
        {
            assert_eq!(serde_json::from_value::<Role>(former.into()).unwrap(), role);
        }
        let wrong = "root".parse::<Role>().unwrap_err().to_string();
        assert!(wrong.contains("device-provisioner"), "it names those that there are: {wrong}");
    }
}
