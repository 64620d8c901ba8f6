//! Detection of a device whose data folder was copied to another machine or put back to an earlier
//! state. See PROTOCOL.md, section 10.
//!
//! With each connection the agent draws a random number and reports the last few of them as its
//! history. The control plane keeps the newest one. If that is not in a later history, the history
//! diverged: another machine has drawn numbers since, or this one has forgotten some.
//!
//! See decision 0081.

use std::net::IpAddr;

use holdfast_protocol::message::Problem;
use holdfast_protocol::problem::ProblemCode;
use serde::{Deserialize, Serialize};

use holdfast_api::time;

/// Divergences within [`WITHIN`] from which on two machines are assumed to use one identity. One
/// restored backup diverges once; two machines diverge at every change between them.
const TWICE: usize = 3;
/// Time in which divergences count together, in seconds: longer than three of the longest waits of
/// an agent between two connections.
const WITHIN: u64 = 30 * 60;
/// Time for which a divergence is reported as a problem, in seconds: a day.
const SAID: u64 = 86_400;

/// Newest known number of a device's connection history, and recent divergences from it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lineage {
    /// Epoch of the control plane in which the number was reported. After a restore from a backup
    /// (a new epoch) the stored number is older than the device's, which proves nothing.
    epoch: u64,
    /// Newest number of the history; 0: not known.
    last: u32,
    /// Address from which that number was reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    /// Latest divergences, oldest first, at most [`TWICE`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    diverged: Vec<Diverged>,
}

/// One divergence: a history came without the number that was known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Diverged {
    /// Time of the report, in seconds since 1970.
    at: u64,
    /// Address from which the other history came.
    from: Option<IpAddr>,
    /// Address from which the known history had come.
    known: Option<IpAddr>,
}

impl Lineage {
    /// Compares the history that a device reports after it connected with the known number. `epoch`
    /// is the control plane's. Some(number): the history diverged, and this is its newest number;
    /// the known one stays until [`Lineage::confirmed`].
    pub fn told(
        &mut self,
        history: &[u32],
        epoch: u64,
        (address, now): (Option<IpAddr>, u64),
    ) -> Option<u32> {
        let last = history.last().copied()?;
        let unknown = self.last == 0 || self.epoch != epoch;
        // An agent reports the last acknowledged number, those that may have been acknowledged, and
        // the new one. It is enough that the known number is anywhere among them: an
        // acknowledgement that was lost on the way leaves [5, 6, 7] for a known 6.
        if unknown || history.contains(&self.last) {
            self.confirmed(last, epoch, address);
            return None;
        }
        self.diverged.push(Diverged { at: now, from: address, known: self.address });
        if self.diverged.len() > TWICE {
            self.diverged.remove(0);
        }
        Some(last)
    }

    /// Takes `last` as the newest number of the history from now on.
    pub fn confirmed(&mut self, last: u32, epoch: u64, address: Option<IpAddr>) {
        (self.last, self.epoch, self.address) = (last, epoch, address);
    }

    /// Removes divergences that are over. True if any was removed.
    pub fn settle(&mut self, now: u64) -> bool {
        let before = self.diverged.len();
        let over = |it: &Diverged, for_long| now.saturating_sub(it.at) > for_long;
        self.diverged.retain(|it| !over(it, SAID));
        // Two machines keep diverging, so that `told` replaces the oldest of the three before it is
        // older than WITHIN. If it gets older, they have stopped: one machine is left, which was
        // put back, and without the oldest `identity-twice` becomes `rolled-back` again.
        if self.diverged.len() >= TWICE && self.diverged.first().is_some_and(|it| over(it, WITHIN))
        {
            self.diverged.drain(..1);
        }
        before != self.diverged.len()
    }

    /// Time of the oldest divergence that is still reported, in seconds since 1970; 0: there is
    /// none.
    pub fn since(&self) -> u64 {
        self.diverged.first().map_or(0, |first| first.at)
    }

