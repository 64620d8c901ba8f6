//! Binary arithmetic coding: a chance is learned for each bit, and a bit costs the less the better
//! it was foreseen.
//!
//! The model asks a [`Coder`] for each bit. The decoder answers from the delta; the maker's encoder
//! answers with the bit that it was given and writes it. So one model serves both.

use std::io::Read;

use crate::error::DeltaError;

/// What the model asks: the next bit, and the bytes that are known or made.
pub trait Coder {
    /// Whether this side knows the bytes that are to come.
    const FORESEES: bool;

    /// Codes a bit. `one` is the chance that it is set, of 65,536. The decoder ignores `bit`.
    ///
    /// # Errors
    /// When the delta cannot be read.
    fn bit(&mut self, one: u16, bit: bool) -> Result<bool, DeltaError>;

    /// Fills in the bytes that are to come, which the maker alone knows.
    fn foresee(&mut self, into: &mut [u8]);

    /// Takes bytes of the result.
    ///
    /// # Errors
    /// When they cannot be written.
    fn done(&mut self, bytes: &[u8]) -> Result<(), DeltaError>;
}

/// Chance of a bit, learned: 22 bits of chance, 10 bits of how often it was seen.
#[derive(Clone, Copy, Debug)]
pub struct Chance(u32);

/// Most times that a chance counts.
const MOST_SEEN: usize = 256;
/// How much of the way to a bit a chance goes that was seen so often: `1 / (seen + 1.5)`, of 65,536.
const SHARES: [i32; MOST_SEEN] = shares();

#[allow(clippy::indexing_slicing, reason = "computed by the compiler, which checks it")]
const fn shares() -> [i32; MOST_SEEN] {
    let mut shares = [0; MOST_SEEN];
    let (mut seen, mut divisor) = (0, 3);
    while seen < MOST_SEEN {
        shares[seen] = (2 << 16) / divisor;
        seen += 1;
        divisor += 2;
    }
    shares
}

impl Default for Chance {
    fn default() -> Self {
        Self(1 << 31)
    }
}

impl Chance {
    /// Chance of a set bit, of 65,536; never 0.
    pub fn of_one(self) -> u16 {
        u16::try_from(self.0 >> 16).unwrap_or(u16::MAX).clamp(1, 65_535)
    }

    /// How often it was seen, up to the bound that it was learned with.
    pub fn seen(self) -> u32 {
        self.0 & 0x3ff
    }

    /// Learns a bit. The more was seen, the less one bit changes; `most` bounds that.
    pub fn learn(&mut self, bit: bool, most: u32) {
        let seen = self.seen();
        let chance = (self.0 >> 10).cast_signed();
        let goal = if bit { (1 << 22) - 1 } else { 0 };
        let share = SHARES.get(seen as usize).copied().unwrap_or(256);
        // 15 bits times 16 bits stay within 31.
        let next = chance + ((((goal - chance) >> 7) * share) >> 9);
        self.0 = (next.cast_unsigned() << 10) | (seen + u32::from(seen < most));
    }

    /// Codes a bit with this chance and learns it.
    ///
    /// # Errors
    /// When the delta cannot be read.
    pub fn code(&mut self, coder: &mut impl Coder, bit: bool) -> Result<bool, DeltaError> {
        let bit = coder.bit(self.of_one(), bit)?;
        self.learn(bit, 255);
        Ok(bit)
    }
}

/// Splits a range by a chance. Encoder and decoder share it.
pub fn middle(low: u32, high: u32, one: u16) -> u32 {
    let range = u64::from(high - low);
    low + u32::try_from((range * u64::from(one)) >> 16).unwrap_or(0)
}

/// Reads bits that the maker wrote.
pub struct Decoder<R> {
    from: R,
    buffer: Vec<u8>,
    next: usize,
    low: u32,
    high: u32,
    value: u32,
}

impl<R: Read> Decoder<R> {
    /// Begins to read.
    ///
    /// # Errors
    /// When the delta cannot be read.
    pub fn new(from: R) -> Result<Self, DeltaError> {
        let mut decoder =
            Self { from, buffer: Vec::new(), next: 0, low: 0, high: u32::MAX, value: 0 };
        for _ in 0..4 {
            decoder.value = (decoder.value << 8) | u32::from(decoder.byte()?);
        }
        Ok(decoder)
    }

    fn byte(&mut self) -> Result<u8, DeltaError> {
        if let Some(byte) = self.buffer.get(self.next) {
            self.next += 1;
            return Ok(*byte);
        }
        self.buffer.resize(16 * 1024, 0);
        let read = loop {
            match self.from.read(&mut self.buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other.map_err(DeltaError::Delta)?,
            }
        };
        self.buffer.truncate(read);
        self.next = 1;
        let ended = || DeltaError::Delta(std::io::ErrorKind::UnexpectedEof.into());
        self.buffer.first().copied().ok_or_else(ended)
    }

    /// Reads one bit.
    ///
    /// # Errors
    /// When the delta cannot be read.
    pub fn bit(&mut self, one: u16) -> Result<bool, DeltaError> {
        let middle = middle(self.low, self.high, one);
        let bit = self.value <= middle;
        if bit {
            self.high = middle;
        } else {
            self.low = middle + 1;
        }
        while (self.low ^ self.high) >> 24 == 0 {
            self.low <<= 8;
            self.high = (self.high << 8) | 0xff;
            self.value = (self.value << 8) | u32::from(self.byte()?);
        }
        Ok(bit)
    }
}
