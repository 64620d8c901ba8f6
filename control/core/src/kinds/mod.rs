//! Kinds of documents. What differs from kind to kind is behind the trait `Kind`, with one file
//! for each: words, form of `spec` (decoder and schema), admission, record, effect, status and
//! explanation. A new kind is a line in each list of this file and a file beside it.
//!
//! Kinds that need nothing but a record of their own implement `PolicyRules`; `Kind` follows
//! from it. `Workload`, with its revisions and pauses, implements `Kind` itself.
//!
//! See decision 0139.

mod device_policy;
mod link_budget;
mod notification;
mod policy;
#[cfg(test)]
mod sample;
mod stream;
#[cfg(test)]
mod tests;
mod workload;

use holdfast_base::ids::Name;
use holdfast_records::{LinkBudget, StreamPolicy};
use serde::{Deserialize, Serialize};

use crate::absence::WhenOffline;
use crate::admission::{Admitted, At, Stored, What};
use crate::alarms::delivery::Standings;
use crate::apply::{Planned, Refusal};
use crate::ingest::Retention;
use crate::model::{BadRecord, Model};
use crate::notification::Notification;
use holdfast_api::Explanation;
use holdfast_api::kinds::DocumentKind;
use holdfast_api::selector::Selector;

pub(crate) use self::policy::{PolicyRules, Preview};

/// Kind of a document that has a record of its own and no revisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyKind {
    /// `Stream`: storing, shipping and retention of streams.
    Stream,
    /// `LinkBudget`: bytes that a device's link may carry in a period.
    LinkBudget,
    /// `Notification`: who is told of which alarms.
    Notification,
    /// `DevicePolicy`: whether the absence of devices is expected.
    DevicePolicy,
    /// `Sample`: a kind of the tests, which no device gets and which chooses none.
    #[cfg(test)]
    Sample,
}

/// Content of a policy document, every unit resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Content of a `Stream` document.
    Stream {
        /// Part that devices carry out: storing and shipping.
        policy: StreamPolicy,
        /// Part that the control plane carries out: how long and how much is stored.
        #[serde(default)]
        retention: Retention,
    },
    /// Content of a `LinkBudget` document.
    LinkBudget {
        /// Bytes in a day or a month, with the shares of the traffic classes.
        budget: LinkBudget,
    },
    /// Content of a `Notification` document.
    Notification {
        /// Filter, grouping, timing and receiver.
        notification: Box<Notification>,
    },
    /// Content of a `DevicePolicy` document.
    DevicePolicy {
        /// Meaning of an offline device.
        when_offline: WhenOffline,
    },
    /// Content of a `Sample` document.
    #[cfg(test)]
    Sample {
        /// Content of the document.
        sample: sample::Content,
    },
}

impl Policy {
    /// Returns the kind of the document.
    pub fn kind(&self) -> PolicyKind {
        match self {
            Self::Stream { .. } => PolicyKind::Stream,
            Self::LinkBudget { .. } => PolicyKind::LinkBudget,
            Self::Notification { .. } => PolicyKind::Notification,
            Self::DevicePolicy { .. } => PolicyKind::DevicePolicy,
            #[cfg(test)]
            Self::Sample { .. } => PolicyKind::Sample,
        }
    }
}

impl PolicyKind {
    /// All kinds, in the order of their keys.
    pub const ALL: &'static [Self] = &[
        Self::Stream,
        Self::LinkBudget,
        Self::Notification,
        Self::DevicePolicy,
        #[cfg(test)]
        Self::Sample,
    ];

    /// Returns what the kind differs in.
    pub(crate) fn rules(self) -> &'static dyn PolicyRules {
        match self {
            Self::Stream => &stream::Stream,
            Self::LinkBudget => &link_budget::LinkBudget,
            Self::Notification => &notification::Notification,
            Self::DevicePolicy => &device_policy::DevicePolicy,
            #[cfg(test)]
            Self::Sample => &sample::Sample,
        }
    }

    /// Returns words and bounds of the kind.
    pub(crate) fn facts(self) -> Facts {
        self.rules().facts()
    }

    /// True if devices get documents of the kind. The others are carried out by the control plane
    /// alone.
    pub fn on_devices(self) -> bool {
        self.facts().on_devices
    }

    /// True if documents of the kind decide when the absence of a device becomes an alarm.
    pub fn decides_absence(self) -> bool {
        self.facts().decides_absence
    }

    /// Returns the singular word of the kind, which is also the prefix of its keys in the store.
    pub fn word(self) -> &'static str {
        self.facts().words.word
    }

    /// Returns the plural word of the kind, as in paths of the API.
    pub fn plural(self) -> &'static str {
        self.facts().words.plural
    }

    /// Returns the value of `kind` in its documents.
    pub fn document(self) -> &'static str {
        self.facts().words.document
    }

    /// Returns the kind for a singular or plural word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.word() == word || kind.plural() == word)
    }
}

