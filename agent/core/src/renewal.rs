//! Renewal of the certificate, and approval of an enrolment that waits: when it is asked for, and
//! when again after a failure.
//!
//! See decisions 0017 and 0145.

use super::backoff::{self, Entropy};
use super::certificate::Life;

/// First and longest back-off of a renewal, in milliseconds.
const RETRY: (u64, u64) = (2_000, 300_000);
/// Longest back-off in milliseconds while the control plane cannot be reached: it is tried again as
/// often as the link.
const UNREACHED: u64 = 30_000;

/// Failure of a renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Text of the failure.
    pub text: String,
    /// True if the control plane refused it, false if it did not answer.
    pub is_refused: bool,
}

/// State of the certificate's renewal. All times are in milliseconds since the boot.
#[derive(Debug, Default)]
pub struct Renewal {
    running: bool,
    asked: bool,
    failures: u32,
    not_before: u64,
    failure: Option<Failure>,
}

impl Renewal {
    /// Asks for a renewal, because the control plane refused the connection: the reply over HTTPS
    /// says why, and a renewal may cure it.
    pub fn ask_soon(&mut self) {
        self.asked = true;
    }

    /// Begins a renewal if one is due. Returns true if it is to be carried out. `life`: that of the
    /// certificate; None: the enrolment waits for approval, which is asked for in the same way.
    /// `time`: in seconds since 1970.
    pub fn begin(&mut self, life: Option<Life>, time: u64, now: u64) -> bool {
        let due = life.is_none_or(|life| life.is_due(time) || self.asked);
        if !due || self.running || now < self.not_before {
            return false;
        }
        self.running = true;
        self.asked = false;
        true
    }

    /// Notes that the certificate is renewed, or the enrolment approved.
    pub fn renewed(&mut self, now: u64) {
        *self = Self { not_before: now + RETRY.0, ..Self::default() };
    }

    /// Notes that the enrolment still waits for approval.
    pub fn waits(&mut self, now: u64) {
        self.running = false;
        self.not_before = now + RETRY.0;
    }

    /// Notes a failure, after which a back-off begins.
    pub fn failed(&mut self, failure: Failure, now: u64, entropy: &mut Entropy) {
        self.running = false;
        self.failures = self.failures.saturating_add(1);
        let wait = backoff::delay(self.failures, RETRY.0, RETRY.1, entropy);
        let wait = if failure.is_refused { wait } else { wait.min(UNREACHED) };
        self.not_before = now + wait;
        self.failure = Some(failure);
    }

    /// Text of the last failure since the last success.
    pub fn trouble(&self) -> Option<&str> {
        self.failure.as_ref().map(|failure| failure.text.as_str())
    }

    /// Text with which the control plane refused the last renewal.
    pub fn refused(&self) -> Option<&str> {
        self.failure.as_ref().filter(|it| it.is_refused).map(|failure| failure.text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Option<Life> = Some(Life { not_before: 0, not_after: 3_000 });

    fn failure(is_refused: bool) -> Failure {
        Failure { text: "no".into(), is_refused }
    }

    #[test]
    fn one_renewal_at_a_time_and_only_if_it_is_due_or_asked_for() {
        let mut renewal = Renewal::default();
        assert!(!renewal.begin(LIFE, 1_999, 0));
        assert!(renewal.begin(LIFE, 2_000, 0));
        assert!(!renewal.begin(LIFE, 2_000, 0), "it is running");
        renewal.renewed(10);
        assert!(!renewal.begin(LIFE, 2_000, 10 + RETRY.0 - 1), "not at once again");
        assert!(renewal.begin(LIFE, 2_000, 10 + RETRY.0));
        renewal.renewed(0);
        renewal.ask_soon();
        assert!(renewal.begin(LIFE, 0, RETRY.0), "the link was refused");
        renewal.renewed(0);
        assert!(!renewal.begin(LIFE, 0, RETRY.0), "it was asked for once");
        let mut waiting = Renewal::default();
        assert!(waiting.begin(None, 0, 0), "an approval is asked for until it comes");
        waiting.waits(0);
        assert!(!waiting.begin(None, 0, RETRY.0 - 1) && waiting.begin(None, 0, RETRY.0));
    }

    #[test]
    fn a_refusal_backs_off_further_than_an_outage_and_a_success_ends_it() {
        let mut entropy = Entropy::new(1);
        for (is_refused, longest) in [(true, RETRY.1), (false, UNREACHED)] {
            let mut renewal = Renewal::default();
            let mut now = 0;
            let mut wait = || {
                assert!(renewal.begin(LIFE, 2_500, now));
                renewal.failed(failure(is_refused), now, &mut entropy);
                let waited = renewal.not_before - now;
                now = renewal.not_before;
                waited
            };
            let waits: Vec<u64> = (0..20).map(|_| wait()).collect();
            assert!(waits[0] <= RETRY.0 && waits[0] >= RETRY.0 / 4 * 3, "{waits:?}");
            assert!(waits[19] <= longest && waits[19] >= longest / 4 * 3, "{waits:?}");
            assert_eq!(renewal.trouble(), Some("no"));
            assert_eq!(renewal.refused().is_some(), is_refused);
            renewal.renewed(now);
            assert_eq!((renewal.trouble(), renewal.refused()), (None, None));
        }
    }
}
