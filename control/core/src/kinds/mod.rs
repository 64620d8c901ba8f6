//! Kinds of documents. What differs from kind to kind has its place here, with one file of rules
//! for each: form of `spec` (decoder and schema), admission, record, effect, status and
//! explanation. This file has what must be known below the model: content, words and bounds. A new
//! kind is a line in the lists of this file and a file beside it.
//!
//! Kinds that need nothing but a record of their own implement `PolicyRules`; the trait `Kind`
//! follows from it (`rules.rs`). `Workload`, with its revisions and pauses, implements `Kind` itself.
//!
//! See decision 0139.

use holdfast_records::{LinkBudget, StreamPolicy};
use serde::{Deserialize, Serialize};

use crate::absence::{MAX_DEVICE_POLICIES, WhenOffline};
use crate::audit_sink::{AuditSink, MAX_SINKS};
use crate::ingest::Retention;
use crate::notification::{MAX_NOTIFICATIONS, Notification};
use crate::oidc::{MAX_PROVIDERS, Provider};
use crate::people::Binding;
use crate::quota::Quotas;
use crate::secrets::value::{Config, Secret};
use holdfast_api::kinds::{self as words, DocumentKind};

/// Calls a macro with the kinds that have a record of their own: variant, and file of the rules.
macro_rules! each_policy_kind {
    ($call:ident) => {
        $call! {
            Stream stream;
            LinkBudget link_budget;
            Notification notification;
            DevicePolicy device_policy;
            RoleBinding role_binding;
            Secret secret;
            Config config;
            IdentityProvider identity_provider;
            Tenant tenant;
            AuditSink audit_sink;
            #[cfg(test)]
            Sample sample;
        }
    };
}

mod audit_sink;
mod config;
mod device_policy;
mod identity_provider;
mod kind;
mod link_budget;
mod notification;
mod policy;
mod role_binding;
mod rules;
#[cfg(test)]
mod sample;
mod secret;
mod sent;
mod shown;
mod stream;
mod tenant;
#[cfg(test)]
mod tests;
mod values;
mod workload;

pub(crate) use self::policy::{PolicyRules, Preview};
pub(crate) use self::sent::cbor_len;
pub use self::shown::{Looked, Page, Shown};

/// Most documents of a kind without a limit of its own.
pub const MAX_POLICIES: usize = 1_000;

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
    /// `RoleBinding`: roles of people.
    RoleBinding,
    /// `Secret`: values that nobody reads back, for workloads and notifications.
    Secret,
    /// `Config`: values for workloads.
    Config,
    /// `IdentityProvider`: where people log in, and which roles their claims give them.
    IdentityProvider,
    /// `Tenant`: a tenant and its quotas.
    Tenant,
    /// `AuditSink`: where the audit log is forwarded to.
    AuditSink,
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
    /// Content of a `RoleBinding` document.
    RoleBinding {
        /// The role, and who gets it.
        binding: Box<Binding>,
    },
    /// Content of a `Secret` document.
    Secret {
        /// Sealed values by their keys.
        secret: Secret,
    },
    /// Content of a `Config` document.
    Config {
        /// Values by their keys.
        config: Config,
    },
    /// Content of an `IdentityProvider` document.
    IdentityProvider {
        /// The provider, the client there, and the table of roles.
        provider: Box<Provider>,
    },
    /// Content of a `Tenant` document.
    Tenant {
        /// Limits on what the tenant has and uses.
        #[serde(default)]
        quotas: Quotas,
    },
    /// Content of an `AuditSink` document.
    AuditSink {
        /// Receiver, and where a new one begins.
        sink: Box<AuditSink>,
    },
    /// Content of a `Sample` document.
    #[cfg(test)]
    Sample {
        /// Content of the document.
        sample: sample::Content,
    },
}

