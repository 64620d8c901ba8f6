//! Artifacts on disk, named by their SHA-256 digest. A file under its final name is complete.
#![allow(clippy::disallowed_methods, reason = "an adapter: files are its trade")]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use holdfast_base::ids::{Digest, unhex};
use tokio::io::AsyncWriteExt as _;

use super::deltas::Deltas;
use crate::ports::artifacts::ArtifactSizes;
use crate::ports::rows::Disk;

/// Folder that holds the artifacts.
#[derive(Debug)]
pub struct Artifacts {
    whole: PathBuf,
    incoming: PathBuf,
    sizes: RwLock<BTreeMap<Digest, u64>>,
    next: AtomicU64,
    /// Maximum size of an artifact, in bytes.
    pub max: u64,
    /// Deltas between artifacts.
    pub deltas: Deltas,
}

impl ArtifactSizes for Artifacts {
    fn size(&self, digest: &Digest) -> Option<u64> {
        self.size(digest)
    }

    fn all(&self) -> Vec<(Digest, u64)> {
        self.all()
    }

    fn expect(&self, old: &Digest, new: &Digest) {
        self.deltas.expect(*old, *new);
    }

    fn remove(&self, digest: &Digest, unowned: &dyn Fn() -> bool) {
        let mut sizes = self.sizes.write().unwrap_or_else(PoisonError::into_inner);
        if sizes.contains_key(digest) && unowned() {
            match std::fs::remove_file(self.path(digest)) {
                Ok(()) => {
                    sizes.remove(digest);
                    self.deltas.forget(digest);
                }
                Err(error) => tracing::warn!(%digest, %error, "an artifact that nobody has stays"),
            }
        }
    }
}

impl Artifacts {
    /// Opens the folder and removes incomplete files.
    ///
    /// # Errors
    /// Returns the disk's error.
    pub fn open(folder: &Path, max: u64) -> io::Result<Self> {
        let (whole, incoming) = (folder.join("sha256"), folder.join("incoming"));
        if incoming.exists() {
            std::fs::remove_dir_all(&incoming)?;
        }
        std::fs::create_dir_all(&whole)?;
        std::fs::create_dir_all(&incoming)?;
        let mut sizes = BTreeMap::new();
        for entry in std::fs::read_dir(&whole)? {
            let entry = entry?;
            if let Some(digest) = entry.file_name().to_str().and_then(unhex::<32>) {
                sizes.insert(Digest(digest), entry.metadata()?.len());
            }
        }
        let deltas = Deltas::open(folder, &whole)?;
        let (sizes, next) = (RwLock::new(sizes), AtomicU64::new(0));
        Ok(Self { whole, incoming, sizes, next, max, deltas })
    }

    /// Size of an artifact in bytes; `None` when it is not stored.
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        self.sizes.read().unwrap_or_else(PoisonError::into_inner).get(digest).copied()
    }

    /// Digests and sizes of all stored artifacts.
    pub fn all(&self) -> Vec<(Digest, u64)> {
        let sizes = self.sizes.read().unwrap_or_else(PoisonError::into_inner);
        sizes.iter().map(|(digest, size)| (*digest, *size)).collect()
    }

    /// Path of an artifact, whether it is stored or not.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.whole.join(digest.hex())
    }

    /// Size and free space of the artifacts' file system.
    pub fn disk(&self) -> Option<Disk> {
        super::disk(&self.whole)
    }

    /// Path for a new temporary file. The caller creates the file.
    pub fn temporary(&self) -> Temporary {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Temporary(self.incoming.join(number.to_string()))
    }

    /// Begins an upload.
    ///
    /// # Errors
    /// Returns the disk's error.
    pub async fn begin(&self) -> io::Result<Upload> {
        let temporary = self.temporary();
        // An uploaded backup goes through here too and holds keys: readable for this user alone.
        let mut options = tokio::fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = options.open(&temporary.0).await?;
        let hash = ring::digest::Context::new(&ring::digest::SHA256);
        Ok(Upload { temporary, file, hash, size: 0 })
    }

    /// Moves a complete file that is durable to the name of its digest. A file of that name has the
    /// same bytes and is replaced: what is stored already takes as long as what is not, so that a
    /// tenant cannot tell by the time whether another one has it.
    ///
    /// # Errors
    /// Returns the disk's error.
    pub fn adopt(&self, temporary: &Temporary, digest: Digest, size: u64) -> io::Result<()> {
        let mut sizes = self.sizes.write().unwrap_or_else(PoisonError::into_inner);
        std::fs::rename(&temporary.0, self.path(&digest))?;
        sizes.insert(digest, size);
        drop(sizes);
        std::fs::File::open(&self.whole)?.sync_all()
    }
}

/// Temporary file, which is removed on drop unless it was moved.
#[derive(Debug)]
pub struct Temporary(pub PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.0.display(), %error, "a temporary file stays");
        }
    }
}

/// Artifact that is being uploaded.
pub struct Upload {
    temporary: Temporary,
    file: tokio::fs::File,
    hash: ring::digest::Context,
    size: u64,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Upload {
    /// Appends bytes. Returns the upload's size so far.
    ///
    /// # Errors
    /// Returns the disk's error.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<u64> {
        self.file.write_all(bytes).await?;
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        Ok(self.size)
    }

    /// Ends the upload. When this returns, the bytes are durable; [`Artifacts::adopt`] then gives them
    /// their name.
    ///
    /// # Errors
    /// Returns the disk's error.
    pub async fn finish(mut self) -> io::Result<(Temporary, Digest, u64)> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        Ok((self.temporary, digest(self.hash), self.size))
    }

    /// Ends an upload that is not an artifact. Returns its flushed temporary file.
    ///
    /// # Errors
    /// Returns the disk's error.
    pub async fn into_file(mut self) -> io::Result<Temporary> {
        self.file.flush().await?;
        Ok(self.temporary)
    }
}

/// Ends a SHA-256 computation and returns its digest.
pub fn digest(hash: ring::digest::Context) -> Digest {
    let mut out = [0; 32];
    out.iter_mut().zip(hash.finish().as_ref()).for_each(|(to, from)| *to = *from);
    Digest(out)
}
