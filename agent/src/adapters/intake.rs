//! The way of records from the local bus and the data socket into the buffer: what both share.

use std::future::Future;
use std::pin::Pin;

use holdfast_protocol::data::{Format, Range, StreamName};

/// Records of one stream, in their order.
pub type Records = Vec<(Format, Vec<u8>)>;

/// What comes of records: the numbers that they were given, once they are on disk.
pub type Stored = Pin<Box<dyn Future<Output = Result<Range, Refused>> + Send>>;

/// Why records are not taken. The whole call is refused, none of it is stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not now.
    #[error("the buffer is busy: try again in a moment")]
    Busy,
    /// The disk takes nothing any more.
    #[error("the device's disk takes nothing any more ({0}): free some space")]
    DiskFull(String),
    /// Another stream would be one too many.
    #[error("the device has as many streams as it can have: use one of them, or fewer names")]
    TooManyStreams,
    /// A record is larger than one may be.
    #[error("a record of more than 64 KiB")]
    TooLarge,
    /// The agent ends.
    #[error("the agent ends: try again in a moment")]
    Closed,
}

/// Takes records in.
pub trait Intake: Send + Sync + 'static {
    /// Waits for room; resolves when they are on disk.
    fn append(&self, stream: StreamName, records: Records) -> Stored;

    /// The same without waiting for room.
    ///
    /// # Errors
    /// [`Refused`], with nothing taken.
    fn try_append(&self, stream: StreamName, records: Records) -> Result<Stored, Refused>;
}

/// Stands in for the buffer until there is one: numbers what comes and forgets it.
#[derive(Debug, Default)]
pub struct Forgetful {
    last: std::sync::Mutex<std::collections::BTreeMap<StreamName, u64>>,
}

impl Intake for Forgetful {
    fn append(&self, stream: StreamName, records: Records) -> Stored {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let last = last.entry(stream).or_default();
        let from = *last + 1;
        *last += u64::try_from(records.len()).unwrap_or(0);
        let range = Range { from, to: *last };
        Box::pin(async move { Ok(range) })
    }

    fn try_append(&self, stream: StreamName, records: Records) -> Result<Stored, Refused> {
        Ok(self.append(stream, records))
    }
}
