//! Parts that documents of all kinds have, and pages of lists.

use holdfast_base::ids::Labels;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Value of `apiVersion` in every document.
pub const API_VERSION: &str = "holdfast/v1";

/// One page of a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct List<T> {
    /// Items of this page, ordered by name unless the request asks for another order.
    pub items: Vec<T>,
    /// Position of the page in its list.
    #[serde(default)]
    pub metadata: ListMeta,
}

/// Position of a page in its list.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListMeta {
    /// Token of the next page, to be passed as the query parameter `continue`. Absent on the last
    /// page.
    #[serde(default, rename = "continue", skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Revision of the store that the page shows.
    #[serde(default)]
    pub resource_version: u64,
    /// Number of items on all pages together. Given for lists of devices only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

/// Name, labels and versions of a resource.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Name of the resource. A revision is named `<workload>.<number>`, a token by its id.
    pub name: String,
    /// Labels of the resource.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub labels: Labels,
    /// Number that changes with every change of the resource, but not with changes of its status.
    #[serde(default)]
    pub resource_version: u64,
    /// Time at which the resource was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// Time at which the resource was last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
}
