//! Aims references: codes which of the guesses is right, or by how much the first one is wrong.

use crate::coder::{Chance, Coder};
use crate::error::DeltaError;
use crate::model::{Logistic, Mixed, hash};
use crate::numbers::Number;
use crate::references::{Guesses, References, Source, value};
use crate::sites::{Form, Site, bits};

/// Model of references.
pub struct Aim {
    first: Mixed<4>,
    other: Vec<Chance>,
    off_by: Vec<Number>,
    /// Which of the last first guesses were wrong: a set bit each.
    missed: u32,
}

impl Aim {
    /// Model with `2^bits` chances.
    pub fn new(bits: u32) -> Self {
        Self {
            first: Mixed::new(bits, 8, 255),
            other: vec![Chance::default(); 512],
            off_by: vec![Number::default(); 8],
            missed: 0,
        }
    }

    fn first(
        &mut self,
        coder: &mut impl Coder,
        logistic: &Logistic,
        (site, guesses, last): (&Site, &Guesses, u32),
        hit: bool,
    ) -> Result<bool, DeltaError> {
        let form = site.form as u32;
        let source = guesses.list.first().map_or(Source::Nothing, |it| it.1);
        let from = source as u32;
        let contexts = [
            hash((form << 8) | (from << 4) | (self.missed & 3), guesses.agreed),
            hash(form, 0x100 | (self.missed & 0xff)),
            hash((from << 8) | guesses.agreed, 0x200 | (self.missed & 0xf)),
            hash(last, 0x300 | from),
        ];
        let hit = self.first.bit(coder, logistic, (&contexts, source as usize), hit)?;
        self.missed = (self.missed << 1) | u32::from(!hit);
        Ok(hit)
    }

    /// Chance that a further guess is right.
    fn other(&mut self, site: &Site, guesses: &Guesses, index: usize) -> Option<&mut Chance> {
        let source = guesses.list.get(index)?.1;
        self.other.get_mut((site.form as usize * 8 + source as usize) * 8 + index)
    }

    /// Codes a field of up to 32 bits. Returns its value. `last` are the two bytes before it.
    ///
    /// # Errors
    /// When the delta cannot be read.
    pub fn narrow(
        &mut self,
        coder: &mut impl Coder,
        logistic: &Logistic,
        references: &mut References<'_>,
        (site, places, last): (&Site, (i64, i64), u32),
        (base, wanted): (i64, u32),
    ) -> Result<u32, DeltaError> {
        let mut guesses = references.first(site, places);
        let wide = bits(site.form);
        let all = u32::MAX >> (32 - wide);
        let of = |guess: (i64, Source)| low(value(site, guess.0, base)) & all;
        let first = guesses.list.first().copied().map_or(0, of);
        if self.first(coder, logistic, (site, &guesses, last), wanted == first)? {
            return Ok(first);
        }
        references.others(site, places, &mut guesses);
        let values = guesses.list.map(of);
        for (index, other) in values.iter().enumerate().take(guesses.count).skip(1) {
            if *other != first
                && let Some(chance) = self.other(site, &guesses, index)
                && chance.code(coder, wanted == *other)?
            {
                references.was_wrong(site, &guesses, *other, base);
                return Ok(*other);
            }
        }
        let by = (wanted.wrapping_sub(first) << (32 - wide)).cast_signed() >> (32 - wide);
        let by = self.numbers(site.form)?.signed(coder, by)?;
        let value = first.wrapping_add(by.cast_unsigned()) & all;
        references.was_wrong(site, &guesses, value, base);
        Ok(value)
    }

    /// Codes a field of 64 bits. Returns the address.
    ///
    /// # Errors
    /// When the delta cannot be read.
    pub fn wide(
        &mut self,
        coder: &mut impl Coder,
        logistic: &Logistic,
        references: &References<'_>,
        (site, places, last): (&Site, (i64, i64), u32),
        wanted: i64,
    ) -> Result<i64, DeltaError> {
        let mut guesses = references.first(site, places);
        let first = guesses.list.first().map_or(0, |it| it.0);
        if self.first(coder, logistic, (site, &guesses, last), wanted == first)? {
            return Ok(first);
        }
        references.others(site, places, &mut guesses);
        for (index, other) in guesses.list.iter().enumerate().take(guesses.count).skip(1) {
            if let Some(chance) = self.other(site, &guesses, index)
                && chance.code(coder, wanted == other.0)?
            {
                return Ok(other.0);
            }
        }
        let by = wanted.wrapping_sub(first);
        let numbers = self.numbers(site.form)?;
        let lower = i64::from(numbers.signed(coder, low(by).cast_signed())?);
        let upper = low(by.wrapping_sub(lower) >> 32).cast_signed();
        let upper = i64::from(numbers.signed(coder, upper)?);
        Ok(first.wrapping_add(lower).wrapping_add(upper << 32))
    }

    fn numbers(&mut self, form: Form) -> Result<&mut Number, DeltaError> {
        let numbers = self.off_by.get_mut(form as usize);
        numbers.ok_or(DeltaError::Damaged("a state that cannot be"))
    }
}

/// Lower 32 bits of a number.
fn low(number: i64) -> u32 {
    u32::try_from(number & 0xffff_ffff).unwrap_or(0)
}
