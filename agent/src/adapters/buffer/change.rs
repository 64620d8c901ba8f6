//! What is changed in one step, and how it stands in the journal.

use std::borrow::Cow;
use std::collections::BTreeMap;

use holdfast_base::codec;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::block::Packed;
use crate::core::data::stream::{Kept, Segment};

/// A block's key: stream, first number.
pub(super) type Key = (u32, u64);

/// What is changed together: what goes, goes before what comes.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Blocks that go, and how many rows they have.
    pub(super) remove: BTreeMap<Key, u16>,
    /// Blocks that come.
    pub(super) add: BTreeMap<Key, Packed>,
    /// Segments by stream and beginning; None: gone.
    pub(super) segments: BTreeMap<Key, Option<Segment>>,
    /// What is known of streams; None: nothing any more.
    pub(super) streams: BTreeMap<u32, Option<Kept>>,
    /// Figures, encoded.
    pub(super) meta: BTreeMap<Cow<'static, str>, Vec<u8>>,
}

/// A change in the journal.
#[derive(Serialize, Deserialize)]
struct Entry(
    Vec<(Key, u16)>,
    Vec<(Key, ByteBuf)>,
    Vec<(Key, Option<Segment>)>,
    Vec<(u32, Option<Kept>)>,
    Vec<(String, ByteBuf)>,
);

impl Change {
    /// Nothing is changed.
    pub(super) fn is_empty(&self) -> bool {
        self.remove.is_empty()
            && self.add.is_empty()
            && self.segments.is_empty()
            && self.streams.is_empty()
            && self.meta.is_empty()
    }

    /// Bytes of the blocks that come: most of what it takes in memory.
    pub(super) fn size(&self) -> usize {
        self.add.values().map(|packed| packed.bytes().len()).sum()
    }

    /// This one, and then that one, as one.
    pub(super) fn then(&mut self, later: Self) {
        for (key, rows) in later.remove {
            self.add.remove(&key);
            // One that came and goes again perhaps took the place of one that stands in the file.
            let known = self.remove.entry(key).or_default();
            *known = rows.max(*known);
        }
        self.add.extend(later.add);
        self.segments.extend(later.segments);
        self.streams.extend(later.streams);
        self.meta.extend(later.meta);
    }

    /// As it stands in the journal.
    pub(super) fn encode(&self) -> Result<Vec<u8>, serde_cbor::Error> {
        let bytes = |bytes: &[u8]| ByteBuf::from(bytes.to_vec());
        serde_cbor::to_vec(&Entry(
            self.remove.iter().map(|(key, rows)| (*key, *rows)).collect(),
            self.add.iter().map(|(key, packed)| (*key, bytes(packed.bytes()))).collect(),
            self.segments.iter().map(|(key, segment)| (*key, *segment)).collect(),
            self.streams.iter().map(|(id, kept)| (*id, kept.clone())).collect(),
            self.meta.iter().map(|(name, value)| (name.to_string(), bytes(value))).collect(),
        ))
    }

    /// Out of the journal. None: this is no change.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let Entry(remove, add, segments, streams, meta) = codec::from_slice(bytes).ok()?;
        let packed = |((stream, first), bytes): (Key, ByteBuf)| {
            Some(((stream, first), Packed::read(stream, first, bytes.into_vec())?))
        };
        Some(Self {
            remove: remove.into_iter().collect(),
            add: add.into_iter().map(packed).collect::<Option<_>>()?,
            segments: segments.into_iter().collect(),
            streams: streams.into_iter().collect(),
            meta: meta.into_iter().map(|(name, it)| (name.into(), it.into_vec())).collect(),
        })
    }
}
