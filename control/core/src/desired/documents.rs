//! The documents as they are, or as they will be after a change that is not made yet.

use std::collections::BTreeMap;

use holdfast_base::ids::Name;

use crate::model::{Model, encoded_size, policy_size};
use crate::records::{PolicyKey, PolicyRecord, WorkloadRecord};

/// Changed document: its record after the change (None: deleted) and its size in a desired state,
/// in bytes.
type Change<'a, T> = (Option<&'a T>, usize);

/// Documents of a model with some of them changed. The model itself stays as it is.
#[derive(Debug, Clone)]
pub struct Documents<'a> {
    model: &'a Model,
    workloads: BTreeMap<Name, Change<'a, WorkloadRecord>>,
    policies: BTreeMap<PolicyKey, Change<'a, PolicyRecord>>,
}

impl<'a> Documents<'a> {
    /// Takes the documents as they are.
    pub fn of(model: &'a Model) -> Self {
        Self { model, workloads: BTreeMap::new(), policies: BTreeMap::new() }
    }

    /// Adds or replaces a workload.
    #[must_use]
    pub fn with_workload(mut self, record: &'a WorkloadRecord) -> Self {
        self.workloads.insert(record.name.clone(), (Some(record), encoded_size(record)));
        self
    }

    /// Adds or replaces a policy document.
    #[must_use]
    pub fn with_policy(mut self, record: &'a PolicyRecord) -> Self {
        self.policies.insert(record.key(), (Some(record), policy_size(record)));
        self
    }

    /// Removes a workload.
    #[must_use]
    pub fn without_workload(mut self, name: &Name) -> Self {
        self.workloads.insert(name.clone(), (None, 0));
        self
    }

    /// Removes a policy document.
    #[must_use]
    pub fn without_policy(mut self, key: &PolicyKey) -> Self {
        self.policies.insert(key.clone(), (None, 0));
        self
    }

    /// Returns the model that the documents belong to, as it is before the change.
    pub fn model(&self) -> &'a Model {
        self.model
    }

    /// Returns a workload.
    pub fn workload(&self, name: &Name) -> Option<&'a WorkloadRecord> {
        match self.workloads.get(name) {
            Some((record, _)) => *record,
            None => Some(&self.model.workloads.get(name)?.record),
        }
    }

    /// Returns a policy document.
    pub fn policy(&self, key: &PolicyKey) -> Option<&'a PolicyRecord> {
        match self.policies.get(key) {
            Some((record, _)) => *record,
            None => Some(&self.model.policies.get(key)?.record),
        }
    }

    /// Returns all workloads, sorted by name.
    pub fn workloads(&self) -> impl Iterator<Item = &'a WorkloadRecord> {
        let known = self.model.workloads.iter().map(|(name, known)| (name, &known.record));
        merged(known, &self.workloads)
    }

    /// Returns all policy documents, sorted by key.
    pub fn policies(&self) -> impl Iterator<Item = &'a PolicyRecord> {
        let known = self.model.policies.iter().map(|(key, known)| (key, &known.record));
        merged(known, &self.policies)
    }

    /// Returns the names of the changed workloads.
    pub fn changed_workloads(&self) -> impl Iterator<Item = &Name> {
        self.workloads.keys()
    }

    /// Returns the keys of the changed policy documents.
    pub fn changed_policies(&self) -> impl Iterator<Item = &PolicyKey> {
        self.policies.keys()
    }

    /// True if a document is removed.
    pub fn removes_any(&self) -> bool {
        self.workloads.values().any(|(record, _)| record.is_none())
            || self.policies.values().any(|(record, _)| record.is_none())
    }

    /// Returns the size of a workload in a desired state, in bytes; 0: there is none of this name.
    pub fn workload_size(&self, name: &Name) -> usize {
        match self.workloads.get(name) {
            Some((_, size)) => *size,
            None => self.model.workloads.get(name).map_or(0, |known| known.encoded),
        }
    }

    /// Returns the size of a policy document in a desired state, in bytes; 0: devices do not get
    /// it.
    pub fn policy_size(&self, key: &PolicyKey) -> usize {
        match self.policies.get(key) {
            Some((_, size)) => *size,
            None => self.model.policies.get(key).map_or(0, |known| known.encoded),
        }
    }
}

/// Merges what is known with what is changed. Both are sorted by key, and so is the result.
fn merged<'a, K: Ord + 'a, T: 'a>(
    known: impl Iterator<Item = (&'a K, &'a T)>,
    changed: &BTreeMap<K, Change<'a, T>>,
) -> impl Iterator<Item = &'a T> {
    let mut changed = changed.iter().peekable();
    let mut known = known.peekable();
    std::iter::from_fn(move || {
        loop {
            let known_first = match (known.peek(), changed.peek()) {
                (None, None) => return None,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some((old, _)), Some((new, _))) => old < new,
            };
            if known_first {
                return known.next().map(|(_, record)| record);
            }
            let (key, (record, _)) = changed.next()?;
            if known.peek().is_some_and(|(old, _)| *old == key) {
                known.next();
            }
            if let Some(record) = record {
                return Some(*record);
            }
        }
    })
}
