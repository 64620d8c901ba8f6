//! Sinks of the audit log to which something is being sent: each gets one delivery at a time.
//!
//! See decision 0169.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use holdfast_base::ids::Name;

/// Sink of a tenant.
pub(super) type Of = (Name, Name);

/// Sinks whose delivery is under way.
#[derive(Debug, Default)]
pub(super) struct Busy(Mutex<BTreeSet<Of>>);

impl Busy {
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut BTreeSet<Of>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
