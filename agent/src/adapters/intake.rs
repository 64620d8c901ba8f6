//! Path of records from the local bus and the data socket into the buffer.

use std::future::Future;
use std::pin::Pin;

use holdfast_base::ids::Name;
use holdfast_records::{Format, Range, StreamName};

use super::buffer::Buffer;
pub use super::buffer::Refused;
use super::clock::Time;

/// Records of one stream, in their order.
pub type Records = Vec<(Format, Vec<u8>)>;

/// Future outcome of an append: the sequence numbers, once the records are on disk.
pub type Stored = Pin<Box<dyn Future<Output = Result<Range, Refused>> + Send>>;

/// Destination of records, so that tests can replace the buffer.
pub trait Intake: Send + Sync + 'static {
    /// Appends records after waiting for room; resolves when they are on disk. `owner` is the
    /// workload that publishes, `None` the agent itself.
    fn append(&self, owner: Option<Name>, stream: StreamName, records: Records) -> Stored;

    /// Appends records like [`Intake::append`], but without waiting for room.
    ///
    /// # Errors
    /// [`Refused`]; none of the records is taken.
    fn try_append(
        &self,
        owner: Option<Name>,
        stream: StreamName,
        records: Records,
    ) -> Result<Stored, Refused>;
}

/// Intake into the buffer, with the clock that dates the records.
pub struct Buffered {
    buffer: Buffer,
    time: Time,
}

impl Buffered {
    /// Creates an intake into this buffer.
    pub fn new(buffer: Buffer, time: Time) -> Self {
        Self { buffer, time }
    }
}

impl Intake for Buffered {
    fn append(&self, owner: Option<Name>, stream: StreamName, records: Records) -> Stored {
        let (buffer, now) = (self.buffer.clone(), self.time.now_ms());
        Box::pin(async move { buffer.append(owner, stream, now, records).await })
    }

    fn try_append(
        &self,
        owner: Option<Name>,
        stream: StreamName,
        records: Records,
    ) -> Result<Stored, Refused> {
        let answer = self.buffer.try_append(owner, stream, self.time.now_ms(), records)?;
        Ok(Box::pin(async move { answer.await.unwrap_or(Err(Refused::Closed)) }))
    }
}
