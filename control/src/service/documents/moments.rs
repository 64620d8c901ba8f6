//! Times at which devices' states change by themselves, without a report.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

use holdfast_base::ids::DeviceId;

/// Times at which devices' states change by themselves.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// Next time of each device, in seconds since 1970; at most one for each.
    moments: Mutex<BTreeMap<DeviceId, u64>>,
    /// Time of the last check, in seconds since 1970.
    pub(super) looked: AtomicU64,
}

impl Due {
    pub(super) fn set(&self, name: &DeviceId, at: Option<u64>) {
        let mut all = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        match at {
            Some(at) => drop(all.insert(name.clone(), at)),
            None => drop(all.remove(name)),
        }
    }

    /// Returns the devices whose time has come, and removes their times.
    pub(super) fn take(&self, now: u64) -> Vec<DeviceId> {
        let mut all = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        let due: Vec<DeviceId> =
            all.iter().filter(|(_, at)| **at <= now).map(|(name, _)| name.clone()).collect();
        for name in &due {
            all.remove(name);
        }
        due
    }
}
