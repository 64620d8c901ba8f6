//! The method `patch`: regions are copied from the old file, references in them are re-aimed, what
//! still differs is coded, and what has no counterpart is coded as it is.
//!
//! One model for both directions: the coder either reads bits or writes those that it is given.

use crate::aim::Aim;
use crate::bytes::{Around, Bytes};
use crate::coder::{Chance, Coder};
use crate::error::DeltaError;
use crate::layout::{Layout, address_of};
use crate::model::Logistic;
use crate::numbers::chance;
use crate::old::Old;
use crate::references::{References, target};
use crate::sites::{self, Form, Site, put, taken};
use crate::steps::{Step, regions};
use crate::tables::Tables;

/// Bytes that are copied at once. One flag says that nothing but references differs there.
const BLOCK: u64 = 4_096;
/// Bytes of a part of a block, which has a flag of its own.
const PART: usize = 64;
/// Bytes by which a field may lead out of a part.
const LEADS_OUT: usize = 3;
/// Bytes of memory for a step: the step itself and its region.
pub const OF_A_STEP: u64 = 12 + 12;
/// Bytes of memory for a target that is learned: two words in a tree whose nodes are mostly two
/// thirds full.
pub const OF_A_TARGET: u64 = 16;
/// Bits of the number of chances: 64 KiB to 4 MiB for the largest part of the model.
pub const SLOTS: std::ops::RangeInclusive<u32> = 14..=20;

/// Bytes of memory that the model takes with `2^bits` chances in its large part.
pub fn memory_of_model(bits: u32) -> u64 {
    // One large part, two of a quarter, one of a sixteenth; four bytes a chance; 256 KiB for the
    // small ones, and 2 MiB for the search of jump tables.
    let large = 4_u64 << bits.min(40);
    large + 2 * (large / 4) + large / 16 + (256 << 10) + (2 << 20)
}

/// State of the model.
pub struct Patch<'a, 'o> {
    old: Old<'o>,
    layout: &'a Layout,
    tables: Tables,
    references: References<'a>,
    logistic: Logistic,
    bytes: Bytes,
    aim: Aim,
    whole: Vec<Chance>,
    parts: Vec<Chance>,
    buffers: [Vec<u8>; 3],
}

/// Block that is copied: old bytes, new bytes, and which bits of them belong to no field.
struct Block<'b> {
    /// Offset in the old file.
    from: u64,
    /// Offset in the new file.
    new: u64,
    /// Kind of the range, plus 1; 0 without one.
    kind: u32,
    old: &'b [u8],
    made: &'b mut [u8],
    mask: &'b [u8],
}

impl Block<'_> {
    /// Whether anything differs in a range but fields. The maker alone knows.
    fn differs(&self, range: std::ops::Range<usize>) -> bool {
        let of_range = self.old.iter().zip(&*self.made).zip(self.mask);
        let mut of_range = of_range.skip(range.start).take(range.len());
        of_range.any(|((old, made), mask)| (old ^ made) & mask != 0)
    }

    fn around(&self, at: usize, mask: u8) -> Around {
        let of = |at: usize| self.old.get(at).copied().unwrap_or(0);
        Around {
            before: [of(at.wrapping_sub(2)), of(at.wrapping_sub(1))],
            here: of(at) & mask,
            after: of(at + 1),
            kind: self.kind,
            place: self.from + at as u64,
        }
    }

    fn context(&self, of_each: usize, which: usize) -> usize {
        usize::try_from(self.kind).unwrap_or(0) * of_each + which
    }
}

impl<'a, 'o> Patch<'a, 'o> {
    /// Model before the first byte. `targets` bounds what is learned, `bits` is within [`SLOTS`].
    ///
    /// # Errors
    /// When the old file cannot be read.
    pub fn new(
        mut old: Old<'o>,
        layout: &'a Layout,
        steps: &[Step],
        (targets, bits): (usize, u32),
    ) -> Result<Self, DeltaError> {
        let tables = Tables::find(&mut old, layout)?;
        let regions = if layout.ranges.is_empty() { Vec::new() } else { regions(steps) };
        Ok(Self {
            old,
            layout,
            tables,
            references: References::new(layout, regions, targets),
            logistic: Logistic::default(),
            bytes: Bytes::new(bits),
            aim: Aim::new(bits - 4),
            whole: vec![Chance::default(); 64],
            parts: vec![Chance::default(); 128],
            buffers: Default::default(),
        })
    }

