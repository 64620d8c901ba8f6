//! Decides whether a connected device is responsive. A connection stays open while the program at
//! its other end hangs, so a device that somebody looks at is asked for a sign of life. Devices
//! that nobody looks at are not asked.
//!
//! ```text
//!            look (nothing heard for FRESH)          PATIENCE over
//!   quiet ─────────────────────────────────► asked ────────────────► silent
//!     ▲                                        │                        │ look: asked again
//!     └──────────────── anything heard ────────┴────────────────────────┘
//! ```
//!
//! See decision 0112.

/// Seconds after any message of a device during which it need not be asked.
pub const FRESH: u64 = 10;

/// Seconds after which a device that was asked and sent nothing counts as unresponsive: three round
/// trips of the slowest links. With looks 15 s apart a hanging device is known within 30 s.
pub const PATIENCE: u64 = 15;

/// Task of the caller when somebody looks at a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// The device was heard within [`FRESH`]; nothing to do.
    Fresh,
    /// The device has been asked and its time is not over; nothing to do.
    Waiting,
    /// The device must be asked now.
    Ask,
}

/// State of the question whether one device is responsive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answering {
    /// Time of the last message, in seconds since 1970. 0: none since the first look.
    heard: u64,
    /// Time of the open question, in seconds since 1970. 0: no question is open.
    asked: u64,
    /// Time of the first unanswered question, in seconds since 1970. 0: the device is responsive.
    silent: u64,
}

impl Answering {
    /// Decides what to do for somebody who looks at the device at `now`, in seconds since 1970.
    pub fn look(&mut self, now: u64) -> Look {
        if self.asked != 0 {
            return Look::Waiting;
        }
        if self.silent == 0 && self.heard != 0 && now.saturating_sub(self.heard) < FRESH {
            return Look::Fresh;
        }
        self.asked = now.max(1);
        Look::Ask
    }

    /// Takes the open question back, because it could not be sent.
    pub fn not_asked(&mut self) {
        self.asked = 0;
    }

    /// Notes a message of the device at `now`, in seconds since 1970. Returns true if it was
    /// unresponsive until now.
    pub fn heard(&mut self, now: u64) -> bool {
        let again = self.silent != 0;
        *self = Self { heard: now.max(1), ..Self::default() };
        again
    }

    /// Notes that [`PATIENCE`] has passed since the question of the time `asked`. Returns the time
    /// of that question if the device becomes unresponsive by this; `None` if it has replied, or
    /// was unresponsive already.
    pub fn late(&mut self, asked: u64) -> Option<u64> {
        if self.asked == 0 || self.asked != asked.max(1) {
            return None; // The device has replied meanwhile.
        }
        self.asked = 0;
        if self.silent != 0 {
            return None;
        }
        self.silent = asked.max(1);
        Some(self.silent)
    }

    /// Returns the time since which the device is unresponsive, in seconds since 1970. 0: it is
    /// responsive, or was never asked.
    pub fn silent(self) -> u64 {
        self.silent
    }

    /// Returns true if the state may be dropped: no question is open, the device is responsive, and
    /// it was not heard within [`FRESH`].
    pub fn is_over(self, now: u64) -> bool {
        self.asked == 0 && self.silent == 0 && now.saturating_sub(self.heard) > FRESH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_asked_once_until_it_answers_and_not_soon_after() {
        let mut it = Answering::default();
        assert_eq!(it.look(100), Look::Ask);
        assert_eq!(it.look(101), Look::Waiting);
        assert!(!it.heard(102));
        for (now, look) in [(103, Look::Fresh), (111, Look::Fresh), (112, Look::Ask)] {
            assert_eq!(it.look(now), look, "at {now}");
        }
        assert_eq!(it.late(100), None, "of a question that was answered");
    }

    #[test]
    fn silence_is_told_once_since_the_first_question_and_ends_with_any_word() {
        let mut it = Answering::default();
        it.look(100);
        assert_eq!(it.late(100), Some(100));
        assert_eq!(it.silent(), 100);
        assert_eq!(it.look(116), Look::Ask, "it is asked again while somebody looks");
        assert_eq!(it.late(116), None, "that is known");
        assert_eq!(it.silent(), 100);
        assert!(it.heard(200));
        assert_eq!(it.silent(), 0);
        assert!(!it.heard(201));
    }

    #[test]
    fn what_could_not_be_asked_is_not_late_and_what_nobody_looks_at_is_forgotten() {
        let mut it = Answering::default();
        it.look(100);
        assert!(!it.is_over(500), "it is being asked");
        it.not_asked();
        assert_eq!(it.late(100), None);
        assert!(it.is_over(500));
        it.heard(500);
        assert!(!it.is_over(505));
        assert!(it.is_over(511));
    }
}
