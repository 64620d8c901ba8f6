//! Time at which a certificate is renewed: after two thirds of its life, so that a third is left
//! for outages. An expired one is renewed just the same.
//!
//! See decision 0017.

/// Validity period of a certificate, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// Begin of the validity, inclusive.
    pub not_before: u64,
    /// End of the validity, inclusive.
    pub not_after: u64,
}

impl Life {
    /// Time from which the certificate should be renewed.
    pub fn renew_at(self) -> u64 {
        let life = self.not_after.saturating_sub(self.not_before);
        self.not_before + life / 3 * 2 + life % 3
    }

    /// True if the certificate should be renewed at `time`.
    pub fn is_due(self, time: u64) -> bool {
        time >= self.renew_at()
    }

    /// True if the certificate has expired at `time`.
    pub fn is_over(self, time: u64) -> bool {
        time > self.not_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_thirds_are_used_and_one_is_kept_for_outages() {
        let life = Life { not_before: 1_000, not_after: 1_300 };
        assert_eq!(life.renew_at(), 1_200);
        assert!(!life.is_due(1_199) && life.is_due(1_200));
        assert!(!life.is_over(1_300) && life.is_over(1_301));
        let short = Life { not_before: 10, not_after: 12 };
        assert!(short.renew_at() <= 12);
        let nonsense = Life { not_before: 5, not_after: 1 };
        assert!(nonsense.is_due(5));
    }
}
