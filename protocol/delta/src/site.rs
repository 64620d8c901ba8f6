//! One field of the old file that looks like a reference, and the piece of the file that it is in.

use crate::layout::{Layout, Range, address_of, is_mapped};

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

    pub(crate) fn long(&self, at: u64) -> i64 {
        i64::from(self.word(at)) | (self.signed(at + 4) << 32)
    }

    pub(crate) fn address(&self, at: u64) -> Option<i64> {
        address_of(&self.layout.old, i64::try_from(at).ok()?)
    }

    pub(crate) fn is_mapped(&self, address: i64) -> bool {
        is_mapped(&self.layout.old, address)
    }

    /// Offsets of records from the first that begins in the piece; `after` is the offset of the
    /// first record of all.
    pub(crate) fn records(&self, after: u64, size: u64) -> impl Iterator<Item = u64> + '_ {
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
