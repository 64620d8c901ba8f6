//! Random interleavings of two holders at one [`Store`], compared with a model that a person can
//! read: who was paused while another took over gets `Lost`, a stale precondition gets `Conflict`,
//! and everything else is written as a whole.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_control::ports::store::{
    Batch, Changes, Fence, LeaseError, Refused, Revision, Store, Versioned,
};
use proptest::prelude::*;

use super::contract::{LONG, content};

/// What a holder expects of a key.
#[derive(Debug, Clone, Copy)]
pub enum Expect {
    /// The revision that the holder has seen last.
    AsSeen,
    /// The key is absent.
    Absent,
    /// A revision that was never given.
    Wrong,
}

/// One batch of a holder.
#[derive(Debug, Clone)]
pub struct Wish {
    is_fenced: bool,
    clear: bool,
    expect: Vec<(u8, Expect)>,
    writes: Vec<(u8, Option<u8>)>,
}

/// One step of a holder, 0 or 1.
#[derive(Debug, Clone)]
pub enum Step {
    /// Asks for the lease.
    Lease(usize),
    /// Renews its lease. False: it lets it end at once.
    Renew(usize, bool),
    /// Looks at all keys, and remembers their revisions.
    Look(usize),
    /// Commits batches in one call. The holder may have been paused since it looked.
    Commit(usize, Vec<Wish>),
    /// Reads what changed after a part of all revisions, in pages of at most so many.
    Changes(u8, usize),
}

fn wish() -> impl Strategy<Value = Wish> {
    let expect = prop_oneof![
        4 => Just(Expect::AsSeen),
        1 => Just(Expect::Absent),
        1 => Just(Expect::Wrong),
    ];
    let write = (0..4_u8, proptest::option::weighted(0.8, any::<u8>()));
    (
        proptest::bool::weighted(0.7),
        proptest::bool::weighted(0.05),
        proptest::collection::vec((0..4_u8, expect), 0..3),
        proptest::collection::vec(write, 0..4),
    )
        .prop_map(|(is_fenced, clear, expect, writes)| Wish {
            is_fenced,
            clear,
            expect,
            writes,
        })
}

/// Returns random steps of two holders.
pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0..2_usize).prop_map(Step::Lease),
        2 => ((0..2_usize), any::<bool>()).prop_map(|(holder, keep)| Step::Renew(holder, keep)),
        3 => (0..2_usize).prop_map(Step::Look),
        6 => ((0..2_usize), proptest::collection::vec(wish(), 1..4))
            .prop_map(|(holder, wishes)| Step::Commit(holder, wishes)),
        1 => (any::<u8>(), 1..5_usize).prop_map(|(since, most)| Step::Changes(since, most)),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Lease as the model has it.
#[derive(Debug, Clone, Copy)]
struct Lease {
    fence: Fence,
    holder: usize,
    ended: bool,
}

#[derive(Debug, Default)]
struct Holder {
    fence: Option<Fence>,
    seen: BTreeMap<String, Revision>,
}

/// Model of a store with two holders.
struct Model<'a> {
    store: &'a dyn Store,
    leases_end: bool,
    revision: Revision,
    values: BTreeMap<String, Versioned>,
    log: Vec<(Revision, String)>,
    cleared: Revision,
    lease: Option<Lease>,
    holders: [Holder; 2],
}

fn key(number: u8) -> String {
    format!("k{number}")
}

/// Runs steps against an empty store, and compares each outcome and the content afterwards.
pub fn run(store: &dyn Store, leases_end: bool, steps: &[Step]) {
    let mut model = Model {
        store,
        leases_end,
        revision: 0,
        values: BTreeMap::new(),
        log: Vec::new(),
        cleared: 0,
        lease: None,
        holders: Default::default(),
    };
    for step in steps {
        match step {
            Step::Lease(holder) => model.take(*holder),
            Step::Renew(holder, keep) => model.renew(*holder, *keep),
            Step::Look(holder) => {
                let seen = model.values.iter().map(|(key, value)| (key.clone(), value.revision));
                model.holders[*holder].seen = seen.collect();
            }
            Step::Commit(holder, wishes) => model.commit(*holder, wishes),
            Step::Changes(part, most) => model.changes(u64::from(*part), *most),
        }
        model.compare();
    }
}

