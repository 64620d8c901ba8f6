//! Reasons why an artifact was not fetched.

use std::io;
use std::path::PathBuf;

use holdfast_base::ids::Digest;
use holdfast_delta::DeltaError;

use crate::adapters::https::HttpsError;
use crate::adapters::room::NoRoom;

/// Reason why one try to download an artifact failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotFetched {
    #[error("the device is not enrolled")]
    NotEnrolled,
    #[error("{}: {}", .0.display(), .1)]
    File(PathBuf, io::Error),
    #[error("{0}")]
    Io(io::Error),
    #[error("no digest")]
    NoDigest,
    #[error("what came has digest {0}, thrown away")]
    Other(Digest),
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    #[error("the link budget for artifacts is used up: it waits until more is due")]
    Budget,
    #[error("{0}")]
    Request(hyper::http::Error),
    #[error(transparent)]
    Https(#[from] HttpsError),
    #[error("the transfer stalled")]
    Stalled,
    #[error("the transfer ended early")]
    Short,
    #[error("more came than the artifact has")]
    Long,
    #[error("{0}")]
    Transfer(hyper::Error),
    /// A delta is being made: asked for again after so many seconds, which is no trouble.
    #[error("a delta is being made; asked for again in {0} s")]
    Later(u64),
    /// The delta is no use: the whole is fetched.
    #[error("the delta is no use: {0}")]
    Delta(#[from] DeltaError),
}
