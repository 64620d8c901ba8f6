//! Files that devices download.

use serde::{Deserialize, Serialize};

use holdfast_base::ids::Digest;

/// Immutable file that a device downloads from the control plane, identified by its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// Length of the file in bytes.
    pub size: u64,
}