impl Model<'_> {
    fn holds(&self, fence: Fence) -> bool {
        self.lease.is_some_and(|lease| lease.fence == fence && !lease.ended)
    }

    fn take(&mut self, holder: usize) {
        let held = self.leases_end
            && self.lease.is_some_and(|lease| !lease.ended && lease.holder != holder);
        match self.store.lease(0, ["a", "b"][holder], LONG) {
            Err(LeaseError::Held(_)) => assert!(held, "the lease is free"),
            Ok(fence) => {
                assert!(!held, "another one has the lease");
                assert!(self.lease.is_none_or(|lease| lease.fence.epoch < fence.epoch));
                self.lease = Some(Lease { fence, holder, ended: false });
                self.holders[holder].fence = Some(fence);
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn renew(&mut self, holder: usize, keep: bool) {
        let Some(fence) = self.holders[holder].fence else { return };
        let outcome = self.store.renew(fence, if keep { LONG } else { Duration::ZERO });
        let holds = self.holds(fence);
        assert_eq!(outcome.is_ok(), holds, "{outcome:?}");
        if let Some(lease) = self.lease.as_mut().filter(|_| holds) {
            lease.ended = self.leases_end && !keep;
        }
    }

    /// Makes the batch that a holder means by a wish.
    fn batch(&self, holder: usize, wish: &Wish) -> Batch {
        let Holder { fence, seen } = &self.holders[holder];
        let expect = wish.expect.iter().map(|(number, expect)| {
            let key = key(*number);
            let revision = match expect {
                Expect::AsSeen => seen.get(&key).copied(),
                Expect::Absent => None,
                Expect::Wrong => Some(Revision::MAX),
            };
            (key, revision)
        });
        let writes = wish.writes.iter();
        Batch {
            fence: fence.filter(|_| wish.is_fenced),
            expect: expect.collect(),
            clear: wish.clear,
            writes: writes
                .map(|(number, value)| (key(*number), value.map(|it| vec![it])))
                .collect(),
        }
    }

    fn commit(&mut self, holder: usize, wishes: &[Wish]) {
        let batches: Vec<Batch> = wishes.iter().map(|wish| self.batch(holder, wish)).collect();
        let outcomes = self.store.commit(&batches).unwrap();
        let expected: Vec<_> = batches.iter().map(|batch| self.apply(batch)).collect();
        assert_eq!(outcomes, expected, "{batches:?}");
    }

    fn apply(&mut self, batch: &Batch) -> Result<Revision, Refused> {
        if let Some(fence) = batch.fence.filter(|fence| !self.holds(*fence)) {
            return Err(Refused::Lost(fence));
        }
        for (key, expected) in &batch.expect {
            let revision = self.values.get(key).map(|value| value.revision);
            if revision != *expected {
                return Err(Refused::Conflict { key: key.clone(), revision });
            }
        }
        if batch.clear || !batch.writes.is_empty() {
            self.revision += 1;
        }
        if batch.clear {
            self.values.clear();
            self.cleared = self.revision;
        }
        for (key, value) in &batch.writes {
            self.log.push((self.revision, key.clone()));
            match value.clone() {
                Some(value) => {
                    let value = Versioned { revision: self.revision, value };
                    self.values.insert(key.clone(), value);
                }
                None => drop(self.values.remove(key)),
            }
        }
        Ok(self.revision)
    }

    /// Follows the changes to their end. They may be trimmed, after a clear alone here.
    fn changes(&self, part: u64, most: usize) {
        let since = self.revision * part / 255;
        let mut found = Vec::new();
        let mut at = since;
        loop {
            match self.store.changes(at, most).unwrap() {
                Changes::Trimmed => {
                    assert!(since < self.cleared, "nothing was trimmed after {since}");
                    return;
                }
                Changes::Page { changed, upto, more } => {
                    assert!(upto > at || changed.is_empty(), "a page leads on");
                    found.extend(changed);
                    at = upto;
                    if !more {
                        break;
                    }
                }
            }
        }
        let expected = self.log.iter().filter(|(revision, _)| *revision > since);
        let expected = expected.map(|(_, key)| (key.clone(), self.values.get(key).cloned()));
        assert_eq!(found, expected.collect::<Vec<_>>(), "since {since}");
    }

    fn compare(&self) {
        let keys: Vec<String> = (0..4).map(key).collect();
        let expected: Vec<_> = keys.iter().map(|key| self.values.get(key).cloned()).collect();
        assert_eq!(self.store.pick(&keys).unwrap(), expected);
        let all = self.values.iter().map(|(key, value)| (key.clone(), value.value.clone()));
        assert_eq!(content(&*self.store.snapshot().unwrap(), &[]), all.collect::<Vec<_>>());
    }
}
