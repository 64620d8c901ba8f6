//! Whole numbers: their length in bits first, then their bits, the high ones with chances.

use crate::coder::{Chance, Coder};
use crate::error::DeltaError;

/// Chances of a sort of number.
#[derive(Clone)]
pub struct Number {
    length: Vec<Chance>,
    high: Vec<Chance>,
}

impl Default for Number {
    fn default() -> Self {
        Self { length: vec![Chance::default(); 64], high: vec![Chance::default(); 33 * 32] }
    }
}

impl Number {
    /// Codes a number of up to 32 bits.
    ///
    /// # Errors
    /// When the delta cannot be read.
    pub fn code(&mut self, coder: &mut impl Coder, number: u32) -> Result<u32, DeltaError> {
        let wanted = 32 - number.leading_zeros();
        let mut node = 1;
        for shift in (0..6).rev() {
            let bit = (wanted >> shift) & 1 == 1;
            let bit = chance(&mut self.length, node)?.code(coder, bit)?;
            node = node * 2 + usize::from(bit);
        }
        let length = u32::try_from(node).unwrap_or(0) - 64;
        if length > 32 {
            return Err(DeltaError::Damaged("a number that is too long"));
        }
        let Some(below) = length.checked_sub(1) else { return Ok(0) };
        let mut value = 1_u64;
        let mut node = 1;
        for shift in (0..below).rev() {
            let bit = (number >> shift) & 1 == 1;
            // The four highest bits have a shape; those below are coded as they are.
            let bit = if below - shift <= 4 {
                let index = usize::try_from(length).unwrap_or(0) * 32 + node;
                let bit = chance(&mut self.high, index)?.code(coder, bit)?;
                node = node * 2 + usize::from(bit);
                bit
            } else {
                coder.bit(1 << 15, bit)?
            };
            value = value * 2 + u64::from(bit);
        }
        u32::try_from(value).map_err(|_| DeltaError::Damaged("a number that is too long"))
    }

    /// Codes a number with a sign.
    ///
    /// # Errors
    /// When the delta cannot be read.
    pub fn signed(&mut self, coder: &mut impl Coder, number: i32) -> Result<i32, DeltaError> {
        let folded = number.wrapping_shl(1) ^ (number >> 31);
        let folded = self.code(coder, u32::from_ne_bytes(folded.to_ne_bytes()))?;
        let half = i32::from_ne_bytes((folded >> 1).to_ne_bytes());
        Ok(half ^ -i32::from(folded & 1 == 1))
    }
}

/// Chance at an index that the model computed.
///
/// # Errors
/// Never, as far as the model's arithmetic is right: an index without a chance is refused, because
/// the input must not be able to stop the program.
pub fn chance(chances: &mut [Chance], index: usize) -> Result<&mut Chance, DeltaError> {
    chances.get_mut(index).ok_or(DeltaError::Damaged("a state that cannot be"))
}
