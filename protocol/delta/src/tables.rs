//! Jump tables of code for x86-64: where they begin and how long they are, found again on both
//! sides from the old file.

use crate::error::DeltaError;
use crate::layout::{Kind, Layout, Range, address_of, offset_of};
use crate::old::Old;
use crate::sites::{Form, Piece, Site, site};

/// Most beginnings that are looked at: 2 MiB of memory. Programs of 30 MB have a tenth of that.
const MOST_BEGINNINGS: usize = 1 << 19;
/// Most entries of a table.
const MOST_ENTRIES: u64 = 2_000;
/// Bytes of code that are looked at at once.
const PIECE: u64 = 8 * 1024;

/// Beginnings of jump tables (offset in the old file) with their numbers of entries.
#[derive(Debug, Default)]
pub struct Tables(Vec<(u32, u16)>);

impl Tables {
    /// Finds the tables of the old file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn find(old: &mut Old<'_>, layout: &Layout) -> Result<Self, DeltaError> {
        let of = |kind| layout.ranges.iter().filter(move |range| range.kind == kind);
        let mut tables = Vec::new();
        // One range alone: the code is looked through once, whatever a layout says.
        if let Some(jumps) = of(Kind::Jumps).next() {
            let mut beginnings = Vec::new();
            of(Kind::X86)
                .try_for_each(|code| referred(old, layout, code, jumps, &mut beginnings))?;
            beginnings.sort_unstable();
            beginnings.dedup();
            let mut next = beginnings.iter().skip(1);
            for beginning in &beginnings {
                let end = next.next().map_or(jumps.end, |next| u64::from(*next)).min(jumps.end);
                let entries = length(old, layout, u64::from(*beginning), end)?;
                if entries >= 2 {
                    tables.push((*beginning, entries));
                }
            }
        }
        Ok(Self(tables))
    }

    /// Entries of tables within a piece.
    pub fn sites(&self, piece: &Piece<'_>, sites: &mut Vec<Site>) {
        let ends = |(start, entries): &(u32, u16)| u64::from(*start) + 4 * u64::from(*entries);
        let first = self.0.partition_point(|table| ends(table) <= piece.from);
        for table in self.0.iter().skip(first).take_while(|it| u64::from(it.0) < piece.to) {
            let start = u64::from(table.0);
            let Some(base) =
                i64::try_from(start).ok().and_then(|start| address_of(&piece.layout.old, start))
            else {
                continue;
            };
            for at in (start..ends(table)).step_by(4) {
                if at >= piece.from && at < piece.to && at + 4 <= piece.limit {
                    sites.push(site(at, Form::FromTable, base + piece.signed(at), base));
                }
            }
        }
    }
}

/// Offsets that instructions which load an address refer to.
fn referred(
    old: &mut Old<'_>,
    layout: &Layout,
    code: &Range,
    jumps: &Range,
    found: &mut Vec<u32>,
) -> Result<(), DeltaError> {
    let end = code.end.min(old.size());
    let mut begin = code.start;
    while begin < end && found.len() < MOST_BEGINNINGS {
        let length = PIECE.min(end - begin);
        let Some(address) = i64::try_from(begin).ok().and_then(|it| address_of(&layout.old, it))
        else {
            return Ok(());
        };
        let bytes = old.bytes(begin, usize::try_from(length + 6).unwrap_or(0))?;
        let looked = usize::try_from(length).unwrap_or(0);
        for (step, six) in (0_i64..).zip(bytes.windows(6)).take(looked) {
            let &[0x8d, modrm, a, b, c, d] = six else { continue };
            if modrm & 0xc7 != 5 {
                continue;
            }
            let target = address + step + 6 + i64::from(i32::from_le_bytes([a, b, c, d]));
            let offset = offset_of(&layout.old, target).and_then(|it| u64::try_from(it).ok());
            if let Some(offset) = offset
                && offset >= jumps.start
                && offset + 8 <= jumps.end
                && target & 3 == 0
                && found.len() < MOST_BEGINNINGS
            {
                found.extend(u32::try_from(offset).ok());
            }
        }
        begin += length;
    }
    Ok(())
}

/// Number of entries from an offset that lead into code.
fn length(old: &mut Old<'_>, layout: &Layout, start: u64, end: u64) -> Result<u16, DeltaError> {
    let Some(base) = i64::try_from(start).ok().and_then(|it| address_of(&layout.old, it)) else {
        return Ok(0);
    };
    let most = MOST_ENTRIES.min(end.saturating_sub(start) / 4);
    let bytes = old.bytes(start, usize::try_from(most * 4).unwrap_or(0))?;
    let into_code = |four: &[u8]| {
        let entry = <[u8; 4]>::try_from(four).map_or(0, i32::from_le_bytes);
        let offset = offset_of(&layout.old, base + i64::from(entry));
        let offset = offset.and_then(|it| u64::try_from(it).ok());
        layout.ranges.iter().any(|range| {
            range.kind == Kind::X86
                && offset.is_some_and(|offset| (range.start..range.end).contains(&offset))
        })
    };
    let entries = bytes.chunks_exact(4).take_while(|four| into_code(four)).count();
    Ok(u16::try_from(entries).unwrap_or(0))
}
