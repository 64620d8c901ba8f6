//! What this device has seen of the control plane's audit log: the last checkpoints that desired
//! states carried, and always the highest one. An older checkpoint that comes later, or another one
//! for the same entry, is evidence that history was put back or rewritten: it takes no other one's
//! place, and is a problem of the device until a restore is announced by a higher epoch.
//!
//! See decision 0170.

use holdfast_base::codec;
use holdfast_protocol::checkpoint::{Checkpoint, MAX_WITNESSED, Testimony, Witnessed};
use serde::{Deserialize, Serialize};

/// Two checkpoints of one epoch that cannot be of one history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contradiction {
    /// Checkpoint that came first.
    pub kept: Witnessed,
    /// Checkpoint that came later, of an earlier entry or with another hash of the same.
    pub shown: Witnessed,
}

/// Kept checkpoints, in the order in which they came, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    kept: Vec<Witnessed>,
    /// First contradiction of the present epoch.
    broken: Option<Contradiction>,
}

impl Witness {
    /// Reads what [`Witness::bytes`] wrote.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut read: Self = codec::from_slice(bytes).ok()?;
        read.kept.truncate(MAX_WITNESSED);
        Some(read)
    }

    /// Returns all that is kept, in CBOR, for the disk.
    pub fn bytes(&self) -> Vec<u8> {
        // A map of numbers and byte strings always has a CBOR form.
        codec::encode(self).unwrap_or_default()
    }

    /// Returns the kept checkpoints as a [`Testimony`] in CBOR, for the control plane.
    pub fn testimony(&self) -> Vec<u8> {
        codec::encode(&Testimony(self.kept.clone())).unwrap_or_default()
    }

    /// Returns the kept checkpoints, in the order in which they came.
    pub fn kept(&self) -> &[Witnessed] {
        &self.kept
    }

    /// Returns the first contradiction of the present epoch. None: there is none.
    pub fn contradiction(&self) -> Option<&Contradiction> {
        self.broken.as_ref()
    }

    /// Keeps the checkpoint that a desired state of this epoch carried. Returns false if it is the
    /// last one already.
    pub fn keep(&mut self, epoch: u64, checkpoint: Checkpoint) -> bool {
        let seen = Witnessed { epoch, checkpoint };
        if self.kept.last() == Some(&seen) {
            return false;
        }
        self.broken = self.broken.filter(|broken| broken.kept.epoch >= epoch);
        if self.broken.is_none() {
            self.broken = self.contradicted(&seen);
        }
        self.kept.retain(|known| *known != seen);
        self.kept.push(seen);
        while self.kept.len() > MAX_WITNESSED {
            let height = |kept: &Witnessed| (kept.epoch, kept.checkpoint.number);
            let highest = self.kept.iter().map(height).max();
            let stays = |kept: &Witnessed| {
                let broken = self.broken.as_ref();
                Some(height(kept)) == highest
                    || broken.is_some_and(|it| it.kept == *kept || it.shown == *kept)
            };
            let oldest = self.kept.iter().position(|kept| !stays(kept));
            self.kept.remove(oldest.unwrap_or(0));
        }
        true
    }

    /// Returns the contradiction that a checkpoint is with what is kept of the same epoch.
    fn contradicted(&self, seen: &Witnessed) -> Option<Contradiction> {
        let (now, of_epoch) = (&seen.checkpoint, |kept: &&Witnessed| kept.epoch == seen.epoch);
        let against = self.kept.iter().filter(of_epoch).filter(|kept| {
            let was = &kept.checkpoint;
            was.number > now.number || (was.number == now.number && was.hash != now.hash)
        });
        let kept = *against.max_by_key(|kept| kept.checkpoint.number)?;
        Some(Contradiction { kept, shown: *seen })
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
        // The highest one, what contradicted it first, and the last ones.
        let mut expected: Vec<u64> = vec![900, 0];
        expected.extend(86..100);
        assert_eq!(numbers(&witness), expected);
        assert_eq!(Witness::read(&witness.bytes()).unwrap(), witness);
        assert!(witness.bytes().len() < 1_200, "{} bytes", witness.bytes().len());
        let Testimony(told) = codec::from_slice(&witness.testimony()).unwrap();
        assert_eq!(told, witness.kept());
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
    fn what_cannot_be_one_history_is_a_contradiction_until_the_epoch_rises() {
        let grows = [checkpoint(5, 1), checkpoint(9, 1), checkpoint(40, 2)];
        let of = |all: &[Checkpoint]| {
            let mut witness = Witness::default();
            for one in all {
                witness.keep(3, *one);
            }
            witness
        };
        assert_eq!(of(&grows).contradiction(), None);
        assert_eq!(of(&[grows[0], grows[0]]).contradiction(), None, "the same once more");
        for (later, what) in [(checkpoint(9, 1), "older"), (checkpoint(40, 7), "other hash")] {
            let mut witness = of(&[&grows[..], &[later]].concat());
            let found = *witness.contradiction().expect(what);
            assert_eq!(
                (found.kept.checkpoint, found.shown.checkpoint),
                (grows[2], later),
                "{what}"
            );
            // It stays, also over a restart, when the history is put back again and goes on.
            for number in 40..140 {
                witness.keep(3, checkpoint(number, 2));
            }
            let mut witness = Witness::read(&witness.bytes()).unwrap();
            assert_eq!(witness.contradiction(), Some(&found), "{what}");
            assert!([found.kept, found.shown].iter().all(|it| witness.kept().contains(it)));
            // A restore announces itself by the epoch.
            witness.keep(4, checkpoint(2, 9));
            assert_eq!(witness.contradiction(), None, "{what}");
            witness.keep(4, checkpoint(3, 9));
            assert_eq!(witness.contradiction(), None, "{what}");
        }
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
    fn what_is_damaged_is_not_read() {
        for bytes in [&b""[..], b"x", &[0x81, 1], &[0xff; 40]] {
            assert_eq!(Witness::read(bytes), None, "{bytes:?}");
        }
    }
}
