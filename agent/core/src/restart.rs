//! Reasons why a restart that the control plane asked for was not done, and their code in the reply.

use holdfast_protocol::message::{ReplyCode, ReplyError};

/// Reason why a workload was not restarted. Its text is for an operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRestarted {
    /// No workload of this name is on the device.
    #[error("this device has no such workload")]
    NoWorkload,
    /// The workload is not wanted any more and is being removed.
    #[error("it is being removed")]
    BeingRemoved,
    /// The workload was removed during the restart.
    #[error("it was removed")]
    Removed,
    /// The workload was paused before the restart was asked for.
    #[error("it is paused: resume it instead")]
    Paused,
    /// The workload was paused during the restart.
    #[error("it is paused")]
    PausedMeanwhile,
    /// An artifact of the revision has not been downloaded.
    #[error("an artifact that it needs is not on the device yet")]
    NoArtifact,
    /// The workload has ended, and what is to run next waits for its window, as the sentence says.
    #[error("it has ended, and {0}")]
    Waits(String),
    /// The workload was stopped and does not run again, with the reason of its report.
    #[error("{0}")]
    Ended(String),
}

impl From<NotRestarted> for ReplyError {
    fn from(why: NotRestarted) -> Self {
        let code = match why {
            NotRestarted::NoWorkload | NotRestarted::BeingRemoved | NotRestarted::Removed => {
                ReplyCode::NotFound
            }
            NotRestarted::Paused
            | NotRestarted::PausedMeanwhile
            | NotRestarted::NoArtifact
            | NotRestarted::Waits(_)
            | NotRestarted::Ended(_) => ReplyCode::Failed,
        };
        Self::new(code, why.to_string())
    }
}
