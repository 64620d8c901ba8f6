//! Kinds of documents that can be applied: their words, the columns of their lists and the sections
//! of their descriptions. Server and command line read the same table, so that the command line
//! needs no change for a new kind.
//!
//! See decision 0139.

use serde_json::Value;

/// Words, columns and sections of a kind.
#[derive(Debug, PartialEq, Eq)]
pub struct DocumentKind {
    /// Value of `kind` in documents, such as `LinkBudget`.
    pub document: &'static str,
    /// Singular word, such as `linkbudget`. It is also the prefix of the kind's keys in the store.
    pub word: &'static str,
    /// Plural word, as on the command line and in paths of the API.
    pub plural: &'static str,
    /// Short word for the command line. Empty: there is none.
    pub short: &'static str,
    /// Description of such documents in a few words, in the plural.
    pub about: &'static str,
    /// Path of the list in the API, below `/api/v1`.
    pub path: &'static [&'static str],
    /// Columns of a list.
    pub columns: &'static [Column],
    /// Sections of a description (`holdfast describe`), behind the explanation of the state.
    pub sections: &'static [Section],
}

/// Section of a description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// The document as the API returns it, as YAML.
    Document,
    /// Program: where it runs, in which states, and where it is paused.
    Program,
    /// `spec` as YAML, below a heading.
    Spec,
    /// Use of a link budget on each device that follows it.
    LinkUse,
    /// Devices whose absence a policy decides, and those that are away.
    Absence,
    /// Users of values, and which devices have which of them.
    Values,
    /// Quotas of a tenant with their use.
    Quotas,
}

/// Column of a list.
#[derive(Debug, PartialEq, Eq)]
pub struct Column {
    /// Heading, in capitals.
    pub heading: &'static str,
    /// True if the column is only shown when more is asked for (`-o wide`).
    pub wide: bool,
    /// Possible contents. The first whose value is in the document is shown, the last in any case.
    pub cases: &'static [Case],
}

/// Possible content of a field in a list.
#[derive(Debug, PartialEq, Eq)]
pub struct Case {
    /// JSON pointer of the value in the document as the API returns it.
    pub at: &'static str,
    /// Form of the text.
    pub show: Show,
    /// Colour of the text.
    pub tone: Tone,
}

/// Form of a text in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// The value: a text, a number, the items of a list, or the first key of an object.
    Value,
    /// The value behind these words.
    After(&'static str),
    /// Time since the value, which is a moment, behind these words.
    Ago(&'static str),
    /// These words, whatever the value is.
    Words(&'static str),
    /// Choice of devices, in short.
    Devices,
    /// Program that a workload runs, in short.
    Program,
    /// Labels, as `key=value`.
    Labels,
}

/// Colour of a text in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Usual colour.
    Plain,
    /// Everything is as it should be.
    Good,
    /// On its way.
    Busy,
    /// Somebody should look.
    Bad,
    /// Less important than the rest.
    Faint,
    /// Usual for the number 0, and for any other number like `Good`.
    GoodIfAny,
    /// Usual for the number 0, and for any other number like `Busy`.
    BusyIfAny,
    /// Usual for the number 0, and for any other number like `Bad`.
    BadIfAny,
    /// Usual for the number 0, and for any other number like `Faint`.
    FaintIfAny,
    /// Like `Good` if the numbers at the first pointers together are the number at the last one,
    /// like `Busy` if they are not.
    Full(&'static [&'static str], &'static str),
}

impl Column {
    /// Returns the content for a document, with its value. The value is null if the document has
    /// none for any of the cases.
    pub fn content<'a>(&self, item: &'a Value) -> Option<(&'static Case, &'a Value)> {
        let there = |case: &'static Case| match item.pointer(case.at) {
            None | Some(Value::Null) => None,
            Some(value) => Some((case, value)),
        };
        let last = || Some((self.cases.last()?, &Value::Null));
        self.cases.iter().find_map(there).or_else(last)
    }
}

/// Returns the kind with this word: the value of `kind`, the singular, the plural or the short word.
pub fn named(word: &str) -> Option<&'static DocumentKind> {
    ALL.into_iter().find(|kind| {
        [kind.document, kind.word, kind.plural].contains(&word)
            || (kind.short == word && !word.is_empty())
    })
}