/// Kind of any document that can be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AnyKind {
    /// `Workload`: a program that devices run.
    Workload,
    /// Kind with a record of its own and no revisions.
    Policy(PolicyKind),
}

impl AnyKind {
    /// Returns all kinds.
    pub fn all() -> impl Iterator<Item = Self> {
        std::iter::once(Self::Workload).chain(PolicyKind::ALL.iter().copied().map(Self::Policy))
    }

    /// Returns what the kind differs in.
    pub(crate) fn rules(&self) -> &dyn Kind {
        match self {
            Self::Workload => &workload::Workload,
            Self::Policy(kind) => kind,
        }
    }

    /// Returns words and columns of the kind.
    pub fn words(self) -> &'static DocumentKind {
        self.rules().facts().words
    }

    /// Returns the kind of documents that have this value of `kind`.
    pub fn of_document(document: &str) -> Option<Self> {
        Self::all().find(|kind| kind.words().document == document)
    }

    /// Returns the kind with this singular word, which is also the prefix of its keys in the store.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        Self::all().find(|kind| kind.words().word == word)
    }

    /// Returns the kind for a singular or plural word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::all().find(|kind| [kind.words().word, kind.words().plural].contains(&word))
    }

    /// Explains why a document is not in force everywhere, or that it is. None: there is no
    /// document of this name.
    pub fn explain(self, looked: &Looked<'_>, name: &str) -> Option<Explanation> {
        self.rules().explain(looked, &name.parse().ok()?)
    }
}

/// Model and what else a status is told from.
#[derive(Debug, Clone, Copy)]
pub struct Looked<'a> {
    /// Documents and devices.
    pub model: &'a Model,
    /// Delivery states of notifications; empty when another kind is asked about.
    pub told: &'a Standings,
    /// Time in seconds since 1970.
    pub now: u64,
}

/// Words and bounds of a kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// Words of the kind, and the columns of its list.
    pub(crate) words: &'static DocumentKind,
    /// Largest number of documents of the kind.
    pub(crate) most: usize,
    /// True if devices get documents of the kind. The others are carried out by the control plane
    /// alone.
    pub(crate) on_devices: bool,
    /// True if a device follows only the first of those that choose it, by name.
    pub(crate) one_a_device: bool,
    /// True if `spec.devices` chooses devices.
    pub(crate) chooses: bool,
    /// True if documents of the kind decide when the absence of a device becomes an alarm.
    pub(crate) decides_absence: bool,
    /// Description of a document, for the schema.
    pub(crate) about: &'static str,
    /// Content of `spec` in words, for a document that lacks it.
    pub(crate) says: &'static str,
}

impl Facts {
    /// Returns the facts of a kind that devices do not get, with its words, the largest number of
    /// its documents, its description and the content of `spec`.
    pub(crate) const fn of(
        words: &'static DocumentKind,
        most: usize,
        about: &'static str,
        says: &'static str,
    ) -> Self {
        let on_devices = false;
        let (one_a_device, chooses, decides_absence) = (false, true, false);
        Self { words, most, on_devices, one_a_device, chooses, decides_absence, about, says }
    }
}

/// One kind of document.
pub(crate) trait Kind {
    /// Returns the words and bounds of the kind.
    fn facts(&self) -> Facts;

    /// Form of `spec`: decodes it, or writes its schema. None: faults were noted.
    fn spec(&self, at: &At<'_>, stored: &Stored<'_>) -> Option<(Selector, What)>;

    /// Plans a document that was admitted: its next record, its effect, and what it is refused for.
    fn plan(&self, model: &Model, document: Admitted, now: u64) -> Result<Planned, Refusal>;

    /// Returns the resource version of a document. None: there is none of this name.
    fn version(&self, model: &Model, name: &Name) -> Option<u64>;

    /// Adds a row of the store to the model.
    fn load(&self, model: &mut Model, key: &str, value: &[u8]) -> Result<(), BadRecord>;

    /// Explains why a document is not in force everywhere. None: there is none of this name.
    fn explain(&self, looked: &Looked<'_>, name: &Name) -> Option<Explanation>;
}
