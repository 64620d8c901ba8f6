//! Places of those who come in: who has not said who it is takes none of others', and each that is
//! known has a share that nobody else can take.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use holdfast_base::ids::Name;
use tokio::task::AbortHandle;

/// Connections of strangers at a time: each may hold a packet's beginning.
const MAX: usize = 32;
/// Of these, of one user. Its next one takes the place of its oldest.
const MAX_OF_USER: usize = 8;
/// Places that are kept for each that is known, where there are enough for all.
const KEPT: usize = 4;

#[derive(Debug)]
struct Stranger {
    user: Option<u32>,
    task: Option<AbortHandle>,
}

/// Connections of those who have not said who they are, by number: the oldest first.
#[derive(Debug, Default)]
pub struct Strangers(Mutex<BTreeMap<u64, Stranger>>);

impl Strangers {
    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, Stranger>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One comes. Where there is no place for it, the oldest of the user that has the most is cut:
    /// gives that user, if the kernel says who it is.
    pub fn enter(&self, number: u64, user: Option<u32>) -> Option<Option<u32>> {
        let mut all = self.all();
        all.insert(number, Stranger { user, task: None });
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
        if let Some(Stranger { task: Some(task), .. }) = all.remove(&oldest) {
            task.abort();
        }
        Some(greedy)
    }

    /// Cuts all of them: nobody of them has anything in hand that is worth waiting for.
    pub fn cut_all(&self) {
        for task in std::mem::take(&mut *self.all()).into_values().filter_map(|it| it.task) {
            task.abort();
        }
    }

    /// Its task, to be cut by.
    pub fn began(&self, number: u64, task: AbortHandle) {
        if let Some(it) = self.all().get_mut(&number) {
            it.task = Some(task);
        }
    }

    /// It has said who it is, or is gone. False: it was cut before.
    pub fn leave(&self, number: u64) -> bool {
        self.all().remove(&number).is_some()
    }
}

/// Whether one more connection of `name` leaves each of the others its share of `places`.
/// `known`: the connections of everybody who may come.
pub fn has_place(known: &BTreeMap<Name, usize>, name: &Name, places: usize, of_one: usize) -> bool {
    let kept = (places / known.len().max(1)).clamp(1, KEPT);
    let mine = known.get(name).copied().unwrap_or_default();
    let taken: usize =
        known.iter().map(|(of, count)| if of == name { *count } else { kept.max(*count) }).sum();
    mine < kept || mine < of_one && taken < places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_share_however_greedy_the_others_are() {
        for count in [1, 2, 3, 10, 64, 200] {
            let name = |number: usize| format!("w{number}").parse::<Name>().unwrap();
            let mut known: BTreeMap<Name, usize> = (0..count).map(|it| (name(it), 0)).collect();
            // All but the last take what they get, one after the other.
            for greedy in 0..count - 1 {
                while has_place(&known, &name(greedy), 64, 32) {
                    *known.get_mut(&name(greedy)).unwrap() += 1;
                }
            }
            assert!(known.values().all(|taken| *taken <= 32));
            assert!(known.values().sum::<usize>() < 64.max(count), "{count}");
            assert!(has_place(&known, &name(count - 1), 64, 32), "{count}");
        }
    }

    #[tokio::test]
    async fn a_stranger_is_cut_for_a_newcomer_of_the_same_user_first() {
        let strangers = Strangers::default();
        assert_eq!(strangers.enter(1, Some(7)), None);
        for number in 2..300 {
            let task = tokio::spawn(std::future::pending::<()>());
            let cut = strangers.enter(number, Some(65_534));
            strangers.began(number, task.abort_handle());
            assert_eq!(cut, (number > 9).then_some(Some(65_534)), "{number}");
        }
        assert!(strangers.leave(1), "nobody else's was cut");
        assert_eq!(strangers.all().len(), MAX_OF_USER);
        // Many users: of whom has the most.
        for number in 300..600 {
            let cut = strangers.enter(number, Some(u32::try_from(number).unwrap()));
            assert!(cut.is_none_or(|user| number > 307 || user == Some(65_534)), "{number}");
        }
        assert_eq!(strangers.all().len(), MAX);
    }
}
