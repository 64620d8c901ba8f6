//! Readers: tools of people that follow streams over MQTT. They are few, and each takes records at
//! its own pace: what waits for one is bounded by its feed, and disturbs neither devices nor other
//! readers.
//!
//! See decision 0060.

mod connection;
mod policy;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_base::ids::Name;
use holdfast_records::StreamName;

pub(super) use connection::Connection;

/// Encoding in which a record is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Cbor,
}

impl Form {
    const ALL: [Self; 2] = [Self::Json, Self::Cbor];

    /// First level of this encoding's topics.
    fn root(self) -> &'static str {
        match self {
            Self::Json => "data",
            Self::Cbor => "data-cbor",
        }
    }

    /// Topic of a stream in this encoding, for example `data/pump-1/flow`.
    fn topic(self, device: &Name, stream: &StreamName) -> String {
        format!("{}/{device}/{stream}", self.root())
    }
}

/// Number of times that the readers of all tenants may be as many as those of one. Beyond it each
/// tenant has an eighth of its places alone.
const TENANTS: usize = 4;

/// Counted places for readers, for each tenant as many.
#[derive(Debug)]
pub(super) struct Readers {
    most: usize,
    taken: Mutex<BTreeMap<Name, usize>>,
}

impl Readers {
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: Mutex::default() }
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<Name, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a reader of a tenant; `None` when all of its places are taken.
    fn enter(self: &Arc<Self>, tenant: &Name) -> Option<Place> {
        let mut taken = self.taken();
        let all: usize = taken.values().sum();
        let own = taken.get(tenant).copied().unwrap_or(0);
        let free = all < self.most.saturating_mul(TENANTS) || own < self.most / 8;
        if own >= self.most || !free {
            return None;
        }
        taken.insert(tenant.clone(), own + 1);
        Some(Place { readers: Arc::clone(self), tenant: tenant.clone() })
    }
}

/// Place of one reader, which is given back on drop.
#[derive(Debug)]
struct Place {
    readers: Arc<Readers>,
    tenant: Name,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.readers.taken();
        if let Some(own) = taken.get_mut(&self.tenant) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_of_one_tenant_leave_places_to_others() {
        let (loud, calm): (Name, Name) = ("loud".parse().unwrap(), "calm".parse().unwrap());
        let readers = Arc::new(Readers::new(8));
        let places: Vec<_> = std::iter::from_fn(|| readers.enter(&loud)).collect();
        assert_eq!(places.len(), 8);
        assert!(readers.enter(&calm).is_some());
        drop(places);
        assert!(readers.enter(&loud).is_some() && readers.taken().is_empty());
    }
}
