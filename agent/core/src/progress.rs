//! Progress of a download, as it is told: rarely, because each figure is a report on a link that may
//! be metered.
//!
//! See decisions 0011 and 0178.

use holdfast_protocol::message::{Origin, Progress};

/// Shortest time between two figures, and before the first, in milliseconds: a download that ends
/// within it is not told of at all.
const SOON: u64 = 10_000;
/// Longest time without a figure while bytes come, in milliseconds.
const LATE: u64 = 600_000;
/// Number of equal parts of a download of which each is told.
const PARTS: u64 = 10;

/// Pace of one download.
#[derive(Debug, Clone)]
pub struct Pace {
    total: u64,
    /// Time of the last figure in milliseconds, and the bytes that were there. At first the begin.
    last: (u64, u64),
    is_told: bool,
}

impl Pace {
    /// Begins a download, or goes on with it: `done` of `total` bytes are there.
    pub fn new(total: u64, done: u64, now: u64) -> Self {
        Self { total, last: (now, done), is_told: false }
    }

    /// Notes the bytes that are there. Returns the figure if one is to be told.
    pub fn note(&mut self, done: u64, from: Origin, now: u64) -> Option<Progress> {
        let (at, before) = self.last;
        let passed = now.saturating_sub(at);
        let part =
            |bytes: u64| u128::from(bytes) * u128::from(PARTS) / u128::from(self.total.max(1));
        let due = !self.is_told || part(done) > part(before) || passed >= LATE;
        if passed < SOON || !due {
            return None;
        }
        let rate = u128::from(done.saturating_sub(before)) * 1_000 / u128::from(passed);
        self.last = (now, done);
        self.is_told = true;
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        Some(Progress { done, total: self.total, rate, from })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tenth_is_told_and_nothing_sooner_than_after_ten_seconds() {
        let mut pace = Pace::new(1_000, 100, 5_000);
        let mut told = Vec::new();
        // Ten bytes a second.
        for second in 0..=90 {
            let (done, now) = (100 + second * 10, 5_000 + second * 1_000);
            told.extend(pace.note(done, Origin::Whole, now));
        }
        let figures: Vec<_> = told.iter().map(|it| (it.done, it.rate)).collect();
        assert_eq!(figures, [200, 300, 400, 500, 600, 700, 800, 900, 1_000].map(|it| (it, 10)));
        assert_eq!(told[7].seconds_left(), Some(10));
    }

    #[test]
    fn a_thin_link_is_told_of_at_first_and_then_every_ten_minutes() {
        let mut pace = Pace::new(1_000_000_000, 0, 0);
        let mut told = Vec::new();
        for second in 0..4_000 {
            told.extend(pace.note(second * 500, Origin::Neighbour, second * 1_000));
        }
        let times: Vec<_> = told.iter().map(|it| it.done / 500).collect();
        assert_eq!(times, [10, 610, 1_210, 1_810, 2_410, 3_010, 3_610]);
        assert!(told.iter().all(|it| it.rate == 500 && it.from == Origin::Neighbour));
    }

    #[test]
    fn a_fast_one_is_not_told_of() {
        let mut pace = Pace::new(1_000, 0, 0);
        assert_eq!(pace.note(1_000, Origin::Whole, 9_999), None);
    }
}
