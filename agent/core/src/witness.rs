//! What this device has seen of the control plane's audit log: the last checkpoints that desired
//! states carried, and always the highest one. An older checkpoint that comes later is evidence that
//! history was cut, so it takes no higher one's place.
//!
//! See decision 0169.

use holdfast_base::codec;
use holdfast_protocol::checkpoint::{Checkpoint, MAX_WITNESSED, Testimony, Witnessed};

/// Kept checkpoints, in the order in which they came, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Witness {
    kept: Vec<Witnessed>,
}

impl Witness {
    /// Reads what [`Witness::bytes`] wrote.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let Testimony(mut kept) = codec::from_slice(bytes).ok()?;
        kept.truncate(MAX_WITNESSED);
        Some(Self { kept })
    }

    /// Returns the kept checkpoints as a [`Testimony`] in CBOR.
    pub fn bytes(&self) -> Vec<u8> {
        // An array of numbers and byte strings always has a CBOR form.
        codec::encode(&Testimony(self.kept.clone())).unwrap_or_default()
    }

    /// Returns the kept checkpoints, in the order in which they came.
    pub fn kept(&self) -> &[Witnessed] {
        &self.kept
    }

    /// Keeps the checkpoint that a desired state of this epoch carried. Returns false if it is the
    /// last one already.
    pub fn keep(&mut self, epoch: u64, checkpoint: Checkpoint) -> bool {
        let seen = Witnessed { epoch, checkpoint };
        if self.kept.last() == Some(&seen) {
            return false;
        }
        self.kept.retain(|known| *known != seen);
        self.kept.push(seen);
        while self.kept.len() > MAX_WITNESSED {
            let height = |kept: &Witnessed| (kept.epoch, kept.checkpoint.number);
            let highest = self.kept.iter().map(height).max();
            let oldest = self.kept.iter().position(|kept| Some(height(kept)) != highest);
            self.kept.remove(oldest.unwrap_or(0));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(number: u64, byte: u8) -> Checkpoint {
        Checkpoint { number, hash: [byte; 32], at: 7 }
    }

    fn numbers(witness: &Witness) -> Vec<u64> {
        witness.kept().iter().map(|kept| kept.checkpoint.number).collect()
    }

    #[test]
    fn the_last_ones_are_kept_and_the_highest_for_ever() {
        let mut witness = Witness::default();
        assert!(witness.keep(1, checkpoint(900, 1)));
        assert!(!witness.keep(1, checkpoint(900, 1)), "it is the last one already");
        for number in 0..100 {
            assert!(witness.keep(1, checkpoint(number, 2)));
        }
        let mut expected: Vec<u64> = vec![900];
        expected.extend(85..100);
        assert_eq!(numbers(&witness), expected);
        assert_eq!(Witness::read(&witness.bytes()).unwrap(), witness);
        assert!(witness.bytes().len() < 1_000, "{} bytes", witness.bytes().len());
    }

    #[test]
    fn two_hashes_of_one_number_are_both_kept() {
        let mut witness = Witness::default();
        for byte in [1, 2, 1] {
            witness.keep(1, checkpoint(5, byte));
        }
        let kept = witness.kept().iter().map(|kept| kept.checkpoint.hash[0]);
        assert_eq!(kept.collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn a_higher_epoch_is_higher_whatever_its_number() {
        let mut witness = Witness::default();
        witness.keep(2, checkpoint(3, 1));
        for number in 0..40 {
            witness.keep(1, checkpoint(number + 100, 1));
        }
        assert_eq!(numbers(&witness)[0], 3);
    }

    #[test]
    fn what_is_no_testimony_is_not_read() {
        for bytes in [&b""[..], b"x", &[0x81, 1], &[0xff; 40]] {
            assert_eq!(Witness::read(bytes), None, "{bytes:?}");
        }
    }
}
