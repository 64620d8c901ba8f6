//! The horizon: until when a device can go on without the control plane, and what ends it.
//! See decision 0068.

use std::collections::VecDeque;

use holdfast_records::{Horizon, HorizonCause};

/// Further ahead than this nothing is foreseen, in seconds: ten years.
const FAR: u64 = 10 * 365 * 86_400;
/// How far a clock without a time service may go wrong before it matters, in seconds: what is
/// dated by it is then off by this much.
const CLOCK_BOUND: u64 = 3_600;
/// How fast such a clock goes wrong, in millionths: a cheap quartz.
const DRIFT_PPM: u64 = 50;

/// What a store is filled with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filling {
    /// Bytes that it can still take before something goes that nobody has.
    pub left: u64,
    /// Bytes an hour at the present rate; 0: it does not fill.
    pub per_hour: u64,
}

impl Filling {
    /// How long that lasts, in seconds; None: for ever.
    fn lasts(&self) -> Option<u64> {
        let seconds = u128::from(self.left) * 3_600 / u128::from(self.per_hour.max(1));
        (self.per_hour > 0).then(|| u64::try_from(seconds).unwrap_or(u64::MAX))
    }
}

/// What is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Seconds since 1970.
    pub now: u64,
    /// When the certificate ends, in seconds since 1970.
    pub certificate: Option<u64>,
    /// Streams by name, or the whole buffer by the empty name.
    pub buffers: Vec<(String, Filling)>,
    /// The disk.
    pub disk: Filling,
    /// A time service has set the clock.
    pub clock_synchronised: bool,
    /// The clock is known to be wrong.
    pub clock_wrong: bool,
}

/// Until when, and why: what comes first. None: nothing within ten years.
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

/// What a rate is over: it forgets what was longer ago than about six hours, so that a night does
/// not count for noon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate {
    first: u64,
    total: u64,
    at: u64,
    per_hour: u64,
    seen: u64,
}

/// Milliseconds over which a rate is smoothed.
const SMOOTH: u64 = 6 * 3_600_000;
/// The shortest time that says something, in milliseconds.
const LEAST: u64 = 10_000;
/// Nothing is said of a rate before it was watched for so long, in milliseconds, or as much came as
/// there is room for: what a program publishes as it starts says nothing of the hours to come.
const ENOUGH: u64 = 600_000;

impl Rate {
    /// A total that only rises is this much now (milliseconds of the rising clock).
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
        // At first what was seen is all that is known.
        let weight = u128::from(passed.min(SMOOTH));
        let span = u128::from(self.seen.min(SMOOTH)).max(weight);
        let mixed = (present * weight + u128::from(self.per_hour) * (span - weight)) / span;
        (self.total, self.at) = (total, now);
        self.per_hour = u64::try_from(mixed).unwrap_or(u64::MAX);
    }

    /// Bytes an hour, for what has so many left; 0: it rests, or was not watched for long enough.
    pub fn per_hour(&self, left: u64) -> u64 {
        let is_enough = self.seen >= ENOUGH || self.total - self.first >= left;
        if is_enough { self.per_hour } else { 0 }
    }
}

/// Of a part of the time in which the disk is watched, in milliseconds. What comes and goes within
/// one (a package, a log that is rotated, most builds) is not seen.
const PART: u64 = 30 * 60_000;
/// Parts that are compared at most: six hours, and the present one.
const PARTS: usize = 13;
/// Parts that must have passed before anything is said: two alone would take a file that comes
/// between them for a rate.
const ENOUGH_PARTS: usize = 3;

/// How fast the disk fills: the net change over up to six hours of the most that was free in each
/// half hour. A rise counts against a fall, and what is there for a while only leaves no trace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Room {
    /// When each part began, and the most that was free in it; the last one is under way.
    parts: VecDeque<(u64, u64)>,
}

impl Room {
    /// So many bytes are free now (milliseconds of the rising clock).
    pub fn note(&mut self, free: u64, now: u64) {
        match self.parts.back_mut() {
            Some((began, most)) if now < began.saturating_add(PART) => *most = free.max(*most),
            _ => self.parts.push_back((now, free)),
        }
        if self.parts.len() > PARTS {
            self.parts.pop_front();
        }
    }

    /// What it is filled with, but for `reserve` bytes that are no room; nothing before it was
    /// watched for long enough.
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

/// Years that an endurance lasts, in hundredths: what is left of it at the mean rate since. None:
/// too little is known.
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

    /// A file of 1.5 GB that is there for ten seconds of every twenty.
    fn temporary(now: u64) -> u64 {
        if (now / 10_000).is_multiple_of(2) { 1_500_000_000 } else { 0 }
    }

    /// Looks every five seconds for so long.
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
