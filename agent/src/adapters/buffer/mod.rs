//! The buffer: what workloads publish, on disk before it is acknowledged, until it is shipped and
//! room is needed. One thread owns the file; it is started when it is first needed, and stores
//! whatever waits in one durable step.
//!
//! What is handed in and not stored is never acknowledged, whatever happens to the file, the disk
//! or the thread.

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

/// A window of a stream: numbers and times, all ends within.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first number that is of interest.
    pub from: u64,
    /// The last.
    pub to: u64,
    /// The first moment, in milliseconds since 1970.
    pub since: u64,
    /// The last.
    pub until: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self { from: 1, to: u64::MAX, since: 0, until: u64::MAX }
    }
}

/// Part of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Records, in the order of their numbers.
    pub records: Vec<Record>,
    /// Where the next page begins; None: this was the last.
    pub next: Option<u64>,
    /// Numbers that should have been there and could not be read.
    pub damaged: Vec<Range>,
    /// The file could not be read: there may be more.
    pub failed: bool,
}

/// A batch that is ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// Of which stream.
    pub stream: StreamName,
    /// The numbers that it answers for.
    pub range: Range,
    /// How many records are in it.
    pub records: u64,
    /// As it goes down the link.
    pub payload: Vec<u8>,
}

/// One stream of the buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSummary {
    /// Its name.
    pub name: StreamName,
    /// The last number given.
    pub last: u64,
    /// Records that are not acknowledged by the control plane.
    pub waiting: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes that were stored since the agent started: a total that rises.
    pub taken: u64,
    /// Records on disk.
    pub count: u64,
    /// Time of the oldest record on disk.
    pub oldest: Option<u64>,
    /// Time of the oldest record that is not acknowledged.
    pub oldest_waiting: Option<u64>,
    /// Gaps that the control plane does not know yet.
    pub untold: bool,
    /// Records that are wanted as they are.
    pub wanted: bool,
    /// Nothing of it is to be shipped before this, in milliseconds since 1970: a window is open.
    pub due: Option<u64>,
    /// Why its policy does not do what it says; empty: it does.
    pub problem: String,
}

impl StreamSummary {
    /// About how many bytes wait.
    pub fn waiting_bytes(&self) -> u64 {
        let part = u128::from(self.bytes) * u128::from(self.waiting.min(self.count));
        u64::try_from(part / u128::from(self.count.max(1))).unwrap_or(u64::MAX)
    }
}

/// Bytes written to flash since the buffer was made, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Records.
    pub records: u64,
    /// What was dropped, thinned or expired.
    pub retention: u64,
    /// What the database needs for itself, numbers, marks and totals.
    pub bookkeeping: u64,
    /// Bytes of the records as they were published.
    pub payload: u64,
    /// When that began, in seconds since 1970.
    pub since: u64,
}

impl Written {
    /// Everything.
    pub fn total(&self) -> u64 {
        self.records.saturating_add(self.retention).saturating_add(self.bookkeeping)
    }
}

/// How the buffer stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// By name.
    pub streams: Vec<StreamSummary>,
    /// Bytes of records on disk.
    pub used: u64,
    /// Bytes that they may take at present: the quota, or what the disk still gives.
    pub quota: u64,
    /// The disk gives less than the quota.
    pub low: bool,
    /// Bytes written.
    pub written: Written,
    /// What a person should know of the file: it was damaged, or cannot be written.
    pub damage: Option<String>,
    /// The disk took nothing when it was last tried.
    pub full: Option<String>,
}

/// A handle to the buffer; cheap to clone.
#[derive(Debug, Clone)]
pub struct Buffer {
    queue: Arc<Queue>,
}

impl Buffer {
    /// The buffer of this data folder. Its thread is not started yet, unless there is something
    /// to ship or to keep within bounds.
    pub fn new(data: &Path, limits: Limits, time: Time) -> Self {
        let buffer = Self { queue: Arc::new(Queue::new(data.to_owned(), limits, time)) };
        // A file that is gone has something to tell, too.
        if path(data).exists() || ceilings::mark(data).exists() {
            buffer.queue.start();
        }
        buffer
    }

    /// True when its thread runs: something was published once.
    pub fn is_in_use(&self) -> bool {
        self.queue.is_started()
    }

    /// True when it has closed by itself, until the agent is started again: its thread was lost too
    /// often, or could not be had.
    pub fn has_failed(&self) -> bool {
        self.queue.has_failed()
    }

