//! Summary of the fleet, list of devices, and differences of one device.
//!
//! These functions look at every device. They let changes in between where the result needs no
//! single moment, and belong on a thread that may block.
//!
//! See decision 0031.

use std::sync::{Arc, Mutex, PoisonError};

use holdfast_base::ids::Name;

use super::part::{Fleet, Summary};
use crate::api::{
    self, DeviceGroups, Differences, LabelsInUse, List, ListMeta, NeighbourList, Trend,
};
use crate::core::fleet::{LabelTally, Tally};
use crate::core::groups::GroupTally;
use crate::core::listing::{self, Filter, Order};
use crate::core::rights::{Action, Actor, Sight, Who};
use crate::core::seen::Seen;
use crate::core::trend::Points;
use crate::core::{explain, neighbours, view};
use crate::service::listing::page;
use crate::service::rights::{may, may_device};
use crate::service::{Failure, Listed, Query};

/// Time for which a summary is reused while nothing changes, in seconds. Its relative times may be
/// that old.
const FRESH: u64 = 5;

/// Filter, order and page of a list of devices.
#[derive(Debug, Clone, Default)]
pub struct DevicesQuery {
    /// Page: the maximum number of items, and the name after which it begins (only in the default
    /// order and without an offset).
    pub query: Query,
    /// Filter that devices must pass.
    pub filter: Filter,
    /// Order of the list; `None` for the order of names.
    pub order: Option<Order>,
    /// Number of items to skip.
    pub offset: Option<usize>,
}

impl Fleet {
    /// Returns the fleet's summary. Concurrent callers wait for the one that is being made.
    ///
    /// # Errors
    /// Returns [`Failure::Refused`] when the actor may not read it.
    pub fn summary(&self, actor: &Actor) -> Result<Arc<api::Fleet>, Failure> {
        let permit = may(actor, Action::GetFleet, "")?;
        match permit.sight() {
            Sight::All => Ok(self.summary_of(&actor.tenant)),
            sight => Ok(Arc::new(self.made(&actor.tenant, sight))),
        }
    }

    /// Makes a summary of the devices in sight, and of the documents that are seen with it.
    fn made(&self, name: &Name, sight: &Sight<'_>) -> api::Fleet {
        let silences = self.documents.model(name).silences.values().cloned().collect();
        let mut tally = Tally::new(self.documents.watch(), silences);
        self.documents.every_device(name, |device| {
            if sight.sees(&device.record.labels) {
                tally.add(device);
            }
        });
        let model = self.documents.model(name);
        let seen = Seen::new(&model, sight);
        tally.fleet(seen.workloads())
    }

    fn summary_of(&self, name: &Name) -> Arc<api::Fleet> {
        let kept = self.summaries.of(name, Mutex::default);
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (batches, now) = (self.documents.model(name).batches, self.documents.now());
        if let Some(known) = &*kept
            && known.batches == batches
            && (known.at..known.at + FRESH).contains(&now)
        {
            return Arc::clone(&known.fleet);
        }
        let mut fleet = self.made(name, &Sight::All);
        // Failing notifications come first: whoever relies on them gets no message about them.
        fleet.attention.splice(0..0, self.alarms.failing_notifications(name));
        let fleet = Arc::new(fleet);
        *kept = Some(Summary { batches, at: now, fleet: Arc::clone(&fleet) });
        fleet
    }

    /// Counts the devices that pass a filter by the values of a label.
    pub fn groups(
        &self,
        actor: &Actor,
        by: String,
        filter: &Filter,
    ) -> Result<DeviceGroups, Failure> {
        let permit = may(actor, Action::GroupDevices, "")?;
        let watch = self.documents.watch();
        let mut tally = GroupTally::new(by);
        self.documents.every_device(&actor.tenant, |device| {
            if permit.sight().sees(&device.record.labels) && filter.chooses(device, watch) {
                tally.add(device, watch.now);
            }
        });
        Ok(tally.groups())
    }

    /// Lists the neighbours of the device that asks; of anybody else there are none.
    ///
    /// # Errors
    /// Returns [`Failure::Refused`] if the caller may not ask.
    pub fn neighbours(&self, actor: &Actor) -> Result<NeighbourList, Failure> {
        may(actor, Action::ListNeighbours, "")?;
        let Who::Device(name) = &actor.who else { return Ok(NeighbourList::default()) };
        Ok(neighbours::of(&self.documents.model(&actor.tenant), name).into())
    }

    /// Adds a point to the device counts of the last day when one is due.
    pub fn count_trend(&self) {
        let now = self.documents.now();
        for tenant in self.documents.tenant_names() {
            let trend = self.trend_of(&tenant);
            let points = || trend.lock().unwrap_or_else(PoisonError::into_inner);
            if points().is_due(now) {
                let counts = self.summary_of(&tenant).devices;
                points().add(now, counts);
            }
        }
    }

    fn trend_of(&self, tenant: &Name) -> Arc<Mutex<Points>> {
        self.trends.of(tenant, || Mutex::new(Points::new(self.documents.now())))
    }

    /// Returns the device counts of the last day.
    pub fn trend(&self, actor: &Actor) -> Result<Trend, Failure> {
        may(actor, Action::GetTrend, "")?;
        let points = self.trend_of(&actor.tenant);
        let points = points.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(points.trend())
    }

    /// Returns the label keys and values in use.
    pub fn labels(&self, actor: &Actor) -> Result<LabelsInUse, Failure> {
        let permit = may(actor, Action::ListLabels, "")?;
        let mut tally = LabelTally::default();
        self.documents.every_device(&actor.tenant, |device| {
            if permit.sight().sees(&device.record.labels) {
                tally.add(device);
            }
        });
        Ok(LabelsInUse { items: tally.labels() })
    }

    /// Returns one device.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown device.
    pub fn device(&self, actor: &Actor, name: &str) -> Result<api::Device, Failure> {
        may_device(actor, Action::GetDevice, &self.documents.model(&actor.tenant), name)?;
        let (model, now) = (self.documents.model(&actor.tenant), self.documents.now());
        model
            .devices
            .get(name)
            .map(|device| view::device(device, now))
            .ok_or_else(|| Failure::no("device", name))
    }

    /// Lists devices.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for a bad limit, page, or combination of both with an order.
    pub fn devices(&self, actor: &Actor, query: &DevicesQuery) -> Listed<api::Device> {
        let permit = may(actor, Action::ListDevices, "")?;
        let limit = query.query.limit()?;
        let after = query.query.after()?;
        let watch = self.documents.watch();
        let model = self.documents.model(&actor.tenant);
        let chosen = model.devices.values().filter(|device| {
            permit.sight().sees(&device.record.labels) && query.filter.chooses(device, watch)
        });
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

    /// Compares a device's desired and reported state, workload by workload.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown device.
    pub fn differences(&self, actor: &Actor, name: &str) -> Result<Differences, Failure> {
        may_device(actor, Action::GetDifferences, &self.documents.model(&actor.tenant), name)?;
        let model = self.documents.model(&actor.tenant);
        let device = model.devices.get(name).ok_or_else(|| Failure::no("device", name))?;
        Ok(Differences { items: explain::differences(device, self.documents.now()) })
    }
}
