//! Layout of two executables, as the maker read it out of them: where bytes of the files stand in
//! memory, and which parts of the old file hold references. The applier needs no parser of
//! executables, and what it is told here can only make its guesses worse.

use std::io::Read;

use crate::error::DeltaError;

/// Most segments of a file and most ranges; executables have less than a dozen of each.
const MOST: u64 = 64;
/// Highest address and size. 2^46 is more than user space has on the processors that are known.
const HIGHEST: u64 = 1 << 46;

/// Part of a file that stands in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Offset in the file.
    pub offset: i64,
    /// Address in memory.
    pub address: i64,
    /// Bytes in the file.
    pub filed: i64,
    /// Bytes in memory.
    pub sized: i64,
}

/// Kind of references that a range of the old file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Code for x86-64.
    X86,
    /// Code for aarch64.
    Arm,
    /// Records of `.rela.dyn`: offset, information, addend.
    Rela,
    /// Pairs of `.eh_frame_hdr`, relative to its beginning.
    FrameTable,
    /// `.eh_frame`.
    Frames,
    /// Aligned words of eight bytes that hold addresses.
    Words,
    /// Jump tables, relative to their beginnings, which code of x86-64 refers to.
    Jumps,
    /// Aligned words of four bytes relative to a base, as Go's table of functions.
    Offsets,
}

const KINDS: [Kind; 8] = [
    Kind::X86,
    Kind::Arm,
    Kind::Rela,
    Kind::FrameTable,
    Kind::Frames,
    Kind::Words,
    Kind::Jumps,
    Kind::Offsets,
];

/// Range of the old file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First byte.
    pub start: u64,
    /// First byte after it.
    pub end: u64,
    /// What it holds.
    pub kind: Kind,
    /// Address that the references of the old file are relative to, for kinds that have one.
    pub old_base: i64,
    /// The same for the new file.
    pub new_base: i64,
}

/// Layout of both files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Segments of the old file.
    pub old: Vec<Segment>,
    /// Segments of the new file.
    pub new: Vec<Segment>,
    /// Ranges of the old file in ascending order, apart from each other.
    pub ranges: Vec<Range>,
}

/// Address of an offset of a file.
pub fn address_of(segments: &[Segment], offset: i64) -> Option<i64> {
    let holds = |it: &&Segment| offset >= it.offset && offset - it.offset < it.filed;
    segments.iter().find(holds).map(|it| offset - it.offset + it.address)
}

/// Offset in the file of an address; the second value is an address that has no bytes in the file.
pub fn offset_of(segments: &[Segment], address: i64) -> Option<i64> {
    let holds = |it: &&Segment| address >= it.address && address - it.address < it.filed;
    segments.iter().find(holds).map(|it| address - it.address + it.offset)
}

/// Whether an address is in one of the segments.
pub fn is_mapped(segments: &[Segment], address: i64) -> bool {
    segments.iter().any(|it| address >= it.address && address - it.address < it.sized)
}

impl Layout {
    /// Writes the layout.
    pub fn write(&self, out: &mut Vec<u8>) {
        for segments in [&self.old, &self.new] {
            put(out, segments.len() as u64);
            for it in segments {
                for part in [it.offset, it.address, it.filed, it.sized] {
                    put(out, u64::try_from(part).unwrap_or(0));
                }
            }
        }
        put(out, self.ranges.len() as u64);
        for it in &self.ranges {
            let kind = KINDS.iter().position(|kind| *kind == it.kind).unwrap_or(0);
            put(out, kind as u64);
            put(out, it.start);
            put(out, it.end - it.start);
            put(out, u64::try_from(it.old_base).unwrap_or(0));
            put(out, u64::try_from(it.new_base).unwrap_or(0));
        }
    }

    /// Reads a layout that [`Self::write`] wrote.
    ///
    /// # Errors
    /// When it ends early or breaks a bound.
    pub fn read(from: &mut dyn Read) -> Result<Self, DeltaError> {
        let old = segments(from)?;
        let new = segments(from)?;
        let mut ranges = Vec::new();
        let mut after = 0;
        for _ in 0..get(from, MOST)? {
            let kind = usize::try_from(get(from, 255)?).ok().and_then(|at| KINDS.get(at));
            let kind = *kind.ok_or(DeltaError::Damaged("an unknown kind of range"))?;
            let start = get(from, HIGHEST)?;
            let end = start + get(from, HIGHEST)?;
            if start < after {
                return Err(DeltaError::Damaged("ranges that overlap"));
            }
            after = end;
            let (old_base, new_base) = (address(from)?, address(from)?);
            ranges.push(Range { start, end, kind, old_base, new_base });
        }
        Ok(Self { old, new, ranges })
    }
}

fn segments(from: &mut dyn Read) -> Result<Vec<Segment>, DeltaError> {
    let mut segments = Vec::new();
    for _ in 0..get(from, MOST)? {
        let (offset, address, filed, sized) =
            (address(from)?, address(from)?, address(from)?, address(from)?);
        segments.push(Segment { offset, address, filed, sized });
    }
    Ok(segments)
}

fn address(from: &mut dyn Read) -> Result<i64, DeltaError> {
    Ok(i64::try_from(get(from, HIGHEST)?).unwrap_or(0))
}

/// Writes a number in groups of seven bits, low ones first.
pub fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 128 {
        out.push(u8::try_from(number & 127).unwrap_or(0) | 128);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or(0));
}

/// Reads a number that [`put`] wrote, of at most `most`.
///
/// # Errors
/// When it ends early or is larger.
pub fn get(from: &mut dyn Read, most: u64) -> Result<u64, DeltaError> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let mut byte = [0];
        from.read_exact(&mut byte).map_err(DeltaError::Delta)?;
        let [byte] = byte;
        number |= u64::from(byte & 127) << shift;
        if byte < 128 {
            let large = DeltaError::Damaged("a number beyond its bound");
            return if number <= most { Ok(number) } else { Err(large) };
        }
    }
    Err(DeltaError::Damaged("a number beyond its bound"))
}
