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

/// First line of an encrypted backup: it is in age's format.
pub const ENCRYPTED_BACKUP: &str = "age-encryption.org/v1\n";

/// Header of `POST /api/v1/restore`: key of the one encrypted file that is sent, in base64, which
/// the command line opens with an identity or a passphrase.
pub const BACKUP_KEY: &str = "holdfast-backup-key";

/// Header of `POST /api/v1/restore`: passphrase of the encrypted file, UTF-8 in base64.
pub const BACKUP_PASSPHRASE: &str = "holdfast-backup-passphrase";

/// Minimum length of a backup's passphrase, in characters.
pub const SHORTEST_PASSPHRASE: usize = 12;

/// Request of an encrypted backup: to recipients or by a passphrase, and not both.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct BackupRequest {
    /// Recipients in the form of age (`age1…`), 20 at most: whoever has the identity of one opens
    /// the backup.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    /// Passphrase of at least 12 characters. It is stored nowhere: without it the backup is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<String>,
}

impl std::fmt::Debug for BackupRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackupRequest")
            .field("recipients", &self.recipients)
            .field("passphrase", &self.passphrase.as_ref().map(|_| "withheld"))
            .finish()
    }
}
