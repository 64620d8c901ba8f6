//! Port of the store: keys and JSON values, written in atomic batches.
//!
//! What the service reads often is in memory. The store is read at the start, for backups, after a
//! failed write, and for timelines.
//!
//! See decision 0018.

/// Changes of one transaction.
#[derive(Debug, Default)]
pub struct Batch {
    /// True when every key is deleted before the writes.
    pub clear: bool,
    /// Writes in order: a key with its new value, or with None to delete it.
    pub writes: Vec<(String, Option<Vec<u8>>)>,
}

impl Batch {
    /// Adds the write of a value.
    pub fn put(&mut self, key: String, value: Vec<u8>) {
        self.writes.push((key, Some(value)));
    }

    /// Adds the deletion of a key.
    pub fn delete(&mut self, key: String) {
        self.writes.push((key, None));
    }
}

/// Failure of a store's call.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}: {cause}")]
pub struct StoreError {
    /// Name of the operation that failed.
    pub what: &'static str,
    /// Cause of the failure, in words.
    pub cause: String,
}

/// Function that receives every key and value in the order of the keys. It may end the reading with
/// an error.
pub type Visit<'a> = dyn FnMut(&str, &[u8]) -> std::io::Result<()> + 'a;

/// Content of the store at one moment, whatever is written meanwhile.
pub trait Snapshot: Send {
    /// Reads all keys except those that begin with one of `without`, which are skipped without
    /// being read. It may be called again and gives the same content.
    ///
    /// # Errors
    /// Failure of the disk, or the error of `visit`.
    fn visit(&self, without: &[&str], visit: &mut Visit<'_>) -> std::io::Result<()>;
}

/// A durable store of keys and values. Its calls block, and one thread writes.
pub trait Store: Send + Sync + 'static {
    /// Writes these batches, in order, as one durable transaction.
    ///
    /// # Errors
    /// [`StoreError`]; nothing of the batches is written then.
    fn commit(&self, batches: &[Batch]) -> Result<(), StoreError>;

    /// Returns the present content.
    ///
    /// # Errors
    /// [`StoreError`].
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError>;

    /// Returns the keys that begin with `prefix`, in order, at most `most` of them, with their
    /// present values.
    ///
    /// # Errors
    /// [`StoreError`].
    fn read(&self, prefix: &str, most: usize) -> Result<Vec<(String, Vec<u8>)>, StoreError>;

    /// Returns the values of these keys, in the order of `keys`, as of one moment. None: no such
    /// key.
    ///
    /// # Errors
    /// [`StoreError`].
    fn pick(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError>;
}
