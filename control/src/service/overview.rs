//! The fleet at a glance, the list of devices, and what of one differs.
//!
//! These look at every device. They let others write in between where the answer needs no one
//! moment, and belong on a thread that may block.
//! See decision 0031.

use std::sync::{Arc, PoisonError};

use super::read::page;
use super::{Failure, Listed, Query, Service};
use crate::api::{self, DeviceGroups, Differences, Fleet, LabelsInUse, List, ListMeta, Trend};
use crate::core::attention::Watch;
use crate::core::fleet::{LabelTally, Tally, some};
use crate::core::groups::GroupTally;
use crate::core::listing::{self, Filter, Order};
use crate::core::model::Device;
use crate::core::{explain, view};

/// Devices that are looked at before others may write: a fraction of a millisecond.
const AT_ONCE: usize = 1_000;

/// A summary serves for so many seconds while nothing changes: what it says of time is so old.
const FRESH: u64 = 5;

/// The newest summary, and of when it is.
#[derive(Debug)]
pub(super) struct Summary {
    batches: u64,
    at: u64,
    fleet: Arc<Fleet>,
}

/// Which part of the list of devices.
#[derive(Debug, Clone, Default)]
pub struct DevicesQuery {
    /// Most items, and after which one when the order is by name and no offset is given.
    pub query: Query,
    /// Which devices.
    pub filter: Filter,
    /// In which order.
    pub order: Option<Order>,
    /// How many to leave out.
    pub offset: Option<usize>,
}

impl Service {
    pub(super) fn watch(&self) -> Watch {
        Watch::new(self.now(), self.started, self.settings.device_ttl)
    }

    /// Calls `add` with every device, letting others write in between.
    pub(super) fn every_device(&self, mut add: impl FnMut(&Device)) {
        let mut last = None;
        loop {
            last = some(&self.model(), last.as_ref(), AT_ONCE, &mut add);
            if last.is_none() {
                return;
            }
        }
    }

    /// The fleet at a glance. Whoever asks while it is made waits for that one.
    pub fn summary(&self) -> Arc<Fleet> {
        let mut kept = self.summary.lock().unwrap_or_else(PoisonError::into_inner);
        let (batches, now) = (self.model().batches, self.now());
        if let Some(known) = &*kept
            && known.batches == batches
            && (known.at..known.at + FRESH).contains(&now)
        {
            return Arc::clone(&known.fleet);
        }
        let silences = self.model().silences.values().cloned().collect();
        let mut tally = Tally::new(self.watch(), silences);
        self.every_device(|device| tally.add(device));
        let mut fleet = tally.fleet(self.model().workloads.keys());
        // Who waits to be told of alarms is not told that nobody is.
        fleet.attention.splice(0..0, self.failing_notifications());
        let fleet = Arc::new(fleet);
        *kept = Some(Summary { batches, at: now, fleet: Arc::clone(&fleet) });
        fleet
    }

    /// Devices by the values of a label, of those that a filter chooses.
    pub fn groups(&self, by: String, filter: &Filter) -> DeviceGroups {
        let watch = self.watch();
        let mut tally = GroupTally::new(by);
        self.every_device(|device| {
            if filter.chooses(device, watch) {
                tally.add(device, watch.now);
            }
        });
        tally.groups()
    }

    /// Adds a point to the counts of the last day when it is time for one.
    pub fn count_trend(&self) {
        let now = self.now();
        let points = || self.trend.lock().unwrap_or_else(PoisonError::into_inner);
        if !points().is_due(now) {
            return;
        }
        let counts = self.summary().devices;
        points().add(now, counts);
    }

    /// The counts of the last day.
    pub fn trend(&self) -> Trend {
        self.trend.lock().unwrap_or_else(PoisonError::into_inner).trend()
    }

    /// The labels in use.
    pub fn labels(&self) -> LabelsInUse {
        let mut tally = LabelTally::default();
        self.every_device(|device| tally.add(device));
        LabelsInUse { items: tally.labels() }
    }

    /// Devices.
    ///
    /// # Errors
    /// A bad query.
    pub fn devices(&self, query: &DevicesQuery) -> Listed<api::Device> {
        let limit = query.query.limit()?;
        let after = query.query.after()?;
        let watch = self.watch();
        let model = self.model();
        let chosen = model.devices.values().filter(|device| query.filter.chooses(device, watch));
        if query.order.is_none() && query.offset.is_none() {
            let mut total = 0;
            let mut items = Vec::new();
            for device in chosen.inspect(|_| total += 1) {
                let name = &device.record.name;
                if items.len() <= limit
                    && std::ops::RangeBounds::contains(
                        &(after.as_ref(), std::ops::Bound::Unbounded),
                        name,
                    )
                {
                    items.push((name.to_string(), view::device(device, watch.now)));
                }
            }
            let mut list = page(items, limit, model.meta.version);
            list.metadata.total = Some(total);
            return Ok(list);
        }
        if query.query.after.is_some() {
            return Err(Failure::invalid(
                "continue goes with neither sort nor offset: pages of a sorted list are at offset=N",
            ));
        }
        let order = query.order.unwrap_or_default();
        let (devices, total) =
            listing::page(chosen, order, (query.offset.unwrap_or_default(), limit), watch.now);
        Ok(List {
            items: devices.into_iter().map(|device| view::device(device, watch.now)).collect(),
            metadata: ListMeta {
                next: None,
                resource_version: model.meta.version,
                total: Some(total),
            },
        })
    }

    /// What is desired of a device beside what it reports, workload by workload.
    ///
    /// # Errors
    /// [`Failure::NotFound`].
    pub fn differences(&self, name: &str) -> Result<Differences, Failure> {
        let model = self.model();
        let device = model.devices.get(name).ok_or_else(|| Failure::no("device", name))?;
        Ok(Differences { items: explain::differences(device, self.now()) })
    }
}
