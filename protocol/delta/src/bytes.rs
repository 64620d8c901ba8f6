//! Bytes: those that differ from the old file, and those that have no counterpart in it.

use crate::coder::Coder;
use crate::error::DeltaError;
use crate::layout::Kind;
use crate::model::{Logistic, Mixed, hash};

/// Old bytes around the one that is coded.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    /// The two bytes before it.
    pub before: [u8; 2],
    /// The byte itself, without the bits of a field.
    pub here: u8,
    /// The byte after it.
    pub after: u8,
    /// Kind of the range that it is in; 0 without one.
    pub kind: u32,
    /// Its offset.
    pub place: u64,
}

/// Model of bytes.
pub struct Bytes {
    same: Mixed<5>,
    changed: Mixed<3>,
    fresh: Mixed<4>,
    /// Last bytes of the new file, as far as they are known.
    last: u64,
    /// Which of the last bytes were not as foreseen: a set bit each.
    missed: u32,
    /// Last difference of a byte that was not as foreseen.
    by: u8,
}

fn low(number: u64, bits: u32) -> u32 {
    u32::try_from(number & ((1 << bits) - 1)).unwrap_or(0)
}

impl Bytes {
    /// Model with `2^bits` chances for most contexts.
    pub fn new(bits: u32) -> Self {
        Self {
            same: Mixed::new(bits - 2, 64, 255),
            changed: Mixed::new(bits - 2, 4, 60),
            fresh: Mixed::new(bits, 1, 120),
            last: 0,
            missed: 0,
            by: 0,
        }
    }

    /// The last two bytes of the new file.
    pub fn last_two(&self) -> u32 {
        low(self.last, 16)
    }

    /// Takes note of a byte of the new file.
    pub fn note(&mut self, byte: u8) {
        self.last = (self.last << 8) | u64::from(byte);
    }

    /// Takes note of bytes that were as foreseen, or that do not count.
    pub fn as_foreseen(&mut self, bytes: u32) {
        self.missed = self.missed.checked_shl(bytes).unwrap_or(0);
    }

    /// Takes note of the end of new bytes: what follows is often not as foreseen.
    pub fn begin_copy(&mut self) {
        self.missed = 0xff;
    }

    /// Codes a byte that has no counterpart in the old file.
    ///
    /// # Errors
    /// When the delta cannot be read.
    pub fn fresh(
        &mut self,
        coder: &mut impl Coder,
        logistic: &Logistic,
        byte: u8,
    ) -> Result<u8, DeltaError> {
        let four = low(self.last, 32);
        let contexts = [
            hash(low(self.last, 8), 2),
            hash(low(self.last, 16), 3),
            hash(low(self.last, 24), 4),
            hash(four, 5),
        ];
        let byte = self.fresh.byte(coder, logistic, (&contexts, 0), byte)?;
        self.note(byte);
        Ok(byte)
    }

    /// Codes a byte that has a counterpart. `byte` is without the bits of a field, too.
    ///
    /// # Errors
    /// When the delta cannot be read.
    pub fn counterpart(
        &mut self,
        coder: &mut impl Coder,
        logistic: &Logistic,
        around: Around,
        byte: u8,
    ) -> Result<u8, DeltaError> {
        let here = u32::from(around.here);
        let [two_before, before] = around.before.map(u32::from);
        let two = (two_before << 8) | before;
        let (last, by) = (low(self.last, 8), u32::from(self.by));
        let is_arm = around.kind == Kind::Arm as u32 + 1;
        let quarter = if is_arm { low(around.place, 2) } else { 0 };
        let contexts = [
            hash((here << 8) | (around.kind << 4) | quarter, self.missed & 7),
            hash((before << 16) | (last << 8) | here, 0x100 | (self.missed & 1)),
            hash((two << 8) | here, 0x200),
            hash(self.missed & 0xfff, 0x300 | quarter),
            hash((here << 8) | u32::from(around.after), 0x400 | (self.missed & 3)),
        ];
        let set = usize::try_from(((self.missed & 15) << 2) | quarter).unwrap_or(0);
        let same = self.same.bit(coder, logistic, (&contexts, set), byte == around.here)?;
        self.missed = (self.missed << 1) | u32::from(!same);
        let mut made = around.here;
        if !same {
            let contexts = [
                hash((here << 8) | last, 0x20 | quarter),
                hash(self.last_two(), 0x30),
                hash((by << 8) | here, 0x40),
            ];
            let set = usize::try_from(quarter).unwrap_or(0);
            made = self.changed.byte(coder, logistic, (&contexts, set), byte)?;
            self.by = made.wrapping_sub(around.here);
        }
        self.note(made);
        Ok(made)
    }
}
