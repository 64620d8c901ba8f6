//! Reasons why the service cannot start.

use crate::core::model::BadRecord;
use crate::ports::store::{LeaseError, StoreError};

/// Reason why the service could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process has the lease, or it cannot be taken.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record of the store cannot be decoded.
    #[error("the store is damaged or of another version")]
    Record(#[from] BadRecord),
    /// A thread could not be started, or reading ended early.
    #[error("the store cannot be read to its end")]
    Read(#[from] std::io::Error),
}
