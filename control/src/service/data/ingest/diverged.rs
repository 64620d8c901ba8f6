//! Messages to devices whose history has diverged: which sequence numbers are known.
//!
//! See decision 0081.

use holdfast_base::codec;
use holdfast_records::message::MAX_GIVEN;
use holdfast_records::{Acknowledgement, Given};

use super::super::Data;
use super::super::blocks::highest;
use super::outcome::NOTHING;
use crate::ports::data_store::StreamRow;
use crate::ports::store::StoreError;
use std::sync::PoisonError;

/// Tells devices whose history has diverged which sequence numbers are known. A message that is
/// lost on the way is sent again after the device's next connect.
pub(in crate::service) fn tell(data: &Data) -> Result<(), StoreError> {
    let diverged = {
        let mut diverged = data.chores.diverged.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *diverged)
    };
    for (device, history) in diverged {
        let rows: Vec<StreamRow> = data.of_device(&device.tenant, &device.device, |streams| {
            streams.values().cloned().collect()
        });
        let mut given = Vec::with_capacity(rows.len());
        for row in rows {
            let highest = highest(&*data.store, &row)?;
            given.push(Given { highest, stream: row.stream });
        }
        let parts = given.chunks(MAX_GIVEN).map(<[_]>::to_vec);
        let mut parts: Vec<Vec<Given>> = parts.collect();
        let last = parts.pop().unwrap_or_default();
        let more = parts.into_iter().map(|part| (part, true));
        for (given, more) in more.chain([(last, false)]) {
            let told = Acknowledgement { diverged: Some(history), more, given, ..NOTHING };
            if let Ok(bytes) = codec::encode(&told) {
                data.bus.ack(&device, bytes.into());
            }
        }
    }
    Ok(())
}
