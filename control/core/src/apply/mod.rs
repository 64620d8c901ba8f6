//! Plan of an apply: what a set of admitted documents changes, as a value. A dry run shows it, an
//! apply carries it out, and both say the same. Deletions are here too.
//!
//! See decisions 0034 and 0138.

pub(crate) mod impact;
mod policy;
mod workload;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use holdfast_base::ids::Name;
use holdfast_protocol::enrol::Fault;

use super::admission::Admitted;
use super::change::Change;
use super::desired::{self, Documents};
use super::model::Model;
use super::records::{PolicyRecord, WorkloadRecord};
use holdfast_api::{Applied, AppliedAction, AppliedDocument};

pub use self::policy::delete as delete_policy;
pub(crate) use self::policy::plan as plan_policy;
pub use self::workload::delete as delete_workload;
pub(crate) use self::workload::plan as plan_workload;

/// Reason for which documents are not applied, or one is not deleted. Nothing was changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No document has this kind and name.
    #[error("there is no {kind} {name:?}")]
    Unknown {
        /// Kind, as its word in the API.
        kind: &'static str,
        /// Name that was asked for, its first 80 characters.
        name: String,
    },
    /// The same document was sent twice.
    #[error("{kind} {name} stands in more than one document")]
    Twice {
        /// Kind, as it stands in the document.
        kind: &'static str,
        /// Name of the document.
        name: Name,
    },
    /// Documents are not the next step from what is there.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Stale(Vec<Stale>),
    /// The document to delete is not the one that was read.
    #[error(
        "{kind} {name} was changed by somebody else meanwhile (its resourceVersion is {present}): read it again"
    )]
    Changed {
        /// Kind, as its word in the API.
        kind: &'static str,
        /// Name of the document.
        name: Name,
        /// Resource version that the document has.
        present: u64,
    },
    /// The kind has its largest number of documents.
    #[error("there are {most} {plural}: delete some")]
    Full {
        /// Most documents of the kind.
        most: usize,
        /// Plural word of the kind.
        plural: &'static str,
    },
    /// A secret is hidden in the document, and none is stored that it could stand for.
    #[error("refused, a hidden secret is not stored")]
    Secret(Vec<Fault>),
    /// Devices would get more than fits into one message.
    #[error("a device's desired state would be too large to send")]
    TooLarge(Vec<Fault>),
}

impl Refusal {
    /// Says that there is no document of this kind and name.
    fn unknown(kind: &'static str, name: &str) -> Self {
        Self::Unknown { kind, name: name.chars().take(80).collect() }
    }
}

/// A document whose resource version is not the present one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// The document has another resource version now.
    #[error(
        "{kind} {name} was changed by somebody else meanwhile (its resourceVersion is {present}, the document's {expected}): read it again and make the change on that; nothing was applied"
    )]
    Changed {
        /// Kind, as its word in the API.
        kind: String,
        /// Name of the document.
        name: String,
        /// Resource version that the document has.
        present: u64,
        /// Resource version that the sent one names.
        expected: u64,
    },
    /// The document was deleted.
    #[error(
        "{kind} {name} was deleted meanwhile (the document's resourceVersion is {expected}): without metadata.resourceVersion it is made anew; nothing was applied"
    )]
    Deleted {
        /// Kind, as its word in the API.
        kind: String,
        /// Name of the document.
        name: String,
        /// Resource version that the sent one names.
        expected: u64,
    },
}

impl Stale {
    /// Compares the resource version that a document names with the present one. A document that
    /// changes nothing overwrites nothing: it may be sent twice.
    fn check(
        expected: Option<u64>,
        present: Option<u64>,
        result: &AppliedDocument,
    ) -> Option<Self> {
        let expected = expected?;
        if expected == present.unwrap_or(0) || result.action == AppliedAction::Unchanged {
            return None;
        }
        let (kind, name) = (result.kind.to_lowercase(), result.name.clone());
        Some(match present {
            Some(present) => Self::Changed { kind, name, present, expected },
            None => Self::Deleted { kind, name, expected },
        })
    }
}

/// Outcome of applying documents, computed before anything is changed.
#[derive(Debug)]
pub struct Plan {
    /// Workloads that change, in the order of the documents.
    workloads: Vec<PlannedWorkload>,
    /// Policy documents that change, with the text for the audit log.
    policies: Vec<(PolicyRecord, String)>,
    /// New desired states of devices.
    desired: desired::Changed,
    /// Result for the person who applies.
    pub applied: Applied,
}

/// Outcome of planning one document.
#[derive(Debug)]
pub(crate) struct Planned {
    /// Result for the person who applies.
    result: AppliedDocument,
    /// Record to store. None: the document is unchanged.
    next: Option<Next>,
}

/// Record to store of a document that changes.
#[derive(Debug)]
enum Next {
    Workload(Box<PlannedWorkload>),
    /// Policy document with the text for the audit log.
    Policy(Box<PolicyRecord>, String),
}

/// A workload that changes.
#[derive(Debug)]
struct PlannedWorkload {
    record: WorkloadRecord,
    /// True if the revision is a new one; false if only labels of the document change.
    new_revision: bool,
    /// Text for the audit log.
    message: String,
}

/// Computes what applying these documents at `now` (in seconds since 1970) changes.
///
/// # Errors
/// [`Refusal`]; then nothing may be applied.
pub fn plan(model: &Model, admitted: Vec<Admitted>, now: u64) -> Result<Plan, Refusal> {
    let (mut workloads, mut policies) = (Vec::new(), Vec::new());
    let (mut results, mut stale) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for document in admitted {
        let (expected, any) = (document.resource_version, document.what.kind());
        let kind = any.words().document;
        if !seen.insert((kind, document.name.clone())) {
            return Err(Refusal::Twice { kind, name: document.name });
        }
        let present = any.rules().version(model, &document.name);
        let Planned { result, next } = any.rules().plan(model, document, now)?;
        match next {
            Some(Next::Workload(planned)) => workloads.push(*planned),
            Some(Next::Policy(record, message)) => policies.push((*record, message)),
            None => {}
        }
        stale.extend(Stale::check(expected, present, &result));
        results.push(result);
    }
    if !stale.is_empty() {
        return Err(Refusal::Stale(stale));
    }
    let mut documents = Documents::of(model);
    for planned in &workloads {
        documents = documents.with_workload(&planned.record);
    }
    for (record, _) in &policies {
        documents = documents.with_policy(record);
    }
    let desired = desired::diff(&documents);
    let faults = desired::faults(&documents, &desired);
    if !faults.is_empty() {
        return Err(Refusal::TooLarge(faults));
    }
    Ok(Plan { workloads, policies, desired, applied: Applied { results } })
}

impl Plan {
    /// True if a document changes that says whether devices may be away.
    pub fn changes_rules(&self) -> bool {
        self.policies.iter().any(|(record, _)| record.policy.kind().decides_absence())
    }

    /// Carries the plan out, as the access token `by`. The model must be the one that the plan was
    /// made for. `former`: the document is that of this former revision.
    pub fn carry_out(self, change: &mut Change<'_>, by: &str, former: Option<u64>) -> Applied {
        for planned in self.workloads {
            workload::put(change, planned, by, former);
        }
        for (record, message) in self.policies {
            policy::put(change, record, by, message);
        }
        change.set_all_desired(self.desired);
        self.applied
    }
}
