//! Blocks of data records: the form in which a device ships records and both sides store them.
//!
//! A block is one byte for its layout, one for its compression, then the content. [`Layout::Rows`]
//! is one record after the other; in columns (`columns.rs`) the text that records have in common
//! stands once. Unpacking returns every value byte for byte.

mod columns;
mod record;
mod token;

use self::record::{row, take_row};

pub use self::record::{
    BlockError, Format, MAX_RECORD, MAX_RECORDS, MAX_UNPACKED, Record, take_varint, unzigzag,
    varint, zigzag,
};

/// Arrangement of records in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Records one after the other.
    Rows,
    /// The smaller of two: rows, or the records' common text once and what differs in columns.
    Smallest,
}

const ROWS: u8 = 0;
const COLUMNS: u8 = 1;
const STORED: u8 = 0;
const ZSTD: u8 = 1;

/// Compression level of zstd: at the fast end, for small processors.
const LEVEL: i32 = 3;

/// Ratio of raw values to packed columns above which rows are not tried as well: columns of 90
/// bytes for 1,000 bytes of values are taken at once.
const PLAINLY_BETTER: usize = 10;

/// Packs records in their order. Their sequence numbers must rise, and there are at most
/// [`MAX_RECORDS`].
pub fn pack(records: &[Record], layout: Layout, compress: bool) -> Vec<u8> {
    let mut content = Vec::new();
    let mut best: Option<Vec<u8>> = None;
    if layout == Layout::Smallest && columns::write(records, &mut content) {
        let packed = finish(COLUMNS, &content, compress);
        let plain: usize = records.iter().map(|record| record.value.len()).sum();
        if packed.len() < plain / PLAINLY_BETTER {
            return packed;
        }
        best = Some(packed);
    }
    content.clear();
    rows(records, &mut content);
    let packed = finish(ROWS, &content, compress);
    match best {
        Some(best) if best.len() < packed.len() => best,
        _ => packed,
    }
}

fn finish(layout: u8, content: &[u8], compress: bool) -> Vec<u8> {
    if compress
        && let Ok(small) = zstd::bulk::compress(content, LEVEL)
        && small.len() + 4 < content.len()
    {
        let mut out = Vec::with_capacity(small.len() + 2);
        out.extend([layout, ZSTD]);
        out.extend_from_slice(&small);
        return out;
    }
    let mut out = Vec::with_capacity(content.len() + 2);
    out.extend([layout, STORED]);
    out.extend_from_slice(content);
    out
}

/// Returns the records of a block.
///
/// # Errors
/// Returns a [`BlockError`] for anything else; no input causes a panic.
pub fn unpack(bytes: &[u8]) -> Result<Vec<Record>, BlockError> {
    let [layout, compression, content @ ..] = bytes else {
        return Err(BlockError::Damaged("too short"));
    };
    let read = match *layout {
        ROWS => from_rows,
        COLUMNS => columns::read,
        other => return Err(BlockError::Unknown(other)),
    };
    match *compression {
        STORED if content.len() > MAX_UNPACKED => Err(BlockError::TooLarge),
        STORED => read(content),
        ZSTD => {
            // The size in zstd's frame is only a hint that bounds the allocation; it is trusted no
            // more than the rest of the bytes.
            let said = zstd::zstd_safe::get_frame_content_size(content).ok().flatten();
            let room = said.and_then(|size| usize::try_from(size).ok()).unwrap_or(MAX_UNPACKED);
            if room > MAX_UNPACKED {
                return Err(BlockError::TooLarge);
            }
            let content = zstd::bulk::decompress(content, room)
                .map_err(|_| BlockError::Damaged("not what zstd wrote, or too large"))?;
            read(&content)
        }
        other => Err(BlockError::Unknown(other)),
    }
}

fn rows(records: &[Record], out: &mut Vec<u8>) {
    let (mut seq, mut time) = (0u64, 0u64);
    for record in records {
        varint(out, record.seq.wrapping_sub(seq));
        varint(out, zigzag(record.time.wrapping_sub(time)));
        row(record, out);
        (seq, time) = (record.seq, record.time);
    }
}

fn from_rows(mut bytes: &[u8]) -> Result<Vec<Record>, BlockError> {
    let (mut seq, mut time) = (0u64, 0u64);
    let mut records = Vec::new();
    while !bytes.is_empty() {
        if records.len() >= MAX_RECORDS {
            return Err(BlockError::TooLarge);
        }
        let step = take_varint(&mut bytes)?;
        let next = seq.checked_add(step).filter(|next| *next > seq);
        seq = next.ok_or(BlockError::Damaged("numbers do not rise"))?;
        time = time.wrapping_add(unzigzag(take_varint(&mut bytes)?));
        let (format, value) = take_row(&mut bytes)?;
        records.push(Record { seq, time, format, value });
    }
    Ok(records)
}

#[cfg(test)]
mod tests;
