//! Decisions about data streams: numbers, what a full buffer drops, what is shipped when, what
//! the link may carry, until when a device can go on alone.

pub mod quota;
pub mod stream;
