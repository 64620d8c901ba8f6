//! Reads the layout out of two executables (ELF, 64 bits, little endian, x86-64 or aarch64).
//!
//! What is not understood is left out: it makes a delta larger, never wrong.

use holdfast_delta::layout::{Kind, Layout, Range, Segment};

const X86_64: u16 = 62;
const AARCH64: u16 = 183;
/// Type of a program that stands at fixed addresses.
const FIXED: u16 = 2;
/// Most headers that are read of each kind.
const MOST: usize = 60;

struct Section {
    name: String,
    address: i64,
    offset: u64,
    size: u64,
}

struct Executable {
    machine: u16,
    kind: u16,
    segments: Vec<Segment>,
    sections: Vec<Section>,
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn two(bytes: &[u8], at: usize) -> Option<u16> {
    part(bytes, at).map(u16::from_le_bytes)
}

fn four(bytes: &[u8], at: usize) -> Option<u32> {
    part(bytes, at).map(u32::from_le_bytes)
}

fn eight(bytes: &[u8], at: usize) -> Option<u64> {
    part(bytes, at).map(u64::from_le_bytes).filter(|it| *it < 1 << 46)
}

fn place(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(eight(bytes, at)?).ok()
}

fn signed(bytes: &[u8], at: usize) -> Option<i64> {
    i64::try_from(eight(bytes, at)?).ok()
}

fn read(bytes: &[u8]) -> Option<Executable> {
    if bytes.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (kind, machine) = (two(bytes, 16)?, two(bytes, 18)?);
    if machine != X86_64 && machine != AARCH64 {
        return None;
    }
    let (first, count) = (place(bytes, 32)?, usize::from(two(bytes, 56)?));
    let mut segments = Vec::new();
    for number in 0..count.min(MOST) {
        let at = first.checked_add(number * 56)?;
        if four(bytes, at)? == 1 {
            segments.push(Segment {
                offset: signed(bytes, at + 8)?,
                address: signed(bytes, at + 16)?,
                filed: signed(bytes, at + 32)?,
                sized: signed(bytes, at + 40)?,
            });
        }
    }
    let sections = sections(bytes).unwrap_or_default();
    Some(Executable { machine, kind, segments, sections })
}

fn sections(bytes: &[u8]) -> Option<Vec<Section>> {
    let (first, count) = (place(bytes, 40)?, usize::from(two(bytes, 60)?));
    let names = first.checked_add(usize::from(two(bytes, 62)?) * 64)?;
    let names = place(bytes, names + 24)?;
    let mut sections = Vec::new();
    for number in 0..count.min(MOST) {
        let at = first.checked_add(number * 64)?;
        let name = names.checked_add(usize::try_from(four(bytes, at)?).ok()?)?;
        let name = bytes.get(name..)?.iter().take(40).take_while(|byte| **byte != 0);
        // A section without bytes in the file has type 8.
        if four(bytes, at + 4)? != 8 {
            sections.push(Section {
                name: name.map(|byte| char::from(*byte)).collect(),
                address: signed(bytes, at + 16)?,
                offset: eight(bytes, at + 24)?,
                size: eight(bytes, at + 32)?,
            });
        }
    }
    Some(sections)
}

/// Layout of two executables for the same processor; one without ranges for all else.
pub(crate) fn layout(old: &[u8], new: &[u8]) -> Layout {
    let (Some(old), Some(new)) = (read(old), read(new)) else { return Layout::default() };
    if old.machine != new.machine {
        return Layout::default();
    }
    let mut ranges = Vec::new();
    for section in &old.sections {
        let Some(kind) = kind(&section.name, &old) else { continue };
        let twin = new.sections.iter().find(|it| it.name == section.name);
        let (start, end) = (section.offset, section.offset + section.size);
        let (old_base, new_base) = (section.address, twin.map_or(0, |it| it.address));
        ranges.push(Range { start, end, kind, old_base, new_base });
    }
    ranges.sort_by_key(|range| range.start);
    let mut after = 0;
    ranges.retain(|range| {
        let apart = range.start >= after && range.end > range.start;
        after = if apart { range.end } else { after };
        apart
    });
    Layout { old: old.segments, new: new.segments, ranges }
}

fn kind(name: &str, of: &Executable) -> Option<Kind> {
    let fixed = of.kind == FIXED;
    match name {
        ".text" | ".init" | ".fini" | ".plt" | "runtime.text" if of.machine == X86_64 => {
            Some(Kind::X86)
        }
        ".text" | ".plt" => Some(Kind::Arm),
        ".rela.dyn" => Some(Kind::Rela),
        ".eh_frame_hdr" => Some(Kind::FrameTable),
        ".eh_frame" => Some(Kind::Frames),
        ".rodata" if !fixed && of.machine == X86_64 => Some(Kind::Jumps),
        ".data" | ".data.rel.ro" | ".got" | ".rodata" | ".noptrdata" | ".typelink"
        | ".itablink" | ".init_array"
            if fixed =>
        {
            Some(Kind::Words)
        }
        _ => None,
    }
}
