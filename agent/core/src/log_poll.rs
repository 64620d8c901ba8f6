//! Size poll of a log: the time at which its size is checked next. A poll follows soon after a
//! write, and the sooner the faster the log grows. A quiet log is not polled at all.
//!
//! See decision 0038.

/// Delay of a poll after the first write since the last one, in milliseconds: more may come.
const SOON: u64 = 2;
/// Shortest time between two polls of one log, in milliseconds: a fast writer writes a few MiB in
/// it, and each poll costs the agent a turn.
const SHORTEST: u64 = 5;
/// Longest time between a write and the poll after it, in milliseconds: a program that logs a line
/// now and then wakes the agent ten times a second at most.
const LONGEST: u64 = 100;

/// Bytes that a log of more than `limit` bytes keeps when it is cut: three quarters, so that a
/// flood is not cut at each write; where disk space is low, a quarter.
pub fn kept(limit: u64, is_low: bool) -> u64 {
    if is_low { limit / 4 } else { limit / 4 * 3 }
}

/// Poll schedule of one workload's log; times in milliseconds of a monotonic clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogPoll {
    /// Length of the log after the last poll, in bytes.
    length: u64,
    polled_at: u64,
    /// Time of the first write since the last poll.
    written_at: u64,
    pause: u64,
    due: Option<u64>,
}

impl LogPoll {
    /// Notes that something was written, and schedules a poll.
    pub fn wrote(&mut self, now: u64) {
        self.written_at = now;
        self.poll_at((now + SOON).max(self.polled_at + self.pause));
    }

    /// Schedules a poll at `at`, unless one is due before.
    pub fn poll_at(&mut self, at: u64) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Time at which the log is to be polled. None: not before something is written.
    pub fn due(&self) -> Option<u64> {
        self.due
    }

    /// Notes a poll that `found` so many bytes in the log and `left` so many in it (less, where it
    /// was cut to its bound, `limit` bytes).
    pub fn polled(&mut self, found: u64, left: u64, limit: u64, now: u64) {
        let grew = found.saturating_sub(self.length);
        // At this rate another quarter of the bound is written in so many milliseconds. Example: 1
        // MiB in 20 ms, with a bound of 8 MiB, gives 40 ms.
        let took = now.saturating_sub(self.written_at).max(1);
        let by_rate = (limit / 4).saturating_mul(took).checked_div(grew);
        // The first write after a silence may be the beginning of a flood: the next poll follows
        // after the shortest time. Otherwise the pause at most doubles.
        let silence = self.written_at.saturating_sub(self.polled_at) >= LONGEST;
        let patience = if silence { SHORTEST } else { self.pause.saturating_mul(2) };
        self.pause = by_rate.map_or(0, |rate| rate.min(patience).clamp(SHORTEST, LONGEST));
        (self.length, self.polled_at, self.due) = (left, now, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 1024 * 1024;

    /// Writes `rate` bytes a millisecond from `from` to `until`, without a pause. Returns the number
    /// of polls, and the greatest length of the log in bytes.
    fn write(poll: &mut LogPoll, rate: u64, from: u64, until: u64) -> (u64, u64) {
        let (mut length, mut polls, mut longest) = (poll.length, 0, 0);
        poll.wrote(from);
        for now in from..until {
            length += rate;
            longest = longest.max(length);
            if poll.due().is_some_and(|due| now >= due) {
                let left = if length > LIMIT { kept(LIMIT, false) } else { length };
                poll.polled(length, left, LIMIT, now);
                (length, polls) = (left, polls + 1);
                poll.wrote(now);
            }
        }
        (polls, longest)
    }

    #[test]
    fn a_flood_after_a_silence_is_bounded_at_once() {
        let mut poll = LogPoll::default();
        // A gigabyte a second, from its first write on.
        let (_, longest) = write(&mut poll, 1_000_000, 10_000, 11_000);
        assert!(longest < 8 * LIMIT, "{longest}");
        // A line, and the flood behind it.
        let mut poll = LogPoll::default();
        write(&mut poll, 10, 10_000, 10_001);
        let (_, longest) = write(&mut poll, 1_000_000, 10_001, 11_000);
        assert!(longest < 8 * LIMIT, "{longest}");
    }

    #[test]
    fn a_cut_leaves_less_where_the_disk_is_low() {
        for (limit, is_low, left) in
            [(0, false, 0), (8, false, 6), (8, true, 2), (1_000, true, 250)]
        {
            assert_eq!(kept(limit, is_low), left, "{limit}, {is_low}");
        }
    }

    #[test]
    fn a_quiet_log_is_not_polled_and_a_slow_one_seldom() {
        let mut poll = LogPoll::default();
        assert_eq!(poll.due(), None);
        poll.polled(0, 0, LIMIT, 5);
        assert_eq!(poll.due(), None, "nothing was written");
        let (polls, _) = write(&mut poll, 1, 10_000, 20_000);
        assert!(polls <= 10_000 / LONGEST + 8, "{polls} polls in ten seconds");
        // A poll of an idle log does not delay the one after the next write.
        poll.polled(poll.length, poll.length, LIMIT, 30_000);
        poll.wrote(30_001);
        assert_eq!(poll.due(), Some(30_001 + SOON));
        poll.poll_at(40_000);
        assert_eq!(poll.due(), Some(30_001 + SOON), "what is due sooner stays so");
    }
}
