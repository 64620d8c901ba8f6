//! Horizon: the time until which a device can go on without the control plane, and its cause.
//!
//! See decision 0068.

use std::collections::VecDeque;

use holdfast_records::{Horizon, HorizonCause};

/// Longest time ahead for which a horizon is given, in seconds: ten years.
const FAR: u64 = 10 * 365 * 86_400;
/// Error of a clock without a time service from which the times of records are misleading, in
/// seconds.
const CLOCK_BOUND: u64 = 3_600;
/// Drift of such a clock in millionths: that of a cheap quartz.
const DRIFT_PPM: u64 = 50;

/// Fill state of a buffer or the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filling {
    /// Bytes that can still be stored before something is dropped that the control plane has not.
    pub left: u64,
    /// Bytes an hour at the present rate; 0: it does not fill.
    pub per_hour: u64,
}

impl Filling {
    /// Time until nothing is left, in seconds. None: it does not fill.
    fn lasts(&self) -> Option<u64> {
        let seconds = u128::from(self.left) * 3_600 / u128::from(self.per_hour.max(1));
        (self.per_hour > 0).then(|| u64::try_from(seconds).unwrap_or(u64::MAX))
    }
}

/// Inputs of the horizon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Present time in seconds since 1970.
    pub now: u64,
    /// End of the certificate's life, in seconds since 1970. None: there is no certificate.
    pub certificate: Option<u64>,
    /// Streams by name, or the whole buffer by the empty name.
    pub buffers: Vec<(String, Filling)>,
    /// Fill state of the disk.
    pub disk: Filling,
    /// True if a time service has set the clock.
    pub clock_synchronised: bool,
    /// True if the clock is known to be wrong.
    pub clock_wrong: bool,
}

/// Earliest end among all causes. None: none within ten years.
pub fn horizon(known: &Known) -> Option<Horizon> {
    let now = known.now;
    let mut ends: Vec<(u64, HorizonCause, String)> = Vec::new();
    let mut ends_at = |until: u64, cause, detail: &str| {
        ends.push((until, cause, detail.to_owned()));
    };
    if let Some(end) = known.certificate {
        ends_at(end, HorizonCause::Certificate, "");
    }
    for (name, filling) in &known.buffers {
        if let Some(lasts) = filling.lasts() {
            ends_at(now.saturating_add(lasts), HorizonCause::Buffer, name);
        }
    }
    if let Some(lasts) = known.disk.lasts() {
        ends_at(now.saturating_add(lasts), HorizonCause::Disk, "");
    }
    if known.clock_wrong {
        ends_at(now, HorizonCause::Clock, "the clock is behind the latest time that was seen");
    } else if !known.clock_synchronised {
        let lasts = CLOCK_BOUND * 1_000_000 / DRIFT_PPM;
        ends_at(now.saturating_add(lasts), HorizonCause::Clock, "no time service sets the clock");
    }
    let (until, cause, detail) = ends.into_iter().min()?;
    (until < now.saturating_add(FAR)).then_some(Horizon { until, cause, detail })
}

/// Average rate at which a total grows. It forgets what was longer ago than about six hours, so
/// that a night does not count for noon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate {
    first: u64,
    total: u64,
    at: u64,
    per_hour: u64,
    seen: u64,
}

/// Time over which a rate is averaged, in milliseconds.
const SMOOTH: u64 = 6 * 3_600_000;
/// Shortest interval between two samples, in milliseconds.
const LEAST: u64 = 10_000;
/// Time in milliseconds for which a total is watched before its rate is given, unless it grew by
/// the whole room that is left before: what a program publishes as it starts says nothing about the
/// hours to come.
const ENOUGH: u64 = 600_000;

impl Rate {
    /// Takes a sample of a total that only grows; `now` in milliseconds of the monotonic clock. A
    /// total that became smaller starts the average anew.
    pub fn note(&mut self, total: u64, now: u64) {
        let passed = now.saturating_sub(self.at);
        if self.at == 0 || total < self.total {
            *self = Self { first: total, total, at: now.max(1), per_hour: 0, seen: 0 };
            return;
        }
        if passed < LEAST {
            return;
        }
        let grew = u128::from(total - self.total);
        let present = grew * 3_600_000 / u128::from(passed);
        self.seen = self.seen.saturating_add(passed);
        // Weighted mean: the new sample counts for its own length within up to six hours. Example:
        // 10 minutes after 50 minutes of watching count a sixth.
        let weight = u128::from(passed.min(SMOOTH));
        let span = u128::from(self.seen.min(SMOOTH)).max(weight);
        let mixed = (present * weight + u128::from(self.per_hour) * (span - weight)) / span;
        (self.total, self.at) = (total, now);
        self.per_hour = u64::try_from(mixed).unwrap_or(u64::MAX);
    }

