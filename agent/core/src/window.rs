//! Windows: whether a time is within one of them, when it ends and when the next one begins.
//!
//! A window begins and ends at local times. A local time that a day has twice means the first, and
//! one that a day has not means as much later (`zone.rs`). A window that would have no time at all
//! because clocks are set forward within it lasts as long as it is written.
//!
//! See decision 0178.

use holdfast_protocol::workload::{EVERY_DAY, Window};

use super::zone::{DAY, Zone};

/// Wall clock of the device: its zone, and the time as it was told last.
#[derive(Debug, Clone, Default)]
pub struct Wall {
    zone: Zone,
    /// Seconds since 1970, and the time of the monotonic clock in milliseconds at which they were
    /// told. None: the clock cannot be relied on.
    told: Option<(u64, u64)>,
}

impl Wall {
    /// Creates a clock that cannot be relied on yet.
    pub fn new(zone: Zone) -> Self {
        Self { zone, told: None }
    }

    /// Tells the time in seconds since 1970. None: it cannot be relied on. `now` in milliseconds of
    /// the monotonic clock.
    pub fn tell(&mut self, seconds: Option<u64>, now: u64) {
        self.told = seconds.map(|seconds| (seconds, now));
    }

    /// Time zone of the device.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Present time in seconds since 1970. None: it cannot be relied on.
    pub fn seconds(&self, now: u64) -> Option<u64> {
        let (seconds, at) = self.told?;
        Some(seconds.saturating_add(now.saturating_sub(at) / 1_000))
    }

    /// Time of the monotonic clock in milliseconds at a coming moment, which is given in seconds since
    /// 1970. Up to a second late, never early.
    pub fn uptime_at(&self, moment: u64, now: u64) -> u64 {
        let Some((seconds, at)) = self.told else { return now };
        at.saturating_add(moment.saturating_sub(seconds).saturating_mul(1_000)).max(now)
    }
}

/// State of a choice of windows at a moment. Moments are in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// It is within a window.
    Open {
        /// Moment at which the window ends. None: there are no windows, so that it is always open.
        until: Option<u64>,
    },
    /// It is outside of every window.
    Shut {
        /// Moment at which the next window begins.
        opens: u64,
    },
}

/// State of windows at a moment. Windows that never come (no day of the week) count as none: what
/// waits must not wait for ever.
pub fn gate(windows: &[Window], zone: &Zone, now: u64) -> Gate {
    let now = i64::try_from(now).unwrap_or(i64::MAX / 2);
    let today = (now + zone.offset(now)).div_euclid(DAY);
    let (mut until, mut opens) = (None, None);
    // A window that began yesterday may go on today. One of a single weekday comes within a week.
    for day in today - 2..=today + 8 {
        for window in windows.iter().filter(|window| begins(window, day)) {
            let (begin, end) = span(window, zone, day);
            if begin <= now && now < end {
                until = until.max(Some(end));
            } else if begin > now {
                opens = Some(opens.map_or(begin, |opens: i64| opens.min(begin)));
            }
        }
    }
    let seconds = |moment: i64| u64::try_from(moment).unwrap_or(0);
    match (until, opens) {
        (None, Some(opens)) => Gate::Shut { opens: seconds(opens) },
        (until, _) => Gate::Open { until: until.map(seconds) },
    }
}

/// True if a window begins on a day, which is given in days since 1970.
fn begins(window: &Window, day: i64) -> bool {
    // 1970-01-01 was a Thursday, the third day from Monday.
    let weekday = (day + 3).rem_euclid(7);
    window.days & EVERY_DAY & (1 << weekday) != 0
}

/// Begin and end of the window that begins on a day.
fn span(window: &Window, zone: &Zone, day: i64) -> (i64, i64) {
    let minutes = |minutes: u16| i64::from(minutes.min(1_440)) * 60;
    let (from, mut to) = (minutes(window.from), minutes(window.to));
    if to <= from {
        to += DAY;
    }
    let begin = zone.moment(day * DAY + from);
    let end = zone.moment(day * DAY + to);
    (begin, if end > begin { end } else { begin + to - from })
}

