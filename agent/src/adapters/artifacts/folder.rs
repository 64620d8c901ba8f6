//! Files in the folders of artifacts, by their names.

use std::io;
use std::path::Path;

use holdfast_base::ids::Digest;

/// Names of the files in a folder.
pub(super) fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = std::fs::read_dir(folder)?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

/// Digest of a file's name, whatever its ending.
pub(super) fn digest_of(name: &str) -> Option<Digest> {
    let stem = name.split('.').next().unwrap_or(name);
    format!("sha256:{stem}").parse().ok()
}
