//! Connections of clients that have not identified themselves: they take no place of others.
//!
//! See decision 0078.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

/// Most unauthenticated connections; each may hold the beginning of a packet.
const MAX: usize = 32;
/// Most unauthenticated connections of one user; the next one replaces its oldest.
const MAX_OF_USER: usize = 8;

#[derive(Debug)]
struct Pending {
    user: Option<u32>,
    task: Option<AbortHandle>,
}

/// Connections of clients that have not identified themselves, by number: the oldest first.
#[derive(Debug, Default)]
pub struct Unauthenticated(Mutex<BTreeMap<u64, Pending>>);

impl Unauthenticated {
    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, Pending>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection. If there are too many, the oldest of the user that has the most is cut,
    /// and that user returned, itself `None` when the kernel does not tell who it is.
    pub fn add(&self, number: u64, user: Option<u32>) -> Option<Option<u32>> {
        let mut all = self.all();
        all.insert(number, Pending { user, task: None });
        let mut of: BTreeMap<Option<u32>, usize> = BTreeMap::new();
        for it in all.values() {
            *of.entry(it.user).or_default() += 1;
        }
        let greedy = if of.get(&user).is_some_and(|count| *count > MAX_OF_USER) {
            user
        } else if all.len() > MAX {
            of.into_iter().max_by_key(|(_, count)| *count)?.0
        } else {
            return None;
        };
        let oldest = all.iter().find(|(_, it)| it.user == greedy).map(|(number, _)| *number)?;
        if let Some(Pending { task: Some(task), .. }) = all.remove(&oldest) {
            task.abort();
        }
        Some(greedy)
    }

    /// Cuts all of them; none has sent anything that is worth waiting for.
    pub fn cut_all(&self) {
        for task in std::mem::take(&mut *self.all()).into_values().filter_map(|it| it.task) {
            task.abort();
        }
    }

    /// Sets the task of a connection, by which it can be cut.
    pub fn set_task(&self, number: u64, task: AbortHandle) {
        if let Some(it) = self.all().get_mut(&number) {
            it.task = Some(task);
        }
    }

    /// Removes a connection that has identified itself or ended. False when it was cut before.
    pub fn remove(&self, number: u64) -> bool {
        self.all().remove(&number).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_unauthenticated_connection_of_a_user_is_cut_for_its_newest() {
        let unauthenticated = Unauthenticated::default();
        assert_eq!(unauthenticated.add(1, Some(7)), None);
        for number in 2..300 {
            let task = tokio::spawn(std::future::pending::<()>());
            let cut = unauthenticated.add(number, Some(65_534));
            unauthenticated.set_task(number, task.abort_handle());
            assert_eq!(cut, (number > 9).then_some(Some(65_534)), "{number}");
        }
        assert!(unauthenticated.remove(1), "nobody else's was cut");
        assert_eq!(unauthenticated.all().len(), MAX_OF_USER);
        // Many users: of whom has the most.
        for number in 300..600 {
            let cut = unauthenticated.add(number, Some(u32::try_from(number).unwrap()));
            assert!(cut.is_none_or(|user| number > 307 || user == Some(65_534)), "{number}");
        }
        assert_eq!(unauthenticated.all().len(), MAX);
    }
}
