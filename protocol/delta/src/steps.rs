//! Steps: what the new file is made of, in its order.

use crate::coder::{Chance, Coder};
use crate::error::DeltaError;
use crate::numbers::{Number, chance};
use crate::references::Region;

/// Most new bytes of a step for which the move in the old file is small as well, mostly.
const SHORT: u32 = 64;

/// Bytes that are copied, then bytes that are new, then a move in the old file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Bytes that are copied.
    pub copy: u32,
    /// Bytes that are new.
    pub extra: u32,
    /// Bytes by which the old file's position moves beyond those that were copied.
    pub seek: i32,
}

/// Codes the list of steps. `most` bounds their number, and with it the memory.
///
/// # Errors
/// When the delta cannot be read or breaks a bound.
pub fn steps(
    coder: &mut impl Coder,
    known: &[Step],
    (new_size, most): (u64, u64),
) -> Result<Vec<Step>, DeltaError> {
    let count = u32::try_from(known.len()).unwrap_or(u32::MAX);
    let count = Number::default().code(coder, count)?;
    if u64::from(count) > most {
        return Err(DeltaError::Damaged("it has more steps than its header has memory for"));
    }
    let count = usize::try_from(count).unwrap_or(0);
    let mut steps = Vec::with_capacity(count);
    let mut model = Model::default();
    let mut total = 0_u64;
    for index in 0..count {
        let step = model.step(coder, known.get(index).copied().unwrap_or_default())?;
        total += u64::from(step.copy) + u64::from(step.extra);
        if step.copy == 0 && step.extra == 0 || total > new_size {
            return Err(DeltaError::Damaged("a step of it leads nowhere"));
        }
        steps.push(step);
    }
    if total == new_size { Ok(steps) } else { Err(DeltaError::Damaged("its steps end early")) }
}

#[derive(Default)]
struct Model {
    copies: Number,
    extras: Number,
    /// Moves after no, few and many new bytes.
    moves: [Number; 3],
    straight: [Chance; 4],
    was_straight: bool,
}

impl Model {
    fn step(&mut self, coder: &mut impl Coder, step: Step) -> Result<Step, DeltaError> {
        let copy = self.copies.code(coder, step.copy)?;
        let extra = self.extras.code(coder, step.extra)?;
        // What is replaced by as many bytes leads straight on.
        let along = step.seek.wrapping_sub(extra.cast_signed());
        let context = usize::from(self.was_straight) * 2 + usize::from(extra == 0);
        self.was_straight = chance(&mut self.straight, context)?.code(coder, along == 0)?;
        let [after_none, after_few, after_many] = &mut self.moves;
        let along = match (self.was_straight, extra) {
            (true, _) => 0,
            (false, 0) => after_none.signed(coder, along)?,
            (false, 1..=SHORT) => after_few.signed(coder, along)?,
            (false, _) => after_many.signed(coder, along)?,
        };
        Ok(Step { copy, extra, seek: along.wrapping_add(extra.cast_signed()) })
    }
}

/// Regions that steps copy.
pub fn regions(steps: &[Step]) -> Vec<Region> {
    let (mut old, mut new) = (0_i64, 0_u32);
    let mut regions = Vec::with_capacity(steps.len());
    for step in steps {
        if let Ok(old) = u32::try_from(old)
            && step.copy > 0
        {
            regions.push(Region { old, length: step.copy, new });
        }
        old += i64::from(step.copy) + i64::from(step.seek);
        new = new.wrapping_add(step.copy).wrapping_add(step.extra);
    }
    regions
}
