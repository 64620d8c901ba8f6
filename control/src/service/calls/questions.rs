//! Questions under way: how many may be, and what ends each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_base::ids::Name;
use tokio::sync::{Notify, Semaphore};

/// Maximum number of devices that answer questions at the same time, over all questions.
const ANSWERS: usize = 512;

/// Maximum number of questions under way at the same time.
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

/// Questions under way.
#[derive(Debug)]
pub(super) struct Questions {
    /// One permit for each device that answers a question.
    pub(super) answers: Semaphore,
    /// One permit for each question under way.
    pub(super) turns: Arc<Semaphore>,
    open: Mutex<Open>,
}

impl Default for Questions {
    fn default() -> Self {
        Self {
            answers: Semaphore::new(ANSWERS),
            turns: Arc::new(Semaphore::new(QUESTIONS)),
            open: Mutex::default(),
        }
    }
}

impl Questions {
    pub(super) fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
