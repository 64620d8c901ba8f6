//! Why the demo ends, and what its steps return because it may end in any of them.

use std::io::Write as _;

/// Reason why the demo ends.
#[derive(Debug)]
pub(super) enum End {
    /// A signal, whose name is given, asked for it.
    Asked(&'static str),
    /// Standard output is closed: nobody reads it.
    Unheard,
    /// An error, described for a person.
    Failed(String),
}

/// Result of a step; the error is the end of the demo.
pub(super) type Outcome<T> = Result<T, End>;

/// Returns the end of the demo by this error.
pub(super) fn failed<T>(why: impl Into<String>) -> Outcome<T> {
    Err(End::Failed(why.into()))
}

/// Writes a line to standard output, whose reader may be gone.
pub(super) fn say(text: &str) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|_| End::Unheard)
}
