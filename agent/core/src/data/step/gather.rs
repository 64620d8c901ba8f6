//! Group commit: how long a step waits for publishers that the step before it has answered.
//!
//! See decision 0066.

use std::time::{Duration, Instant};

/// Longest wait for publishers that were just answered.
pub const MAX_WAIT: Duration = Duration::from_millis(2);

/// The step before this one, by which the next is timed. Publishers that keep a fixed number of
/// records in flight send the next ones when they are answered. If the next step began with the
/// first of them, they would split into two halves that take turns, and each half-size step writes
/// the same upper pages of the tree as a full one.
#[derive(Debug, Default)]
pub struct Gather {
    began: Option<Instant>,
    /// Bytes that the same publishers probably send again: seven eighths of the step before.
    wanted: usize,
    /// Latest time to wait for them.
    until: Option<Instant>,
}

impl Gather {
    /// Begins a step of `size` bytes.
    pub fn began(&mut self, size: usize, now: Instant) {
        *self = Self { began: Some(now), wanted: size - size / 8, until: None };
    }

    /// Ends the step; all publishers are answered. They are waited for at most half as long as they
    /// waited, and never longer than [`MAX_WAIT`].
    pub fn ended(&mut self, now: Instant) {
        if let Some(began) = self.began.take() {
            self.until = Some(now + (now.saturating_duration_since(began) / 2).min(MAX_WAIT));
        }
    }

    /// Bytes at which all publishers of the step before have probably sent again.
    pub fn wanted(&self) -> usize {
        self.wanted
    }

    /// Time at which `size` bytes are stored that would be due at `due`: later if more is expected
    /// soon.
    pub fn due(&self, due: Instant, size: usize) -> Instant {
        self.until.filter(|_| size < self.wanted).map_or(due, |until| due.max(until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "an instant to count from")]
    fn who_was_just_answered_is_waited_for_but_not_for_long() {
        let start = Instant::now();
        let after = |micros| start + Duration::from_micros(micros);
        let mut step = Gather::default();
        assert_eq!(step.due(start, 1), start, "nobody was answered yet");
        step.began(8_000, start);
        step.ended(after(1_000));
        assert_eq!(step.due(after(1_100), 6_999), after(1_500), "half of a step of a millisecond");
        assert_eq!(step.due(after(1_100), 7_000), after(1_100), "they are all here");
        assert_eq!(step.due(after(9_000), 10), after(9_000), "those who gather wait longer anyway");
        step.ended(after(5_000));
        assert_eq!(step.due(after(1_100), 1), after(1_500), "ended once");
        step.began(8_000, after(10_000));
        step.ended(after(110_000));
        assert_eq!(step.due(after(110_000), 1), after(110_000) + MAX_WAIT);
    }
}