    /// Bytes an hour, for a store with `left` bytes free. 0: it does not grow, or was not watched
    /// for long enough.
    pub fn per_hour(&self, left: u64) -> u64 {
        let is_enough = self.seen >= ENOUGH || self.total - self.first >= left;
        if is_enough { self.per_hour } else { 0 }
    }
}

/// Length of an interval over which the most free space is taken, in milliseconds. What comes and
/// goes within one (a package, a log that is rotated, most builds) is not seen.
const PART: u64 = 30 * 60_000;
/// Maximum number of intervals that are compared: those of six hours, and the present one.
const PARTS: usize = 13;
/// Number of intervals that must have passed before a rate is given: with two alone, a file that
/// was written between them would be taken for a rate.
const ENOUGH_PARTS: usize = 3;

/// Rate at which the disk fills: the net change, over up to six hours, of the most space that was
/// free in each half hour. A rise offsets a fall, and a temporary file leaves no trace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Room {
    /// Begin of each interval and the most bytes that were free in it, oldest first; the last
    /// interval is under way.
    parts: VecDeque<(u64, u64)>,
}

impl Room {
    /// Takes a sample of the free bytes; `now` in milliseconds of the monotonic clock.
    pub fn note(&mut self, free: u64, now: u64) {
        match self.parts.back_mut() {
            Some((began, most)) if now < began.saturating_add(PART) => *most = free.max(*most),
            _ => self.parts.push_back((now, free)),
        }
        if self.parts.len() > PARTS {
            self.parts.pop_front();
        }
    }

    /// Fill state of the disk, of which `reserve` bytes stay free. Zeros if it was not watched for
    /// long enough.
    pub fn filling(&self, reserve: u64) -> Filling {
        let passed = self.parts.len().saturating_sub(1);
        let ends = self.parts.front().zip(passed.checked_sub(1).and_then(|it| self.parts.get(it)));
        let Some(((from, then), (to, now))) = ends.filter(|_| passed >= ENOUGH_PARTS) else {
            return Filling::default();
        };
        let fell = u128::from(then.saturating_sub(*now));
        let per_hour = fell * 3_600_000 / u128::from(to.saturating_sub(*from).max(1));
        let left = self.parts.back().map_or(*now, |(_, most)| *most).saturating_sub(reserve);
        Filling { left, per_hour: u64::try_from(per_hour).unwrap_or(u64::MAX) }
    }
}

