//! Tenure of a lease as its holder sees it: until when it may act, when it renews, and when it has
//! to stop. Times are on the holder's own monotonic clock, from any fixed moment.
//!
//! A store judges the lease by its own clock. The holder counts from the moment *before* it asked,
//! and stops [`MARGIN`] before the store would give the lease to another one: the two clocks need
//! not agree on the time, only about the length of a few seconds.
//!
//! See decision 0136.

use std::time::Duration;

/// Life of a lease from each renewal. Another process takes over after at most that and its own
/// look at the lease, so within 10 s.
pub const TTL: Duration = Duration::from_secs(6);

/// Time from one renewal to the next: two may fail before the holder has to stop.
pub const RENEW: Duration = Duration::from_secs(2);

/// Time before the end of the lease at which the holder stops acting.
pub const MARGIN: Duration = Duration::from_secs(2);

/// Time after which a renewal is tried again that the store could not answer.
const RETRY: Duration = Duration::from_millis(500);

/// What a holder knows of its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tenure {
    /// Time at which the holder stops acting, unless it has renewed by then.
    until: Duration,
    /// Time of the next renewal.
    next: Duration,
    lost: bool,
}

impl Tenure {
    /// Begins with a lease that was taken. `asked` is the time before it was asked for.
    pub fn begin(asked: Duration) -> Self {
        let until = asked.saturating_add(TTL).saturating_sub(MARGIN);
        Self { until, next: asked.saturating_add(RENEW), lost: false }
    }

    /// Notes a renewal. `asked` is the time before it was asked for.
    pub fn renewed(&mut self, asked: Duration) {
        if !self.lost {
            *self = Self::begin(asked);
        }
    }

    /// Notes that the store could not answer a renewal.
    pub fn unanswered(&mut self, now: Duration) {
        self.next = now.saturating_add(RETRY);
    }

    /// Notes that another process has the lease. Nothing gives it back.
    pub fn lost(&mut self) {
        self.lost = true;
    }

    /// Returns whether the lease was taken by another process.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// Returns whether the holder may act.
    pub fn acts(&self, now: Duration) -> bool {
        !self.lost && now < self.until
    }

    /// Returns the time to wait before the next renewal.
    pub fn wait(&self, now: Duration) -> Duration {
        self.next.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_holder_acts_until_two_seconds_before_the_end_of_its_lease() {
        // The step, its time, and until when the holder acts and waits afterwards.
        type Step = fn(&mut Tenure, Duration);
        let (renewed, unanswered): (Step, Step) = (Tenure::renewed, Tenure::unanswered);
        let mut tenure = Tenure::begin(at(1_000));
        assert_eq!((tenure.until, tenure.next), (at(5_000), at(3_000)));
        for (step, now, until, next) in [
            (renewed, at(3_000), at(7_000), at(5_000)),
            (unanswered, at(5_000), at(7_000), at(5_500)),
            (unanswered, at(7_500), at(7_000), at(8_000)),
            // It was paused: the lease may still be its own, and then it goes on.
            (renewed, at(60_000), at(64_000), at(62_000)),
        ] {
            step(&mut tenure, now);
            assert_eq!((tenure.until, tenure.next), (until, next), "{now:?}");
        }
        assert!(tenure.acts(at(63_999)) && !tenure.acts(at(64_000)));
        assert_eq!((tenure.wait(at(61_000)), tenure.wait(at(70_000))), (at(1_000), at(0)));
        tenure.lost();
        tenure.renewed(at(64_000));
        assert!(tenure.is_lost() && !tenure.acts(at(64_001)), "nothing gives it back");
    }

    #[test]
    fn a_takeover_comes_after_the_former_holder_has_stopped() {
        // The store gives the lease on when TTL has passed since it took the renewal, which is
        // after the holder asked for it.
        let asked = at(10_000);
        let tenure = Tenure::begin(asked);
        assert!(!tenure.acts(asked + TTL - MARGIN));
        assert!(RENEW + RENEW <= TTL - MARGIN, "one renewal may fail without a pause");
    }
}
