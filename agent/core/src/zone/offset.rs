//! Offset of a local time from UTC.

/// Seconds of a day.
pub(crate) const DAY: i64 = 86_400;

/// Offset from UTC that holds for a time, with its abbreviation, such as `CEST`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offset {
    /// Seconds that the local time is ahead of UTC.
    pub(super) seconds: i64,
    /// Abbreviation, such as `CEST`.
    pub(super) name: String,
}
