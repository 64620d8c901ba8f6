//! All streams of the data store, as they are held in memory: whose they are, which ids are taken,
//! and which streams are being removed.
//!
//! See decisions 0058 and 0059.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};

use holdfast_base::ids::DeviceId;
use holdfast_control_rows::{DataBatch, StreamRow};
use holdfast_records::StreamName;

use super::model::sha256;

/// Machine that owns streams: a device's id, and a number from the digest of its key. After a
/// backup was restored the name may belong to another machine; each keeps its own streams.
pub type Machine = (DeviceId, u64);

/// Streams of one machine, by their names.
pub type Streams = BTreeMap<StreamName, StreamRow>;

/// Place of a stream among all.
pub type Key = (Machine, StreamName);

/// Returns the number of the machine that owns a device's streams: the first 8 bytes of the digest
/// of its key.
pub fn owner(public_key: &str) -> u64 {
    let digest = sha256(public_key.as_bytes());
    digest.into_iter().take(8).fold(0, |number, byte| number << 8 | u64::from(byte))
}

/// Returns the place of a stream.
pub fn key_of(row: &StreamRow) -> Key {
    (row.machine(), row.stream.clone())
}

/// All streams, in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// True once the store was read: a stream that is missing here does not exist.
    pub loaded: bool,
    /// Id of the store that was read.
    pub store_id: Option<u64>,
    /// True when the store must be read again before anything is stored, after a failure.
    pub stale: bool,
    /// Streams by their machines.
    pub machines: BTreeMap<Machine, Streams>,
    /// Ids of streams that are being removed.
    pub gone: Vec<u64>,
    /// Highest id given to a stream.
    pub last_id: u64,
}

impl Known {
    /// Takes the rows of a store. `last_id` is the highest id given before: records under it may
    /// still be in the store, so that it is not given again.
    pub fn read(store_id: u64, rows: Vec<StreamRow>, last_id: u64) -> Self {
        let store_id = Some(store_id);
        let mut known = Self { loaded: true, store_id, last_id, ..Self::default() };
        for row in rows {
            known.last_id = known.last_id.max(row.id);
            if row.gone {
                known.gone.push(row.id);
            } else {
                known.insert(row);
            }
        }
        known
    }

    /// Returns a stream.
    pub fn stream(&self, machine: &Machine, stream: &StreamName) -> Option<&StreamRow> {
        self.machines.get(machine)?.get(stream)
    }

    /// Returns the number of a machine's streams.
    pub fn count(&self, machine: &Machine) -> usize {
        self.machines.get(machine).map_or(0, BTreeMap::len)
    }

    /// Adds a stream, or replaces its row.
    pub fn insert(&mut self, row: StreamRow) {
        let streams = self.machines.entry(row.machine()).or_default();
        streams.insert(row.stream.clone(), row);
    }

    /// Replaces a stream's row, unless the stream was removed meanwhile.
    pub fn replace(&mut self, row: StreamRow) {
        let streams = self.machines.get_mut(&row.machine());
        if let Some(present) = streams.and_then(|streams| streams.get_mut(&row.stream)) {
            *present = row;
        }
    }

    /// Hides streams that are being removed.
    pub fn abandon(&mut self, rows: &[StreamRow]) {
        for row in rows {
            let machine = row.machine();
            if let Some(streams) = self.machines.get_mut(&machine) {
                streams.remove(&row.stream);
                if streams.is_empty() {
                    self.machines.remove(&machine);
                }
            }
            self.gone.push(row.id);
        }
    }

    /// Notes that nothing of a stream is left in the store.
    pub fn removed(&mut self, id: u64) {
        self.gone.retain(|other| *other != id);
    }

    /// Returns the next streams after a place, at most `most` of them, and whether more follow.
    pub fn after(&self, after: Option<&Key>, most: usize) -> (Vec<StreamRow>, bool) {
        let first = after.map_or(Unbounded, |(machine, _)| Included(machine));
        let mut rows = Vec::new();
        for (machine, streams) in self.machines.range::<Machine, _>((first, Unbounded)) {
            let after = after.filter(|(last, _)| last == machine).map(|(_, stream)| stream);
            let from = after.map_or(Unbounded, Excluded);
            for row in streams.range::<StreamName, _>((from, Unbounded)).map(|(_, row)| row) {
                if rows.len() == most {
                    return (rows, true);
                }
                rows.push(row.clone());
            }
        }
        (rows, false)
    }
}

/// Returns the change that marks streams as gone. They are removed step by step afterwards.
pub fn abandonment(rows: &[StreamRow]) -> DataBatch {
    let streams = rows.iter().cloned().map(|row| StreamRow { gone: true, ..row }).collect();
    DataBatch { streams, ..DataBatch::default() }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use holdfast_control_rows::Tally;

    /// Stream of a device, with an id and nothing in it.
    pub(crate) fn row(id: u64, device: &str, stream: &str) -> StreamRow {
        let (device, stream) = (device.parse().unwrap(), stream.parse().unwrap());
        let (tenant, tally) = ("default".parse().unwrap(), Tally::default());
        StreamRow { id, tenant, device, owner: 7, stream, gone: false, tally }
    }

    fn known() -> Known {
        let rows = vec![row(1, "a", "s"), row(2, "a", "t"), row(3, "b", "s")];
        Known::read(9, rows, 0)
    }

    #[test]
    fn ids_are_not_given_twice_and_what_goes_is_hidden() {
        let gone = StreamRow { gone: true, ..row(6, "a", "s") };
        let known = Known::read(9, vec![row(4, "a", "s"), gone], 5);
        assert_eq!((known.last_id, known.gone.as_slice()), (6, [6].as_slice()));
        assert_eq!(known.stream(&row(4, "a", "s").machine(), &"s".parse().unwrap()).unwrap().id, 4);
        assert_eq!(Known::read(9, vec![row(4, "a", "s")], 5).last_id, 5);
    }

    #[test]
    fn streams_are_paged_in_their_order() {
        let known = known();
        let ids = |after: Option<&Key>, most| {
            let (rows, more) = known.after(after, most);
            (rows.iter().map(|row| row.id).collect::<Vec<_>>(), more)
        };
        let (first, third) = (key_of(&row(1, "a", "s")), key_of(&row(3, "b", "s")));
        for (after, most, expected) in [
            (None, 9, (vec![1, 2, 3], false)),
            (None, 2, (vec![1, 2], true)),
            (Some(&first), 9, (vec![2, 3], false)),
            (Some(&third), 9, (vec![], false)),
        ] {
            assert_eq!(ids(after, most), expected, "{after:?} {most}");
        }
    }

    #[test]
    fn an_abandoned_stream_is_hidden_and_its_row_does_not_come_back() {
        let mut known = known();
        let gone = row(3, "b", "s");
        assert!(abandonment(std::slice::from_ref(&gone)).streams[0].gone);
        known.abandon(std::slice::from_ref(&gone));
        assert_eq!((known.count(&gone.machine()), known.gone.as_slice()), (0, [3].as_slice()));
        known.replace(gone.clone());
        assert_eq!(known.stream(&gone.machine(), &gone.stream), None);
        known.removed(3);
        assert!(known.gone.is_empty());
    }
}
