//! The buffer: keeps what workloads publish on disk, from before it is acknowledged until it is
//! shipped and its room is needed. One thread owns the file; it is started at the first use, and
//! stores everything that is queued in one durable step.
//!
//! A record that was handed in and not stored is never acknowledged, whatever happens to the file,
//! the disk or the thread.
//!
//! See decision 0046.

mod block;
mod ceilings;
mod change;
mod contain;
mod counted;
mod file;
mod journal;
mod queue;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_base::ids::Name;
use holdfast_records::{DataPolicies, Format, Given, Range, RangeSet, Record, StreamName};
use tokio::sync::oneshot;

pub use queue::Refused;
use queue::{Append, Job, Queue};

use crate::adapters::clock::Time;
pub use crate::core::data::Limits;
pub use crate::core::data::step::{Ready, StreamSummary};

/// Part of a stream, bounded by sequence numbers and by time; all bounds are inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Lowest sequence number, 1 for the whole stream.
    pub from: u64,
    /// Highest sequence number, `u64::MAX` for the whole stream.
    pub to: u64,
    /// Earliest time, in milliseconds since 1970.
    pub since: u64,
    /// Latest time, in milliseconds since 1970.
    pub until: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self { from: 1, to: u64::MAX, since: 0, until: u64::MAX }
    }
}

/// Records that one read of a stream returned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Records in the order of their sequence numbers.
    pub records: Vec<Record>,
    /// Sequence number at which the next page begins; `None` on the last page.
    pub next: Option<u64>,
    /// Sequence numbers whose blocks are damaged.
    pub damaged: Vec<Range>,
    /// True when the file could not be read: records may be missing.
    pub failed: bool,
}

/// Bytes written to flash since the buffer was made, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Bytes written to store records.
    pub records: u64,
    /// Bytes written to drop, thin or expire records.
    pub retention: u64,
    /// Bytes written for the database itself, ceilings, acknowledgements and totals.
    pub bookkeeping: u64,
    /// Bytes of the records' values as they were published.
    pub payload: u64,
    /// Time at which counting began, in seconds since 1970.
    pub since: u64,
}

impl Written {
    /// Bytes written for all causes; `payload` is no part of it.
    pub fn total(&self) -> u64 {
        self.records.saturating_add(self.retention).saturating_add(self.bookkeeping)
    }
}

/// State of the whole buffer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Streams, by name.
    pub streams: Vec<StreamSummary>,
    /// Bytes that records take on disk.
    pub used: u64,
    /// Bytes that records may take at present: the quota, or what the disk still has room for.
    pub quota: u64,
    /// True when the disk has less room than the quota.
    pub low: bool,
    /// Bytes written to flash, by cause.
    pub written: Written,
    /// Notice for a person about damage: the file was set aside, is gone or is an older copy.
    pub damage: Option<String>,
    /// Error of the last write, if it failed, as on a full disk.
    pub full: Option<String>,
}

/// Handle to the buffer; cheap to clone.
#[derive(Debug, Clone)]
pub struct Buffer {
    queue: Arc<Queue>,
}

impl Buffer {
    /// Opens the buffer of a data folder. Its thread starts at once only if there may be something
    /// to ship or to expire; otherwise at the first record.
    pub fn new(data: &Path, limits: Limits, time: Time) -> Self {
        let buffer = Self { queue: Arc::new(Queue::new(data.to_owned(), limits, time)) };
        // A file that is gone has something to tell, too.
        if path(data).exists() || ceilings::mark(data).exists() {
            buffer.queue.start();
        }
        buffer
    }

    /// True when the buffer's thread runs, which means that something was published once.
    pub fn is_in_use(&self) -> bool {
        self.queue.is_started()
    }

    /// True when the buffer closed by itself, until the agent is restarted: its thread panicked too
    /// often, or could not be started.
    pub fn has_failed(&self) -> bool {
        self.queue.has_failed()
    }

    /// Appends records to a stream, after waiting for room in the queue, and returns their sequence
    /// numbers once they are on disk. `owner` is the workload that publishes, `None` the agent
    /// itself; `time` is in milliseconds since 1970, by [`Time::now_ms`].
    ///
    /// # Errors
    /// [`Refused`]; none of the records is stored. Only [`Refused::Dropped`] has given them
    /// sequence numbers.
    pub async fn append(
        &self,
        owner: Option<Name>,
        stream: StreamName,
        time: u64,
        records: Vec<(Format, Vec<u8>)>,
    ) -> Result<Range, Refused> {
        let dated = (time, !self.queue.time.is_relied_on());
        let (append, answer) = Append::new(owner, stream, dated, records)?;
        self.queue.put_waiting(append).await?;
        answer.await.unwrap_or(Err(Refused::Closed))
    }