const fn column(heading: &'static str, cases: &'static [Case]) -> Column {
    Column { heading, wide: false, cases }
}

const fn wide(heading: &'static str, cases: &'static [Case]) -> Column {
    Column { heading, wide: true, cases }
}

const fn value(at: &'static str) -> Case {
    toned(at, Tone::Plain)
}

const fn toned(at: &'static str, tone: Tone) -> Case {
    Case { at, show: Show::Value, tone }
}

const fn shown(at: &'static str, show: Show) -> Case {
    Case { at, show, tone: Tone::Plain }
}

/// Content of a field whose value the document does not have: these words.
const fn usual(words: &'static str) -> Case {
    shown("", Show::Words(words))
}

/// Columns that lists of all kinds have.
const NAME: Column = column("NAME", &[value("/metadata/name")]);
const CHANGED: Column = wide(
    "CHANGED",
    &[shown("/metadata/updatedAt", Show::Ago("")), shown("/metadata/createdAt", Show::Ago(""))],
);
const ON: Column = wide("ON", &[shown("/spec/devices", Show::Devices)]);
const LABELS: Column = wide("LABELS", &[shown("/metadata/labels", Show::Labels)]);
/// Columns of kinds that devices carry out.
const DEVICES: Column = column("DEVICES", &[value("/status/devices")]);
const APPLIED: Column = column(
    "APPLIED",
    &[toned("/status/applied", Tone::Full(&["/status/applied"], "/status/devices"))],
);

/// All kinds, in the order of lists for people.
pub static ALL: [&DocumentKind; 11] = [
    &WORKLOAD,
    &STREAM,
    &LINK_BUDGET,
    &NOTIFICATION,
    &DEVICE_POLICY,
    &ROLE_BINDING,
    &SECRET,
    &CONFIG,
    &IDENTITY_PROVIDER,
    &TENANT,
    &AUDIT_SINK,
];

/// `Workload`.
pub static WORKLOAD: DocumentKind = DocumentKind {
    document: "Workload",
    word: "workload",
    plural: "workloads",
    short: "",
    about: "Programs that run on devices",
    path: &["workloads"],
    columns: &[
        NAME,
        column("REVISION", &[value("/status/revision")]),
        column("DEVICES", &[value("/status/desired")]),
        column(
            "RUNNING",
            &[toned(
                "/status/running",
                Tone::Full(&["/status/running", "/status/done"], "/status/desired"),
            )],
        ),
        column("DONE", &[toned("/status/done", Tone::GoodIfAny)]),
        column("PROGRESSING", &[toned("/status/progressing", Tone::BusyIfAny)]),
        column("FAILING", &[toned("/status/failing", Tone::BadIfAny)]),
        column("UNKNOWN", &[toned("/status/unknown", Tone::FaintIfAny)]),
        wide("PAUSED", &[toned("/status/paused", Tone::BusyIfAny)]),
        CHANGED,
        wide("RUNS", &[shown("/spec", Show::Program)]),
        ON,
        LABELS,
    ],
    sections: &[Section::Program, Section::Spec],
};

/// `Stream`.
pub static STREAM: DocumentKind = DocumentKind {
    document: "Stream",
    word: "stream",
    plural: "streams",
    short: "",
    about: "Policies for streams of records",
    path: &["policies", "streams"],
    columns: &[
        NAME,
        column("STREAMS", &[value("/spec/streams")]),
        column("PRIORITY", &[value("/spec/priority"), usual("5")]),
        column("SHIP", &[value("/spec/ship"), usual("always")]),
        column("TTL", &[value("/spec/ttl"), usual("")]),
        column("QUOTA", &[value("/spec/quota"), usual("")]),
        DEVICES,
        APPLIED,
        column("PROBLEMS", &[toned("/status/problems", Tone::BadIfAny)]),
        CHANGED,
        ON,
        LABELS,
    ],
    sections: &[Section::Document],
};

/// `LinkBudget`.
pub static LINK_BUDGET: DocumentKind = DocumentKind {
    document: "LinkBudget",
    word: "linkbudget",
    plural: "linkbudgets",
    short: "",
    about: "Limits on the traffic of links",
    path: &["policies", "linkbudgets"],
    columns: &[
        NAME,
        column("PER", &[value("/spec/per")]),
        column("BYTES", &[value("/spec/bytes")]),
        DEVICES,
        APPLIED,
        CHANGED,
        ON,
        LABELS,
    ],
    sections: &[Section::Document, Section::LinkUse],
};