/// Time in hundredths of a year until a flash of this endurance (bytes) is worn out at the mean
/// rate since `since`. None: it was watched for less than ten minutes, or nothing was written.
pub fn life(endurance: u64, written: u64, since: u64, now: u64) -> Option<u32> {
    const YEAR: u128 = 365 * 86_400;
    let passed = now.saturating_sub(since);
    if passed < 600 || written == 0 {
        return None;
    }
    let left = u128::from(endurance.saturating_sub(written));
    let hundredths = left * u128::from(passed) * 100 / (u128::from(written) * YEAR);
    Some(u32::try_from(hundredths).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    fn known() -> Known {
        Known { now: 1_000 * DAY, clock_synchronised: true, ..Known::default() }
    }

    #[test]
    fn what_comes_first_ends_it() {
        assert_eq!(horizon(&known()), None);
        let mut it = Known { certificate: Some(1_020 * DAY), ..known() };
        let ends = |it: &Known| horizon(it).map(|it| (it.until / DAY, it.cause));
        assert_eq!(ends(&it), Some((1_020, HorizonCause::Certificate)));
        it.buffers.push(("a".into(), Filling { left: 24 * 500, per_hour: 100 }));
        it.buffers.push(("b".into(), Filling { left: 24 * 300, per_hour: 100 }));
        it.buffers.push(("c".into(), Filling { left: 1, per_hour: 0 }));
        assert_eq!(ends(&it), Some((1_003, HorizonCause::Buffer)));
        assert_eq!(horizon(&it).unwrap().detail, "b");
        it.disk = Filling { left: 240, per_hour: 5 };
        assert_eq!(ends(&it), Some((1_002, HorizonCause::Disk)));
        it.clock_wrong = true;
        assert_eq!(ends(&it), Some((1_000, HorizonCause::Clock)));
        let far = Known { certificate: Some(u64::MAX), ..known() };
        assert_eq!(horizon(&far), None);
        let alone = Known { clock_synchronised: false, ..known() };
        assert_eq!(ends(&alone), Some((1_833, HorizonCause::Clock)));
    }

    #[test]
    fn a_rate_follows_and_smooths() {
        let mut rate = Rate::default();
        let (mut total, mut now) = (0, 1);
        rate.note(total, now);
        for _ in 0..60 {
            let enough = now >= ENOUGH;
            assert_eq!(rate.per_hour(1_000_000) > 0, enough, "after {now} ms");
            (total, now) = (total + 1_000, now + 60_000);
            rate.note(total, now);
        }
        assert_eq!(rate.per_hour(1_000_000), 60_000);
        now += 60_000;
        rate.note(total, now);
        assert!(
            (50_000..60_000).contains(&rate.per_hour(1_000_000)),
            "{}",
            rate.per_hour(1_000_000)
        );
        assert!(rate.per_hour(1) > 0);
        rate.note(5, now + 60_000);
        assert_eq!(rate.per_hour(1_000_000), 0, "it began anew");
    }

    #[test]
    fn what_fills_within_minutes_is_said_within_minutes() {
        let mut rate = Rate::default();
        rate.note(500, 1);
        rate.note(100_500, 20_001);
        assert_eq!(rate.per_hour(100_001), 0);
        assert_eq!(rate.per_hour(100_000), 100_000 * 180);
    }

    const HOUR: u64 = 3_600_000;
    const GB: u64 = 1_000_000_000;

    /// Simulates a file of 1.5 GB that exists for ten seconds of every twenty.
    fn temporary(now: u64) -> u64 {
        if (now / 10_000).is_multiple_of(2) { 1_500_000_000 } else { 0 }
    }

    /// Takes a sample every five seconds for so long.
    fn watched(milliseconds: u64, free: impl Fn(u64) -> u64) -> Room {
        let mut room = Room::default();
        (0..milliseconds).step_by(5_000).for_each(|now| room.note(free(now), 1_000 + now));
        room
    }

    #[test]
    fn files_that_come_and_go_do_not_fill_the_disk() {
        // 1.5 GB, written and deleted for hours, and for 75 seconds at the end.
        let busy = |now: u64| 50 * GB - temporary(now);
        let late = |now: u64| if now > 3 * HOUR - 75_000 { busy(now) } else { 50 * GB };
        // A build for twenty minutes of each hour, and one that stays for good half of the time.
        let build = |now: u64| 50 * GB - if now % HOUR < 1_200_000 { 10 * GB } else { 0 };
        for free in [&busy as &dyn Fn(u64) -> u64, &late, &build] {
            for hours in [2, 3, 9] {
                assert_eq!(watched(hours * HOUR, free).filling(0).per_hour, 0);
            }
        }
        // What was freed again is no growth.
        let back = |now: u64| if now < HOUR { 50 * GB - now * 1_000 } else { 50 * GB };
        assert_eq!(watched(3 * HOUR, back).filling(0).per_hour, 0);
    }

    #[test]
    fn what_fills_the_disk_is_seen_once_there_is_enough_to_go_by() {
        // A gigabyte an hour, with a temporary file on top.
        let fills = |now: u64| 50 * GB - now * GB / HOUR - temporary(now);
        for minutes in [1, 30, 89] {
            assert_eq!(
                watched(minutes * 60_000, fills).filling(0),
                Filling::default(),
                "{minutes}"
            );
        }
        for hours in [2, 6, 40] {
            let filling = watched(hours * HOUR, fills).filling(GB);
            let left = (50 - hours - 1) * GB;
            assert!(filling.per_hour.abs_diff(GB) < GB / 50, "{filling:?}");
            assert!(filling.left.abs_diff(left) < GB, "{filling:?} after {hours} hours");
        }
    }

    #[test]
    fn a_life_is_what_is_left_at_the_mean_rate() {
        let year = 365 * DAY;
        assert_eq!(life(1_000, 100, 0, year), Some(900));
        assert_eq!(life(1_000, 2_000, 0, year), Some(0));
        assert_eq!(life(1_000, 0, 0, year), None);
        assert_eq!(life(1_000, 10, 0, 60), None);
    }
}
