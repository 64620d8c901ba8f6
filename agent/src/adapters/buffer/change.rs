//! A change to the database as one step, and its encoding in the journal.
//!
//! See decision 0067.

use std::borrow::Cow;
use std::collections::BTreeMap;

use holdfast_base::codec;
use holdfast_base::collect;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::block::Packed;
use crate::core::data::step;
pub(super) use crate::core::data::step::Key;
use crate::core::data::stream::{Kept, Segment};

/// Rows that change together. Removals are applied before additions.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Removed blocks, with their numbers of rows.
    pub(super) remove: BTreeMap<Key, u16>,
    /// Added blocks.
    pub(super) add: BTreeMap<Key, Packed>,
    /// Segments by stream and start; `None` removes one.
    pub(super) segments: BTreeMap<Key, Option<Segment>>,
    /// States of streams; `None` removes one.
    pub(super) streams: BTreeMap<u32, Option<Kept>>,
    /// Single values by name, encoded.
    pub(super) meta: BTreeMap<Cow<'static, str>, Vec<u8>>,
}

/// Encoding of a change in the journal: removed and added blocks, segments, streams, values.
#[derive(Serialize, Deserialize)]
struct Entry(
    Vec<(Key, u16)>,
    Vec<(Key, ByteBuf)>,
    Vec<(Key, Option<Segment>)>,
    Vec<(u32, Option<Kept>)>,
    Vec<(String, ByteBuf)>,
);

impl From<step::Change<Packed>> for Change {
    fn from(step: step::Change<Packed>) -> Self {
        let step::Change { remove, add, segments, streams, base, store, whole, ledger } = step;
        let mut meta = BTreeMap::new();
        let mut value = |name: &'static str, bytes: Option<Vec<u8>>| {
            meta.extend(bytes.map(|bytes| (Cow::Borrowed(name), bytes)));
        };
        let number = |number: u64| serde_cbor::to_vec(&number).unwrap_or_default();
        value("base", base.map(number));
        value("store", store.map(number));
        value("whole", whole.then(|| serde_cbor::to_vec(&true).unwrap_or_default()));
        value("ledger", ledger);
        Self { remove, add, segments, streams, meta }
    }
}

impl Change {
    /// True when nothing changes.
    pub(super) fn is_empty(&self) -> bool {
        self.remove.is_empty()
            && self.add.is_empty()
            && self.segments.is_empty()
            && self.streams.is_empty()
            && self.meta.is_empty()
    }

    /// Bytes of the added blocks: most of what the change takes in memory.
    pub(super) fn size(&self) -> usize {
        self.add.values().map(|packed| packed.bytes().len()).sum()
    }

    /// Adds a later change to this one, so that both together are one step.
    pub(super) fn merge(&mut self, later: Self) {
        for (key, rows) in later.remove {
            self.add.remove(&key);
            // A block that both came and went in memory may have replaced one in the file under the
            // same key. Its removal stays, with the larger number of rows: removing a row that is
            // not there is harmless, leaving one behind is not.
            let known = self.remove.entry(key).or_default();
            *known = rows.max(*known);
        }
        self.add.extend(later.add);
        self.segments.extend(later.segments);
        self.streams.extend(later.streams);
        self.meta.extend(later.meta);
    }

    /// Encodes the change for the journal.
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

    /// Decodes a change from the journal. `None` when it is damaged.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let Entry(remove, add, segments, streams, meta) = codec::from_slice(bytes).ok()?;
        let packed = |((stream, first), bytes): (Key, ByteBuf)| {
            Some(((stream, first), Packed::read(stream, first, bytes.into_vec())?))
        };
        Some(Self {
            remove: collect::map(remove),
            add: collect::map(add.into_iter().map(packed).collect::<Option<Vec<_>>>()?),
            segments: collect::map(segments),
            streams: collect::map(streams),
            meta: collect::map(meta.into_iter().map(|(name, it)| (name.into(), it.into_vec()))),
        })
    }
}
