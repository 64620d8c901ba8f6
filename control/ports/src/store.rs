//! The store's port: keys and JSON values, written in batches that are whole or not there.
//!
//! What is read often in service is in memory; the store is read at the start, for backups, after
//! a failed write, and for timelines.

/// What one transaction does.
#[derive(Debug, Default)]
pub struct Batch {
    /// Everything that was there goes first.
    pub clear: bool,
    /// In this order: the new value, or None to delete.
    pub writes: Vec<(String, Option<Vec<u8>>)>,
}

impl Batch {
    /// A value.
    pub fn put(&mut self, key: String, value: Vec<u8>) {
        self.writes.push((key, Some(value)));
    }

    /// No value any more.
    pub fn delete(&mut self, key: String) {
        self.writes.push((key, None));
    }
}

/// Why the store did not do it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}: {cause}")]
pub struct StoreError {
    /// What was tried.
    pub what: &'static str,
    /// What went wrong.
    pub cause: String,
}

/// Reads every key in order; it may end the reading with an error of its own.
pub type Visit<'a> = dyn FnMut(&str, &[u8]) -> std::io::Result<()> + 'a;

/// Everything at one moment, whatever is written meanwhile.
pub trait Snapshot: Send {
    /// Reads all but the keys that begin with one of `without`, which costs nothing for those;
    /// may be called again, with the same content.
    ///
    /// # Errors
    /// The disk's, or the visitor's.
    fn visit(&self, without: &[&str], visit: &mut Visit<'_>) -> std::io::Result<()>;
}

/// A durable store. Its calls block; one thread writes.
pub trait Store: Send + Sync + 'static {
    /// Writes these batches, in order, as one durable transaction.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing of it is there.
    fn commit(&self, batches: &[Batch]) -> Result<(), StoreError>;

    /// Everything as it is now.
    ///
    /// # Errors
    /// [`StoreError`].
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError>;

    /// Keys that begin with `prefix`, in order, `most` of them at most, as they are now.
    ///
    /// # Errors
    /// [`StoreError`].
    fn read(&self, prefix: &str, most: usize) -> Result<Vec<(String, Vec<u8>)>, StoreError>;

    /// The values of these keys, in their order, as they are at one moment. None: no such key.
    ///
    /// # Errors
    /// [`StoreError`].
    fn pick(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError>;
}
