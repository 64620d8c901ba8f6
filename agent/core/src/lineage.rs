//! Detection of a copied or restored data folder. With each connection a new random number is
//! stored, and then sent: a folder that goes on from an earlier state has not the number that the
//! control plane knows, so the two histories have diverged.
//!
//! See decision 0081.

use holdfast_protocol::message::MAX_HISTORY;

/// Number of divergences within [`WITHIN`] from which two machines must be using one identity.
const DUPLICATED: usize = 3;
/// Time within which divergences are counted, in milliseconds: longer than three waits before a
/// refused connection is tried again.
const WITHIN: u64 = 30 * 60_000;
/// Time for which a divergence is reported as a problem, in milliseconds: a day.
const REPORTED_FOR: u64 = 24 * 3_600_000;

/// Lineage numbers of this data folder, one of which the control plane may know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lineage {
    /// Numbers on disk: the last one that the control plane certainly knows, then those it may
    /// know.
    numbers: Vec<u32>,
    /// True if this process made the last number.
    own: bool,
    /// True if the control plane knows the last number.
    confirmed: bool,
    /// Times at which the control plane said that it knows another lineage, in milliseconds of
    /// uptime; the last [`DUPLICATED`] of them.
    diverged: Vec<u64>,
}

impl Lineage {
    /// Parses the stored text. Words that are no numbers are skipped.
    pub fn read(text: &str) -> Self {
        let numbers = text.split_whitespace().filter_map(|number| number.parse().ok());
        Self { numbers: numbers.take(MAX_HISTORY).collect(), ..Self::default() }
    }

    /// Begins a connection with a random number. Returns the numbers to store and then give to
    /// [`Lineage::begun`]. None: the last number is still unconfirmed and serves for this one too.
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

    /// Takes over the numbers of [`Lineage::begin`], which are stored now.
    pub fn begun(&mut self, numbers: Vec<u32>) {
        (self.numbers, self.own, self.confirmed) = (numbers, true, false);
    }

    /// Numbers to send in a full report. A number that could not be stored is not sent; the former
    /// ones are still right.
    pub fn numbers(&self) -> Vec<u32> {
        self.numbers.clone()
    }

    /// Notes that the control plane has stored a full report, so that it knows the last number.
    pub fn reported(&mut self) {
        self.confirmed |= self.own;
    }

    /// Notes that the control plane knows another lineage.
    pub fn diverged(&mut self, now: u64) {
        self.confirmed = false;
        self.diverged.push(now);
        if self.diverged.len() > DUPLICATED {
            self.diverged.remove(0);
        }
    }

    /// Problem text if two machines use this identity at the same time.
    pub fn duplicated(&self, now: u64) -> Option<String> {
        let recent = |at: &&u64| now.saturating_sub(**at) <= WITHIN;
        (self.diverged.iter().filter(recent).count() >= DUPLICATED).then(|| {
            "another machine uses this device's identity at the same time: its data folder was copied. On the machine that is the copy, stop the agent, delete its data folder and enrol it with a name of its own; records of both arrive meanwhile".into()
        })
    }

    /// Problem text if this data folder is an earlier state of itself.
    pub fn rolled_back(&self, now: u64) -> Option<String> {
        let recent = self.diverged.last().is_some_and(|at| now.saturating_sub(*at) <= REPORTED_FOR);
        (recent && self.duplicated(now).is_none()).then(|| {
            "this device's data folder is an earlier state of itself, or a copy (a restored backup, a snapshot, a cloned disk): its records are numbered above all that the control plane knows; what was stored here after that state and not shipped is lost. This is said for a day".into()
        })
    }
}

/// Text of the numbers, as they are stored.
pub fn text(numbers: &[u32]) -> String {
    let words: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    words.join(" ") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(lineage: &mut Lineage, drawn: u32) -> Vec<u32> {
        if let Some(numbers) = lineage.begin(drawn) {
            lineage.begun(numbers);
        }
        lineage.numbers()
    }

    #[test]
    fn one_of_what_is_told_is_what_the_control_plane_knows() {
        let mut lineage = Lineage::read("");
        assert_eq!(lineage.numbers(), [0; 0]);
        assert_eq!(begin(&mut lineage, 1), [1]);
        assert_eq!(begin(&mut lineage, 2), [1], "whether it is known is not known yet");
        lineage.reported();
        assert_eq!(begin(&mut lineage, 3), [1, 3]);
        lineage.reported();
        assert_eq!(begin(&mut lineage, 4), [3, 4]);
        // Stopped, and copied: both go on from what is stored, each with a number of its own.
        let (mut one, mut other) = (Lineage::read(&text(&lineage.numbers())), lineage);
        other.reported();
        assert_eq!(begin(&mut one, 5), [3, 4, 5]);
        assert_eq!(begin(&mut other, 6), [4, 6]);
        // However often it is killed on its way, few are kept, and the last known one is among them.
        let mut killed = Lineage::read("9");
        for drawn in 100..130 {
            killed = Lineage::read(&text(&begin(&mut killed, drawn)));
        }
        assert_eq!(killed.numbers().len(), MAX_HISTORY);
        assert_eq!((killed.numbers()[0], killed.numbers()[7]), (9, 129));
        // What could not be stored is not told.
        let full = Lineage::read("7 8");
        assert!(full.begin(9).is_some());
        assert_eq!(full.numbers(), [7, 8]);
    }

    #[test]
    fn one_divergence_is_a_roll_back_and_many_are_two_machines() {
        let mut lineage = Lineage::default();
        assert_eq!((lineage.duplicated(0), lineage.rolled_back(0)), (None, None));
        lineage.diverged(1_000);
        let code =
            |lineage: &Lineage, now| match (lineage.duplicated(now), lineage.rolled_back(now)) {
                (Some(_), None) => Some("identity-twice"),
                (None, Some(_)) => Some("rolled-back"),
                (None, None) => None,
                both => panic!("{both:?}"),
            };
        assert_eq!(code(&lineage, 2_000), Some("rolled-back"));
        assert_eq!(code(&lineage, REPORTED_FOR + 1_001), None);
        lineage.diverged(2_000);
        lineage.diverged(3_000);
        assert_eq!(code(&lineage, 4_000), Some("identity-twice"));
        assert_eq!(code(&lineage, 1_001 + WITHIN), Some("rolled-back"), "it is over");
        (0..1_000).for_each(|at| lineage.diverged(at));
        assert_eq!(lineage.diverged.len(), DUPLICATED);
    }
}
