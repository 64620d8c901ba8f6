//! Artifacts on disk, named by their sha256. A file that has its final name is whole.
#![allow(clippy::disallowed_methods, reason = "an adapter: files are its trade")]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use holdfast_base::ids::{Digest, unhex};
use tokio::io::AsyncWriteExt as _;

use crate::core::room::Disk;

/// The folder of artifacts.
#[derive(Debug)]
pub struct Artifacts {
    whole: PathBuf,
    incoming: PathBuf,
    sizes: RwLock<BTreeMap<Digest, u64>>,
    next: AtomicU64,
    /// Largest artifact, in bytes.
    pub max: u64,
}

impl Artifacts {
    /// Opens the folder; what was half there is removed.
    ///
    /// # Errors
    /// The disk's.
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
        Ok(Self { whole, incoming, sizes: RwLock::new(sizes), next: AtomicU64::new(0), max })
    }

    /// An artifact's size. None: it is not here.
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        self.sizes.read().unwrap_or_else(PoisonError::into_inner).get(digest).copied()
    }

    /// All that are here.
    pub fn all(&self) -> Vec<(Digest, u64)> {
        let sizes = self.sizes.read().unwrap_or_else(PoisonError::into_inner);
        sizes.iter().map(|(digest, size)| (*digest, *size)).collect()
    }

    /// Where an artifact is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.whole.join(digest.hex())
    }

    /// The file system that they are on.
    pub fn disk(&self) -> Option<Disk> {
        super::disk(&self.whole)
    }

    /// A name for a file that is on its way; whoever made it removes it.
    pub fn temporary(&self) -> Temporary {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Temporary(self.incoming.join(number.to_string()))
    }

    /// Begins to take one in.
    ///
    /// # Errors
    /// The disk's.
    pub async fn begin(&self) -> io::Result<Upload> {
        let temporary = self.temporary();
        // A backup on its way in holds keys.
        let mut options = tokio::fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = options.open(&temporary.0).await?;
        let hash = ring::digest::Context::new(&ring::digest::SHA256);
        Ok(Upload { temporary, file, hash, size: 0 })
    }

    /// Gives a whole file, already safe on disk, its name.
    ///
    /// # Errors
    /// The disk's.
    pub fn adopt(&self, temporary: &Temporary, digest: Digest, size: u64) -> io::Result<()> {
        if self.size(&digest) != Some(size) {
            std::fs::rename(&temporary.0, self.path(&digest))?;
            std::fs::File::open(&self.whole)?.sync_all()?;
            self.sizes.write().unwrap_or_else(PoisonError::into_inner).insert(digest, size);
        }
        Ok(())
    }
}

/// A file on its way, removed when dropped unless it was given a name.
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

/// An artifact on its way in.
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
    /// The next bytes; gives how many there are by now.
    ///
    /// # Errors
    /// The disk's.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<u64> {
        self.file.write_all(bytes).await?;
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        Ok(self.size)
    }

    /// That was all: safe on disk and under its name when this returns.
    ///
    /// # Errors
    /// The disk's.
    pub async fn finish(mut self, artifacts: &Artifacts) -> io::Result<(Digest, u64)> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        let digest = digest(self.hash);
        artifacts.adopt(&self.temporary, digest, self.size)?;
        Ok((digest, self.size))
    }

    /// That was all, and it is no artifact: the file, safe on disk.
    ///
    /// # Errors
    /// The disk's.
    pub async fn into_file(mut self) -> io::Result<Temporary> {
        self.file.flush().await?;
        Ok(self.temporary)
    }
}

/// The digest of what was hashed.
pub fn digest(hash: ring::digest::Context) -> Digest {
    let mut out = [0; 32];
    out.iter_mut().zip(hash.finish().as_ref()).for_each(|(to, from)| *to = *from);
    Digest(out)
}
