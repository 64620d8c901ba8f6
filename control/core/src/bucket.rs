//! Token bucket: how many requests a tenant may make in a second, and how long it waits for the
//! next.
//!
//! See decision 0168.

/// Thousandths of a request that one request takes.
const ONE: u64 = 1_000;

/// Bucket of one tenant. It holds the requests of one second, so that a burst of that size passes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Thousandths of requests that were taken and are not given back yet.
    taken: u64,
    /// Time of the last look, in milliseconds of a monotonic clock.
    at: u64,
}

impl Bucket {
    /// Gives back what has become free until `now`, in milliseconds. At `rate` requests a second,
    /// `rate` thousandths become free in a millisecond.
    fn look(&mut self, rate: u64, now: u64) {
        let freed = now.saturating_sub(self.at).saturating_mul(rate);
        self.taken = self.taken.saturating_sub(freed);
        self.at = self.at.max(now);
    }

    /// Takes one request at `now`, in milliseconds of a monotonic clock.
    ///
    /// # Errors
    /// Returns the milliseconds after which there is room for one. Nothing is taken then.
    pub fn take(&mut self, rate: u64, now: u64) -> Result<(), u64> {
        let rate = rate.max(1);
        self.look(rate, now);
        let over = (self.taken + ONE).saturating_sub(rate.saturating_mul(ONE));
        if over == 0 {
            self.taken += ONE;
            return Ok(());
        }
        Err(over.div_ceil(rate))
    }

    /// Returns the number of requests of about the last second.
    pub fn used(&mut self, rate: u64, now: u64) -> u64 {
        self.look(rate.max(1), now);
        self.taken.div_ceil(ONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_a_second_passes_and_then_the_rate() {
        let mut bucket = Bucket::default();
        for _ in 0..10 {
            assert_eq!(bucket.take(10, 5_000), Ok(()));
        }
        assert_eq!(bucket.take(10, 5_000), Err(100));
        assert_eq!(bucket.take(10, 5_099), Err(1));
        assert_eq!(bucket.take(10, 5_100), Ok(()));
        assert_eq!((bucket.take(10, 5_100), bucket.used(10, 5_100)), (Err(100), 10));
        let passed = (5_200..15_200).filter(|now| bucket.take(10, *now).is_ok()).count();
        assert_eq!(passed, 100, "ten seconds of ten each");
        assert_eq!(bucket.used(10, 60_000), 0);
    }

    #[test]
    fn a_rate_of_one_and_a_clock_that_stands_still_are_served() {
        let mut bucket = Bucket::default();
        assert_eq!((bucket.take(1, 0), bucket.take(1, 0)), (Ok(()), Err(1_000)));
        assert_eq!(bucket.take(1, 1_000), Ok(()));
        assert_eq!(bucket.take(u64::MAX, 1_000), Ok(()), "no overflow");
    }
}
