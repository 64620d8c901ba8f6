//! The file under redb, which counts the flash pages that are written to it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

/// Smallest unit that a file system writes, in bytes.
const PAGE: u64 = 4_096;

/// Most pages that are remembered between two syncs: those of a few groups.
const MAX_DIRTY: usize = 8_192;

/// File that counts the bytes written to it.
#[derive(Debug)]
pub(super) struct Counted {
    file: FileBackend,
    written: Arc<AtomicU64>,
    /// Pages written since the last sync: a page written twice in between reaches the flash once.
    dirty: Mutex<BTreeSet<u64>>,
    /// Path whose existence makes every write fail as on a full disk.
    #[cfg(test)]
    full: std::path::PathBuf,
    /// Path that makes the next read fail if it exists; the read removes it.
    #[cfg(test)]
    unread: std::path::PathBuf,
}

impl Counted {
    /// Wraps a file; adds the bytes written to `written`.
    pub(super) fn new(file: File, written: Arc<AtomicU64>) -> Result<Self, redb::DatabaseError> {
        Ok(Self {
            file: FileBackend::new(file)?,
            written,
            dirty: Mutex::default(),
            #[cfg(test)]
            full: "/nonexistent".into(),
            #[cfg(test)]
            unread: "/nonexistent".into(),
        })
    }
}

impl Counted {
    /// Lets tests inject failures: writes fail while `data.full` is beside the file at `path`, and
    /// a read that finds `data.unread` removes it and fails.
    #[cfg(test)]
    pub(super) fn failing(self, path: &std::path::Path) -> Self {
        Self { full: path.with_extension("full"), unread: path.with_extension("unread"), ..self }
    }

    fn dirty(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

impl StorageBackend for Counted {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        #[cfg(test)]
        if std::fs::remove_file(&self.unread).is_ok() {
            return Err(io::Error::other("not read"));
        }
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let pages = std::mem::take(&mut *self.dirty());
        self.written.fetch_add(to_u64(pages.len()) * PAGE, Ordering::Relaxed);
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        if self.full.exists() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let end = (offset + to_u64(data.len())).div_ceil(PAGE);
        let mut dirty = self.dirty();
        dirty.extend(offset / PAGE..end);
        if dirty.len() > MAX_DIRTY {
            self.written.fetch_add(to_u64(dirty.len()) * PAGE, Ordering::Relaxed);
            dirty.clear();
        }
        drop(dirty);
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}
