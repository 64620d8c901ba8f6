//! Checkpoints of the audit log: number and hash of an entry, which stand for the whole history up
//! to it. Each desired state carries the newest one of its tenant, and devices keep them: they are
//! the witnesses of a history that whoever owns the control plane's disk could rewrite.
//!
//! See decision 0170.

use std::fmt;

use holdfast_base::codec::ignore_rest;
use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteArray;

/// Entry of a chain of the audit log, with the hash that covers it and every entry before it. On
/// the wire it is an array of 37 to 53 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Checkpoint {
    /// Number of the entry.
    pub number: u64,
    /// Hash of the chain at the entry.
    pub hash: [u8; 32],
    /// Time at which the checkpoint was made, in seconds since 1970.
    pub at: u64,
}

/// Checkpoint that a device keeps, with the epoch of the desired state that carried it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Witnessed {
    /// Epoch of the desired state. A restore of the control plane raises it.
    pub epoch: u64,
    /// The checkpoint.
    pub checkpoint: Checkpoint,
}

/// Most checkpoints that a device keeps and answers with.
pub const MAX_WITNESSED: usize = 16;

/// Reply's body for [`crate::message::Method::AuditCheckpoint`]: what the device keeps, in the order
/// in which it came, at most [`MAX_WITNESSED`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Testimony(pub Vec<Witnessed>);

/// Returns the external authenticated data of a signed checkpoint: of the chain of this tenant, or
/// of the chain over all tenants.
pub fn checkpoint_purpose(tenant: Option<&str>) -> String {
    format!("holdfast/v1/checkpoint/{}", tenant.unwrap_or_default())
}

impl Serialize for Checkpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_seq(Some(3))?;
        all.serialize_element(&self.number)?;
        all.serialize_element(&ByteArray::new(self.hash))?;
        all.serialize_element(&self.at)?;
        all.end()
    }
}

impl Serialize for Witnessed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_seq(Some(2))?;
        all.serialize_element(&self.epoch)?;
        all.serialize_element(&self.checkpoint)?;
        all.end()
    }
}

/// Returns the next element, or an error that names `what` as missing.
fn next<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(
    all: &mut A,
    what: &str,
) -> Result<T, A::Error> {
    all.next_element()?.ok_or_else(|| A::Error::custom(format_args!("{what} is missing")))
}

impl<'de> Deserialize<'de> for Checkpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = Checkpoint;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a checkpoint")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Checkpoint, A::Error> {
                let number = next(&mut all, "the number")?;
                let hash = next::<_, ByteArray<32>>(&mut all, "the hash")?.into_array();
                let at = next(&mut all, "the time")?;
                ignore_rest(&mut all)?;
                Ok(Checkpoint { number, hash, at })
            }
        }
        deserializer.deserialize_seq(Elements)
    }
}

impl<'de> Deserialize<'de> for Witnessed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = Witnessed;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a kept checkpoint")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Witnessed, A::Error> {
                let epoch = next(&mut all, "the epoch")?;
                let checkpoint = next(&mut all, "the checkpoint")?;
                ignore_rest(&mut all)?;
                Ok(Witnessed { epoch, checkpoint })
            }
        }
        deserializer.deserialize_seq(Elements)
    }
}
