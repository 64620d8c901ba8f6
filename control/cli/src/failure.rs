//! How a command fails: what a person reads, and the exit code that a script sees.

use std::fmt;

use super::text::clean;

/// Exit codes, fixed: scripts branch on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Whoever read the output left early; nothing went wrong.
    Unread = 0,
    /// It was tried and did not work.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// There is no such thing.
    NotFound = 3,
    /// Whoever asks may not, or what is there contradicts it.
    Refused = 4,
    /// Of `status --check`: something fails, or needs a person at once.
    Failing = 10,
    /// Of `status --check`: something is wrong, and nothing fails.
    Problem = 11,
    /// Of `status --check`: something is not there yet.
    Progressing = 12,
    /// Of `status --check`: something is offline, what it does is not known.
    Unknown = 13,
}

/// A command that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What was tried, what went wrong and what to do; nothing: it was said already.
    pub(crate) message: String,
    /// Faults of documents, each for a line of its own.
    pub(crate) faults: Vec<String>,
}

/// What every command comes to.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), faults: Vec::new() }
    }

    /// It did not work.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// The command line makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// There is no such thing.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, message)
    }

    /// Whoever asks may not.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(Exit::Refused, message)
    }

    /// A file could not be used.
    pub(crate) fn file(what: &str, path: &std::path::Path, error: impl fmt::Display) -> Self {
        Self::failed(format!("cannot {what} {}: {error}", path.display()))
    }

    /// Several things were tried, some failed, and each was said already.
    pub(crate) fn said(exit: Exit) -> Self {
        Self::new(exit, "")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.message.is_empty() {
            writeln!(f, "error: {}", clean(&self.message))?;
        }
        for fault in &self.faults {
            writeln!(f, "{}", clean(fault))?;
        }
        Ok(())
    }
}
