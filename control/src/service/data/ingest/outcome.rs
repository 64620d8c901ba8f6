//! Batches come in, and what becomes of them is told: to devices by acknowledgements, to the thread
//! by a note that the store failed.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use holdfast_base::WIRE_VERSION;
use holdfast_base::codec;
use holdfast_base::ids::DeviceId;
use holdfast_records::{Acked, Acknowledgement};

use super::super::Data;
use super::super::queue::Arrival;
use crate::core::ingest::pressure::HOLD_FULL;
use crate::ports::bus::Done;
use crate::ports::data_store::{DataBatch, DataError};
use crate::ports::store::StoreError;

/// Acknowledgement without content, for building others.
pub(super) const NOTHING: Acknowledgement = Acknowledgement {
    v: WIRE_VERSION,
    acked: Vec::new(),
    hold_ms: 0,
    store: None,
    diverged: None,
    more: false,
    given: Vec::new(),
};

impl Data {
    /// Queues a batch that a device published.
    pub(in crate::service) fn batch(&self, device: &DeviceId, payload: Bytes, done: Done) {
        self.counters.batches.fetch_add(1, Ordering::Relaxed);
        if !self.queue.offer(Arrival { device: device.clone(), payload, done }) {
            self.counters.batches_not_taken.fetch_add(1, Ordering::Relaxed);
            self.acknowledge(device, Vec::new(), HOLD_FULL);
        }
    }

    pub(super) fn acknowledge(&self, device: &DeviceId, acked: Vec<Acked>, hold_ms: u32) {
        if acked.is_empty() && hold_ms == 0 {
            return;
        }
        if let Some(bytes) = Self::acknowledgement(acked, hold_ms, None) {
            self.bus.ack(device, bytes);
        }
    }

    fn acknowledgement(acked: Vec<Acked>, hold_ms: u32, store: Option<u64>) -> Option<Bytes> {
        let acknowledgement = Acknowledgement { v: WIRE_VERSION, acked, hold_ms, store, ..NOTHING };
        codec::encode(&acknowledgement)
            .inspect_err(|error| tracing::error!(%error, "an acknowledgement cannot be written"))
            .ok()
            .map(Bytes::from)
    }

    /// Message that tells a device the store's id; `None` while it is not known.
    pub(in crate::service) fn store_notice(&self) -> Option<Bytes> {
        let store = self.known().store_id?;
        Self::acknowledgement(Vec::new(), 0, Some(store))
    }

    /// Writes a change of the data store under the lease of this process.
    pub(in crate::service) fn commit_data(&self, mut batch: DataBatch) -> Result<(), StoreError> {
        batch.fence = Some(self.documents.lease().fence);
        self.data_outcome(self.store.commit(&batch))
    }

    /// Turns the outcome of a call to the data store into one of a store. A lost lease is noted:
    /// this process then stops.
    pub(super) fn data_outcome(&self, outcome: Result<(), DataError>) -> Result<(), StoreError> {
        outcome.map_err(|error| match error {
            DataError::Store(error) => error,
            lost @ DataError::Lost(_) => {
                self.documents.lease().lost();
                StoreError { what: "the data store refused a change", cause: lost.to_string() }
            }
        })
    }
}

/// Notes that the store failed: all streams are read again before anything else is stored.
pub(super) fn failed(data: &Data, error: &StoreError) {
    data.counters.data_commits_failed.fetch_add(1, Ordering::Relaxed);
    if !data.disk.failing.swap(true, Ordering::Relaxed) {
        tracing::error!(%error, "data cannot be stored: devices keep theirs and send again");
    }
    data.known_mut().stale = true;
}

/// Tells the devices of a group that was not stored to hold back; they send their batches again
/// later.
pub(super) fn fail(data: &Data, group: &[Arrival], hold_ms: u32) {
    let devices: BTreeSet<&DeviceId> = group.iter().map(|arrival| &arrival.device).collect();
    for device in devices {
        data.acknowledge(device, Vec::new(), hold_ms);
    }
}
