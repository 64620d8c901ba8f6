//! Answers that belong to no kind of resource.

use holdfast_protocol::enrol::Fault;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::code::ApiCode;

/// Response to `GET /api/v1/explain/{kind}/{name}`: why a resource is not as desired, in words.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// Kind of the resource: `device`, `workload`, `stream`, `linkbudget`, `notification` or
    /// `devicepolicy`.
    pub kind: String,
    /// Name of the resource.
    pub name: String,
    /// True when the resource is as desired.
    pub settled: bool,
    /// State of the resource in one line.
    pub summary: String,
    /// Reasons why the resource is not as desired, the most important first.
    pub reasons: Vec<String>,
    /// Commands that help, such as `holdfast device approve gw-7`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

/// Response to `PUT /api/v1/artifacts`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StoredArtifact {
    /// Digest of the stored file: `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// Size of the stored file in bytes.
    pub size: u64,
}

/// One event of `GET /api/v1/events`. As a server-sent event, `data:` holds this document, `event:`
/// its `type`, and `id:` the resource version.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Kind of the object: `device`, `workload`, `stream`, `linkbudget`, `notification`,
    /// `devicepolicy`, `alarm`, `token` or `access`. `reset` means that events were missed: read
    /// everything again.
    #[serde(rename = "type")]
    pub kind: String,
    /// Name of the object. Empty for `reset`.
    pub name: String,
    /// Kind of the change: `changed` or `deleted`.
    pub action: String,
    /// Time of the event.
    pub at: String,
    /// Description of the change in words, such as `hello: running`.
    pub message: String,
    /// Parts of a device that changed: `connection`, `problems`, `applied` and `workloads/NAME`.
    /// Absent: any part may have changed, also labels and approval.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<String>,
}

/// Body of every refusal: what was refused and what to do.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ErrorDocument {
    /// Stable word for programs, such as `not-found`.
    pub code: ApiCode,
    /// Description of the refusal and of what to do, in words.
    pub message: String,
    /// Faults in the request, each with its path.
    #[serde(default)]
    #[schema(value_type = Vec<Value>)]
    pub faults: Vec<Fault>,
}
