//! Sites: the fields of the old file that look like references. What they are is decided by
//! pattern alone, by the same function on both sides; a false hit costs bytes, never correctness.

use crate::error::DeltaError;
use crate::layout::{Kind, Layout, Range, address_of, is_mapped};
use crate::old::Old;
use crate::tables::Tables;

/// Instructions of aarch64 that are looked back for the page of an address.
const LOOK_BACK: usize = 6;
/// Bytes before and after a piece that are looked at with it.
const MARGIN: u64 = 32;

/// Form of the field of a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// 32 bits relative to the end of the field.
    AfterField,
    /// 32 bits relative to the field itself.
    FromField,
    /// 32 bits relative to a base.
    FromBase,
    /// 32 bits relative to a base that moves as an address does: jump tables.
    FromTable,
    /// 64 bits, an address.
    Address,
    /// Branch of aarch64: 26 bits, words.
    Branch,
    /// Page of aarch64: 21 bits, in two parts.
    Page,
    /// Address within a page: 12 bits, shifted by the size of what is loaded.
    Within,
}

/// Field of the old file that looks like a reference.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// Offset of the field in the old file.
    pub at: u64,
    /// Form of the field.
    pub form: Form,
    /// Address in the old file that it refers to.
    pub target: i64,
    /// Address that it is relative to: of the new file for [`Form::FromBase`], of the old one for
    /// [`Form::FromTable`].
    pub base: i64,
    /// Shift of [`Form::Within`], register of [`Form::Page`] and [`Form::Within`].
    pub shift: u8,
    /// Register that holds the page.
    pub register: u8,
}

impl Site {
    /// Bytes of the field, as a distance in a file.
    pub fn width(&self) -> u64 {
        self.wide() as u64
    }

    /// Bytes of the field.
    pub fn wide(&self) -> usize {
        if self.form == Form::Address { 8 } else { 4 }
    }

    /// Bits of the four bytes that belong to the reference.
    pub fn mask(&self) -> u32 {
        match self.form {
            Form::Branch => 0x03ff_ffff,
            Form::Page => 0x60ff_ffe0,
            Form::Within => 0x003f_fc00,
            _ => u32::MAX,
        }
    }
}

/// Finds sites whose instructions begin between two offsets and end before a third one, in
/// ascending order and apart from each other.
///
/// # Errors
/// When the old file cannot be read.
pub fn find(
    old: &mut Old<'_>,
    layout: &Layout,
    tables: &Tables,
    (from, to, limit): (u64, u64, u64),
    sites: &mut Vec<Site>,
) -> Result<(), DeltaError> {
    sites.clear();
    let old_size = old.size();
    let first = layout.ranges.partition_point(|range| range.end <= from);
    for range in layout.ranges.iter().skip(first).take_while(|range| range.start < to) {
        let (from, to) = (from.max(range.start), to.min(range.end).min(old.size()));
        if from >= to {
            continue;
        }
        let begin = from.saturating_sub(MARGIN).max(range.start);
        let length = usize::try_from(to - begin + MARGIN).unwrap_or(usize::MAX);
        let bytes = old.bytes(begin, length)?;
        let limit = limit.min(range.end).min(old_size);
        let piece = Piece { bytes, begin, from, to, limit, range, layout };
        match range.kind {
            Kind::X86 => x86(&piece, sites),
            Kind::Arm => arm(&piece, sites),
            Kind::Rela => rela(&piece, sites),
            Kind::FrameTable => frame_table(&piece, sites),
            Kind::Frames => frames(&piece, sites),
            Kind::Words => words(&piece, sites),
            Kind::Jumps => tables.sites(&piece, sites),
            Kind::Offsets => offsets(&piece, sites),
        }
    }
    Ok(())
}

/// Piece of the old file within one range.
pub struct Piece<'a> {
    /// Bytes from `begin`, with a margin on both sides.
    pub bytes: &'a [u8],
    /// Offset of the first of the bytes.
    pub begin: u64,
    /// Offset from which sites are wanted.
    pub from: u64,
    /// Offset before which instructions begin.
    pub to: u64,
    /// Offset that nothing may reach beyond.
    pub limit: u64,
    /// The range that it is in.
    pub range: &'a Range,
    /// Layout of the files.
    pub layout: &'a Layout,
}

