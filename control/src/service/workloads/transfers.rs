//! Transfers of volumes that are under way, each a permission of a device that ends with it.
//!
//! See decision 0180.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use holdfast_base::ids::{DeviceId, Digest};

/// Transfers of volumes that are under way. A device may upload an artifact while it backs up a
/// volume, and download the one that it restores.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    pub(super) uploads: Mutex<BTreeSet<DeviceId>>,
    pub(super) downloads: Mutex<BTreeSet<(DeviceId, Digest)>>,
}

/// Permission for one transfer, which ends with it.
pub(super) struct Transfer<'a, T: Ord> {
    of: &'a Mutex<BTreeSet<T>>,
    what: T,
}

impl<'a, T: Ord + Clone> Transfer<'a, T> {
    /// Begins a transfer. None: the same one is under way.
    pub(super) fn begin(of: &'a Mutex<BTreeSet<T>>, what: T) -> Option<Self> {
        let new = of.lock().unwrap_or_else(PoisonError::into_inner).insert(what.clone());
        new.then_some(Self { of, what })
    }
}

impl<T: Ord> Drop for Transfer<'_, T> {
    fn drop(&mut self) {
        self.of.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.what);
    }
}

impl Transfers {
    /// True if the device may upload an artifact now.
    pub(super) fn uploads(&self, device: &DeviceId) -> bool {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner).contains(device)
    }

    /// True if the device may download this artifact now, whatever its workloads name.
    pub(super) fn downloads(&self, device: &DeviceId, digest: &Digest) -> bool {
        let key = (device.clone(), *digest);
        self.downloads.lock().unwrap_or_else(PoisonError::into_inner).contains(&key)
    }
}
