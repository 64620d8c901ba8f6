//! Counts of the fleet's devices over the last day, in memory alone and bounded. There are no
//! points from before the control plane's start, or for times at which nothing was counted.
//!
//! See decision 0130.

use std::collections::VecDeque;

use holdfast_api::time::rfc3339;
use holdfast_api::{DeviceCounts, Trend, TrendPoint};

/// Seconds between two points. A day has 288 of them, which fit a line a few hundred pixels wide.
pub const EVERY: u64 = 300;

/// Age at which points are dropped, in seconds: a day.
const KEPT: u64 = 86_400;

/// Seconds after the control plane's start before the first point. Devices connect again in that
/// time, so that a restart does not look like an outage of the fleet.
const SETTLES: u64 = 60;

/// Points in ascending order of time, at most a day of them.
#[derive(Debug)]
pub struct Points {
    began: u64,
    points: VecDeque<(u64, DeviceCounts)>,
}

impl Points {
    /// Creates an empty series. `now` is the start of the control plane, in seconds since 1970.
    pub fn new(now: u64) -> Self {
        Self { began: now, points: VecDeque::new() }
    }

    /// True if another point should be added.
    pub fn is_due(&self, now: u64) -> bool {
        match self.points.back() {
            None => now >= self.began + SETTLES,
            // If the clock was set back, the series begins anew.
            Some((last, _)) => now >= last + EVERY || now < *last,
        }
    }

    /// Adds a point, and drops those older than a day.
    pub fn add(&mut self, now: u64, counts: DeviceCounts) {
        if self.points.back().is_some_and(|(last, _)| now < *last) {
            self.points.clear();
            self.began = now;
        }
        self.points.push_back((now, counts));
        while self.points.front().is_some_and(|(at, _)| at + KEPT < now) {
            self.points.pop_front();
        }
    }

    /// Returns the points in the API's form.
    pub fn trend(&self) -> Trend {
        let point = |(at, counts): &(u64, DeviceCounts)| TrendPoint {
            at: rfc3339(*at),
            online: counts.online,
            unhealthy: counts.unhealthy,
            offline: counts.offline,
            never_seen: counts.never_seen,
        };
        Trend {
            since: rfc3339(self.began),
            every_seconds: EVERY,
            items: self.points.iter().map(point).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn online(online: u64) -> DeviceCounts {
        DeviceCounts { online, ..DeviceCounts::default() }
    }

    #[test]
    fn a_point_is_due_when_devices_had_time_to_come_and_then_each_five_minutes() {
        let mut points = Points::new(1_000);
        let due = |points: &Points, from: u64| (from..from + 1_000).find(|now| points.is_due(*now));
        assert_eq!(due(&points, 1_000), Some(1_000 + SETTLES));
        points.add(1_060, online(1));
        assert_eq!(due(&points, 1_060), Some(1_060 + EVERY));
    }

    #[test]
    fn a_day_is_kept_and_no_more() {
        let mut points = Points::new(0);
        for turn in 0..1_000 {
            points.add(turn * EVERY, online(turn));
        }
        let trend = points.trend();
        assert_eq!(trend.items.len() as u64, KEPT / EVERY + 1);
        assert_eq!(trend.items.last().unwrap().online, 999);
        assert_eq!(trend.since, rfc3339(0));
    }

    #[test]
    fn what_was_not_counted_is_a_gap_and_not_a_point() {
        let mut points = Points::new(0);
        points.add(100, online(5));
        points.add(100 + 10 * EVERY, online(6));
        assert_eq!(points.trend().items.len(), 2);
    }

    #[test]
    fn a_clock_that_is_set_back_begins_anew() {
        let mut points = Points::new(5_000);
        points.add(6_000, online(1));
        assert!(points.is_due(10));
        points.add(10, online(2));
        let trend = points.trend();
        assert_eq!((trend.since, trend.items.len()), (rfc3339(10), 1));
    }
}
