//! Counts the devices of each value of a label by their health state.
//!
//! See decision 0129.

use std::collections::BTreeMap;

use super::model::Device;
use super::state;
use holdfast_api::{DeviceGroup, DeviceGroups, HealthState};

/// Most groups in a reply; the rest is only counted. A label with a different value for every
/// device makes as many groups as there are devices.
const MAX_GROUPS: usize = 500;

/// Counts so far, by value of the label. `None` is the key for devices without the label.
#[derive(Debug)]
pub struct GroupTally {
    by: String,
    groups: BTreeMap<Option<String>, DeviceGroup>,
}

impl GroupTally {
    /// Creates an empty tally. `by` is the key of the label.
    pub fn new(by: String) -> Self {
        Self { by, groups: BTreeMap::new() }
    }

    /// Adds a device with its health state at `now`, in seconds since 1970.
    pub fn add(&mut self, device: &Device, now: u64) {
        let value = device.record.labels.get(&self.by).cloned();
        let group = self.groups.entry(value).or_default();
        group.devices += 1;
        *match state::health(device, now).state {
            HealthState::Healthy => &mut group.healthy,
            HealthState::Failing => &mut group.failing,
            HealthState::Problem => &mut group.problem,
            HealthState::Progressing => &mut group.progressing,
            HealthState::Unknown => &mut group.unknown,
            HealthState::NeverSeen => &mut group.never_seen,
            HealthState::Pending => &mut group.pending,
            HealthState::Revoked => &mut group.revoked,
        } += 1;
    }

    /// Returns the groups: those with the most devices in trouble first, then with the most
    /// devices, then by value.
    pub fn groups(self) -> DeviceGroups {
        let mut items: Vec<DeviceGroup> =
            self.groups.into_iter().map(|(value, group)| DeviceGroup { value, ..group }).collect();
        let trouble = |group: &DeviceGroup| {
            (group.failing + group.problem + group.unknown + group.never_seen, group.devices)
        };
        // The sort is stable, so groups of equal rank stay in the order of their values.
        items.sort_by_key(|group| std::cmp::Reverse(trouble(group)));
        let more = items.len().saturating_sub(MAX_GROUPS) as u64;
        items.truncate(MAX_GROUPS);
        DeviceGroups { by: self.by, items, more }
    }
}
