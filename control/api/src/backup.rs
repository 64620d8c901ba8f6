//! Backups and their restore.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Name of the first file in a backup.
pub const BACKUP_MANIFEST: &str = "manifest.json";

/// Bytes at the beginning of a file that tell a backup from other files: the first header of a tar.
pub const BACKUP_HEAD: usize = 512;

/// Returns whether a file that begins with `head` looks like a backup: a tar whose first file is
/// [`BACKUP_MANIFEST`].
pub fn begins_like_a_backup(head: &[u8]) -> bool {
    head.len() == BACKUP_HEAD
        && head.strip_prefix(BACKUP_MANIFEST.as_bytes()).is_some_and(|rest| rest.starts_with(b"\0"))
        && head.get(257..262) == Some(b"ustar".as_slice())
}

/// Response to `POST /api/v1/restore`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct Restored {
    /// Epoch of the desired state after the restore.
    pub epoch: u64,
    /// Number of devices in the backup.
    pub devices: u64,
    /// Number of workloads in the backup.
    pub workloads: u64,
    /// Next steps in words, such as a restart or another login.
    #[serde(default)]
    pub notes: Vec<String>,
}
