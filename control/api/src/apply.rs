//! Applying of documents, and what comes of it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

#[expect(
    unused_imports,
    reason = "a link in the text of `Apply`, which is also in the API document"
)]
use super::strict;

/// Request of `POST /api/v1/apply`: documents to apply. Read by [`strict::apply`].
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Apply {
    /// Documents of any kind that can be applied. Either all of them are applied or none.
    pub documents: Vec<Value>,
}

/// Effect of applying a document on its resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AppliedAction {
    /// The resource is new.
    Created,
    /// The resource was there and is another one now.
    Changed,
    /// The resource was there already, as the document says.
    Unchanged,
}

impl AppliedAction {
    /// Returns the word of the effect in responses and texts, such as `created`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
        }
    }
}

/// Response to `POST /api/v1/apply`, document by document.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// Results, in the order of the documents.
    pub results: Vec<AppliedDocument>,
}

/// Result of applying one document, or in a dry run the result that it would have.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppliedDocument {
    /// Kind of the document, such as `Workload`.
    pub kind: String,
    /// Name of the resource.
    pub name: String,
    /// Effect on the resource.
    pub action: AppliedAction,
    /// Revision of the workload afterwards. 0 for kinds that have no revisions.
    pub revision: u64,
    /// Number of devices that should run the workload, or that the document chooses.
    pub device_count: u64,
    /// Names of the first of these devices, at most 20.
    pub devices: Vec<String>,
    /// Document before the change, for a diff. Absent: the resource is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// Document after the change.
    pub after: Value,
    /// Warnings, in words, such as `no enrolled and approved device matches spec.devices`.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Devices for which something changes.
    #[serde(default)]
    pub changed_devices: ChangedDevices,
    /// For a `Stream`: number of streams on devices whose policy changes.
    #[serde(default)]
    pub changed_streams: u64,
    /// Effect on devices in words, such as `applies to 4 devices; 2 streams change policy`.
    #[serde(default)]
    pub effect: String,
}

/// Devices for which a document changes something. At most 100 of each list are named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangedDevices {
    /// Devices that begin to run the workload, or to which the document begins to apply.
    pub gain: Vec<String>,
    /// Number of devices in `gain`, also those that are not named.
    pub gain_count: u64,
    /// Devices that stop running the workload, or to which the document no longer applies.
    pub lose: Vec<String>,
    /// Number of devices in `lose`, also those that are not named.
    pub lose_count: u64,
    /// Devices that go to another revision of the workload, or on which the document's effect
    /// changes.
    pub update: Vec<String>,
    /// Number of devices in `update`, also those that are not named.
    pub update_count: u64,
}
