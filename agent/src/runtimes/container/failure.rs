//! What can go wrong when an instance is prepared, and whose fault it is.
//!
//! See decision 0175.

use super::client::EngineError;
use super::engine::Away;
use crate::core::container::dialect::Refusal;
use crate::core::process::fault::Failed;
use crate::core::runtime::{NotPrepared, Reason};
use crate::runtimes::common::folder::LayError;
use crate::runtimes::common::secrets::SecretsError;

/// Reasons why the containers of an instance cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrepareError {
    /// The engine does not answer.
    #[error(transparent)]
    Away(#[from] Away),
    /// The engine refuses, or fails.
    #[error("{what}: {source}")]
    Engine {
        /// What was to be made.
        what: String,
        /// Reason.
        source: EngineError,
    },
    /// The image is not at the engine any more.
    #[error("image {0} is gone")]
    Image(holdfast_base::ids::Digest),
    /// A path of the device that the agent's configuration does not allow.
    #[error(
        "it may not see {path} of the device: this agent's configuration allows {allowed} ([containers] host_paths)"
    )]
    HostPath {
        /// Path that was asked for.
        path: String,
        /// Paths that are allowed, in words.
        allowed: String,
    },
    /// No port of the device is free.
    #[error("no port of the device is free for {0}")]
    NoPort(String),
    /// Something that it shares with another program belongs to somebody else.
    #[error("{0}")]
    Foreign(String),
    /// Its folder or configuration cannot be laid out.
    #[error(transparent)]
    Folder(#[from] LayError),
    /// Its secrets cannot be opened, or not be given to it.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
}

impl PrepareError {
    /// Makes a refusal or failure of the engine one of this preparation.
    pub(super) fn engine(what: impl Into<String>) -> impl FnOnce(EngineError) -> Self {
        let what = what.into();
        move |source| Self::Engine { what, source }
    }
}

impl From<PrepareError> for NotPrepared {
    fn from(error: PrepareError) -> Self {
        let why = Reason::of(&error);
        let of_file = |source: &std::io::Error| Failed::File {
            kind: source.kind(),
            looped: source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()),
        };
        let of_layout = |error: &LayError| match error {
            LayError::InTheWay { .. } => Failed::InTheWay,
            LayError::Io { source, .. } => of_file(source),
        };
        match &error {
            PrepareError::Image(digest) => Self::Artifact(*digest),
            PrepareError::HostPath { .. } | PrepareError::Foreign(_) => Self::Revision(why),
            PrepareError::Engine { source, .. } if source.refusal() == Some(Refusal::Wrong) => {
                Self::Revision(why)
            }
            PrepareError::Away(_) | PrepareError::Engine { .. } | PrepareError::NoPort(_) => {
                Self::Machine(why)
            }
            PrepareError::Folder(error) => of_layout(error).because(why),
            PrepareError::Secrets(SecretsError::Closed(_)) => Self::Secrets(why),
            PrepareError::Secrets(SecretsError::Memory { source, .. }) => {
                of_file(source).because(why)
            }
            PrepareError::Secrets(SecretsError::Link(error)) => of_layout(error).because(why),
            PrepareError::Secrets(_) => Failed::InTheWay.because(why),
        }
    }
}
