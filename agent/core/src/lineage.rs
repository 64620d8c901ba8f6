//! Which history of a device this is. A copied or restored data folder goes on from a state that
//! the control plane has left behind: a random number that is new with each connection, stored
//! before it is sent, tells the two apart.
//! See decision 0081.

use holdfast_protocol::message::MAX_HISTORY;

/// Two machines have one identity if the histories diverged so often within [`WITHIN`].
const TWICE: usize = 3;
/// In milliseconds: longer than three waits before a refused connection is tried again.
const WITHIN: u64 = 30 * 60_000;
/// How long one that diverged is said, in milliseconds.
const SAID: u64 = 24 * 3_600_000;

/// The numbers of which the control plane may know one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// On disk: the last one that it is known to know, then those that it may know.
    numbers: Vec<u32>,
    /// The last one was made by this process.
    own: bool,
    /// The control plane knows the last one.
    confirmed: bool,
    /// When it said that this history is another, in milliseconds of uptime; the last ones.
    diverged: Vec<u64>,
}

impl History {
    /// As it was stored. What cannot be read is none.
    pub fn read(text: &str) -> Self {
        let numbers = text.split_whitespace().filter_map(|number| number.parse().ok());
        Self { numbers: numbers.take(MAX_HISTORY).collect(), ..Self::default() }
    }

    /// A connection is up, and `drawn` is random. Some: what is to be stored, then given to
    /// [`History::begun`].
    pub fn begin(&self, drawn: u32) -> Option<Vec<u32>> {
        if self.own && !self.confirmed {
            return None;
        }
        let known = self.numbers.last().filter(|_| self.confirmed);
        let mut numbers = known.map_or_else(|| self.numbers.clone(), |last| vec![*last]);
        if numbers.len() >= MAX_HISTORY {
            numbers.remove(1);
        }
        numbers.push(drawn.max(1));
        Some(numbers)
    }

    /// These are stored.
    pub fn begun(&mut self, numbers: Vec<u32>) {
        (self.numbers, self.own, self.confirmed) = (numbers, true, false);
    }

    /// What is told in a full report. One that could not be stored is not told: the former ones
    /// are still right.
    pub fn told(&self) -> Vec<u32> {
        self.numbers.clone()
    }

    /// A full report was stored by the control plane.
    pub fn reported(&mut self) {
        self.confirmed |= self.own;
    }

    /// The control plane knows another history.
    pub fn diverged(&mut self, now: u64) {
        self.confirmed = false;
        self.diverged.push(now);
        if self.diverged.len() > TWICE {
            self.diverged.remove(0);
        }
    }

    /// Two machines have this identity, as a person should know it.
    pub fn twice(&self, now: u64) -> Option<String> {
        let recent = |at: &&u64| now.saturating_sub(**at) <= WITHIN;
        (self.diverged.iter().filter(recent).count() >= TWICE).then(|| {
            "another machine uses this device's identity at the same time: its data folder was copied. On the machine that is the copy, stop the agent, delete its data folder and enrol it with a name of its own; records of both arrive meanwhile".into()
        })
    }

    /// This data folder was put back, as a person should know it.
    pub fn rolled_back(&self, now: u64) -> Option<String> {
        let said = self.diverged.last().is_some_and(|at| now.saturating_sub(*at) <= SAID);
        (said && self.twice(now).is_none()).then(|| {
            "this device's data folder is an earlier state of itself, or a copy (a restored backup, a snapshot, a cloned disk): its records are numbered above all that the control plane knows; what was stored here after that state and not shipped is lost. This is said for a day".into()
        })
    }
}

/// As it is stored.
pub fn text(numbers: &[u32]) -> String {
    let words: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    words.join(" ") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(history: &mut History, drawn: u32) -> Vec<u32> {
        if let Some(numbers) = history.begin(drawn) {
            history.begun(numbers);
        }
        history.told()
    }

    #[test]
    fn one_of_what_is_told_is_what_the_control_plane_knows() {
        let mut history = History::read("");
        assert_eq!(history.told(), [0; 0]);
        assert_eq!(begin(&mut history, 1), [1]);
        assert_eq!(begin(&mut history, 2), [1], "whether it is known is not known yet");
        history.reported();
        assert_eq!(begin(&mut history, 3), [1, 3]);
        history.reported();
        assert_eq!(begin(&mut history, 4), [3, 4]);
        // Stopped, and copied: both go on from what is stored, each with a number of its own.
        let (mut one, mut other) = (History::read(&text(&history.told())), history);
        other.reported();
        assert_eq!(begin(&mut one, 5), [3, 4, 5]);
        assert_eq!(begin(&mut other, 6), [4, 6]);
        // However often it is killed on its way, few are kept, and the last known one is among them.
        let mut killed = History::read("9");
        for drawn in 100..130 {
            killed = History::read(&text(&begin(&mut killed, drawn)));
        }
        assert_eq!(killed.told().len(), MAX_HISTORY);
        assert_eq!((killed.told()[0], killed.told()[7]), (9, 129));
        // What could not be stored is not told.
        let full = History::read("7 8");
        assert!(full.begin(9).is_some());
        assert_eq!(full.told(), [7, 8]);
    }

    #[test]
    fn one_divergence_is_a_roll_back_and_many_are_two_machines() {
        let mut history = History::default();
        assert_eq!((history.twice(0), history.rolled_back(0)), (None, None));
        history.diverged(1_000);
        let code = |history: &History, now| match (history.twice(now), history.rolled_back(now)) {
            (Some(_), None) => Some("identity-twice"),
            (None, Some(_)) => Some("rolled-back"),
            (None, None) => None,
            both => panic!("{both:?}"),
        };
        assert_eq!(code(&history, 2_000), Some("rolled-back"));
        assert_eq!(code(&history, SAID + 1_001), None);
        history.diverged(2_000);
        history.diverged(3_000);
        assert_eq!(code(&history, 4_000), Some("identity-twice"));
        assert_eq!(code(&history, 1_001 + WITHIN), Some("rolled-back"), "it is over");
        (0..1_000).for_each(|at| history.diverged(at));
        assert_eq!(history.diverged.len(), TWICE);
    }
}
