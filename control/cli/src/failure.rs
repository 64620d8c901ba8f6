//! Failure of a command: the text for a person, and the exit code for a script.

use std::fmt;

use super::clean::clean;

/// Exit codes of commands. They are fixed, because scripts branch on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The reader of the output left early; nothing went wrong.
    Unread = 0,
    /// The command was tried and failed.
    Failed = 1,
    /// The command line is not valid.
    Usage = 2,
    /// The named resource does not exist.
    NotFound = 3,
    /// The access token does not permit it, or it contradicts the present state.
    Refused = 4,
    /// `status --check`: something fails, or needs a person at once.
    Failing = 10,
    /// `status --check`: a device reports a problem, and nothing fails.
    Problem = 11,
    /// `status --check`: something is not in its desired revision yet.
    Progressing = 12,
    /// `status --check`: a device is offline, so its state is not known.
    Unknown = 13,
    /// `audit verify`: the log is not whole, or was rewritten.
    AuditWrong = 14,
    /// `audit verify --witness`: the log is whole, and no device vouches for it.
    AuditAlone = 15,
}

/// A command that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Exit code of the command.
    pub(crate) exit: Exit,
    /// Text that names what was tried, what went wrong and what to do. Empty: it was printed
    /// already.
    pub(crate) message: String,
    /// Faults of documents, each printed on a line of its own.
    pub(crate) faults: Vec<String>,
}

/// Result of a command.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), faults: Vec::new() }
    }

    /// Makes a failure of something that was tried.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// Makes a failure of a command line that is not valid.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Makes a failure of a resource that does not exist.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, message)
    }

    /// Makes a failure of something that the access token does not permit.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(Exit::Refused, message)
    }

    /// Makes a failure of using a file, such as `cannot read PATH: cause`.
    pub(crate) fn file(what: &str, path: &std::path::Path, error: impl fmt::Display) -> Self {
        Self::failed(format!("cannot {what} {}: {error}", path.display()))
    }

    /// Makes a failure whose texts were printed already.
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
