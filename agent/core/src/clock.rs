//! Time that never runs backwards: a device without a battery boots in 1970, and must neither
//! refuse its own certificates nor stop anything for it.
//!
//! See decisions 0014 and 0048.

use super::certificate::Life;

/// Delay of the system's clock against the floor that is tolerated before it is reported, in
/// seconds. Less is ordinary drift that a time service mends.
const TOLERANCE: u64 = 60;

/// Interval at which the floor is stored, in seconds: a write an hour wears no flash out.
const STORE_EVERY: u64 = 3_600;

/// True if the floor is to be stored again: `floor` is the best known time now, and `stored` the
/// time that is stored; both in seconds since 1970.
pub fn is_store_due(floor: u64, stored: u64) -> bool {
    floor >= stored.saturating_add(STORE_EVERY)
}

/// True if the system's time may raise the floor: it is not beyond the certificate's life. A clock
/// that was once in the future must not keep the floor there for ever.
pub fn is_credible(system: u64, life: Option<Life>) -> bool {
    life.is_some_and(|life| !life.is_over(system))
}

/// Floor to store in place of `stored`, both in seconds since 1970. None: it is not beyond the
/// stored one, or is beyond the certificate's life.
pub fn to_store(floor: u64, stored: u64, life: Option<Life>) -> Option<u64> {
    (is_credible(floor, life) && floor > stored).then_some(floor)
}

/// Lower bound of the present time: a time that was certainly reached, stored on disk, and the
/// uptime at which it was learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Floor {
    /// Time that was certainly reached, in seconds since 1970.
    at: u64,
    /// Milliseconds of the monotonic clock when `at` was learned.
    since: u64,
    /// Latest plausible time, in seconds since 1970: the end of the certificate's life, or 0 before
    /// there is a certificate.
    end: u64,
}

impl Floor {
    /// Creates the floor from the stored time; `now` in milliseconds of the monotonic clock.
    pub fn new(stored: u64, now: u64) -> Self {
        Self { at: stored, since: now, end: 0 }
    }

    /// The best known time in seconds since 1970: the system's, unless it is before the floor.
    pub fn time(&self, system: u64, now: u64) -> u64 {
        system.max(self.at + now.saturating_sub(self.since) / 1000)
    }

    /// Learns a time that has certainly been reached. Returns true if the floor rose.
    pub fn raise(&mut self, known: u64, now: u64) -> bool {
        if known <= self.time(0, now) {
            return false;
        }
        (self.at, self.since) = (known, now);
        true
    }

    /// Sets the latest time that is plausible, in seconds since 1970.
    pub fn believe_until(&mut self, end: u64) {
        self.end = end;
    }

    /// True if the best known time is not beyond the latest plausible one. The system's clock,
    /// where it is above the floor, may be years ahead; a time on the floor is late at the worst.
    pub fn is_plausible(&self, system: u64, now: u64) -> bool {
        self.time(system, now) <= self.end
    }

    /// True if records dated now have a right time, as far as the device can tell.
    pub fn is_relied_on(&self, system: u64, now: u64) -> bool {
        self.is_plausible(system, now) && self.problem(system, now).is_none()
    }

    /// Problem text if the system's clock is behind the floor by more than the tolerance.
    pub fn problem(&self, system: u64, now: u64) -> Option<String> {
        let time = self.time(0, now);
        // Without numbers: a text that changes every second would be reported every second.
        (system.saturating_add(TOLERANCE) < time).then(|| {
            "the system's clock is behind the latest time that this device has seen (a flat battery, no time service): certificates are checked against the later time; set the clock".to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_times_within_the_certificates_life_are_stored() {
        let life = Some(Life { not_before: 1_000, not_after: 10_000 });
        for (floor, stored, life, expected) in [
            (5_000, 4_000, life, Some(5_000)),
            (5_000, 5_000, life, None),
            (10_000, 0, life, Some(10_000)),
            (10_001, 0, life, None),
            (5_000, 4_000, None, None),
        ] {
            assert_eq!(to_store(floor, stored, life), expected, "{floor} {stored}");
        }
        assert!(is_credible(10_000, life) && !is_credible(10_001, life) && !is_credible(5, None));
        assert!(is_store_due(7_600, 4_000) && !is_store_due(7_599, 4_000));
    }

    #[test]
    fn time_stands_on_the_floor_and_goes_on_from_there() {
        let mut floor = Floor::new(1_000_000, 500);
        assert_eq!(floor.time(0, 500), 1_000_000);
        assert_eq!(floor.time(0, 10_500), 1_000_010);
        assert_eq!(floor.time(2_000_000, 10_500), 2_000_000);
        assert!(floor.problem(0, 500).is_some());
        assert!(floor.problem(999_990, 500).is_none());
        assert!(!floor.raise(999_999, 500));
        assert!(floor.raise(1_500_000, 20_000));
        assert_eq!(floor.time(0, 21_000), 1_500_001);
    }

    #[test]
    fn what_lies_beyond_the_certificate_is_not_plausible() {
        let mut floor = Floor::new(1_000_000, 0);
        assert!(!floor.is_plausible(1_000_000, 0), "no certificate, no bound");
        floor.believe_until(2_000_000);
        assert!(floor.is_plausible(0, 0) && floor.is_plausible(2_000_000, 0));
        assert!(!floor.is_plausible(2_000_001, 0));
        assert!(!floor.is_relied_on(0, 0) && !floor.is_relied_on(2_000_001, 0));
        assert!(floor.is_relied_on(1_000_000, 0) && floor.is_relied_on(2_000_000, 0));
        floor.raise(1_500_000, 0);
        assert!(floor.is_plausible(0, 0) && !floor.is_plausible(2_000_001, 0), "it stays");
    }
}
