//! Tenants, their quotas and how much of each is used.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Tenant with the use of its quotas.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tenant {
    /// Name of the tenant.
    pub name: String,
    /// True for the tenant that the control plane began with, which has the documents of all.
    pub first: bool,
    /// Time at which its document was applied first. Absent: it has no document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// Use of each quota, limited or not.
    pub quotas: Vec<QuotaUse>,
    /// Reason why its devices hold records back, in words. Absent: they need not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back: Option<String>,
}

/// Use of one quota.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuotaUse {
    /// Word of the quota, as in `spec.quotas`: `devices`, `artifacts`, `dataPerDay`,
    /// `requestsPerSecond`, `cpu` or `memory`.
    pub quota: String,
    /// Amount in use. Requests are counted only where they are limited.
    pub used: u64,
    /// Limit. Absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Unit of both numbers.
    pub unit: QuotaUnit,
}

/// Unit of the numbers of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum QuotaUnit {
    /// Things that are counted: devices, or requests.
    Count,
    /// Bytes.
    Bytes,
    /// Thousandths of a core.
    Millicores,
}

/// Request of `POST /api/v1/tenants`: a new tenant.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewTenant {
    /// Name of the tenant.
    pub name: String,
    /// Quotas, as `spec.quotas` of its document. Default: no limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<std::collections::BTreeMap<String, serde_json::Value>>)]
    pub quotas: Option<serde_json::Value>,
}

/// Response to `POST /api/v1/tenants`: the only time that the token is shown.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct CreatedTenant {
    /// Name of the tenant.
    pub name: String,
    /// First access token of the tenant, which may everything in it: `hfa1.<id>.<secret>`.
    pub token: String,
}

impl std::fmt::Debug for CreatedTenant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedTenant").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What goes with a tenant that is deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantDeletion {
    /// Name of the tenant.
    pub name: String,
    /// True if it was deleted; false for a plan.
    pub deleted: bool,
    /// Number of devices, whose connections end and whose workloads go on running.
    pub devices: u64,
    /// Number of workloads.
    pub workloads: u64,
    /// Number of other documents.
    pub documents: u64,
    /// Number of enrolment tokens.
    pub tokens: u64,
    /// Number of access tokens.
    pub access: u64,
    /// Number of artifacts.
    pub artifacts: u64,
    /// Number of streams of records.
    pub streams: u64,
    /// Number of records in these streams.
    pub records: u64,
}

/// Artifact that a tenant has pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactOfTenant {
    /// Digest: `sha256:<64 hex>`.
    pub digest: String,
    /// Size in bytes.
    pub size: u64,
    /// Time at which the tenant pushed it first.
    pub created_at: String,
}
