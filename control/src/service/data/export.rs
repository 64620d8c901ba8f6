//! Data records of one stream name, of one device or many, one stream after the other.
//!
//! See decisions 0062 and 0094.

use std::ops::ControlFlow;

use holdfast_base::ids::Name;
use holdfast_records::{Record, StreamName};

use super::{Data, Readable, Window};
use crate::api::selector::Selector;
use crate::core::rights::{Action, Actor};
use crate::service::Failure;
use crate::service::rights::may;

/// Maximum number of records that are looked at before an export begins, over all its streams. The
/// look costs less than the export, which cannot begin before.
const LOOK: usize = 2_000_000;

impl Data {
    /// Returns the streams of this name of the devices that a selector matches, in the order of the
    /// devices' names.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] when there is none, and [`Failure::Unavailable`] while the
    /// data store is being opened.
    pub fn streams_named(
        &self,
        actor: &Actor,
        stream: &str,
        devices: &Selector,
    ) -> Result<Vec<Readable>, Failure> {
        let permit = may(actor, Action::ExportStreams, stream)?;
        if !self.knows_streams() {
            return Err(Failure::Unavailable(
                "the data store is still being opened: ask again in a moment".into(),
            ));
        }
        let none = || Failure::NotFound(format!("no such device has sent a stream {stream:?}"));
        let name: StreamName = stream.parse().map_err(|_| none())?;
        let chosen: Vec<Name> = {
            let model = self.documents.model(&actor.tenant);
            let chosen = model.devices.iter().filter(|(_, known)| {
                let labels = &known.record.labels;
                permit.sight().sees(labels) && devices.matches(labels)
            });
            chosen.map(|(name, _)| name.clone()).collect()
        };
        let row = |device: &Name| {
            self.of_device(&actor.tenant, device, |streams| streams.get(&name).cloned())
        };
        let rows: Vec<Readable> = chosen.iter().filter_map(row).map(Readable).collect();
        if rows.is_empty() { Err(none()) } else { Ok(rows) }
    }

    /// Calls `look` for the first 2,000,000 records of an export before it is made (the Parquet file's
    /// columns, for example, are not known before).
    ///
    /// # Errors
    /// Returns a [`Failure`] when the data store cannot be read.
    pub fn first_look(
        &self,
        rows: &[Readable],
        window: Window,
        look: &mut dyn FnMut(&Record),
    ) -> Result<(), Failure> {
        let mut left = LOOK;
        for row in rows {
            if left == 0 {
                break;
            }
            self.visit_records(row, window, &mut |record| {
                look(&record);
                left -= 1;
                if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
        }
        Ok(())
    }
}