    /// Carries out the steps.
    ///
    /// # Errors
    /// When the delta or the old file cannot be read, or the result cannot be written.
    pub fn run(&mut self, coder: &mut impl Coder, steps: &[Step]) -> Result<(), DeltaError> {
        let (mut old, mut new) = (0_i64, 0_u64);
        for step in steps {
            self.copy(coder, (old, new), u64::from(step.copy))?;
            self.extra(coder, u64::from(step.extra))?;
            old += i64::from(step.copy) + i64::from(step.seek);
            new += u64::from(step.copy) + u64::from(step.extra);
        }
        Ok(())
    }

    fn extra(&mut self, coder: &mut impl Coder, mut left: u64) -> Result<(), DeltaError> {
        let mut piece = [0; PART];
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(PART).min(PART);
            let piece = piece.get_mut(..length).unwrap_or_default();
            coder.foresee(piece);
            for byte in &mut *piece {
                *byte = self.bytes.fresh(coder, &self.logistic, *byte)?;
            }
            coder.done(piece)?;
            left -= length as u64;
        }
        self.bytes.begin_copy();
        Ok(())
    }

    fn copy(
        &mut self,
        coder: &mut impl Coder,
        (old, new): (i64, u64),
        length: u64,
    ) -> Result<(), DeltaError> {
        if length == 0 {
            return Ok(());
        }
        let outside = DeltaError::Damaged("a region of it is outside of the old file");
        let Ok(begin) = u64::try_from(old) else { return Err(outside) };
        let end = begin + length;
        if end > self.old.size() {
            return Err(outside);
        }
        let mut found = Vec::new();
        let mut at = begin;
        while at < end {
            let to = end.min(at + BLOCK);
            sites::find(&mut self.old, self.layout, &self.tables, (at, to, end), &mut found)?;
            let to = found.last().map_or(to, |site| to.max(site.at + site.width()));
            self.block(coder, (at, to), new + (at - begin), &found)?;
            at = to;
        }
        Ok(())
    }

    fn block(
        &mut self,
        coder: &mut impl Coder,
        (from, to): (u64, u64),
        new: u64,
        found: &[Site],
    ) -> Result<(), DeltaError> {
        let length = usize::try_from(to - from).unwrap_or(usize::MAX);
        // The buffers are kept: there are many short blocks.
        let [mut old, mut made, mut mask] = std::mem::take(&mut self.buffers);
        for (buffer, with) in [(&mut old, 0), (&mut made, 0), (&mut mask, 0xff)] {
            buffer.clear();
            buffer.resize(length, with);
        }
        old.copy_from_slice(self.old.bytes(from, length)?);
        coder.foresee(&mut made);
        for site in found {
            let at = usize::try_from(site.at - from).unwrap_or(usize::MAX);
            let [a, b, c, d] = (!site.mask()).to_le_bytes();
            let bytes = mask.iter_mut().skip(at).zip([a, b, c, d, 0, 0, 0, 0]);
            bytes.take(site.wide()).for_each(|(to, from)| *to = from);
        }
        let kind = self.layout.ranges.iter().find(|it| it.start <= from && from < it.end);
        let kind = kind.map_or(0, |range| range.kind as u32 + 1);
        let mut block = Block { from, new, kind, old: &old, made: &mut made, mask: &mask };
        self.parts(coder, &mut block, found)?;
        coder.done(&made)?;
        self.buffers = [old, made, mask];
        Ok(())
    }

    /// Codes the parts of a block.
    fn parts<C: Coder>(
        &mut self,
        coder: &mut C,
        block: &mut Block<'_>,
        found: &[Site],
    ) -> Result<(), DeltaError> {
        let length = block.old.len();
        let size = usize::from(length >= 512) + usize::from(length >= 64);
        let differs = C::FORESEES && block.differs(0..length);
        let context = block.context(3, size);
        let changed = chance(&mut self.whole, context)?.code(coder, differs)?;
        let mut fields = found.iter().peekable();
        let (mut at, mut part, mut part_changed, mut was) = (0, None, false, 0);
        while at < length {
            if changed && part != Some(at / PART) {
                part = Some(at / PART);
                // A field that leads out of the part belongs to it.
                let end = (at / PART + 1) * PART + LEADS_OUT;
                let differs = C::FORESEES && block.differs(at..end.min(length));
                let context = block.context(8, was);
                part_changed = chance(&mut self.parts, context)?.code(coder, differs)?;
                was = (was * 2 + usize::from(part_changed)) & 7;
            }
            let place = block.from + at as u64;
            if let Some(site) = fields.next_if(|site| site.at == place) {
                self.field(coder, site, at, block, part_changed)?;
                at += site.wide();
            } else if part_changed {
                self.plain(coder, (at, 0xff), block, true)?;
                at += 1;
            } else {
                let end = if changed { (at / PART + 1) * PART } else { length };
                let field = fields.peek().map_or(u64::MAX, |site| site.at) - block.from;
                let end = end.min(length).min(usize::try_from(field).unwrap_or(length)).max(at + 1);
                self.unchanged(at..end, block);
                at = end;
            }
        }
        Ok(())
    }

    /// Takes bytes over from the old file.
    fn unchanged(&mut self, range: std::ops::Range<usize>, block: &mut Block<'_>) {
        let count = range.len();
        let (old, made) = (block.old.get(range.clone()), block.made.get_mut(range));
        if let (Some(old), Some(made)) = (old, made) {
            made.copy_from_slice(old);
            let last = old.len().saturating_sub(8);
            old.iter().skip(last).for_each(|byte| self.bytes.note(*byte));
            self.bytes.as_foreseen(u32::try_from(count).unwrap_or(u32::MAX));
        }
    }

    /// Codes a byte, or those of its bits that belong to no field.
    fn plain(
        &mut self,
        coder: &mut impl Coder,
        (at, mask): (usize, u8),
        block: &mut Block<'_>,
        differs: bool,
    ) -> Result<(), DeltaError> {
        let around = block.around(at, mask);
        let Some(byte) = block.made.get_mut(at) else { return Ok(()) };
        let made = if differs {
            self.bytes.counterpart(coder, &self.logistic, around, *byte & mask)?
        } else {
            self.bytes.note(around.here);
            self.bytes.as_foreseen(1);
            around.here
        };
        // The other bits are of a field, which the maker knows, and the applier not yet.
        *byte = made | (*byte & !mask);
        Ok(())
    }

    /// Codes the field of a reference.
    fn field(
        &mut self,
        coder: &mut impl Coder,
        site: &Site,
        at: usize,
        block: &mut Block<'_>,
        differs: bool,
    ) -> Result<(), DeltaError> {
        if site.mask() != u32::MAX {
            for (step, mask) in (!site.mask()).to_le_bytes().into_iter().enumerate() {
                self.plain(coder, (at + step, mask), block, differs)?;
            }
        }
        let address = |segments, offset: u64| {
            i64::try_from(offset).ok().and_then(|offset| address_of(segments, offset)).unwrap_or(0)
        };
        let new = address(&self.layout.new, block.new + at as u64);
        let base = self.references.base(site, new);
        let places = (address(&self.layout.old, site.at), new);
        let known = (site, places, self.bytes.last_two());
        let cannot = DeltaError::Damaged("a state that cannot be");
        let Some(bytes) = block.made.get_mut(at..at + site.wide()) else { return Err(cannot) };
        if let Ok(eight) = <&mut [u8; 8]>::try_from(&mut *bytes) {
            let wanted = i64::from_le_bytes(*eight);
            let references = &self.references;
            let address = self.aim.wide(coder, &self.logistic, references, known, wanted)?;
            *eight = address.to_le_bytes();
            self.references.learn(site.target, address);
        } else if let Ok(four) = <&mut [u8; 4]>::try_from(&mut *bytes) {
            let word = u32::from_le_bytes(*four);
            let wanted = (base, taken(site.form, word));
            let references = &mut self.references;
            let value = self.aim.narrow(coder, &self.logistic, references, known, wanted)?;
            let word = put(site.form, word, value);
            *four = word.to_le_bytes();
            let target = target(site, word, base, self.references.held(site));
            match (target, site.form) {
                (Some(page), Form::Page) => self.references.page(site, page),
                (Some(target), _) => self.references.learn(site.target, target),
                (None, _) => {}
            }
        }
        bytes.iter().for_each(|byte| self.bytes.note(*byte));
        self.bytes.as_foreseen(2);
        Ok(())
    }
}
