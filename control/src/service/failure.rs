//! Why the control plane did not do what it was asked, for whoever asked.

use holdfast_protocol::enrol::Fault;

use crate::store::StoreError;

/// A refusal or failure, with words for a person.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// What was sent is not valid.
    #[error("{message}")]
    Invalid {
        /// In words.
        message: String,
        /// Each fault.
        faults: Vec<Fault>,
    },
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It may not be done by whoever asks.
    #[error("{0}")]
    Refused(String),
    /// A change came with a session's cookie, and nothing shows that its owner meant it.
    #[error("{0}")]
    Csrf(String),
    /// Too often.
    #[error("{message}")]
    TooMany {
        /// In words.
        message: String,
        /// How long to wait.
        seconds: u64,
    },
    /// Whoever asks is not known.
    #[error("{0}")]
    Unauthorized(String),
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// It is too large.
    #[error("{0}")]
    TooLarge(String),
    /// It cannot be done now; trying again may help.
    #[error("{0}")]
    Unavailable(String),
    /// A defect, or the machine's.
    #[error("{0}")]
    Internal(String),
}

impl Failure {
    /// What was sent is not valid, as a whole.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), faults: Vec::new() }
    }

    /// There is no such thing.
    pub fn no(kind: &str, name: &str) -> Self {
        let name: String = name.chars().take(80).collect();
        Self::NotFound(format!("there is no {kind} {name:?}"))
    }

    /// Something inside did not work.
    pub fn internal(error: impl std::fmt::Display) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(format!(
            "{error}; nothing was changed. Free space on the control plane's disk, or see its log"
        ))
    }
}