/// `Notification`.
pub static NOTIFICATION: DocumentKind = DocumentKind {
    document: "Notification",
    word: "notification",
    plural: "notifications",
    short: "",
    about: "Receivers that are told of alarms",
    path: &["policies", "notifications"],
    columns: &[
        NAME,
        column("TO", &[value("/status/delivery/receiver")]),
        column("SEVERITY", &[value("/spec/severity"), usual("warning")]),
        DEVICES,
        column(
            "LAST SENT",
            &[shown("/status/delivery/lastSuccess", Show::Ago("")), usual("never")],
        ),
        column("WAITING", &[toned("/status/delivery/queued", Tone::BusyIfAny)]),
        column(
            "STATE",
            &[
                Case {
                    at: "/status/delivery/failingSince",
                    show: Show::Ago("fails since "),
                    tone: Tone::Bad,
                },
                Case {
                    at: "/status/delivery/lastSuccess",
                    show: Show::Words("reached"),
                    tone: Tone::Good,
                },
                Case { at: "", show: Show::Words("nothing told yet"), tone: Tone::Faint },
            ],
        ),
        wide("OPEN", &[value("/status/delivery/open")]),
        wide("SENT", &[value("/status/delivery/sent")]),
        wide("DROPPED", &[value("/status/delivery/dropped")]),
        wide("PLACE", &[value("/status/delivery/place")]),
        LABELS,
    ],
    sections: &[Section::Document],
};

/// `AuditSink`.
pub static AUDIT_SINK: DocumentKind = DocumentKind {
    document: "AuditSink",
    word: "auditsink",
    plural: "auditsinks",
    short: "",
    about: "Receivers of the audit log",
    path: &["policies", "auditsinks"],
    columns: &[
        NAME,
        column("TO", &[value("/status/delivery/receiver")]),
        column(
            "LAST SENT",
            &[shown("/status/delivery/lastSuccess", Show::Ago("")), usual("never")],
        ),
        column("WAITING", &[toned("/status/delivery/queued", Tone::BusyIfAny)]),
        column(
            "STATE",
            &[
                Case {
                    at: "/status/delivery/failingSince",
                    show: Show::Ago("fails since "),
                    tone: Tone::Bad,
                },
                Case {
                    at: "/status/delivery/lastSuccess",
                    show: Show::Words("reached"),
                    tone: Tone::Good,
                },
                Case { at: "", show: Show::Words("nothing sent yet"), tone: Tone::Faint },
            ],
        ),
        wide("SENT", &[value("/status/delivery/sent")]),
        wide("MISSED", &[value("/status/delivery/dropped")]),
        wide("PLACE", &[value("/status/delivery/place")]),
        LABELS,
    ],
    sections: &[Section::Document],
};

/// `DevicePolicy`.
pub static DEVICE_POLICY: DocumentKind = DocumentKind {
    document: "DevicePolicy",
    word: "devicepolicy",
    plural: "devicepolicies",
    short: "dp",
    about: "Rules on whether devices may be away",
    path: &["policies", "devicepolicies"],
    columns: &[
        NAME,
        column(
            "WHEN OFFLINE",
            &[
                shown("/spec/whenOffline/alarmAfter", Show::After("alarm after ")),
                value("/spec/whenOffline"),
            ],
        ),
        column("DEVICES", &[value("/status/absence/devices")]),
        column("CONNECTED", &[value("/status/absence/connected")]),
        column("EXPECTED", &[value("/status/absence/expected")]),
        column("IGNORED", &[value("/status/absence/ignored")]),
        column("UNEXPECTED", &[toned("/status/absence/unexpected", Tone::BadIfAny)]),
        wide("OVERRIDDEN", &[value("/status/absence/overridden")]),
        CHANGED,
        ON,
        LABELS,
    ],
    sections: &[Section::Absence, Section::Document],
};

/// `RoleBinding`.
pub static ROLE_BINDING: DocumentKind = DocumentKind {
    document: "RoleBinding",
    word: "rolebinding",
    plural: "rolebindings",
    short: "rb",
    about: "Roles of people",
    path: &["policies", "rolebindings"],
    columns: &[
        NAME,
        column("ROLE", &[value("/spec/role")]),
        column("SUBJECTS", &[value("/spec/subjects")]),
        column("ON", &[shown("/spec/devices", Show::Devices)]),
        CHANGED,
        LABELS,
    ],
    sections: &[Section::Document],
};

