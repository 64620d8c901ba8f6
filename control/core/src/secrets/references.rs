//! What a workload refers to: values of secrets and configurations, and texts with references, in
//! its environment and in its files.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_base::ids::Name;
use serde::{Deserialize, Serialize};

use super::place::{Place, Store};
use super::template::Piece;

/// Where the content of a variable or a file comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// A whole value, in a file also one that is no text.
    Value(Place),
    /// Text with references.
    Template(Vec<Piece>),
}

impl Source {
    /// Returns the values that the source refers to.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        let (whole, pieces) = match self {
            Self::Value(place) => (Some(place), &[][..]),
            Self::Template(pieces) => (None, pieces.as_slice()),
        };
        let inside = pieces.iter().filter_map(|piece| match piece {
            Piece::Value(place) => Some(place),
            _ => None,
        });
        whole.into_iter().chain(inside)
    }

    /// Returns the labels that the source refers to, each with true if a device need not have it.
    pub fn labels(&self) -> impl Iterator<Item = (&str, bool)> {
        let pieces = match self {
            Self::Value(_) => &[][..],
            Self::Template(pieces) => pieces.as_slice(),
        };
        pieces.iter().filter_map(|piece| match piece {
            Piece::Label { key, default } => Some((key.as_str(), default.is_some())),
            _ => None,
        })
    }
}

/// What happens to a running workload when a value changes that it was given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnChange {
    /// The workload is restarted.
    #[default]
    Restart,
    /// Its files are laid anew, and it gets this signal (its number on Linux). Variables keep their
    /// former values until it is started again.
    Signal(u8),
}

/// What a workload refers to, with the places where it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct References {
    /// Variables by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Source>,
    /// Files by their paths below the workload's folder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, Source>,
    /// What a change does to the running workload.
    #[serde(default)]
    pub on_change: OnChange,
}

impl References {
    /// True if nothing is referred to, and devices get nothing sealed.
    pub fn is_empty(&self) -> bool {
        self.env.is_empty() && self.files.is_empty()
    }

    /// Returns variables and files.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.env.values().chain(self.files.values())
    }

    /// Returns the values that are referred to, each once, in a fixed order.
    pub fn places(&self) -> BTreeSet<&Place> {
        self.sources().flat_map(Source::places).collect()
    }

    /// Returns the keys of the labels that are referred to, each once, in a fixed order.
    pub fn labels(&self) -> BTreeSet<&str> {
        self.sources().flat_map(Source::labels).map(|(key, _)| key).collect()
    }

    /// True if a value of this document is referred to.
    pub fn uses(&self, store: Store, name: &Name) -> bool {
        self.sources()
            .flat_map(Source::places)
            .any(|place| place.store == store && place.name == *name)
    }
}
