//! The thread that writes to the store: takes the changes that wait, commits them as one durable
//! transaction, and tells everyone who waits. After a failure of the store the model is read from
//! it again.
//!
//! See decisions 0018 and 0025.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use holdfast_base::ids::Name;

use super::jobs::{Job, Jobs, Tell};
use super::part::Documents;
use crate::ports::store::{Batch, Refused, StoreError};

/// Maximum number of changes in one transaction. It bounds how long the first of them waits for the
/// others.
const GROUP: usize = 512;

/// Size in bytes after which a group takes no further change.
const GROUP_BYTES: usize = 8 * 1024 * 1024;

/// Runs until the closing job was written.
pub(in crate::service) fn run(documents: &Documents) {
    let jobs = &documents.jobs;
    let _closes = Closing(jobs);
    loop {
        let Some(first) = jobs.wait() else { continue };
        let (group, mut last) = gather(first, jobs);
        let mut numbers: BTreeMap<Option<Name>, u64> = BTreeMap::new();
        for job in &group {
            let known = numbers.entry(job.tenant.clone()).or_default();
            *known = (*known).max(job.number);
        }
        let (batches, tells): (Vec<Batch>, Vec<Tell<Documents>>) =
            group.into_iter().map(|job| (job.batch, job.tell)).unzip();
        let writes: usize = batches.iter().map(|batch| batch.writes.len()).sum();
        let clears = batches.iter().any(|batch| batch.clear);
        let (result, lost) = match writes == 0 && !clears {
            true => (Ok(()), false),
            false => commit(documents, batches),
        };
        match &result {
            Ok(()) => {
                documents.storing.stored(&numbers);
                if writes > 0 || clears {
                    documents.storing.refuses(None);
                }
                if writes > 0 {
                    documents.counters.commits.fetch_add(1, Ordering::Relaxed);
                    documents.counters.writes.fetch_add(writes as u64, Ordering::Relaxed);
                }
            }
            Err(error) => {
                documents.storing.refuses(Some(error.to_string()));
                documents.counters.commits_failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "the store refused a change: the model is read from it again");
                last |= documents.after_failure(error);
                // Another process took the lease and may have written since. This one can store
                // nothing any more, and what it still tells would be old: `serve` ends.
                last |= lost;
            }
        }
        for tell in tells {
            tell(documents, result.clone());
        }
        if last {
            return;
        }
    }
}

/// Commits a group under the lease of this process. A refused batch fails the group: the model's
/// batches build on each other, and the model is then read again. Also returns whether the lease
/// was lost.
fn commit(documents: &Documents, mut batches: Vec<Batch>) -> (Result<(), StoreError>, bool) {
    for batch in &mut batches {
        batch.fence = Some(documents.storing.lease.fence);
    }
    let outcomes = match documents.storing.store.commit(&batches) {
        Ok(outcomes) => outcomes,
        Err(error) => return (Err(error), false),
    };
    match outcomes.into_iter().find_map(Result::err) {
        None => (Ok(()), false),
        Some(refused) => {
            let lost = matches!(refused, Refused::Lost(_));
            if lost {
                documents.storing.lease.lost();
            }
            let cause = refused.to_string();
            (Err(StoreError { what: "the store refused a change", cause }), lost)
        }
    }
}

/// Ends the queue with the thread, however that ends.
struct Closing<'a>(&'a Jobs<Documents>);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn gather(first: Job<Documents>, jobs: &Jobs<Documents>) -> (Vec<Job<Documents>>, bool) {
    let size = |job: &Job<Documents>| -> usize {
        job.batch.writes.iter().map(|(_, value)| value.as_ref().map_or(0, Vec::len)).sum()
    };
    let mut bytes = size(&first);
    let mut last = first.last;
    let mut group = vec![first];
    while group.len() < GROUP && bytes < GROUP_BYTES && !last {
        let Some(job) = jobs.take() else { break };
        bytes += size(&job);
        last = job.last;
        group.push(job);
    }
    (group, last)
}
