//! Devices whose state changes by time alone, without a report: a workload has run well for long
//! enough, or a device has been offline for too long. Watching readers get an event at that moment.
//!
//! See decisions 0111 and 0133.

use std::sync::atomic::Ordering;

use holdfast_base::ids::{DeviceId, Name};

use super::Documents;
use crate::core::change::Change;
use crate::core::model::Device;

/// Time between two checks for devices whose next packet is overdue, in seconds. A check looks at
/// every device and takes a few milliseconds for 50,000.
const LATE_EVERY: u64 = 5;

impl Documents {
    /// Computes when the state of a device changes by itself next, and notes it.
    pub(in crate::service) fn note_due(&self, id: &DeviceId) {
        let watch = self.watch();
        let at = {
            let model = self.model(&id.tenant);
            model.devices.get(&id.device).and_then(|device| watch.next_change(device))
        };
        self.due.set(id, at);
    }

    /// Computes for every device when its state changes by itself next: at the start, and after a
    /// restore.
    pub(in crate::service) fn note_every_due(&self) {
        for tenant in self.tenant_names() {
            self.note_every_due_of(&tenant);
        }
    }

    /// Computes for every device of a tenant when its state changes by itself next, because a policy
    /// changed what is expected of devices.
    pub(in crate::service) fn note_every_due_of(&self, tenant: &Name) {
        let watch = self.watch();
        let moments: Vec<(DeviceId, Option<u64>)> = {
            let model = self.model(tenant);
            let of = |(name, device): (&Name, &Device)| (model.id(name), watch.next_change(device));
            model.devices.iter().map(of).collect()
        };
        for (name, at) in &moments {
            self.due.set(name, *at);
        }
    }

    /// Sends an event for each device whose next packet has become overdue, and for each that was
    /// heard again.
    fn tell_late(&self, tenant: &Name, now: u64) {
        let mut changed: Vec<Name> = Vec::new();
        self.every_device(tenant, |device| {
            if device.live.overdue(now).is_some() != device.live.late {
                changed.push(device.record.name.clone());
            }
        });
        if changed.is_empty() {
            return;
        }
        let tell = |change: &mut Change<'_>| {
            for name in &changed {
                let Some(device) = change.model.devices.get_mut(name) else { continue };
                device.live.late = device.live.overdue(now).is_some();
                let said = if device.live.late {
                    "not heard for longer than its keep-alive"
                } else {
                    "heard again"
                };
                change.device_event(name, said.to_owned(), vec!["connection".to_owned()]);
            }
        };
        // When the change is not taken, the next check finds the same devices.
        let _taken = self.note(tenant, tell, |_| {});
    }

    /// Sends an event for every device whose state has changed by itself since the last call. Must
    /// be called about once a second.
    pub fn tell_due(&self) {
        let now = self.now();
        // A clock that was set back moves all times.
        if now < self.due.looked.swap(now, Ordering::Relaxed) {
            self.note_every_due();
        }
        if now.is_multiple_of(LATE_EVERY) {
            for tenant in self.tenant_names() {
                self.tell_late(&tenant, now);
            }
        }
        let due = self.due.take(now);
        // The ids of one tenant are next to each other.
        for due in due.chunk_by(|one, next| one.tenant == next.tenant) {
            let Some(first) = due.first() else { continue };
            let tell = |change: &mut Change<'_>| {
                for id in due {
                    change.device_event(&id.device, String::new(), vec!["connection".into()]);
                }
            };
            // When the change is not taken, the store takes nothing: readers are told to read
            // everything again when it does.
            let _taken = self.note(&first.tenant, tell, |_| {});
        }
        for name in &due {
            self.note_due(name);
        }
    }
}
