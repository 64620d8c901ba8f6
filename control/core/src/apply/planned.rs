//! Outcome of planning one document, and reasons for which documents are refused.
//!
//! See decision 0138.

use holdfast_base::ids::Name;
use holdfast_protocol::enrol::Fault;

use crate::quota::Over;
use crate::records::{PolicyRecord, WorkloadRecord};
use holdfast_api::{AppliedAction, AppliedDocument};

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
    /// The document can choose devices that the caller does not reach.
    #[error(
        "{kind} {name} would be for {devices}, and you reach devices with {sight} alone: add {lacking} to its selector"
    )]
    Outside {
        /// Kind, as it stands in the document.
        kind: &'static str,
        /// Name of the document.
        name: Name,
        /// Devices that it chooses, in words.
        devices: String,
        /// Selectors of the caller's roles, in words.
        sight: String,
        /// Conditions that are missing, in words.
        lacking: String,
    },
    /// The present document can choose devices that the caller does not reach.
    #[error(
        "{kind} {name} is for {devices}, and you reach devices with {sight} alone: somebody whose role reaches all of them changes or deletes it, and a document of your own needs another name"
    )]
    Theirs {
        /// Kind, as it stands in the document.
        kind: &'static str,
        /// Name of the document.
        name: Name,
        /// Devices that it chooses, in words.
        devices: String,
        /// Selectors of the caller's roles, in words.
        sight: String,
    },
    /// The workload refers to a value that was not given to the caller's devices.
    #[error(
        "workload {name} refers to {place}, and you reach devices with {sight} alone: you may refer to what a workload refers to already that you may change; somebody whose role has no selector applies the first one"
    )]
    Reference {
        /// Name of the workload.
        name: Name,
        /// Value, in words.
        place: String,
        /// Selectors of the caller's roles, in words.
        sight: String,
    },
    /// A document that the caller does not see has the name.
    #[error("the name {name} is taken by a {kind} for other devices: choose another name")]
    Taken {
        /// Kind, as it stands in the document.
        kind: &'static str,
        /// Name of the document.
        name: Name,
    },
    /// Nobody could log in any more who may do everything.
    #[error(
        "nobody could log in any more who may do everything: give somebody else the role admin first (a local user with a password, or an access token that does not end)"
    )]
    NoAdmin,
    /// A secret is hidden in the document, and none is stored that it could stand for.
    #[error("refused, a hidden secret is not stored")]
    Secret(Vec<Fault>),
    /// Documents refer to something that does not exist, or that a device lacks.
    #[error("refused, what the documents refer to is not there")]
    References(Vec<Fault>),
    /// The document to delete is referred to.
    #[error("{kind} {name} is used by {}: change them first", .by.join(", "))]
    Used {
        /// Kind, as its word in the API.
        kind: &'static str,
        /// Name of the document.
        name: Name,
        /// Documents that refer to it, such as `workload pump`.
        by: Vec<String>,
    },
    /// A workload lacks a limit by which a quota of the tenant counts.
    #[error("refused, a quota of the tenant counts what a workload does not say")]
    Uncounted(Vec<Fault>),
    /// More would be placed than a quota of the tenant allows.
    #[error("{0}")]
    Quota(Over),
    /// Devices would get more than fits into one message.
    #[error("a device's desired state would be too large to send")]
    TooLarge(Vec<Fault>),
}

impl Refusal {
    /// Says that there is no document of this kind and name.
    pub(super) fn unknown(kind: &'static str, name: &str) -> Self {
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
    /// The document exists, and the sent one asks for a new one.
    #[error(
        "there is a {kind} {name} already (metadata.resourceVersion 0 asks for a new one); nothing was applied"
    )]
    Exists {
        /// Kind, as its word in the API.
        kind: String,
        /// Name of the document.
        name: String,
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
    pub(super) fn check(
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
            Some(_) if expected == 0 => Self::Exists { kind, name },
            Some(present) => Self::Changed { kind, name, present, expected },
            None => Self::Deleted { kind, name, expected },
        })
    }
}

/// Outcome of planning one document.
#[derive(Debug)]
pub(crate) struct Planned {
    /// Result for the person who applies.
    pub(super) result: AppliedDocument,
    /// Record to store. None: the document is unchanged.
    pub(super) next: Option<Next>,
}

/// Record to store of a document that changes.
#[derive(Debug)]
pub(super) enum Next {
    Workload(Box<PlannedWorkload>),
    /// Policy document with the text for the audit log.
    Policy(Box<PolicyRecord>, String),
}

/// A workload that changes.
#[derive(Debug)]
pub(super) struct PlannedWorkload {
    pub(super) record: WorkloadRecord,
    /// True if the revision is a new one; false if only labels of the document change.
    pub(super) new_revision: bool,
    /// Text for the audit log.
    pub(super) message: String,
}
