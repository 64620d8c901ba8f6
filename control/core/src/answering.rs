//! Whether a device that is connected answers. A connection stays open while the program at its
//! other end hangs, so somebody who looks at a device has it asked for a sign of life; nobody looks:
//! nothing is asked.
//!
//! ```text
//!            look (nothing heard for FRESH)          PATIENCE over
//!   quiet ─────────────────────────────────► asked ────────────────► silent
//!     ▲                                        │                        │ look: asked again
//!     └──────────────── anything heard ────────┴────────────────────────┘
//! ```

/// A device that said anything within so many seconds is not asked.
pub const FRESH: u64 = 10;

/// A device that says nothing for so many seconds after it was asked does not answer: three round
/// trips of the slowest links, and told within 30 s with looks that are 15 s apart.
pub const PATIENCE: u64 = 15;

/// What to do for somebody who looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Nothing: it was heard lately.
    Fresh,
    /// Nothing: it is being asked.
    Waiting,
    /// Ask it now.
    Ask,
}

/// What is known of a device that somebody looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answering {
    /// When anything came last, in seconds since 1970. 0: nothing since somebody looks.
    heard: u64,
    /// When it was asked what it has not answered yet. 0: it is not being asked.
    asked: u64,
    /// Since when it does not answer: its first unanswered question. 0: it does.
    silent: u64,
}

impl Answering {
    /// Somebody looks.
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

    /// It could not be asked.
    pub fn not_asked(&mut self) {
        self.asked = 0;
    }

    /// Something came. True: it was said not to answer, and does again.
    pub fn heard(&mut self, now: u64) -> bool {
        let again = self.silent != 0;
        *self = Self { heard: now.max(1), ..Self::default() };
        again
    }

    /// [`PATIENCE`] is over for what was asked at this time. Some: it does not answer from now on,
    /// since then.
    pub fn late(&mut self, asked: u64) -> Option<u64> {
        if self.asked == 0 || self.asked != asked.max(1) {
            return None; // It answered meanwhile.
        }
        self.asked = 0;
        if self.silent != 0 {
            return None;
        }
        self.silent = asked.max(1);
        Some(self.silent)
    }

    /// Since when it does not answer. 0: it does, as far as anybody asked.
    pub fn silent(self) -> u64 {
        self.silent
    }

    /// Whether nothing hangs on it and it was not looked at lately: it may be forgotten.
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
