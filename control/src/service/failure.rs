//! Reasons why the control plane did not do what it was asked, in the form that a person reads.

use holdfast_protocol::enrol::Fault;

use crate::core::parameter::BadParameter;
use crate::core::quota::Over;
use crate::core::{apply, jobs};
use crate::ports::store::StoreError;

/// Refusal or failure of a request, with a text for a person.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// Request that is not valid, with its faults.
    #[error("{message}")]
    Invalid {
        /// Text for a person about the request as a whole.
        message: String,
        /// Faults by their place in the request; may be empty.
        faults: Vec<Fault>,
    },
    /// Object that does not exist.
    #[error("{0}")]
    NotFound(String),
    /// Stream that a device does not have.
    #[error("{0}")]
    NoStream(String),
    /// Stream that a device holds, and of which nothing has arrived yet.
    #[error("{0}")]
    NothingShipped(String),
    /// Action that the caller may not do.
    #[error("{0}")]
    Refused(String),
    /// Request beyond a quota of the caller's tenant.
    #[error(transparent)]
    Quota(#[from] Over),
    /// Change that came with a login's cookie and without the CSRF token which shows that the user
    /// meant it.
    #[error("{0}")]
    Csrf(String),
    /// Request that came too soon after others.
    #[error("{message}")]
    TooMany {
        /// Text for a person.
        message: String,
        /// Seconds after which it may be tried again.
        seconds: u64,
    },
    /// Caller that is not known: no valid token or login.
    #[error("{0}")]
    Unauthorized(String),
    /// Login that lacks the right code of the user's authenticator program.
    #[error("{0}")]
    SecondFactor(String),
    /// Request that contradicts the present state, for example an outdated resource version.
    #[error("{0}")]
    Conflict(String),
    /// Request that is too large.
    #[error("{0}")]
    TooLarge(String),
    /// Delta that is being made.
    #[error("{message}")]
    Later {
        /// Text for a person.
        message: String,
        /// Seconds after which it may be asked for again.
        seconds: u64,
    },
    /// Request that cannot be carried out at the moment; trying again may help.
    #[error("{0}")]
    Unavailable(String),
    /// Defect of the control plane, or a failure of its machine.
    #[error("{0}")]
    Internal(String),
}

impl Failure {
    /// Makes an [`Failure::Invalid`] about the request as a whole, without a list of faults.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), faults: Vec::new() }
    }

    /// Makes a [`Failure::NotFound`] with the text "there is no KIND NAME"; the name is cut to 80
    /// characters.
    pub fn no(kind: &str, name: &str) -> Self {
        let name: String = name.chars().take(80).collect();
        Self::NotFound(format!("there is no {kind} {name:?}"))
    }

    /// Makes a [`Failure::Internal`] from an error's text.
    pub fn internal(error: impl std::fmt::Display) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<BadParameter> for Failure {
    fn from(fault: BadParameter) -> Self {
        Self::invalid(fault.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(format!(
            "{error}; nothing was changed. Free space on the control plane's disk, or see its log"
        ))
    }
}

impl From<apply::Refusal> for Failure {
    fn from(refusal: apply::Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            apply::Refusal::Unknown { .. } => Self::NotFound(message),
            apply::Refusal::Twice { .. } => Self::invalid(message),
            apply::Refusal::Outside { .. }
            | apply::Refusal::Theirs { .. }
            | apply::Refusal::Reference { .. }
            | apply::Refusal::Taken { .. } => Self::Refused(message),
            apply::Refusal::Stale(_)
            | apply::Refusal::NoAdmin
            | apply::Refusal::Changed { .. }
            | apply::Refusal::Used { .. }
            | apply::Refusal::Full { .. } => Self::Conflict(message),
            apply::Refusal::Quota(over) => Self::Quota(over),
            apply::Refusal::Secret(faults)
            | apply::Refusal::References(faults)
            | apply::Refusal::Uncounted(faults)
            | apply::Refusal::TooLarge(faults) => Self::Invalid { message, faults },
        }
    }
}

impl From<jobs::Refusal> for Failure {
    fn from(refusal: jobs::Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            jobs::Refusal::Unknown { .. }
            | jobs::Refusal::NotThere { .. }
            | jobs::Refusal::Nowhere { .. }
            | jobs::Refusal::NoRevision { .. }
            | jobs::Refusal::NoFormer(_) => Self::NotFound(message),
            jobs::Refusal::Devices(_)
            | jobs::Refusal::Selector(_)
            | jobs::Refusal::TooManyNamed => Self::invalid(message),
            jobs::Refusal::Outside { .. } => Self::Refused(message),
            jobs::Refusal::Paused { .. } => Self::Conflict(message),
        }
    }
}
