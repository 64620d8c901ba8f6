//! Summary of the fleet, list of devices, and differences of one device.
//!
//! These functions look at every device. They let changes in between where the result needs no
//! single moment, and belong on a thread that may block.
//!
//! See decision 0031.

use std::sync::{Arc, PoisonError};

use holdfast_base::ids::Name;

use super::read::page;
use super::tenant::Tenant;
use super::{Failure, Listed, Query, Service};
use crate::api::{self, DeviceGroups, Differences, Fleet, LabelsInUse, List, ListMeta, Trend};
use crate::core::attention::Watch;
use crate::core::fleet::{LabelTally, Tally, some};
use crate::core::groups::GroupTally;
use crate::core::listing::{self, Filter, Order};
use crate::core::model::Device;
use crate::core::rights::{Action, Actor};
use crate::core::{explain, view};

/// Number of devices that are looked at under one lock, which takes a fraction of a millisecond.
const AT_ONCE: usize = 1_000;

/// Time for which a summary is reused while nothing changes, in seconds. Its relative times may be
/// that old.
const FRESH: u64 = 5;

/// Newest summary of the fleet.
#[derive(Debug)]
pub(super) struct Summary {
    /// Number of batches in the model when it was made.
    batches: u64,
    /// Time at which it was made, in seconds since 1970.
    at: u64,
    fleet: Arc<Fleet>,
}

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

impl Service {
    pub(super) fn watch(&self) -> Watch {
        Watch::new(self.now(), self.started, self.settings.device_ttl)
    }

    /// Calls `add` with every device, in the order of names. Releases the lock after every 1,000
    /// devices, so that changes come in between.
    pub(super) fn every_device(&self, tenant: &Name, mut add: impl FnMut(&Device)) {
        let mut last = None;
        loop {
            last = some(&self.model(tenant), last.as_ref(), AT_ONCE, &mut add);
            if last.is_none() {
                return;
            }
        }
    }

    /// Returns the fleet's summary. Concurrent callers wait for the one that is being made.
    ///
    /// # Errors
    /// Returns [`Failure::Refused`] when the actor may not read it.
    pub fn summary(&self, actor: &Actor) -> Result<Arc<Fleet>, Failure> {
        self.may(actor, Action::GetFleet, "")?;
        Ok(self.summary_of(&self.tenant_of(&actor.tenant)))
    }

    fn summary_of(&self, tenant: &Tenant) -> Arc<Fleet> {
        let name = &tenant.name;
        let mut kept = tenant.summary.lock().unwrap_or_else(PoisonError::into_inner);
        let (batches, now) = (self.model(name).batches, self.now());
        if let Some(known) = &*kept
            && known.batches == batches
            && (known.at..known.at + FRESH).contains(&now)
        {
            return Arc::clone(&known.fleet);
        }
        let silences = self.model(name).silences.values().cloned().collect();
        let mut tally = Tally::new(self.watch(), silences);
        self.every_device(name, |device| tally.add(device));
        let mut fleet = tally.fleet(self.model(name).workloads.keys());
        // Failing notifications come first: whoever relies on them gets no message about them.
        fleet.attention.splice(0..0, self.failing_notifications(tenant));
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
        self.may(actor, Action::GroupDevices, "")?;
        let watch = self.watch();
        let mut tally = GroupTally::new(by);
        self.every_device(&actor.tenant, |device| {
            if filter.chooses(device, watch) {
                tally.add(device, watch.now);
            }
        });
        Ok(tally.groups())
    }

    /// Adds a point to the device counts of the last day when one is due.
    pub fn count_trend(&self) {
        let now = self.now();
        for tenant in self.every_tenant() {
            let points = || tenant.trend.lock().unwrap_or_else(PoisonError::into_inner);
            if points().is_due(now) {
                let counts = self.summary_of(&tenant).devices;
                points().add(now, counts);
            }
        }
    }

    /// Returns the device counts of the last day.
    pub fn trend(&self, actor: &Actor) -> Result<Trend, Failure> {
        self.may(actor, Action::GetTrend, "")?;
        let tenant = self.tenant_of(&actor.tenant);
        let points = tenant.trend.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(points.trend())
    }

    /// Returns the label keys and values in use.
    pub fn labels(&self, actor: &Actor) -> Result<LabelsInUse, Failure> {
        self.may(actor, Action::ListLabels, "")?;
        let mut tally = LabelTally::default();
        self.every_device(&actor.tenant, |device| tally.add(device));
        Ok(LabelsInUse { items: tally.labels() })
    }

    /// Lists devices.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for a bad limit, page, or combination of both with an order.
    pub fn devices(&self, actor: &Actor, query: &DevicesQuery) -> Listed<api::Device> {
        self.may(actor, Action::ListDevices, "")?;
        let limit = query.query.limit()?;
        let after = query.query.after()?;
        let watch = self.watch();
        let model = self.model(&actor.tenant);
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

    /// Compares a device's desired and reported state, workload by workload.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown device.
    pub fn differences(&self, actor: &Actor, name: &str) -> Result<Differences, Failure> {
        self.may(actor, Action::GetDifferences, name)?;
        let model = self.model(&actor.tenant);
        let device = model.devices.get(name).ok_or_else(|| Failure::no("device", name))?;
        Ok(Differences { items: explain::differences(device, self.now()) })
    }
}
