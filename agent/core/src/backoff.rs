//! Back-off: the delay before a retry doubles with each failure up to a cap, with jitter, so that a
//! fleet that lost its power at once does not come back at once.

/// A small deterministic source of jitter, seeded from outside: splitmix64.
#[derive(Debug, Clone)]
pub struct Entropy(u64);

impl Entropy {
    /// Creates a generator that draws the same numbers for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next pseudo-random number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Milliseconds to wait before the next try after `failures` failures in a row (from 1): between
/// three quarters and the whole of `initial * 2^(failures-1)`, at most `max`.
pub fn delay(failures: u32, initial: u64, max: u64, entropy: &mut Entropy) -> u64 {
    let doublings = failures.saturating_sub(1).min(32);
    let full = initial.saturating_mul(1_u64 << doublings).min(max.max(initial));
    full - entropy.draw() % (full / 4 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_to_the_cap_and_never_leaves_its_band() {
        let mut entropy = Entropy::new(1);
        for failures in 1..200 {
            for _ in 0..50 {
                let wait = delay(failures, 1_000, 60_000, &mut entropy);
                let full = (1_000_u64 << (failures - 1).min(20)).min(60_000);
                assert!(wait <= full && wait >= full - full / 4, "{failures}: {wait}");
            }
        }
        assert_eq!(delay(5, 0, 0, &mut entropy), 0);
        assert!(delay(u32::MAX, u64::MAX, u64::MAX, &mut entropy) > u64::MAX / 2);
    }
}