/// `Secret`.
pub static SECRET: DocumentKind = DocumentKind {
    document: "Secret",
    word: "secret",
    plural: "secrets",
    short: "",
    about: "Values that are never shown, for workloads and notifications",
    path: &["policies", "secrets"],
    columns: &VALUES,
    sections: &[Section::Document, Section::Values],
};

/// `Config`.
pub static CONFIG: DocumentKind = DocumentKind {
    document: "Config",
    word: "config",
    plural: "configs",
    short: "",
    about: "Values for workloads",
    path: &["policies", "configs"],
    columns: &VALUES,
    sections: &[Section::Document, Section::Values],
};

/// Columns of kinds that have values.
static VALUES: [Column; 8] = [
    NAME,
    column("KEYS", &[value("/status/values/keys")]),
    column("BYTES", &[value("/status/values/bytes")]),
    column("USED BY", &[toned("/status/values/users", Tone::FaintIfAny)]),
    DEVICES,
    APPLIED,
    CHANGED,
    LABELS,
];

/// `IdentityProvider`.
pub static IDENTITY_PROVIDER: DocumentKind = DocumentKind {
    document: "IdentityProvider",
    word: "identityprovider",
    plural: "identityproviders",
    short: "idp",
    about: "Identity providers that people log in by",
    path: &["policies", "identityproviders"],
    columns: &[
        NAME,
        column("ISSUER", &[value("/spec/issuer")]),
        column("CLIENT", &[value("/spec/clientId")]),
        CHANGED,
        LABELS,
    ],
    sections: &[Section::Document],
};

/// `Tenant`.
pub static TENANT: DocumentKind = DocumentKind {
    document: "Tenant",
    word: "tenant",
    plural: "tenants",
    short: "",
    about: "Tenants and their quotas",
    path: &["policies", "tenants"],
    columns: &[
        NAME,
        column("DEVICES", &[value("/spec/quotas/devices"), usual("-")]),
        column("ARTIFACTS", &[value("/spec/quotas/artifacts"), usual("-")]),
        column("DATA A DAY", &[value("/spec/quotas/dataPerDay"), usual("-")]),
        column("REQUESTS A SECOND", &[value("/spec/quotas/requestsPerSecond"), usual("-")]),
        column("CPU", &[value("/spec/quotas/cpu"), usual("-")]),
        column("MEMORY", &[value("/spec/quotas/memory"), usual("-")]),
        CHANGED,
        LABELS,
    ],
    sections: &[Section::Document, Section::Quotas],
};

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_word_is_of_one_kind() {
        let mut words: Vec<&str> = ALL
            .into_iter()
            .flat_map(|kind| [kind.document, kind.word, kind.plural, kind.short])
            .filter(|word| !word.is_empty())
            .collect();
        assert!(words.iter().all(|word| named(word).is_some()));
        let count = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), count, "two kinds share a word");
        assert_eq!(named(""), None);
    }

    #[test]
    fn the_first_value_that_is_there_is_shown() {
        let of = |heading: &str, item: Value| {
            let kinds = NOTIFICATION.columns.iter().chain(DEVICE_POLICY.columns);
            let column = kinds.into_iter().find(|column| column.heading == heading).unwrap();
            column.content(&item).map(|(case, value)| (case.show, value.clone())).unwrap()
        };
        let state = |delivery: Value| of("STATE", json!({ "status": { "delivery": delivery } })).0;
        let both = json!({ "failingSince": "a", "lastSuccess": "b" });
        assert_eq!(state(both), Show::Ago("fails since "));
        assert_eq!(state(json!({ "lastSuccess": "b" })), Show::Words("reached"));
        assert_eq!(state(json!({ "lastSuccess": null })), Show::Words("nothing told yet"));
        let when = |when: Value| of("WHEN OFFLINE", json!({ "spec": { "whenOffline": when } }));
        assert_eq!(when(json!("ignore")), (Show::Value, json!("ignore")));
        let after = when(json!({ "alarmAfter": "12h" }));
        assert_eq!(after, (Show::After("alarm after "), json!("12h")));
    }
}
