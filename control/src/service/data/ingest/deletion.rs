//! Deletion of the streams of deleted devices: they are marked first, and maintenance removes them
//! step by step.
//!
//! See decision 0059.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::super::Data;
use super::outcome::failed;
use crate::core::streams::abandonment;
use crate::ports::data_store::StreamRow;
use crate::ports::store::StoreError;

/// Marks the streams of deleted devices for removal.
pub(in crate::service) fn forget(data: &Data) {
    let forgotten = {
        let mut forgotten = data.chores.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *forgotten)
    };
    for machine in forgotten {
        let known = data.known();
        let streams = known.machines.get(&machine).into_iter().flat_map(BTreeMap::values);
        let rows: Vec<_> = streams.cloned().collect();
        drop(known);
        if let Err(error) = abandon(data, &rows) {
            failed(data, &error);
        }
    }
}

/// Marks streams as gone; maintenance removes them step by step.
pub(in crate::service) fn abandon(data: &Data, rows: &[StreamRow]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    data.commit_data(abandonment(rows))?;
    data.known_mut().abandon(rows);
    Ok(())
}
