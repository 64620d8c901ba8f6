//! The way of records from the local bus and the data socket into the buffer: what both share.

use std::future::Future;
use std::pin::Pin;

use holdfast_base::ids::Name;
use holdfast_records::{Format, Range, StreamName};

use super::buffer::Buffer;
pub use super::buffer::Refused;
use super::clock::Time;

/// Records of one stream, in their order.
pub type Records = Vec<(Format, Vec<u8>)>;

/// What comes of records: the numbers that they were given, once they are on disk.
pub type Stored = Pin<Box<dyn Future<Output = Result<Range, Refused>> + Send>>;

/// Takes records in.
pub trait Intake: Send + Sync + 'static {
    /// Waits for room; resolves when they are on disk. `owner`: who publishes; None: the agent.
    fn append(&self, owner: Option<Name>, stream: StreamName, records: Records) -> Stored;

    /// The same without waiting for room.
    ///
    /// # Errors
    /// [`Refused`], with nothing taken.
    fn try_append(
        &self,
        owner: Option<Name>,
        stream: StreamName,
        records: Records,
    ) -> Result<Stored, Refused>;
}

/// The buffer, and the clock that its records are stamped with.
pub struct Buffered {
    buffer: Buffer,
    time: Time,
}

impl Buffered {
    /// Into this buffer.
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
