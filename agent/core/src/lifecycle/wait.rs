//! What a revision waits for, and until when.

/// What a window is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// Download of what a revision needs.
    Download,
    /// Turn to another revision.
    Switch,
}

/// Wait for a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    /// Sentence for a person, with the time at which it goes on.
    pub(super) said: String,
    /// Time at which it goes on, in milliseconds of the monotonic clock.
    pub(super) until: u64,
}
