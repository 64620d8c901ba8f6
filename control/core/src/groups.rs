//! Devices grouped by the values of a label, with the states of those in each group counted.

use std::collections::BTreeMap;

use super::model::Device;
use super::state;
use holdfast_api::{DeviceGroup, DeviceGroups, HealthState};

/// Most groups that are told: a label that every device has a value of its own for makes as many as
/// there are devices. Those with the most trouble are told first, and the others are a number.
const MAX_GROUPS: usize = 500;

/// What was counted so far, by value; of devices without the label under None.
#[derive(Debug)]
pub struct GroupTally {
    by: String,
    groups: BTreeMap<Option<String>, DeviceGroup>,
}

impl GroupTally {
    /// Nothing yet. `by` is the label's key.
    pub fn new(by: String) -> Self {
        Self { by, groups: BTreeMap::new() }
    }

    /// Adds a device in the state that it has now, in seconds since 1970.
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

    /// What it comes to: the most trouble first, then the most devices, then by value.
    pub fn groups(self) -> DeviceGroups {
        let mut items: Vec<DeviceGroup> =
            self.groups.into_iter().map(|(value, group)| DeviceGroup { value, ..group }).collect();
        let trouble = |group: &DeviceGroup| {
            (group.failing + group.problem + group.unknown + group.never_seen, group.devices)
        };
        // Stable: equals stay in the order of their values.
        items.sort_by_key(|group| std::cmp::Reverse(trouble(group)));
        let more = items.len().saturating_sub(MAX_GROUPS) as u64;
        items.truncate(MAX_GROUPS);
        DeviceGroups { by: self.by, items, more }
    }
}
