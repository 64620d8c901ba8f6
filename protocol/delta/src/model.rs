//! Foresees bits by mixing what several contexts say: each context has a chance of its own, and
//! weights are learned for how far each is to be believed.
//!
//! All arithmetic is on integers, so that every processor comes to the same result.

use crate::coder::{Chance, Coder};
use crate::error::DeltaError;
use crate::numbers::chance;

/// `65,536 / (1 + e^-x)` for x from -8 to 8 in steps of one half.
const LOGISTIC: [i32; 33] = [
    22, 36, 60, 98, 162, 267, 439, 720, 1_179, 1_921, 3_108, 4_971, 7_812, 11_955, 17_625, 24_743,
    32_768, 40_793, 47_911, 53_581, 57_724, 60_565, 62_428, 63_615, 64_357, 64_816, 65_097, 65_269,
    65_374, 65_438, 65_476, 65_500, 65_514,
];
/// How fast weights are learned.
const RATE: i32 = 10;
/// Weight of 1.
const ONE: i32 = 1 << 14;
/// Heaviest weight: 8. Six of them with the largest input (2^11) stay within 31 bits.
const HEAVIEST: i32 = 8 * ONE;

/// Chance of a logistic value in steps of 1/256, of 65,536.
fn squash(value: i32) -> i32 {
    let value = value.clamp(-2_047, 2_047);
    let (step, rest) = ((value >> 7) + 16, value & 127);
    let at =
        |step: i32| LOGISTIC.get(usize::try_from(step).unwrap_or(0)).copied().unwrap_or(65_514);
    (at(step) * (128 - rest) + at(step + 1) * rest + 64) >> 7
}

/// Logistic values of chances: the inverse of `squash`, by table.
#[derive(Clone)]
pub struct Logistic(Vec<i16>);

impl Default for Logistic {
    fn default() -> Self {
        let mut table = Vec::with_capacity(4_096);
        let mut value = -2_047_i16;
        for chance in 0..4_096 {
            while value < 2_047 && squash(i32::from(value)) < chance * 16 + 8 {
                value += 1;
            }
            table.push(value);
        }
        Self(table)
    }
}

impl Logistic {
    fn of(&self, one: u16) -> i32 {
        i32::from(self.0.get(usize::from(one >> 4)).copied().unwrap_or(0))
    }
}

/// Mixes `N` contexts.
pub struct Mixed<const N: usize> {
    slots: Vec<Chance>,
    weights: Vec<[i32; N]>,
    most: u32,
}

/// A small multiplicative hash of two numbers.
pub fn hash(a: u32, b: u32) -> u32 {
    let mixed = a.wrapping_mul(0x9e37_79b1) ^ b.wrapping_add(0x7f4a_7c15).wrapping_mul(0x85eb_ca77);
    (mixed ^ (mixed >> 15)).wrapping_mul(0x2c1b_3c6d)
}

impl<const N: usize> Mixed<N> {
    /// `2^bits` chances for all contexts, and a number of sets of weights. `most` bounds how
    /// often a chance counts what it has seen: what changes quickly has a low bound.
    pub fn new(bits: u32, sets: usize, most: u32) -> Self {
        let first = ONE / i32::try_from(N).unwrap_or(1) + ONE / 8;
        Self { slots: vec![Chance::default(); 1 << bits], weights: vec![[first; N]; sets], most }
    }

    /// Places of the contexts: each has sixteen neighbours, which are a line of the processor's
    /// cache.
    fn lines(&self, contexts: &[u32; N]) -> [usize; N] {
        let all = self.slots.len() - 1;
        contexts.map(|context| (usize::try_from(hash(context, 0x51)).unwrap_or(0) << 4) & all)
    }

    /// Codes one bit.
    ///
    /// # Errors
    /// When the delta cannot be read.
    pub fn bit(
        &mut self,
        coder: &mut impl Coder,
        logistic: &Logistic,
        (contexts, set): (&[u32; N], usize),
        bit: bool,
    ) -> Result<bool, DeltaError> {
        let all = self.slots.len() - 1;
        let places =
            contexts.map(|context| usize::try_from(hash(context, 0x51)).unwrap_or(0) & all);
        self.at(coder, logistic, &places, set, bit)
    }

    #[inline]
    fn at(
        &mut self,
        coder: &mut impl Coder,
        logistic: &Logistic,
        places: &[usize; N],
        set: usize,
        bit: bool,
    ) -> Result<bool, DeltaError> {
        let mut inputs = [0; N];
        for (input, place) in inputs.iter_mut().zip(places) {
            *input = logistic.of(chance(&mut self.slots, *place)?.of_one());
        }
        let weights = self.weights.get_mut(set);
        let weights = weights.ok_or(DeltaError::Damaged("a state that cannot be"))?;
        let dot: i32 = inputs.iter().zip(&*weights).map(|(a, b)| *a * *b).sum();
        let one = squash(dot >> 14);
        let bit = coder.bit(u16::try_from(one).unwrap_or(1).max(1), bit)?;
        let error = ((i32::from(bit) << 16) - i32::from(bit) - one) / 16 * RATE;
        for (weight, input) in weights.iter_mut().zip(&inputs) {
            let change = (*input * error + (1 << 17)) >> 18;
            *weight = (*weight + change).clamp(-HEAVIEST, HEAVIEST);
        }
        for place in places {
            chance(&mut self.slots, *place)?.learn(bit, self.most);
        }
        Ok(bit)
    }

    /// Codes a byte, high bit first.
    ///
    /// # Errors
    /// When the delta cannot be read.
    pub fn byte(
        &mut self,
        coder: &mut impl Coder,
        logistic: &Logistic,
        (contexts, set): (&[u32; N], usize),
        byte: u8,
    ) -> Result<u8, DeltaError> {
        let mut lines = self.lines(contexts);
        let (mut node, mut made) = (1, 0_u8);
        for shift in (0..8).rev() {
            if shift == 3 {
                let high = u32::from(made) + 16;
                lines = self.lines(&contexts.map(|context| hash(context, high)));
                node = 1;
            }
            let wanted = (byte >> shift) & 1 == 1;
            let places = lines.map(|line| line | node);
            let bit = self.at(coder, logistic, &places, set, wanted)?;
            node = node * 2 + usize::from(bit);
            made = (made << 1) | u8::from(bit);
        }
        Ok(made)
    }
}
