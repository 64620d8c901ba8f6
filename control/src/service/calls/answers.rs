//! Reasons why a device was not called, or a question has no answer.

use holdfast_protocol::message::{ReplyCode, ReplyError};

use super::pending::Cut;
use crate::service::Failure;

/// Reason why a device was not called.
pub(super) enum NotCalled {
    /// The device cannot be called at the moment.
    Now(NotNow),
    /// The call fails however often it is tried.
    Never(Failure),
}

impl From<Failure> for NotCalled {
    fn from(failure: Failure) -> Self {
        Self::Never(failure)
    }
}

/// Reason why a device cannot be asked at the moment. The text follows the device's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::service) enum NotNow {
    /// Device without a connection.
    #[error("is offline")]
    Offline,
    /// Device that is connected and not ready for calls yet.
    #[error("has only just connected")]
    JustConnected,
    /// Connection that takes no more calls.
    #[error("takes no calls now")]
    NoCalls,
    /// Limit of devices that are asked at a time.
    #[error("too many devices are being asked already")]
    TooMany,
    /// Control plane that does not know whether another process has taken its place.
    #[error("is not called before the control plane's lease is renewed")]
    NoLease,
    /// The control plane is about to end.
    #[error("cannot be asked now")]
    Stopping,
}

/// Reason why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::service) enum NoAnswer {
    /// The device cannot be asked at the moment and may be asked again.
    #[error(transparent)]
    Now(NotNow),
    /// No reply came in time, or a part of it was lost.
    #[error("does not answer")]
    Silent,
    /// The device gave this reason; an error without a code of the device has
    /// [`ReplyCode::Failed`].
    #[error(transparent)]
    Said(ReplyError),
    /// The question fails however often it is asked.
    #[error(transparent)]
    Never(Failure),
}

impl From<Failure> for NoAnswer {
    fn from(failure: Failure) -> Self {
        Self::Never(failure)
    }
}

impl From<Cut> for NoAnswer {
    fn from(cut: Cut) -> Self {
        match cut {
            Cut::Gap => Self::Silent,
            Cut::Said(error) => Self::Said(error),
            Cut::Slow | Cut::Disconnected => {
                Self::Said(ReplyError::new(ReplyCode::Failed, cut.to_string()))
            }
        }
    }
}

impl From<NotCalled> for NoAnswer {
    fn from(why: NotCalled) -> Self {
        match why {
            NotCalled::Now(why) => Self::Now(why),
            NotCalled::Never(failure) => Self::Never(failure),
        }
    }
}
