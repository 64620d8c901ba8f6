//! A message of the bus, as it was published.

use bytes::Bytes;
use holdfast_base::ids::Name;

/// A message as it was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Published {
    /// Workload or local access whose topic it is.
    pub(super) owner: Name,
    /// Topic within the owner's topics.
    pub(super) topic: Box<str>,
    /// True when the topic is a stream's.
    pub(super) stream: bool,
    pub(super) payload: Bytes,
    pub(super) qos: u8,
    pub(super) retain: bool,
}