/// Formats a moment in the device's time zone: `Sat 2026-12-05 02:00 CET`.
pub fn words(moment: u64, zone: &Zone) -> String {
    const WEEK: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let at = i64::try_from(moment).unwrap_or(i64::MAX / 2);
    let local = u64::try_from(at + zone.offset(at)).unwrap_or(0);
    let day = local / 86_400;
    let weekday = usize::try_from((day + 3) % 7).unwrap_or(0);
    let (year, month, of_month) = holdfast_base::words::date(day);
    format!(
        "{} {year}-{month:02}-{of_month:02} {} {}",
        WEEK.get(weekday).copied().unwrap_or_default(),
        holdfast_base::words::time_of_day(local),
        zone.name(at)
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAT_SUN: u8 = 0b110_0000;

    fn berlin() -> Zone {
        Zone::of_rule("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    /// Moment of a local time such as `2026-12-05 02:00` (the first, if there are two).
    fn at(zone: &Zone, text: &str) -> u64 {
        let number =
            |range: std::ops::Range<usize>| text.get(range).unwrap().parse::<i64>().unwrap();
        let (year, month, of_month) = (number(0..4), number(5..7), number(8..10));
        let day = (0_u64..40_000)
            .find(|day| {
                let (y, m, d) = holdfast_base::words::date(*day);
                (y as i64, m as i64, d as i64) == (year, month, of_month)
            })
            .unwrap();
        let local = day as i64 * DAY + number(11..13) * 3_600 + number(14..16) * 60;
        u64::try_from(zone.moment(local)).unwrap()
    }

    fn window(days: u8, from: u16, to: u16) -> Window {
        Window { from: from / 100 * 60 + from % 100, to: to / 100 * 60 + to % 100, days }
    }

    #[test]
    fn windows_over_midnight_the_week_and_changes_of_the_clock() {
        let night = [window(EVERY_DAY, 2200, 600)];
        let weekend = [window(SAT_SUN, 200, 400)];
        let all_day = [window(EVERY_DAY, 0, 2400)];
        let sunday_night = [window(0b100_0000, 2300, 100)];
        let skipped = [window(0b100_0000, 215, 245)];
        let two = [window(EVERY_DAY, 100, 200), window(EVERY_DAY, 130, 300)];
        // Windows, now, and until when it is open (+) or when it opens (-), in local time.
        for (windows, now, is) in [
            (&night[..], "2026-12-01 21:59", "-2026-12-01 22:00"),
            (&night[..], "2026-12-01 22:00", "+2026-12-02 06:00"),
            (&night[..], "2026-12-02 00:00", "+2026-12-02 06:00"),
            (&night[..], "2026-12-02 05:59", "+2026-12-02 06:00"),
            (&night[..], "2026-12-02 06:00", "-2026-12-02 22:00"),
            // Saturday the fifth; from Sunday noon it is the next weekend's turn.
            (&weekend[..], "2026-12-01 12:00", "-2026-12-05 02:00"),
            (&weekend[..], "2026-12-05 03:00", "+2026-12-05 04:00"),
            (&weekend[..], "2026-12-05 04:00", "-2026-12-06 02:00"),
            (&weekend[..], "2026-12-06 12:00", "-2026-12-12 02:00"),
            (&weekend[..], "2026-12-31 12:00", "-2027-01-02 02:00"),
            (&all_day[..], "2026-12-01 12:00", "+2026-12-02 00:00"),
            (&all_day[..], "2026-12-02 00:00", "+2026-12-03 00:00"),
            (&sunday_night[..], "2026-12-07 00:30", "+2026-12-07 01:00"),
            (&sunday_night[..], "2026-12-07 01:00", "-2026-12-13 23:00"),
            // On 2026-03-29 there is no 02:00 to 03:00: the window is from 03:00 to 04:00.
            (&weekend[..], "2026-03-29 01:59", "-2026-03-29 03:00"),
            (&weekend[..], "2026-03-29 03:00", "+2026-03-29 04:00"),
            // What the day has not at all is as much later, and as long as it is written.
            (&skipped[..], "2026-03-29 01:59", "-2026-03-29 03:15"),
            (&skipped[..], "2026-03-29 03:20", "+2026-03-29 03:45"),
            // On 2026-10-25 02:00 to 03:00 comes twice: from the first 02:00 to 04:00, 3 hours.
            (&weekend[..], "2026-10-25 01:59", "-2026-10-25 02:00"),
            (&weekend[..], "2026-10-25 03:59", "+2026-10-25 04:00"),
            (&night[..], "2026-03-28 23:00", "+2026-03-29 06:00"),
            (&night[..], "2026-10-24 23:00", "+2026-10-25 06:00"),
            // Of two that overlap the later end counts.
            (&two[..], "2026-12-01 01:45", "+2026-12-01 03:00"),
            (&two[..], "2026-12-01 03:00", "-2026-12-02 01:00"),
        ] {
            let zone = berlin();
            let (sign, then) = is.split_at(1);
            let then = at(&zone, then);
            let expected = match sign {
                "+" => Gate::Open { until: Some(then) },
                _ => Gate::Shut { opens: then },
            };
            assert_eq!(gate(windows, &zone, at(&zone, now)), expected, "{windows:?} {now}");
        }
    }

    #[test]
    fn without_windows_it_is_always_open() {
        assert_eq!(gate(&[], &Zone::utc(), 0), Gate::Open { until: None });
        let never = [window(0, 100, 200)];
        assert_eq!(gate(&never, &Zone::utc(), 0), Gate::Open { until: None }, "none ever comes");
    }

    #[test]
    fn a_moment_is_said_in_the_devices_zone() {
        let zone = berlin();
        assert_eq!(words(at(&zone, "2026-12-05 02:00"), &zone), "Sat 2026-12-05 02:00 CET");
        assert_eq!(words(at(&zone, "2026-07-05 02:00"), &zone), "Sun 2026-07-05 02:00 CEST");
        assert_eq!(words(0, &Zone::utc()), "Thu 1970-01-01 00:00 UTC");
    }

    proptest! {
        /// Checks that a gate holds until the moment that it names and changes then, that it opens
        /// within a week and a day, and that what is open ends.
        #[test]
        fn a_gate_holds_until_it_says(
            windows in proptest::collection::vec((1u8..=EVERY_DAY, 0u16..1_440, 1u16..=1_440), 1..5),
            now in 1_750_000_000u64..1_850_000_000,
            north: bool,
        ) {
            let windows: Vec<Window> = windows
                .into_iter()
                .filter(|(_, from, to)| from != to)
                .map(|(days, from, to)| Window { from, to, days })
                .collect();
            let rule = if north { "CET-1CEST,M3.5.0,M10.5.0/3" } else { "AEST-10AEDT,M10.1.0,M4.1.0/3" };
            let zone = Zone::of_rule(rule).unwrap();
            match gate(&windows, &zone, now) {
                Gate::Open { until: None } => prop_assert!(windows.is_empty()),
                Gate::Open { until: Some(until) } => {
                    prop_assert!(until > now && until <= now + 2 * 86_400);
                    let before = gate(&windows, &zone, until - 1);
                    prop_assert!(matches!(before, Gate::Open { .. }), "{before:?}");
                }
                Gate::Shut { opens } => {
                    prop_assert!(opens > now && opens <= now + 8 * 86_400);
                    prop_assert_eq!(gate(&windows, &zone, opens - 1), Gate::Shut { opens });
                    let then = gate(&windows, &zone, opens);
                    prop_assert!(matches!(then, Gate::Open { until: Some(_) }), "{then:?}");
                }
            }
        }
    }
}
