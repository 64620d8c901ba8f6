//! Whether a device that connects is the one that was known: its data folder may have been copied,
//! or put back to an earlier state. See PROTOCOL.md, section 10.

use std::net::IpAddr;

use holdfast_protocol::message::Problem;
use serde::{Deserialize, Serialize};

use holdfast_api::time;

/// Two machines have one identity if histories diverged so often within [`WITHIN`].
const TWICE: usize = 3;
/// In seconds: longer than three of an agent's longest waits between connections.
const WITHIN: u64 = 30 * 60;
/// How long a history that diverged is said, in seconds.
const SAID: u64 = 86_400;

/// A device's history, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lineage {
    /// The epoch in which it was told: what a backup says of an earlier one is no evidence.
    epoch: u64,
    /// The last number.
    last: u32,
    /// From where it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    /// The last times that another history came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    diverged: Vec<Diverged>,
}

/// Another history came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Diverged {
    /// Seconds since 1970.
    at: u64,
    /// From where.
    from: Option<IpAddr>,
    /// From where the one came that was known.
    known: Option<IpAddr>,
}

impl Lineage {
    /// A device tells its history after a connect, in this epoch. Some: it is another one than was
    /// known, and this is its last number.
    pub fn told(
        &mut self,
        history: &[u32],
        epoch: u64,
        (address, now): (Option<IpAddr>, u64),
    ) -> Option<u32> {
        let last = history.last().copied()?;
        let unknown = self.last == 0 || self.epoch != epoch;
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

    /// This is the history from now on.
    pub fn confirmed(&mut self, last: u32, epoch: u64, address: Option<IpAddr>) {
        (self.last, self.epoch, self.address) = (last, epoch, address);
    }

    /// What is over is not said any more. True: something was.
    pub fn settle(&mut self, now: u64) -> bool {
        let before = self.diverged.len();
        let over = |it: &Diverged, for_long| now.saturating_sub(it.at) > for_long;
        self.diverged.retain(|it| !over(it, SAID));
        // Two machines come again and again: what was so once is then one machine that was put back.
        if self.diverged.len() >= TWICE && self.diverged.first().is_some_and(|it| over(it, WITHIN))
        {
            self.diverged.drain(..1);
        }
        before != self.diverged.len()
    }

    /// When the evidence began, in seconds since 1970. 0: there is none.
    pub fn since(&self) -> u64 {
        self.diverged.first().map_or(0, |first| first.at)
    }

    /// What a person should know.
    pub fn problem(&self) -> Option<Problem> {
        let last = self.diverged.last()?;
        let said = |address: Option<IpAddr>| {
            address.map_or_else(|| "an unknown address".into(), |address| address.to_string())
        };
        let (one, other, at) = (said(last.known), said(last.from), time::rfc3339(last.at));
        let (code, message) = if self.diverged.len() >= TWICE {
            (
                "identity-twice",
                format!(
                    "two machines use this identity, last from {one} and {other}: a data folder was copied. On the one that is the copy, stop the agent, delete its data folder and enrol it with a name of its own; if neither is known, revoking the device shuts out both. Records of both arrive meanwhile"
                ),
            )
        } else {
            (
                "rolled-back",
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

    fn code(lineage: &Lineage) -> Option<String> {
        lineage.problem().map(|problem| problem.code)
    }

    #[test]
    fn a_connection_that_goes_on_says_nothing() {
        let mut lineage = Lineage::default();
        assert_eq!(lineage.told(&[], 1, (None, 10)), None, "an agent that does not tell");
        assert_eq!(lineage.told(&[5], 1, (None, 10)), None);
        assert_eq!(lineage.told(&[5, 6], 1, (None, 20)), None);
        // The answer was lost, and the agent was started again.
        assert_eq!(lineage.told(&[5, 6, 7], 1, (None, 30)), None);
        assert_eq!(code(&lineage), None, "however often it comes back");
        // Restored from a backup: what that says of devices is older than they are.
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
        assert_eq!(code(&lineage).as_deref(), Some("rolled-back"));
        // It does not count before the device goes on above what it was told.
        assert_eq!(lineage.told(&[1, 9], 1, at("10.0.0.9", 20)), Some(9));
        lineage.confirmed(9, 1, Some("10.0.0.9".parse().unwrap()));
        assert_eq!(lineage.told(&[9, 10], 1, at("10.0.0.9", 30)), None);
        assert_eq!(lineage.told(&[2, 11], 1, at("10.0.0.5", 40)), Some(11));
        let problem = lineage.problem().unwrap();
        assert_eq!(problem.code, "identity-twice");
        assert!(problem.message.contains("from 10.0.0.9 and 10.0.0.5"), "{}", problem.message);
        assert!(!lineage.settle(WITHIN));
        assert!(lineage.settle(WITHIN + 11));
        assert_eq!(code(&lineage).as_deref(), Some("rolled-back"));
        assert!(lineage.settle(SAID + 41));
        assert_eq!(code(&lineage), None);
        for now in 0..1_000 {
            lineage.told(&[77], 1, at("10.0.0.5", now));
        }
        assert_eq!(lineage.diverged.len(), TWICE);
    }
}
