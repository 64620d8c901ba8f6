//! CBOR encoding and decoding with limits. Bytes from the network become messages only here.
//!
//! See decision 0065.

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::WIRE_VERSION;

/// Largest message either side accepts, in bytes, signature included. A desired state of 100
/// workloads with 8 KiB of configuration each fits; a hostile one cannot fill a device's memory.
pub const MAX_MESSAGE: usize = 1024 * 1024;

/// Largest MQTT packet that either side accepts, in bytes: the largest message with its topic and
/// headers.
pub const MAX_PACKET: usize = MAX_MESSAGE + 4096;

/// Longest reason in bytes: one line for a person, and small on a metered link.
pub const MAX_REASON: usize = 300;

/// Skips the remaining elements of an array: those that a later version of the wire may add.
///
/// # Errors
/// Of the reader.
pub fn ignore_rest<'de, A: SeqAccess<'de>>(all: &mut A) -> Result<(), A::Error> {
    while all.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

/// Reason why bytes are not a message.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The message has more than [`MAX_MESSAGE`] bytes.
    #[error("message of {size} bytes is larger than the limit of {MAX_MESSAGE}")]
    TooLarge {
        /// Size of the message in bytes.
        size: usize,
    },
    /// The bytes are not CBOR, or not of this message's shape.
    #[error("malformed message: {0}")]
    Malformed(#[source] serde_cbor::Error),
    /// The message is of another wire version.
    #[error(
        "message of wire version {found}, this program speaks {WIRE_VERSION}: update the older side"
    )]
    Version {
        /// Version that the message names in `v`.
        found: u64,
    },
}

/// Version of any message: its entry `v` or, where the message is an array, its first element.
struct Versioned {
    v: u64,
}

impl<'de> Deserialize<'de> for Versioned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Versioned;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a message with its version")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Versioned, A::Error> {
                let v = all.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
                while all.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Versioned { v })
            }
            fn visit_map<A: MapAccess<'de>>(self, all: A) -> Result<Versioned, A::Error> {
                #[derive(Deserialize)]
                struct Entry {
                    v: u64,
                }
                let Entry { v } = Entry::deserialize(MapAccessDeserializer::new(all))?;
                Ok(Versioned { v })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Encodes a message. Equal values give equal bytes.
///
/// # Errors
/// Returns [`CodecError::TooLarge`] if the message is over [`MAX_MESSAGE`].
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, CodecError> {
    let bytes = serde_cbor::to_vec(message).map_err(CodecError::Malformed)?;
    check_size(&bytes)?;
    Ok(bytes)
}

/// Decodes a message of this wire version. Unknown fields are ignored; anything after the
/// message is refused.
///
/// # Errors
/// Returns [`CodecError`] for anything else; no input causes a panic.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    check_size(bytes)?;
    let Versioned { v } = from_slice(bytes).map_err(CodecError::Malformed)?;
    if v != u64::from(WIRE_VERSION) {
        return Err(CodecError::Version { found: v });
    }
    from_slice(bytes).map_err(CodecError::Malformed)
}

/// Reads a value that takes up all the bytes.
///
/// # Errors
/// Returns the reason why the bytes are no such value, or `more follows`.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_cbor::Error> {
    let mut rest = bytes;
    let value = ciborium::from_reader(&mut rest).map_err(serde_cbor::Error::custom)?;
    if rest.is_empty() { Ok(value) } else { Err(serde_cbor::Error::custom("more follows")) }
}

fn check_size(bytes: &[u8]) -> Result<(), CodecError> {
    if bytes.len() > MAX_MESSAGE {
        return Err(CodecError::TooLarge { size: bytes.len() });
    }
    Ok(())
}
