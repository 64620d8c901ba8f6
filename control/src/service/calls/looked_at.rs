//! Devices that somebody looks at, and what wakes those who wait for a sign of life.
//!
//! See decision 0112.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_base::ids::DeviceId;
use tokio::sync::Notify;

use crate::core::answering::{Answering, Look};

/// Maximum number of devices that may be looked at together. Looking at another one reports its
/// state without asking it.
const DEVICES: usize = 10_000;

/// Number of devices of one tenant that may be looked at however many others are.
const SHARE: usize = 100;

/// Device that is looked at.
#[derive(Debug, Default)]
struct Known {
    answering: Answering,
    /// Wakes those who wait whenever anything arrives from the device.
    heard: Arc<Notify>,
}

/// Devices that are looked at.
#[derive(Debug, Default)]
pub(super) struct Looking {
    /// Number of devices that are looked at. It spares most messages the lock, because nobody looks
    /// at their device.
    many: AtomicUsize,
    devices: Mutex<BTreeMap<DeviceId, Known>>,
}

impl Looking {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<DeviceId, Known>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that somebody looks at a device. Returns what to do, and what wakes the waiting;
    /// `None` when too many devices are looked at.
    pub(super) fn look(&self, name: &DeviceId, now: u64) -> Option<(Look, Arc<Notify>)> {
        let mut devices = self.lock();
        devices.retain(|known, it| known == name || !it.answering.is_over(now));
        if devices.len() >= DEVICES && !devices.contains_key(name) {
            let own = devices.keys().filter(|known| known.tenant == name.tenant).count();
            if own >= SHARE {
                return None;
            }
        }
        let known = devices.entry(name.clone()).or_default();
        let look = (known.answering.look(now), Arc::clone(&known.heard));
        self.many.store(devices.len(), Ordering::Relaxed);
        Some(look)
    }

    /// Notes that something arrived from a device. Returns true when the device had been silent and
    /// answers again.
    pub(super) fn heard(&self, name: &DeviceId, now: u64) -> bool {
        if self.many.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut devices = self.lock();
        let Some(known) = devices.get_mut(name) else { return false };
        known.heard.notify_waiters();
        known.answering.heard(now)
    }

    /// Forgets a device whose connection began or ended: a question on the former connection gets
    /// no reply.
    pub(super) fn gone(&self, name: &DeviceId) {
        let mut devices = self.lock();
        if let Some(known) = devices.remove(name) {
            known.heard.notify_waiters();
        }
        self.many.store(devices.len(), Ordering::Relaxed);
    }

    pub(super) fn change<T>(
        &self,
        name: &DeviceId,
        change: impl FnOnce(&mut Answering) -> T,
    ) -> Option<T> {
        self.lock().get_mut(name).map(|known| change(&mut known.answering))
    }
}
