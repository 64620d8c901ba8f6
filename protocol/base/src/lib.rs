//! Common ground of all crates: identifiers, the CBOR codec with its size limits, and the
//! words in which the programs tell people of moments and amounts.

pub mod codec;
pub mod collect;
pub mod ids;
pub mod words;

/// The version of the wire that this crate speaks: the `v` field of every message.
/// Fields may be added within a version (readers ignore what they do not know); anything else
/// raises it.
pub const WIRE_VERSION: u8 = 1;
