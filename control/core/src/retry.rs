//! Decides whether a device that did not answer a question is asked again, and when. See decision 0140.

use std::time::Duration;

use holdfast_protocol::message::ReplyCode;

/// Time after which a device that is busy, silent or not connected is tried again.
pub const SOON: Duration = Duration::from_secs(1);

/// Time after which a device that refused a question is asked again, while the question waits for
/// it.
pub const LATER: Duration = Duration::from_secs(10);

/// Number of times that a device which is busy with other calls is asked again, even when the
/// question does not wait.
pub const BUSY: u32 = 5;

/// Number of times that a device from which nothing came is asked again at once, even when the
/// question does not wait. The call or its reply may have been lost, since neither is acknowledged.
pub const LOST: u32 = 1;

/// Reason why one attempt to ask a device brought no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// The device could not be called: it is not connected, or takes no calls now.
    NotCalled,
    /// Nothing came, or a part of the reply was lost.
    Silent,
    /// The device or its link ended the call with an error.
    Refused(ReplyCode),
}

/// Next step after an attempt without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Ask again after this time, whether the device is known to be connected or not.
    Ask(Duration),
    /// Ask again after this time, and not before the device is connected.
    AskConnected(Duration),
    /// Ask no more: the last attempt's reason is the result.
    GiveUp,
}

/// Attempts that one question made with one device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retries {
    busy: u32,
    silent: u32,
}

impl Retries {
    /// Notes an attempt without an answer and decides on the next step. `left` is the time for
    /// which the question still waits for devices; zero: it does not wait.
    pub fn next(&mut self, missed: Missed, left: Duration) -> Step {
        let after = match missed {
            Missed::Silent if self.silent < LOST => {
                self.silent += 1;
                return Step::Ask(Duration::ZERO);
            }
            Missed::Refused(ReplyCode::Busy) if self.busy < BUSY => {
                self.busy += 1;
                return Step::Ask(SOON);
            }
            Missed::Silent | Missed::NotCalled => SOON,
            Missed::Refused(_) => LATER,
        };
        if after < left { Step::AskConnected(after) } else { Step::GiveUp }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_question_that_does_not_wait_asks_again_only_what_is_busy_or_lost() {
        let next = |missed| Retries::default().next(missed, Duration::ZERO);
        assert_eq!(next(Missed::NotCalled), Step::GiveUp);
        assert_eq!(next(Missed::Silent), Step::Ask(Duration::ZERO));
        for code in ReplyCode::ALL {
            let step = if code == ReplyCode::Busy { Step::Ask(SOON) } else { Step::GiveUp };
            assert_eq!(next(Missed::Refused(code)), step, "{code:?}");
        }
    }

    #[test]
    fn a_question_that_waits_goes_on_until_its_time_is_over() {
        for (missed, after) in [
            (Missed::NotCalled, SOON),
            (Missed::Silent, SOON),
            (Missed::Refused(ReplyCode::OverBudget), LATER),
            (Missed::Refused(ReplyCode::Failed), LATER),
            (Missed::Refused(ReplyCode::Busy), LATER),
        ] {
            let mut retries = Retries { busy: BUSY, silent: LOST };
            for _ in 0..100 {
                assert_eq!(retries.next(missed, HOUR), Step::AskConnected(after), "{missed:?}");
            }
            assert_eq!(retries.next(missed, after), Step::GiveUp, "{missed:?}: no time is left");
        }
    }

    #[test]
    fn busy_and_lost_attempts_are_counted_apart_and_bounded() {
        let mut retries = Retries::default();
        for _ in 0..BUSY {
            let busy = Missed::Refused(ReplyCode::Busy);
            assert_eq!(retries.next(busy, Duration::ZERO), Step::Ask(SOON));
        }
        assert_eq!(retries.next(Missed::Silent, Duration::ZERO), Step::Ask(Duration::ZERO));
        assert_eq!(retries.next(Missed::Silent, Duration::ZERO), Step::GiveUp);
        let busy = Missed::Refused(ReplyCode::Busy);
        assert_eq!(retries.next(busy, Duration::ZERO), Step::GiveUp);
    }
}