    /// Takes records of one stream in, waiting for room in the queue; resolves when they are on
    /// disk, with the numbers that they got, in their order. `owner`: who publishes; None: the
    /// agent. `time` in milliseconds since 1970, by [`Time::now_ms`].
    ///
    /// # Errors
    /// [`Refused`]; none of them is stored. Only [`Refused::Dropped`] has given them numbers.
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

    /// The same without waiting for room.
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

    /// Reads a page of a stream, of about so many bytes of values; what is asked for first and
    /// stored later waits. A stream that is not there is empty. None: it was not read, because too
    /// much waits or the buffer is closed.
    pub async fn read(
        &self,
        stream: &StreamName,
        window: Window,
        max_bytes: usize,
    ) -> Option<Page> {
        let (tell, answer) = oneshot::channel();
        let stream = stream.clone();
        self.queue.ask(Job::Read { stream, window, max_bytes, tell });
        answer.await.ok()
    }

    /// The next batch of a stream, of about so many bytes, as its policy says. None: there is
    /// nothing to tell of it.
    pub async fn batch(&self, stream: &StreamName, bytes: usize) -> Option<Ready> {
        let (tell, answer) = oneshot::channel();
        self.queue.ask(Job::Batch { stream: stream.clone(), bytes, tell });
        answer.await.unwrap_or_default()
    }

    /// The control plane has stored what answers for these numbers, in this store of its, if it
    /// says which; but for those of `conflict`, which stand for other records there: what is here
    /// of them gets numbers above `highest`.
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

    /// The control plane knows these numbers of a device that was put back to an earlier state, or
    /// copied. True: they are stored, and no number is given below them.
    pub async fn diverged(&self, given: Vec<Given>) -> bool {
        if given.is_empty() {
            return true;
        }
        self.queue.start();
        let (tell, answer) = oneshot::channel();
        self.queue.ask(Job::Diverged { given, tell });
        answer.await.is_ok()
    }

    /// The control plane has this store. If it had another, that one is lost: what is still here
    /// is shipped again.
    pub fn store(&self, store: u64) {
        self.queue.ask(Job::Store { store });
    }

    /// These records are to be shipped as they are, though they were reduced or withheld: of those
    /// from `since` to `until`, both within, the first, as far as they have at most `most` bytes on
    /// disk. Gives how many there are and how many bytes they take there.
    pub async fn want(
        &self,
        stream: &StreamName,
        (since, until): (u64, u64),
        most: u64,
    ) -> (u64, u64) {
        let (tell, answer) = oneshot::channel();
        self.queue.ask(Job::Want { stream: stream.clone(), since, until, most, tell });
        answer.await.unwrap_or_default()
    }

    /// What holds from now on.
    pub fn policies(&self, policies: Arc<DataPolicies>) {
        self.queue.follow(policies);
    }

    /// Drops what its ttl has passed for; `now` in milliseconds since 1970, and only when the
    /// clock can be relied on.
    pub fn expire(&self, now: u64) {
        self.queue.ask(Job::Expire { now });
    }

    /// Keeps the link's ledger, encoded; it is stored with what is stored anyway.
    pub fn keep_ledger(&self, bytes: Vec<u8>) {
        self.queue.start();
        self.queue.ask(Job::KeepLedger { bytes });
    }

    /// The ledger that was kept last; empty: none was. None: that cannot be told now.
    pub async fn kept_ledger(&self) -> Option<Vec<u8>> {
        let (tell, answer) = oneshot::channel();
        self.queue.ask(Job::KeptLedger { tell });
        answer.await.ok()
    }

    /// How it stands. Empty as long as it is not in use. None: nobody looked, because too much
    /// waits or the buffer is closed.
    pub async fn summary(&self) -> Option<Summary> {
        if !self.is_in_use() {
            return Some(Summary::default());
        }
        let (tell, answer) = oneshot::channel();
        self.queue.ask(Job::Summary { tell });
        answer.await.ok()
    }

    /// Resolves when something was stored, dropped or wanted since it last resolved.
    pub async fn changed(&self) {
        self.queue.changed.notified().await;
    }

    /// Stores what waits and ends the thread.
    pub async fn close(&self) {
        if !self.is_in_use() {
            return;
        }
        let (tell, answer) = oneshot::channel();
        self.queue.ask(Job::Close { tell });
        let _ended = answer.await;
    }
}

/// The file.
fn path(data: &Path) -> PathBuf {
    data.join("data.redb")
}

#[cfg(test)]
mod tests;
