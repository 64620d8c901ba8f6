//! State that all connections of the data socket share, and the slot of one.
//!
//! See decision 0078.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_base::ids::Name;
use tokio::sync::Semaphore;

use crate::adapters::bus::{Authority, ProblemLog, Unauthenticated};
use crate::adapters::intake::Intake;
use crate::core::caller;

/// Most connections.
pub(super) const MAX_CONNECTIONS: usize = 32;
/// Most connections of one caller, so that one that keeps them open leaves room for others.
pub(super) const MAX_OF_ONE: usize = 8;
/// Most bytes of request bodies in memory: one of the largest, and smaller ones.
pub(super) const MAX_BODIES: usize = 12 * 1024 * 1024;
/// Most bytes of request bodies of one caller: one of the largest.
pub(super) const MAX_BODIES_OF_ONE: usize = 8 * 1024 * 1024;

/// State that all connections share.
pub(super) struct Shared {
    pub(super) authority: Authority,
    pub(super) intake: Arc<dyn Intake>,
    pub(super) problem_log: Arc<ProblemLog>,
    pub(super) bodies: Arc<Semaphore>,
    /// Room for request bodies, for each caller that has some.
    bodies_of: Mutex<BTreeMap<Name, Arc<Semaphore>>>,
    pub(super) next: AtomicU64,
    pub(super) unauthenticated: Unauthenticated,
    /// Number of connections of each known caller.
    open: Mutex<BTreeMap<Name, usize>>,
}

impl Shared {
    pub(super) fn new(
        authority: Authority,
        intake: Arc<dyn Intake>,
        problem_log: Arc<ProblemLog>,
    ) -> Self {
        Self {
            authority,
            intake,
            problem_log,
            bodies: Arc::new(Semaphore::new(MAX_BODIES)),
            bodies_of: Mutex::default(),
            next: AtomicU64::new(0),
            unauthenticated: Unauthenticated::default(),
            open: Mutex::default(),
        }
    }

    pub(super) fn open(&self) -> MutexGuard<'_, BTreeMap<Name, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for request bodies of this caller.
    pub(super) fn bodies_of(&self, name: &Name) -> Arc<Semaphore> {
        let mut of = self.bodies_of.lock().unwrap_or_else(PoisonError::into_inner);
        of.retain(|_, room| Arc::strong_count(room) > 1);
        let room = of.entry(name.clone());
        Arc::clone(room.or_insert_with(|| Arc::new(Semaphore::new(MAX_BODIES_OF_ONE))))
    }
}

/// Slot of one connection, given back when dropped.
pub(super) struct Slot {
    pub(super) shared: Arc<Shared>,
    number: u64,
    /// Caller of the connection; `None` until it has identified itself.
    caller: Mutex<Option<Name>>,
}

impl Slot {
    /// Slot of a connection whose caller is not known yet.
    pub(super) fn new(shared: Arc<Shared>, number: u64) -> Self {
        Self { shared, number, caller: Mutex::default() }
    }

    /// Assigns the connection to this caller. False when the caller has as many as it may have.
    pub(super) fn pass_to(&self, name: &Name) -> bool {
        let mut caller = self.caller.lock().unwrap_or_else(PoisonError::into_inner);
        if caller.as_ref() == Some(name) {
            return true;
        }
        let mut open = self.shared.open();
        let mut known = self.shared.authority.names();
        known.extend(open.iter().map(|(name, count)| (name.clone(), *count)));
        if !caller::has_slot(&known, name, MAX_CONNECTIONS, MAX_OF_ONE) {
            return false;
        }
        leave(&mut open, caller.as_ref());
        *open.entry(name.clone()).or_default() += 1;
        *caller = Some(name.clone());
        self.shared.unauthenticated.remove(self.number);
        true
    }
}

fn leave(open: &mut BTreeMap<Name, usize>, name: Option<&Name>) {
    if let Some(name) = name
        && let Some(count) = open.get_mut(name)
    {
        *count = count.saturating_sub(1);
        if *count == 0 {
            open.remove(name);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.unauthenticated.remove(self.number);
        let caller = self.caller.lock().unwrap_or_else(PoisonError::into_inner);
        leave(&mut self.shared.open(), caller.as_ref());
    }
}