impl Piece<'_> {
    /// Word of four bytes at an offset.
    pub fn word(&self, at: u64) -> u32 {
        let at = usize::try_from(at.wrapping_sub(self.begin)).unwrap_or(usize::MAX);
        let four = self.bytes.get(at..at.saturating_add(4));
        four.and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes)
    }

    /// The same as a number with a sign.
    pub fn signed(&self, at: u64) -> i64 {
        i64::from(i32::from_le_bytes(self.word(at).to_le_bytes()))
    }

    fn long(&self, at: u64) -> i64 {
        i64::from(self.word(at)) | (self.signed(at + 4) << 32)
    }

    fn address(&self, at: u64) -> Option<i64> {
        address_of(&self.layout.old, i64::try_from(at).ok()?)
    }

    fn is_mapped(&self, address: i64) -> bool {
        is_mapped(&self.layout.old, address)
    }

    /// Offsets of records from the first that begins in the piece; `after` is the offset of the
    /// first record of all.
    fn records(&self, after: u64, size: u64) -> impl Iterator<Item = u64> + '_ {
        let first = self.range.start + after;
        let skipped = self.from.saturating_sub(first).div_ceil(size);
        (0..)
            .map(move |number| first + (skipped + number) * size)
            .take_while(move |at| *at < self.to && at + size <= self.limit)
    }
}

/// A site of the plain forms.
pub fn site(at: u64, form: Form, target: i64, base: i64) -> Site {
    Site { at, form, target, base, shift: 0, register: 0 }
}

/// Length of what stands before the field of a reference of x86-64, when an instruction with one
/// may begin with these bytes.
pub fn before_field([a, b, c]: [u8; 3]) -> Option<u64> {
    let relative = |modrm: u8| modrm & 0xc7 == 5;
    match a {
        0xe8 | 0xe9 => Some(1),
        0x0f if b & 0xf0 == 0x80 => Some(2),
        0x0f if relative(c) => Some(3),
        0xff if b == 0x15 || b == 0x25 => Some(2),
        0x8d | 0x8b | 0x89 | 0x3b | 0x39 | 0x03 | 0x2b | 0x63 | 0x85 | 0x88 | 0x8a | 0x38
        | 0x3a
            if relative(b) =>
        {
            Some(2)
        }
        _ => None,
    }
}

fn x86(piece: &Piece<'_>, sites: &mut Vec<Site>) {
    let skipped = usize::try_from(piece.from - piece.begin).unwrap_or(usize::MAX);
    let looked = usize::try_from(piece.to - piece.from).unwrap_or(0);
    let mut free = piece.from;
    let windows = piece.bytes.get(skipped..).unwrap_or_default().windows(3).take(looked);
    for (at, window) in (piece.from..).zip(windows) {
        let &[a, b, c] = window else { continue };
        if at >= free
            && let Some(before) = before_field([a, b, c])
            && at + before + 4 <= piece.limit
            && let Some(address) = piece.address(at + before)
        {
            let target = address + 4 + piece.signed(at + before);
            if piece.is_mapped(target) {
                sites.push(site(at + before, Form::AfterField, target, 0));
                free = at + before + 4;
            }
        }
    }
}

fn arm(piece: &Piece<'_>, sites: &mut Vec<Site>) {
    let aligned = piece.from + (piece.range.start.wrapping_sub(piece.from) & 3);
    for at in (aligned..piece.to).step_by(4).take_while(|at| at + 4 <= piece.limit) {
        let word = piece.word(at);
        let Some(address) = piece.address(at) else { continue };
        if word & 0x7c00_0000 == 0x1400_0000 {
            let target = address + 4 * extended(word & 0x03ff_ffff, 26);
            if piece.is_mapped(target) {
                sites.push(site(at, Form::Branch, target, 0));
            }
        } else if word & 0x9f00_0000 == 0x9000_0000 {
            let register = word & 31;
            let within = (1..=LOOK_BACK as u64).find_map(|steps| {
                let used = within(piece.word(at + 4 * steps))?;
                (used.0 == register).then_some(used.2)
            });
            let target = page_of(word, address) + within.unwrap_or(0);
            if piece.is_mapped(target) {
                let register = u8::try_from(register).unwrap_or(0);
                sites.push(Site { register, ..site(at, Form::Page, target, 0) });
            }
        } else if let Some((register, shift, offset)) = within(word)
            && let Some(page) = page_before(piece, at, register)
            && piece.is_mapped(page + offset)
        {
            let register = u8::try_from(register).unwrap_or(0);
            sites.push(Site { shift, register, ..site(at, Form::Within, page + offset, 0) });
        }
    }
}

/// Number with a sign of so many bits.
pub fn extended(value: u32, bits: u32) -> i64 {
    let top = 1_i64 << (bits - 1);
    (i64::from(value) ^ top) - top
}

/// Page that an instruction for one at an address refers to.
pub fn page_of(word: u32, address: i64) -> i64 {
    let value = ((word >> 5) & 0x7_ffff) << 2 | (word >> 29) & 3;
    (address & !0xfff) + (extended(value, 21) << 12)
}

