//! Devices whose state changes at a moment though nobody reports anything: a workload has run well
//! for long enough, a device is offline for too long. Whoever watches is told then.
//! See decisions 0111 and 0133.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use holdfast_base::ids::Name;

use super::Service;
use super::change::Change;

/// How often it is looked for devices whose next packet is overdue, in seconds: a look at every
/// device, a few milliseconds for 50,000.
const LATE_EVERY: u64 = 5;

/// When to look at a device again.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// By name: one moment for each device at most.
    moments: Mutex<BTreeMap<Name, u64>>,
    /// When it was last looked, in seconds since 1970.
    looked: AtomicU64,
}

impl Due {
    fn set(&self, name: &Name, at: Option<u64>) {
        let mut all = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        match at {
            Some(at) => drop(all.insert(name.clone(), at)),
            None => drop(all.remove(name)),
        }
    }

    /// Those whose moment has come; they are forgotten.
    fn take(&self, now: u64) -> Vec<Name> {
        let mut all = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        let due: Vec<Name> =
            all.iter().filter(|(_, at)| **at <= now).map(|(name, _)| name.clone()).collect();
        for name in &due {
            all.remove(name);
        }
        due
    }
}

impl Service {
    /// Notes when the state of a device changes by itself.
    pub(super) fn note_due(&self, name: &Name) {
        let watch = self.watch();
        let at = self.model().devices.get(name).and_then(|device| watch.next_change(device));
        self.due.set(name, at);
    }

    /// Notes it of every device: at the start, and when what is expected of them becomes another.
    pub fn note_every_due(&self) {
        let watch = self.watch();
        let moments: Vec<(Name, Option<u64>)> = self
            .model()
            .devices
            .iter()
            .map(|(name, device)| (name.clone(), watch.next_change(device)))
            .collect();
        for (name, at) in &moments {
            self.due.set(name, *at);
        }
    }

    /// Tells those who watch of devices whose next packet is overdue, or no longer is.
    fn tell_late(&self, now: u64) {
        let mut changed: Vec<Name> = Vec::new();
        self.every_device(|device| {
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
        // Not taken: it is tried again.
        let _taken = self.note(tell, |_| {});
    }

    /// Tells those who watch of every device whose state has changed by itself since the last
    /// call. To be called about once a second.
    pub fn tell_due(&self) {
        let now = self.now();
        // A clock that was set back moves what depends on it.
        if now < self.due.looked.swap(now, Ordering::Relaxed) {
            self.note_every_due();
        }
        if now.is_multiple_of(LATE_EVERY) {
            self.tell_late(now);
        }
        let due = self.due.take(now);
        if due.is_empty() {
            return;
        }
        let tell = |change: &mut Change<'_>| {
            for name in &due {
                change.device_event(name, String::new(), vec!["connection".into()]);
            }
        };
        // Not taken: the store takes nothing, and readers are told when it does again.
        let _taken = self.note(tell, |_| {});
        for name in &due {
            self.note_due(name);
        }
    }
}