    /// Returns the problem that the divergences amount to: `rolled-back` for fewer than three,
    /// `identity-twice` for three. None: there are none.
    pub fn problem(&self) -> Option<Problem> {
        let last = self.diverged.last()?;
        let said = |address: Option<IpAddr>| {
            address.map_or_else(|| "an unknown address".into(), |address| address.to_string())
        };
        let (one, other, at) = (said(last.known), said(last.from), time::rfc3339(last.at));
        let (code, message) = if self.diverged.len() >= TWICE {
            (
                ProblemCode::IdentityTwice,
                format!(
                    "two machines use this identity, last from {one} and {other}: a data folder was copied. On the one that is the copy, stop the agent, delete its data folder and enrol it with a name of its own; if neither is known, revoking the device shuts out both. Records of both arrive meanwhile"
                ),
            )
        } else {
            (
                ProblemCode::RolledBack,
                format!(
                    "at {at} it came back from {other} with an earlier state of its data folder, or as a copy of it (last known from {one}): a restored backup, a snapshot or a cloned disk. Its records are numbered above all that is known; what it stored after that state and had not shipped is lost. This is said for a day"
                ),
            )
        };
        Some(Problem { code: code.into(), message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(lineage: &Lineage) -> Option<ProblemCode> {
        lineage.problem().and_then(|problem| problem.code.known())
    }

    #[test]
    fn a_connection_that_goes_on_says_nothing() {
        let mut lineage = Lineage::default();
        assert_eq!(lineage.told(&[], 1, (None, 10)), None, "an agent that does not tell");
        assert_eq!(lineage.told(&[5], 1, (None, 10)), None);
        assert_eq!(lineage.told(&[5, 6], 1, (None, 20)), None);
        // The acknowledgement was lost, and the agent was restarted.
        assert_eq!(lineage.told(&[5, 6, 7], 1, (None, 30)), None);
        assert_eq!(code(&lineage), None, "however often it comes back");
        // After a restore from a backup the known number is older than the device's history.
        assert_eq!(lineage.told(&[70, 71], 2, (None, 40)), None);
        assert_eq!(code(&lineage), None);
    }

    #[test]
    fn one_other_history_was_put_back_and_again_and_again_there_are_two() {
        let at = |text: &str, now| (Some(text.parse().unwrap()), now);
        let mut lineage = Lineage::default();
        lineage.told(&[1], 1, at("10.0.0.5", 0));
        lineage.told(&[1, 2], 1, at("10.0.0.5", 5));
        assert_eq!(lineage.told(&[1, 9], 1, at("10.0.0.9", 10)), Some(9));
        assert_eq!(code(&lineage), Some(ProblemCode::RolledBack));
        // The known number stays until the device confirms that it goes on above the numbers it was
        // told.
        assert_eq!(lineage.told(&[1, 9], 1, at("10.0.0.9", 20)), Some(9));
        lineage.confirmed(9, 1, Some("10.0.0.9".parse().unwrap()));
        assert_eq!(lineage.told(&[9, 10], 1, at("10.0.0.9", 30)), None);
        assert_eq!(lineage.told(&[2, 11], 1, at("10.0.0.5", 40)), Some(11));
        let problem = lineage.problem().unwrap();
        assert_eq!(problem.code, ProblemCode::IdentityTwice);
        assert!(problem.message.contains("from 10.0.0.9 and 10.0.0.5"), "{}", problem.message);
        assert!(!lineage.settle(WITHIN));
        assert!(lineage.settle(WITHIN + 11));
        assert_eq!(code(&lineage), Some(ProblemCode::RolledBack));
        assert!(lineage.settle(SAID + 41));
        assert_eq!(code(&lineage), None);
        for now in 0..1_000 {
            lineage.told(&[77], 1, at("10.0.0.5", now));
        }
        assert_eq!(lineage.diverged.len(), TWICE);
    }
}
