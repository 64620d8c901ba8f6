//! Places of values: key and document.

use holdfast_base::ids::Name;
use serde::{Deserialize, Serialize};

use super::value::MAX_KEY;

/// Kind of document that has values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// `Secret`.
    Secret,
    /// `Config`.
    Config,
}

impl Store {
    /// Returns the word of the kind.
    pub fn word(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Config => "config",
        }
    }
}

/// Value in a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Kind of the document.
    pub store: Store,
    /// Name of the document.
    pub name: Name,
    /// Key of the value.
    pub key: String,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { store, name, key } = self;
        write!(f, "key {key} of {} {name}", store.word())
    }
}

/// Error for a text that cannot be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key: 1 to {MAX_KEY} letters, digits, '.', '_' and '-'")]
pub struct BadKey;

/// Checks the key of a value.
///
/// # Errors
/// [`BadKey`].
pub fn check_key(key: &str) -> Result<(), BadKey> {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let good = !key.is_empty() && key.len() <= MAX_KEY && key.bytes().all(inner);
    if good { Ok(()) } else { Err(BadKey) }
}