    /// Appends records like [`Buffer::append`], but without waiting for room. The receiver gets the
    /// sequence numbers once the records are on disk.
    ///
    /// # Errors
    /// [`Refused::Busy`] when the queue is full.
    pub fn try_append(
        &self,
        owner: Option<Name>,
        stream: StreamName,
        time: u64,
        records: Vec<(Format, Vec<u8>)>,
    ) -> Result<oneshot::Receiver<Result<Range, Refused>>, Refused> {
        let dated = (time, !self.queue.time.is_relied_on());
        let (append, answer) = Append::new(owner, stream, dated, records)?;
        self.queue.try_put(append)?;
        Ok(answer)
    }

    /// Reads a page of a stream, of about `max_bytes` bytes of values. Records that are stored
    /// later are read by a later call. A stream that does not exist is empty. `None` when it was
    /// not read, because too many calls are queued or the buffer is closed.
    pub async fn read(
        &self,
        stream: &StreamName,
        window: Window,
        max_bytes: usize,
    ) -> Option<Page> {
        let (reply, answer) = oneshot::channel();
        let stream = stream.clone();
        self.queue.ask(Job::Read { stream, window, max_bytes, reply });
        answer.await.ok()
    }

    /// Builds the next batch of a stream, of about `bytes` bytes, as its policy says. `None` when
    /// there is nothing to ship.
    pub async fn batch(&self, stream: &StreamName, bytes: usize) -> Option<Ready> {
        let (reply, answer) = oneshot::channel();
        self.queue.ask(Job::Batch { stream: stream.clone(), bytes, reply });
        answer.await.unwrap_or_default()
    }

    /// Marks sequence numbers as acknowledged by the control plane, in its data store `store` if it
    /// named one. Numbers in `conflict` stand for other records there: the records that are here
    /// under those get new numbers above `highest`.
    pub fn shipped(
        &self,
        stream: &StreamName,
        range: Range,
        store: Option<u64>,
        (conflict, highest): (RangeSet, u64),
    ) {
        let stream = stream.clone();
        self.queue.ask(Job::Shipped { stream, range, store, conflict, highest });
    }

    /// Takes over the sequence numbers that the control plane knows of this device after it was
    /// restored to an earlier state, or copied. True once they are stored: no number is given below
    /// them any more.
    pub async fn diverged(&self, given: Vec<Given>) -> bool {
        if given.is_empty() {
            return true;
        }
        self.queue.start();
        let (reply, answer) = oneshot::channel();
        self.queue.ask(Job::Diverged { given, reply });
        answer.await.is_ok()
    }

    /// Names the control plane's data store. If it was another one before, that one is lost: what
    /// is still here is shipped again.
    pub fn set_store(&self, store: u64) {
        self.queue.ask(Job::Store { store });
    }

    /// Requests records in full that the policy reduced or withheld: those with a time within
    /// `since..=until` (milliseconds since 1970), earliest first, up to `most` bytes on disk.
    /// Returns how many records these are and how many bytes they take on disk.
    pub async fn request(
        &self,
        stream: &StreamName,
        (since, until): (u64, u64),
        most: u64,
    ) -> (u64, u64) {
        let (reply, answer) = oneshot::channel();
        self.queue.ask(Job::Want { stream: stream.clone(), since, until, most, reply });
        answer.await.unwrap_or_default()
    }

    /// Replaces the policies of all streams.
    pub fn set_policies(&self, policies: Arc<DataPolicies>) {
        self.queue.follow(policies);
    }

    /// Drops records that are older than their stream's ttl. `now` is in milliseconds since 1970;
    /// call this only while the clock can be relied on.
    pub fn expire(&self, now: u64) {
        self.queue.ask(Job::Expire { now });
    }

    /// Keeps the link's ledger, encoded; it is written along with the next step, at most 30 s
    /// later.
    pub fn keep_ledger(&self, bytes: Vec<u8>) {
        self.queue.start();
        self.queue.ask(Job::KeepLedger { bytes });
    }

    /// Returns the ledger that was kept last; empty when none was. `None` when the file cannot be
    /// read now.
    pub async fn kept_ledger(&self) -> Option<Vec<u8>> {
        let (reply, answer) = oneshot::channel();
        self.queue.ask(Job::KeptLedger { reply });
        answer.await.ok()
    }

    /// Returns the state of the buffer; empty as long as it is not in use. `None` when too many
    /// calls are queued or the buffer is closed.
    pub async fn summary(&self) -> Option<Summary> {
        if !self.is_in_use() {
            return Some(Summary::default());
        }
        let (reply, answer) = oneshot::channel();
        self.queue.ask(Job::Summary { reply });
        answer.await.ok()
    }

    /// Resolves when something was stored, dropped or requested since it last resolved.
    pub async fn changed(&self) {
        self.queue.changed.notified().await;
    }

    /// Stores what is queued and ends the thread.
    pub async fn close(&self) {
        if !self.is_in_use() {
            return;
        }
        let (reply, answer) = oneshot::channel();
        self.queue.ask(Job::Close { reply });
        let _ended = answer.await;
    }
}

/// Path of the database in a data folder.
fn path(data: &Path) -> PathBuf {
    data.join("data.redb")
}

#[cfg(test)]
mod tests;
