//! Fake buffer for tests: holds records back, refuses them, numbers them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use holdfast_base::ids::Name;
use holdfast_records::{Range, StreamName};
use tokio::sync::oneshot;

use super::intake::{Intake, Records, Refused, Stored};

type Answer = oneshot::Sender<Result<Range, Refused>>;

#[derive(Default)]
struct Inner {
    records: BTreeMap<StreamName, Vec<Vec<u8>>>,
    held: VecDeque<(StreamName, Records, Answer)>,
    hold: bool,
    refuse: Option<Refused>,
    /// Publishers seen so far.
    owners: BTreeSet<Option<Name>>,
}

/// Fake intake; see the module's documentation.
#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Mutex<Inner>>);

impl Fake {
    /// Holds back everything that is appended until [`Fake::release`].
    pub(crate) fn hold(&self) {
        self.0.lock().unwrap().hold = true;
    }

    /// Stores what was held back; later records are stored at once.
    pub(crate) fn release(&self) {
        let mut inner = self.0.lock().unwrap();
        inner.hold = false;
        for (stream, records, answer) in std::mem::take(&mut inner.held) {
            let _gone = answer.send(Ok(inner.store(stream, records)));
        }
    }

    /// Refuses everything from now on, or nothing.
    pub(crate) fn refuse(&self, why: Option<Refused>) {
        self.0.lock().unwrap().refuse = why;
    }

    /// Records that are stored, as texts.
    pub(crate) fn stored(&self, stream: &str) -> Vec<String> {
        let inner = self.0.lock().unwrap();
        let found = inner.records.get(stream).cloned().unwrap_or_default();
        found.into_iter().map(|it| String::from_utf8_lossy(&it).into_owned()).collect()
    }

    /// Publishers seen so far.
    pub(crate) fn owners(&self) -> BTreeSet<Option<Name>> {
        self.0.lock().unwrap().owners.clone()
    }

    /// Number of records held back.
    pub(crate) fn held(&self) -> usize {
        self.0.lock().unwrap().held.iter().map(|(_, records, _)| records.len()).sum()
    }
}

impl Inner {
    fn store(&mut self, stream: StreamName, records: Records) -> Range {
        let known = self.records.entry(stream).or_default();
        let from = known.len() as u64 + 1;
        known.extend(records.into_iter().map(|(_, value)| value));
        Range { from, to: known.len() as u64 }
    }
}

impl Intake for Fake {
    fn append(&self, owner: Option<Name>, stream: StreamName, records: Records) -> Stored {
        match self.try_append(owner, stream, records) {
            Ok(stored) => stored,
            Err(why) => Box::pin(async move { Err(why) }),
        }
    }

    fn try_append(
        &self,
        owner: Option<Name>,
        stream: StreamName,
        records: Records,
    ) -> Result<Stored, Refused> {
        let mut inner = self.0.lock().unwrap();
        inner.owners.insert(owner);
        if let Some(why) = &inner.refuse {
            return Err(why.clone());
        }
        if inner.hold {
            let (answer, stored) = oneshot::channel();
            inner.held.push_back((stream, records, answer));
            return Ok(Box::pin(async move { stored.await.unwrap_or(Err(Refused::Closed)) }));
        }
        let range = inner.store(stream, records);
        Ok(Box::pin(async move { Ok(range) }))
    }
}
