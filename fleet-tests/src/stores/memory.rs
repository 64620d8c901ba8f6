//! Store in memory that several holders share, as processes share a database: its leases end by its
//! own clock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use holdfast_control::ports::store::{
    Batch, Changes, Fence, LeaseError, Refused, Revision, Shard, Snapshot, Store, StoreError,
    Versioned, Visit,
};

#[derive(Debug, Clone, Default)]
struct State {
    revision: Revision,
    values: BTreeMap<String, Versioned>,
    log: Vec<(Revision, String)>,
    /// Revision after which the log knows every change.
    since: Revision,
    leases: BTreeMap<Shard, Lease>,
}

#[derive(Debug, Clone)]
struct Lease {
    epoch: u64,
    holder: String,
    until: Instant,
}

/// Store in memory. Its clones are handles to the same content.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore(Arc<Mutex<State>>);

impl State {
    fn holds(&self, fence: Fence) -> bool {
        let lease = self.leases.get(&fence.shard);
        lease.is_some_and(|lease| lease.epoch == fence.epoch && Instant::now() < lease.until)
    }

    fn refused(&self, batch: &Batch) -> Option<Refused> {
        if let Some(fence) = batch.fence.filter(|fence| !self.holds(*fence)) {
            return Some(Refused::Lost(fence));
        }
        batch.expect.iter().find_map(|(key, expected)| {
            let revision = self.values.get(key).map(|value| value.revision);
            (revision != *expected).then(|| Refused::Conflict { key: key.clone(), revision })
        })
    }

    fn write(&mut self, batch: &Batch) -> Revision {
        if batch.clear || !batch.writes.is_empty() {
            self.revision += 1;
        }
        let revision = self.revision;
        if batch.clear {
            self.values.clear();
            self.log.clear();
            self.since = revision;
        }
        for (key, value) in &batch.writes {
            match value.clone() {
                Some(value) => {
                    drop(self.values.insert(key.clone(), Versioned { revision, value }));
                }
                None => drop(self.values.remove(key)),
            }
            if !batch.clear {
                self.log.push((revision, key.clone()));
            }
        }
        revision
    }
}

impl Store for MemoryStore {
    fn commit(&self, batches: &[Batch]) -> Result<Vec<Result<Revision, Refused>>, StoreError> {
        let mut state = self.0.lock().unwrap();
        let one = |batch: &Batch| match state.refused(batch) {
            Some(refused) => Err(refused),
            None => Ok(state.write(batch)),
        };
        Ok(batches.iter().map(one).collect())
    }

    fn changes(&self, since: Revision, most: usize) -> Result<Changes, StoreError> {
        let state = self.0.lock().unwrap();
        if since < state.since {
            return Ok(Changes::Trimmed);
        }
        let from = state.log.partition_point(|(revision, _)| *revision <= since);
        let rest = &state.log[from..];
        let mut end = rest.len().min(most.max(1));
        while end > 0 && end < rest.len() && rest[end].0 == rest[end - 1].0 {
            end += 1;
        }
        let changed = rest[..end].iter();
        Ok(Changes::Page {
            upto: rest[..end].last().map_or(since, |(revision, _)| *revision),
            more: end < rest.len(),
            changed: changed
                .map(|(_, key)| (key.clone(), state.values.get(key).cloned()))
                .collect(),
        })
    }

    fn lease(&self, shard: Shard, holder: &str, ttl: Duration) -> Result<Fence, LeaseError> {
        let mut state = self.0.lock().unwrap();
        let now = Instant::now();
        let former = state.leases.get(&shard);
        if let Some(other) = former.filter(|lease| now < lease.until && lease.holder != holder) {
            return Err(LeaseError::Held(other.holder.clone()));
        }
        let epoch = former.map_or(0, |lease| lease.epoch) + 1;
        let lease = Lease { epoch, holder: holder.into(), until: now + ttl };
        state.leases.insert(shard, lease);
        Ok(Fence { shard, epoch })
    }

    fn renew(&self, fence: Fence, ttl: Duration) -> Result<(), LeaseError> {
        let mut state = self.0.lock().unwrap();
        if !state.holds(fence) {
            return Err(LeaseError::Lost);
        }
        if let Some(lease) = state.leases.get_mut(&fence.shard) {
            lease.until = Instant::now() + ttl;
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        Ok(Box::new(Content(self.0.lock().unwrap().values.clone())))
    }

    fn read(&self, prefix: &str, most: usize) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let state = self.0.lock().unwrap();
        let found = state.values.iter().filter(|(key, _)| key.starts_with(prefix));
        Ok(found.take(most).map(|(key, value)| (key.clone(), value.value.clone())).collect())
    }

    fn pick(&self, keys: &[String]) -> Result<Vec<Option<Versioned>>, StoreError> {
        let state = self.0.lock().unwrap();
        Ok(keys.iter().map(|key| state.values.get(key).cloned()).collect())
    }
}

struct Content(BTreeMap<String, Versioned>);

impl Snapshot for Content {
    fn visit(&self, without: &[&str], visit: &mut Visit<'_>) -> std::io::Result<()> {
        let is_skipped = |key: &str| without.iter().any(|prefix| key.starts_with(prefix));
        let mut wanted = self.0.iter().filter(|(key, _)| !is_skipped(key));
        wanted.try_for_each(|(key, value)| visit(key, &value.value))
    }
}
