//! Messages to devices whose history has diverged: which sequence numbers are known.
//!
//! See decision 0081.

use holdfast_base::codec;
use holdfast_records::message::MAX_GIVEN;
use holdfast_records::{Acknowledgement, Given};

use super::super::Service;
use super::super::blocks::highest;
use super::NOTHING;
use crate::ports::data_store::StreamRow;
use crate::ports::store::StoreError;
use std::sync::PoisonError;

/// Tells devices whose history has diverged which sequence numbers are known. A message that is
/// lost on the way is sent again after the device's next connect.
pub(super) fn tell(service: &Service) -> Result<(), StoreError> {
    let diverged = {
        let mut diverged = service.ingest.diverged.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *diverged)
    };
    for (device, history) in diverged {
        let rows: Vec<StreamRow> = service.of_device(&device.tenant, &device.device, |streams| {
            streams.values().cloned().collect()
        });
        let mut given = Vec::with_capacity(rows.len());
        for row in rows {
            let highest = highest(&*service.ingest.store, &row)?;
            given.push(Given { highest, stream: row.stream });
        }
        let parts = given.chunks(MAX_GIVEN).map(<[_]>::to_vec);
        let mut parts: Vec<Vec<Given>> = parts.collect();
        let last = parts.pop().unwrap_or_default();
        let more = parts.into_iter().map(|part| (part, true));
        for (given, more) in more.chain([(last, false)]) {
            let told = Acknowledgement { diverged: Some(history), more, given, ..NOTHING };
            if let Ok(bytes) = codec::encode(&told) {
                service.bus.ack(&device, bytes.into());
            }
        }
    }
    Ok(())
}
