//! The fleet at a glance, the list of devices, and what one device has been through.
//!
//! These look at every device. They let others write in between where the answer needs no one
//! moment, and belong on a thread that may block.

use std::sync::{Arc, PoisonError};

use super::read::page;
use super::{Failure, Listed, Query, Service};
use crate::api::{self, Differences, Fleet, History, LabelsInUse, List, ListMeta};
use crate::core::attention::Watch;
use crate::core::fleet::{LabelTally, Tally, some};
use crate::core::listing::{self, Filter, Order};
use crate::core::model::{Device, key};
use crate::core::records::{HistoryRecord, MAX_HISTORY};
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
    fn every_device(&self, mut add: impl FnMut(&Device)) {
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
        let mut tally = Tally::new(self.watch());
        self.every_device(|device| tally.add(device));
        let fleet = Arc::new(tally.fleet(self.model().workloads.keys()));
        *kept = Some(Summary { batches, at: now, fleet: Arc::clone(&fleet) });
        fleet
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

    /// When a device came and went.
    ///
    /// # Errors
    /// [`Failure::NotFound`], or the store's.
    pub fn history(&self, name: &str) -> Result<History, Failure> {
        let name = {
            let model = self.model();
            let known = model.devices.get_key_value(name);
            known.map(|(name, _)| name.clone()).ok_or_else(|| Failure::no("device", name))?
        };
        let most = usize::try_from(MAX_HISTORY).unwrap_or(usize::MAX);
        let mut events = Vec::new();
        for (key, value) in self.store.read(&key::history_of(&name), most)? {
            match serde_json::from_slice::<HistoryRecord>(&value) {
                Ok(event) => events.push(event),
                Err(error) => tracing::error!(key, %error, "an event cannot be read"),
            }
        }
        events.sort_by_key(|event| std::cmp::Reverse(event.number));
        Ok(History { items: events.into_iter().map(view::history).collect() })
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
