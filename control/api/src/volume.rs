//! Volumes of containers on a device.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Volume of a workload's containers on one device. It outlives the workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Workload that the volume was made for.
    pub workload: String,
    /// Name of the volume within the workload.
    pub volume: String,
    /// Bytes of its files. Absent: the device could not count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// True if a container uses it.
    pub used: bool,
}

/// Order to replace the content of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RestoreVolume {
    /// Digest of the artifact that is a tar of the files: `sha256:` and 64 hexadecimal digits.
    pub digest: String,
}
