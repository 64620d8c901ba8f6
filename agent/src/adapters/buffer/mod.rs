//! The buffer: keeps what workloads publish on disk, from before it is acknowledged until it is
//! shipped and its room is needed. One thread owns the file; it is started at the first use, and
//! stores everything that is queued in one durable step.
//!
//! A record that was handed in and not stored is never acknowledged, whatever happens to the file,
//! the disk or the thread.
//!
//! See decision 0046.

mod answers;
mod aside;
mod block;
mod ceilings;
mod change;
mod contain;
mod counted;
mod file;
mod journal;
mod queue;
mod worker;

use std::path::Path;
use std::sync::Arc;

use holdfast_base::ids::Name;
use holdfast_records::{DataPolicies, Format, Given, Range, RangeSet, StreamName};
use tokio::sync::oneshot;

pub use answers::{Page, Summary, Window, Written};
use file::path;
pub use queue::Refused;
use queue::{Append, Job, Queue};

use crate::adapters::clock::Time;
pub use crate::core::data::Limits;
pub use crate::core::data::step::{Ready, StreamSummary};

/// Handle to the buffer; cheap to clone.
#[derive(Debug, Clone)]
pub struct Buffer {
    queue: Arc<Queue>,
}

impl Buffer {
    /// Opens the buffer of a data folder. Its thread starts at once only if there may be something
    /// to ship or to expire; otherwise at the first record.
    pub fn new(data: &Path, limits: Limits, time: Time) -> Self {
        let buffer =
            Self { queue: Arc::new(Queue::new(data.to_owned(), limits, time, worker::spawn)) };
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

#[cfg(test)]
mod tests;
