//! Kinds of resources. Those of documents come from the table of `holdfast-api`, so that a new kind
//! needs no change here.
//!
//! See decision 0139.

use std::sync::LazyLock;

use clap::ValueEnum;
use clap::builder::PossibleValue;

use holdfast_api::kinds::{self, DocumentKind};

/// A kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Machines with an agent.
    Device,
    /// Documents that can be applied.
    Document(&'static DocumentKind),
    /// States that workloads have had.
    Revision,
    /// Tokens with which devices enrol.
    Token,
    /// Tokens with which people and programs use the API.
    Access,
    /// Things that need a person now.
    Alarm,
    /// Acknowledgements and silences of alarms.
    Silence,
    /// Images of containers.
    Image,
}

/// All kinds, in the order of `--help`.
static ALL: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    let documents = kinds::ALL.into_iter().map(Kind::Document);
    let others =
        [Kind::Revision, Kind::Token, Kind::Access, Kind::Alarm, Kind::Silence, Kind::Image];
    std::iter::once(Kind::Device).chain(documents).chain(others).collect()
});

impl ValueEnum for Kind {
    fn value_variants<'a>() -> &'a [Self] {
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let value = PossibleValue::new(self.plural()).help(self.about());
        Some(match self {
            Self::Device => value.alias("device"),
            Self::Document(kind) if kind.short.is_empty() => value.alias(kind.word),
            Self::Document(kind) => value.aliases([kind.word, kind.short]),
            Self::Revision => value.alias("revision"),
            Self::Token => value.alias("token"),
            Self::Access => value,
            Self::Alarm => value.alias("alarm"),
            Self::Silence => value.alias("silence"),
            Self::Image => value.alias("image"),
        })
    }
}

impl Kind {
    /// Returns the description of the kind for `--help`.
    fn about(self) -> &'static str {
        match self {
            Self::Device => "Machines with an agent",
            Self::Document(kind) => kind.about,
            Self::Revision => "States that workloads have had",
            Self::Token => "Tokens with which devices enrol",
            Self::Access => "Tokens with which people and programs use the API",
            Self::Alarm => "Things that need a person now",
            Self::Silence => "Acknowledgements and silences of alarms",
            Self::Image => "Images of containers",
        }
    }

    /// Returns the plural that commands and the API use, such as `devices`.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Device => "devices",
            Self::Document(kind) => kind.plural,
            Self::Revision => "revisions",
            Self::Token => "tokens",
            Self::Access => "access",
            Self::Alarm => "alarms",
            Self::Silence => "silences",
            Self::Image => "images",
        }
    }

    /// Returns the path of the kind in the API, below `/api/v1`.
    pub(crate) fn path(self) -> &'static [&'static str] {
        match self {
            Self::Device => &["devices"],
            Self::Document(kind) => kind.path,
            Self::Revision => &["revisions"],
            Self::Token => &["tokens"],
            Self::Access => &["access"],
            Self::Alarm => &["alarms"],
            Self::Silence => &["silences"],
            Self::Image => &["images"],
        }
    }

    /// Returns the kind of a document by its `kind`, such as `Workload`.
    pub(crate) fn of_document(kind: &str) -> Option<Self> {
        kinds::ALL.into_iter().find(|known| known.document == kind).map(Self::Document)
    }

    /// Returns the singular for texts, such as `device`.
    pub(crate) fn singular(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Document(kind) => kind.word,
            Self::Revision => "revision",
            Self::Token => "token",
            Self::Access => "access token",
            Self::Alarm => "alarm",
            Self::Silence => "silence",
            Self::Image => "image",
        }
    }
}
