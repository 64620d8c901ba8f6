//! Reasons why a delta cannot be applied.

use std::io;

/// Reason why a delta cannot be applied. Whoever gets it takes the whole artifact instead.
#[derive(Debug, thiserror::Error)]
pub enum DeltaError {
    /// The file does not begin with the magic bytes of the format.
    #[error("this is no delta of the format HFD1")]
    NotADelta,
    /// The header names a method or a coder that this program does not have.
    #[error("the delta is of a kind ({0}) that this program does not know")]
    UnknownMethod(u8),
    /// The delta states that applying it needs more memory than there is.
    #[error("applying the delta needs {needed} bytes of memory and {limit} are allowed")]
    Memory {
        /// Bytes that the delta needs.
        needed: u64,
        /// Bytes that the caller allows.
        limit: u64,
    },
    /// A part of the delta contradicts another one, or a bound.
    #[error("the delta is damaged: {0}")]
    Damaged(&'static str),
    /// The result has another digest than the header states.
    #[error("the delta gave other bytes than it promised: its base or itself is damaged")]
    WrongResult,
    /// Reading the delta failed, or it ended early.
    #[error("the delta cannot be read: {0}")]
    Delta(#[source] io::Error),
    /// Reading the old file failed.
    #[error("the base of the delta cannot be read: {0}")]
    Old(#[source] io::Error),
    /// Writing the result failed.
    #[error("the result of the delta cannot be written: {0}")]
    New(#[source] io::Error),
}
