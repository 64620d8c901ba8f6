//! Devices whose state changes at a moment though nobody reports anything: a workload has run well
//! for long enough, a device is offline for too long. Whoever watches is told then.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use holdfast_protocol::ids::Name;

use super::Service;
use super::change::Change;

/// When to look at a device again, by name: one moment for each device at most.
#[derive(Debug, Default)]
pub(super) struct Due(Mutex<BTreeMap<Name, u64>>);

impl Due {
    fn set(&self, name: &Name, at: Option<u64>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match at {
            Some(at) => drop(all.insert(name.clone(), at)),
            None => drop(all.remove(name)),
        }
    }

    /// Those whose moment has come; they are forgotten.
    fn take(&self, now: u64) -> Vec<Name> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// Tells those who watch of every device whose state has changed by itself since the last
    /// call. To be called about once a second.
    pub fn tell_due(&self) {
        let due = self.due.take(self.now());
        if due.is_empty() {
            return;
        }
        let tell = |change: &mut Change<'_>| {
            for name in &due {
                change.event("device", name.as_str(), "changed", String::new());
            }
        };
        // Not taken: the store takes nothing, and readers are told when it does again.
        let _taken = self.note(tell, |_| {});
        for name in &due {
            self.note_due(name);
        }
    }
}