/// Writes what follows from the list of the kinds alone.
macro_rules! listed {
    ($($(#[$if:meta])? $kind:ident $room:ident;)*) => {
        impl Policy {
            /// Returns the kind of the document.
            pub fn kind(&self) -> PolicyKind {
                match self {
                    $($(#[$if])? Self::$kind { .. } => PolicyKind::$kind,)*
                }
            }
        }

        impl PolicyKind {
            /// All kinds, in the order of their keys.
            pub const ALL: &'static [Self] = &[$($(#[$if])? Self::$kind,)*];
        }
    };
}

each_policy_kind!(listed);

impl PolicyKind {
    /// Returns words and bounds of the kind.
    pub(crate) fn facts(self) -> &'static Facts {
        match self {
            Self::Stream => &STREAM,
            Self::LinkBudget => &LINK_BUDGET,
            Self::Notification => &NOTIFICATION,
            Self::DevicePolicy => &DEVICE_POLICY,
            Self::RoleBinding => &ROLE_BINDING,
            Self::Secret => &SECRET,
            Self::Config => &CONFIG,
            Self::IdentityProvider => &IDENTITY_PROVIDER,
            Self::Tenant => &TENANT,
            Self::AuditSink => &AUDIT_SINK,
            #[cfg(test)]
            Self::Sample => &sample::FACTS,
        }
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

    /// True if documents of the kind say who may do what: only admins apply and delete them.
    pub fn administers(self) -> bool {
        self.facts().administers
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

    /// Returns words and bounds of the kind.
    pub(crate) fn facts(self) -> &'static Facts {
        match self {
            Self::Workload => &WORKLOAD,
            Self::Policy(kind) => kind.facts(),
        }
    }

    /// Returns words and columns of the kind.
    pub fn words(self) -> &'static DocumentKind {
        self.facts().words
    }

    /// True if a document belongs to the devices that it chooses, so that a role with a selector
    /// reaches it.
    pub fn of_devices(self) -> bool {
        self.facts().of_devices
    }

    /// True if the status of a document tells what was delivered to a receiver.
    pub fn delivers(self) -> bool {
        self.facts().delivers
    }

    /// True if documents of the kind say who may do what: only admins apply and delete them.
    pub fn administers(self) -> bool {
        self.facts().administers
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
    /// True if a document belongs to the devices that it chooses, so that a role with a selector
    /// reaches it. The others need a role without one.
    pub(crate) of_devices: bool,
    /// True if documents of the kind decide when the absence of a device becomes an alarm.
    pub(crate) decides_absence: bool,
    /// True if the status of a document tells what was delivered to a receiver.
    pub(crate) delivers: bool,
    /// True if documents of the kind say who may do what: only admins apply and delete them.
    pub(crate) administers: bool,
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
        let (one_a_device, chooses, of_devices) = (false, true, false);
        let (decides_absence, delivers, administers) = (false, false, false);
        Self {
            words,
            most,
            on_devices,
            one_a_device,
            chooses,
            of_devices,
            decides_absence,
            delivers,
            administers,
            about,
            says,
        }
    }
}

/// `Workload`.
static WORKLOAD: Facts = Facts {
    on_devices: true,
    of_devices: true,
    ..Facts::of(
        &words::WORKLOAD,
        usize::MAX,
        "Program to run, and the devices that run it.",
        "it says what to run, and where",
    )
};

/// `Stream`.
static STREAM: Facts = Facts {
    on_devices: true,
    of_devices: true,
    ..Facts::of(
        &words::STREAM,
        MAX_POLICIES,
        "States how devices store and ship streams of records.",
        "it says which streams, and what of them",
    )
};

/// `LinkBudget`.
static LINK_BUDGET: Facts = Facts {
    on_devices: true,
    of_devices: true,
    one_a_device: true,
    ..Facts::of(
        &words::LINK_BUDGET,
        MAX_POLICIES,
        "Limits the bytes that devices send and receive over their links.",
        "it says how much, and where",
    )
};

/// `Notification`.
static NOTIFICATION: Facts = Facts {
    delivers: true,
    ..Facts::of(
        &words::NOTIFICATION,
        MAX_NOTIFICATIONS,
        "Sends messages about alarms to one receiver.",
        "it says of which alarms, and where to",
    )
};

/// `AuditSink`.
static AUDIT_SINK: Facts = Facts {
    delivers: true,
    chooses: false,
    ..Facts::of(
        &words::AUDIT_SINK,
        MAX_SINKS,
        "Forwards the audit log to one receiver.",
        "it says where the audit log goes to",
    )
};

/// `DevicePolicy`.
static DEVICE_POLICY: Facts = Facts {
    of_devices: true,
    decides_absence: true,
    ..Facts::of(
        &words::DEVICE_POLICY,
        MAX_DEVICE_POLICIES,
        "States whether devices may be away (offline), and for how long.",
        "it says whether devices may be away",
    )
};

/// `RoleBinding`.
static ROLE_BINDING: Facts = Facts {
    administers: true,
    ..Facts::of(
        &words::ROLE_BINDING,
        MAX_POLICIES,
        "Gives people a role, on all devices or on some.",
        "it says which role, and who gets it",
    )
};

/// `Secret`.
static SECRET: Facts = Facts {
    chooses: false,
    ..Facts::of(
        &words::SECRET,
        MAX_POLICIES,
        "Values that are sealed and never shown again, for workloads and notifications.",
        "it holds the values, such as { data: { password: { generate: {} } } }",
    )
};

/// `Config`.
static CONFIG: Facts = Facts {
    chooses: false,
    ..Facts::of(
        &words::CONFIG,
        MAX_POLICIES,
        "Values for workloads.",
        "it holds the values, such as { data: { level: info } }",
    )
};

/// `IdentityProvider`.
static IDENTITY_PROVIDER: Facts = Facts {
    administers: true,
    chooses: false,
    ..Facts::of(
        &words::IDENTITY_PROVIDER,
        MAX_PROVIDERS,
        "Lets people log in by an identity provider (OpenID Connect), with roles by their claims.",
        "it says which provider, and who gets which role",
    )
};

/// `Tenant`.
static TENANT: Facts = Facts {
    chooses: false,
    ..Facts::of(
        &words::TENANT,
        MAX_POLICIES,
        "Tenant with its quotas. Only admins of the tenant that the control plane began with apply it.",
        "it says what the tenant may have",
    )
};
