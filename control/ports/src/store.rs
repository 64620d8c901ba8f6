//! Port of the store: keys and JSON values, written in atomic batches.
//!
//! What the service reads often is in memory. The store is read at the start, for backups, after a
//! failed write, and for timelines.
//!
//! See decision 0136.

use std::time::Duration;

pub use crate::rows::{Fence, Shard};

/// Revision of the store: a number that rises with each batch that writes, by one while the store is
/// open. 0: older than every numbered write, as the keys of a store from before revisions are.
pub type Revision = u64;

/// Reason why one batch was not written. Other batches of the same call are not affected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The lease was taken over or has ended: its holder must stop acting for the shard.
    #[error("the lease of shard {} was lost: another process writes for it", .0.shard)]
    Lost(Fence),
    /// A key is not as the batch expects it: it has this revision, or is absent.
    #[error("{key} was changed meanwhile")]
    Conflict {
        /// Key that differs.
        key: String,
        /// Present revision of the key. None: it is absent.
        revision: Option<Revision>,
    },
}

/// Reason why a lease was not given or renewed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LeaseError {
    /// Another holder has the lease, and it has not ended.
    #[error("{0} holds the lease")]
    Held(String),
    /// A newer lease of the shard exists, or the lease has ended.
    #[error("the lease was lost")]
    Lost,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Value of a key with the revision of the batch that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    /// Revision of the last write.
    pub revision: Revision,
    /// Value as it was written.
    pub value: Vec<u8>,
}

/// Answer to [`Store::changes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// Next page of keys that changed.
    Page {
        /// Keys in the order of their changes, each with its present value; None: it was deleted. A
        /// key may come more than once.
        changed: Vec<(String, Option<Versioned>)>,
        /// Revision up to which the page is complete, to ask from next. A page ends with a batch.
        upto: Revision,
        /// True if more changes wait.
        more: bool,
    },
    /// The store no longer knows what changed since then: the reader must read a snapshot.
    Trimmed,
}

/// Changes that are made together or not at all.
#[derive(Debug, Default)]
pub struct Batch {
    /// Lease that must hold. None: none is needed.
    pub fence: Option<Fence>,
    /// Keys with the revision that each must have; None: the key must be absent. Earlier batches of
    /// the same call count.
    pub expect: Vec<(String, Option<Revision>)>,
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
    /// Writes these batches, in order, as one durable transaction. Returns for each the revision
    /// that it was given, or why it was refused; a refused batch fails alone. A batch without
    /// writes gets the present revision.
    ///
    /// # Errors
    /// [`StoreError`]; nothing of the batches is written then.
    fn commit(&self, batches: &[Batch]) -> Result<Vec<Result<Revision, Refused>>, StoreError>;

    /// Returns a page of the keys that changed after the revision `since`, with about `most`
    /// changes; a batch is not divided.
    ///
    /// # Errors
    /// [`StoreError`].
    fn changes(&self, since: Revision, most: usize) -> Result<Changes, StoreError>;

    /// Takes the lease of a shard for `ttl` and returns its fence, whose epoch is higher than that
    /// of every earlier lease of the shard. Earlier fences are [`Refused::Lost`] from then on.
    ///
    /// A store that several processes can open gives a lease that has not ended to no other
    /// holder, and judges `ttl` by its own clock alone. A store that only one process can open
    /// gives the lease at once, and it ends only by the next one.
    ///
    /// # Errors
    /// [`LeaseError::Held`] or [`LeaseError::Store`].
    fn lease(&self, shard: Shard, holder: &str, ttl: Duration) -> Result<Fence, LeaseError>;

    /// Extends a lease by `ttl` from now. A store that only one process can open writes nothing to
    /// its disk for it.
    ///
    /// # Errors
    /// [`LeaseError::Lost`] or [`LeaseError::Store`].
    fn renew(&self, fence: Fence, ttl: Duration) -> Result<(), LeaseError>;

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
    fn pick(&self, keys: &[String]) -> Result<Vec<Option<Versioned>>, StoreError>;
}
