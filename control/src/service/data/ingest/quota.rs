//! Quota of data for the day: batches beyond it stay on their devices, which send them again later.
//!
//! See decision 0168.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};

use holdfast_base::ids::Name;

use super::super::Data;
use super::super::part::Used;
use super::super::queue::Arrival;
use super::outcome::fail;
use crate::core::ingest::pressure::HOLD_QUOTA;
use crate::core::quota::{DayUse, Quotas};

/// Seconds after which the use of a day is written down again, so that a restart forgets little.
const NOTED_EVERY: u64 = 60;

impl Data {
    fn used(&self) -> MutexGuard<'_, BTreeMap<Name, Used>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what a tenant has sent on the present day.
    pub(in crate::service) fn day_of(&self, tenant: &Name) -> DayUse {
        let now = self.documents.now();
        let known = self.used().get(tenant).map(|used| used.now);
        known.unwrap_or_else(|| self.documents.model(tenant).meta.data).at(now)
    }

    /// Forgets what a tenant has sent: it has ended.
    pub(in crate::service) fn forget_day(&self, tenant: &Name) {
        self.used().remove(tenant);
    }
}

/// Returns the batches that are within the quotas of their tenants, and counts them. The devices of
/// the others are asked to hold back.
pub(super) fn within(data: &Data, group: Vec<Arrival>) -> Vec<Arrival> {
    let now = data.documents.now();
    let (mut within, mut beyond) = (Vec::with_capacity(group.len()), Vec::new());
    let mut known: BTreeMap<Name, (Quotas, DayUse)> = BTreeMap::new();
    for arrival in group {
        let tenant = &arrival.device.tenant;
        if !known.contains_key(tenant) {
            let model = data.documents.model(tenant);
            known.insert(tenant.clone(), (model.quotas, model.meta.data));
        }
        let (quotas, stored) = known.get(tenant).copied().unwrap_or_default();
        let mut all = data.used();
        let fresh = Used { now: stored, noted: stored, noted_at: now, limited: false };
        let used = match all.get_mut(tenant) {
            Some(used) => used,
            None => all.entry(tenant.clone()).or_insert(fresh),
        };
        used.limited = quotas.data_per_day.is_some();
        let before = used.now.at(now).held;
        let bytes = u64::try_from(arrival.payload.len()).unwrap_or(u64::MAX);
        match used.now.take(&quotas, bytes, now) {
            Ok(()) => within.push(arrival),
            Err(over) => {
                if before == 0 {
                    tracing::warn!(%tenant, %over, "records stay on the devices of a tenant");
                }
                drop(all);
                beyond.push(arrival);
            }
        }
    }
    fail(data, &beyond, HOLD_QUOTA);
    within
}

/// Writes the use of the day down, now and then: the first batch that is held back at once, so that
/// it is seen after a restart too.
pub(super) fn note(data: &Data) {
    let now = data.documents.now();
    let mut due = Vec::new();
    for (tenant, used) in data.used().iter_mut() {
        let (stored, is) = (used.noted, used.now);
        let held = is.held > 0 && (stored.held == 0 || stored.day != is.day);
        if used.limited
            && is != stored
            && (held || now.abs_diff(used.noted_at) >= NOTED_EVERY || stored.day != is.day)
        {
            (used.noted, used.noted_at) = (is, now);
            due.push((tenant.clone(), is));
        }
    }
    for (tenant, used) in due {
        let _later = data.documents.note(
            &tenant,
            |change| {
                change.model.meta.data = used;
                change.live();
            },
            |_| {},
        );
    }
}
