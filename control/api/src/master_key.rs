//! Master key of the control plane: which one it is, and its rotation.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Beginning of a master key in text, by which it is known when it turns up somewhere. The 32 bytes
/// of the key follow, in base64 for URLs without padding.
pub const MASTER_KEY_PREFIX: &str = "hfmk1.";

/// Response to `GET /api/v1/master-key` and to its rotation. No key is in it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MasterKey {
    /// Id of the master key: 16 hexadecimal digits of its digest.
    pub id: String,
    /// Place of the master key, in words.
    pub place: String,
    /// Ids of the data keys that it wraps, the oldest first. The last one seals.
    pub data_keys: Vec<String>,
    /// Next steps in words.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Request to rotate the master key.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RotateMasterKey {
    /// Path of a file on the control plane's machine that holds the new master key. Absent: a new
    /// one is made and replaces the present file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// True when a new data key is made as well, and everything that is sealed is sealed again.
    #[serde(default)]
    pub data_keys: bool,
}
