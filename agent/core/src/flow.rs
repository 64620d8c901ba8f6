//! When a log is looked at next: soon after its first word, and the sooner again the more it
//! grew. A quiet log is not looked at for its sake at all.
//! See decision 0038.

/// How long after the first word since the last look, in milliseconds: some more may come.
const SOON: u64 = 2;
/// Shortest time between two looks at one log, in milliseconds: a fast writer writes a few MiB in
/// it, and each look costs the agent a turn.
const SHORTEST: u64 = 5;
/// Longest, in milliseconds: whoever logs a line now and then wakes the agent ten times a second
/// at most.
const LONGEST: u64 = 100;

/// How one workload's log flows, by times in milliseconds of a rising clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flow {
    /// Its length after the last look, in bytes.
    length: u64,
    looked: u64,
    /// When the first word since came.
    woken: u64,
    pause: u64,
    due: Option<u64>,
}

impl Flow {
    /// Something was written.
    pub fn wrote(&mut self, now: u64) {
        self.woken = now;
        self.look_at((now + SOON).max(self.looked + self.pause));
    }

    /// It is to be looked at then, if not before.
    pub fn look_at(&mut self, at: u64) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// When it is to be looked at. None: not before something is written.
    pub fn due(&self) -> Option<u64> {
        self.due
    }

    /// It was looked at: it was `found` so long and `left` so long, in bytes; its bound is
    /// `limit`.
    pub fn looked(&mut self, found: u64, left: u64, limit: u64, now: u64) {
        let grew = found.saturating_sub(self.length);
        // At this rate another quarter of the bound is full after that.
        let took = now.saturating_sub(self.woken).max(1);
        let by_rate = (limit / 4).saturating_mul(took).checked_div(grew);
        // The first words after a silence may be the beginning of a flood.
        let silence = self.woken.saturating_sub(self.looked) >= LONGEST;
        let patience = if silence { SHORTEST } else { self.pause.saturating_mul(2) };
        self.pause = by_rate.map_or(0, |rate| rate.min(patience).clamp(SHORTEST, LONGEST));
        (self.length, self.looked, self.due) = (left, now, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 1024 * 1024;

    /// Writes `rate` bytes a millisecond from `from` to `until`, without a pause; gives how many
    /// looks there were, and the longest that it ever was.
    fn write(flow: &mut Flow, rate: u64, from: u64, until: u64) -> (u64, u64) {
        let (mut length, mut looks, mut longest) = (flow.length, 0, 0);
        flow.wrote(from);
        for now in from..until {
            length += rate;
            longest = longest.max(length);
            if flow.due().is_some_and(|due| now >= due) {
                let left = if length > LIMIT { LIMIT / 4 * 3 } else { length };
                flow.looked(length, left, LIMIT, now);
                (length, looks) = (left, looks + 1);
                flow.wrote(now);
            }
        }
        (looks, longest)
    }

    #[test]
    fn whoever_floods_after_a_silence_is_bounded_at_once() {
        let mut flow = Flow::default();
        // A gigabyte a second, from its first word on.
        let (_, longest) = write(&mut flow, 1_000_000, 10_000, 11_000);
        assert!(longest < 8 * LIMIT, "{longest}");
        // A line, and the flood behind it.
        let mut flow = Flow::default();
        write(&mut flow, 10, 10_000, 10_001);
        let (_, longest) = write(&mut flow, 1_000_000, 10_001, 11_000);
        assert!(longest < 8 * LIMIT, "{longest}");
    }

    #[test]
    fn a_quiet_log_is_not_looked_at_and_a_slow_one_seldom() {
        let mut flow = Flow::default();
        assert_eq!(flow.due(), None);
        flow.looked(0, 0, LIMIT, 5);
        assert_eq!(flow.due(), None, "nothing was written");
        let (looks, _) = write(&mut flow, 1, 10_000, 20_000);
        assert!(looks <= 10_000 / LONGEST + 8, "{looks} looks in ten seconds");
        // An idle look does not make the next word wait.
        flow.looked(flow.length, flow.length, LIMIT, 30_000);
        flow.wrote(30_001);
        assert_eq!(flow.due(), Some(30_001 + SOON));
        flow.look_at(40_000);
        assert_eq!(flow.due(), Some(30_001 + SOON), "what is due sooner stays so");
    }
}