/// Register, shift and offset of an instruction that adds to a page or loads from it.
pub fn within(word: u32) -> Option<(u32, u8, i64)> {
    let adds = word & 0xffc0_0000 == 0x9100_0000;
    let loads = word & 0x3b00_0000 == 0x3900_0000;
    let size = match word >> 30 {
        _ if adds => 0,
        _ if word & 0x0480_0000 == 0x0480_0000 => 4,
        size => u8::try_from(size).unwrap_or(0),
    };
    let offset = i64::from((word >> 10) & 0xfff) << size;
    (adds || loads).then_some(((word >> 5) & 31, size, offset))
}

/// Page that a register holds before an instruction, as far as the few before it tell.
fn page_before(piece: &Piece<'_>, at: u64, register: u32) -> Option<i64> {
    for steps in 1..=LOOK_BACK as u64 {
        let before = at.checked_sub(4 * steps).filter(|before| *before >= piece.begin)?;
        let word = piece.word(before);
        if word & 31 == register {
            let is_page = word & 0x9f00_0000 == 0x9000_0000;
            let address = piece.address(before)?;
            return is_page.then(|| page_of(word, address));
        }
    }
    None
}

fn rela(piece: &Piece<'_>, sites: &mut Vec<Site>) {
    for at in piece.records(0, 8) {
        let place = (at - piece.range.start) % 24;
        let value = piece.long(at);
        if (place == 0 || place == 16) && piece.is_mapped(value) {
            sites.push(site(at, Form::Address, value, 0));
        }
    }
}

fn frame_table(piece: &Piece<'_>, sites: &mut Vec<Site>) {
    for at in piece.records(12, 4) {
        let target = piece.range.old_base + piece.signed(at);
        if piece.is_mapped(target) {
            sites.push(site(at, Form::FromBase, target, piece.range.new_base));
        }
    }
}

fn offsets(piece: &Piece<'_>, sites: &mut Vec<Site>) {
    for at in piece.records(0, 4) {
        let target = piece.range.old_base + i64::from(piece.word(at));
        if piece.is_mapped(target) {
            sites.push(site(at, Form::FromBase, target, piece.range.new_base));
        }
    }
}

/// Beginnings of functions in `.eh_frame`. A record is recognised by what stands around it: the
/// distance to its common part, which is behind, and the length of the function.
fn frames(piece: &Piece<'_>, sites: &mut Vec<Site>) {
    for at in piece.records(0, 4) {
        let back = at.checked_sub(4).filter(|before| *before >= piece.begin);
        let Some(distance) = back.map(|before| piece.word(before)) else { continue };
        let near = distance > 8 && u64::from(distance) <= at - piece.range.start;
        let length = piece.word(at + 4);
        if let Some(address) = piece.address(at)
            && near
            && length > 0
            && length < 1 << 20
        {
            let target = address + piece.signed(at);
            if piece.is_mapped(target) && target < address.max(piece.range.old_base) + (1 << 30) {
                sites.push(site(at, Form::FromField, target, 0));
            }
        }
    }
}

fn words(piece: &Piece<'_>, sites: &mut Vec<Site>) {
    for at in piece.records(0, 8) {
        let value = piece.long(at);
        if piece.is_mapped(value) {
            sites.push(site(at, Form::Address, value, 0));
        }
    }
}

/// Bits of a field's value.
pub fn bits(form: Form) -> u32 {
    match form {
        Form::Branch => 26,
        Form::Page => 21,
        Form::Within => 12,
        Form::Address => 64,
        _ => 32,
    }
}

/// Puts a value into a word of four bytes.
pub fn put(form: Form, word: u32, value: u32) -> u32 {
    match form {
        Form::Branch => (word & !0x03ff_ffff) | (value & 0x03ff_ffff),
        Form::Page => {
            (word & !0x60ff_ffe0) | ((value & 3) << 29) | (((value >> 2) & 0x7_ffff) << 5)
        }
        Form::Within => (word & !0x003f_fc00) | ((value & 0xfff) << 10),
        _ => value,
    }
}

/// Value that stands in a word of four bytes.
pub fn taken(form: Form, word: u32) -> u32 {
    match form {
        Form::Branch => word & 0x03ff_ffff,
        Form::Page => (((word >> 5) & 0x7_ffff) << 2) | ((word >> 29) & 3),
        Form::Within => (word >> 10) & 0xfff,
        _ => word,
    }
}

/// Target of a field whose value is relative to a base; `None` for the parts of a pair.
pub fn led_to(form: Form, value: u32, base: i64) -> Option<i64> {
    match form {
        Form::AfterField | Form::FromField | Form::FromBase | Form::FromTable => {
            Some(base.wrapping_add(extended(value, 32)))
        }
        Form::Branch => Some(base.wrapping_add(4 * extended(value, 26))),
        Form::Address | Form::Page | Form::Within => None,
    }
}
