//! Traffic of the last hour by class, as the rate of a forecast. What was before the agent started
//! is not counted.
//!
//! See decision 0121.

use std::collections::VecDeque;

use holdfast_records::TrafficClass;

/// Length of an interval, in milliseconds: five minutes.
const PART: u64 = 300_000;
/// Number of intervals that are kept: those of an hour, and the one under way.
const PARTS: usize = 13;

/// Bytes by class in intervals of five minutes, each with its begin in milliseconds of the
/// monotonic clock.
#[derive(Debug, Default)]
pub struct Recent {
    parts: VecDeque<(u64, [u64; TrafficClass::ALL.len()])>,
}

impl Recent {
    /// Advances to `now`: begins an interval if one is due, and drops those older than an hour.
    pub fn note(&mut self, now: u64) {
        if self.parts.back().is_none_or(|(began, _)| now >= began.saturating_add(PART)) {
            self.parts.push_back((now, Default::default()));
        }
        // A machine that slept wrote no intervals: the number alone does not say how old they are.
        let oldest = now.saturating_sub(PART * 13);
        while self.parts.len() > PARTS || self.parts.front().is_some_and(|(it, _)| *it < oldest) {
            self.parts.pop_front();
        }
    }

    /// Adds bytes of a class to the present interval.
    pub fn add(&mut self, class: TrafficClass, bytes: u64) {
        let part = self.parts.back_mut().and_then(|(_, part)| part.get_mut(class as usize));
        if let Some(sum) = part {
            *sum = sum.saturating_add(bytes);
        }
    }

    /// Bytes of a class in the last hour.
    pub fn of(&self, class: TrafficClass) -> u64 {
        let parts = self.parts.iter().filter_map(|(_, part)| part.get(class as usize));
        parts.fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }

    /// Time for which bytes were counted, in seconds; about an hour at most.
    pub fn watched(&self, now: u64) -> u64 {
        self.parts.front().map_or(0, |(began, _)| now.saturating_sub(*began) / 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_remembered_and_what_was_before_it_is_not() {
        use TrafficClass::{Artifacts, Data};
        let mut recent = Recent::default();
        recent.add(Data, 5);
        assert_eq!((recent.of(Data), recent.watched(9)), (0, 0), "nothing is noted yet");
        // A byte a minute for two hours.
        for minute in 0..=120_u64 {
            recent.note(minute * 60_000);
            recent.add(Data, 1);
        }
        recent.add(Artifacts, 7);
        let now = 120 * 60_000;
        assert_eq!((recent.of(Data), recent.watched(now)), (61, 3_600));
        assert_eq!((recent.of(Artifacts), recent.of(TrafficClass::Control)), (7, 0));
        recent.note(now + 8 * 3_600_000);
        assert_eq!(recent.of(Data), 0, "it slept");
        assert_eq!(recent.watched(now + 8 * 3_600_000), 0);
    }
}
