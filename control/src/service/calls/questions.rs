//! Questions under way: how many may be, and what ends each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_base::ids::Name;
use tokio::sync::{Notify, Semaphore};

use crate::service::documents::PerTenant;

/// Maximum number of devices of one tenant that answer questions at the same time, over all of its
/// questions.
const ANSWERS: usize = 512;

/// Maximum number of questions of one tenant under way at the same time.
const QUESTIONS: usize = 16;

/// Open question.
#[derive(Debug)]
pub(super) struct Question {
    /// Notice that ends it.
    pub(super) enough: Arc<Notify>,
    /// Id of whoever asked it.
    pub(super) by: Box<str>,
}

/// Open questions by tenant and id.
pub(super) type Open = BTreeMap<(Name, String), Question>;

/// Bounds of one tenant's questions. Each tenant has its own, so that the silent devices of one
/// delay no question of another.
#[derive(Debug)]
pub(super) struct Bounds {
    /// One permit for each device that answers a question.
    pub(super) answers: Semaphore,
    /// One permit for each question under way.
    pub(super) turns: Arc<Semaphore>,
}

/// Questions under way.
#[derive(Debug, Default)]
pub(super) struct Questions {
    bounds: PerTenant<Bounds>,
    open: Mutex<Open>,
}

impl Questions {
    /// Returns the bounds of a tenant's questions.
    pub(super) fn bounds(&self, tenant: &Name) -> Arc<Bounds> {
        self.bounds.of(tenant, || Bounds {
            answers: Semaphore::new(ANSWERS),
            turns: Arc::new(Semaphore::new(QUESTIONS)),
        })
    }

    pub(super) fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
