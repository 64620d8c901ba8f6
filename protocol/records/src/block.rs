//! Blocks of data records: the form in which a device ships records and both sides store them.
//!
//! A block is one byte for its layout, one for its compression, then the content. [`Layout::Rows`]
//! is one record after the other; in columns (`columns.rs`) the text that records have in common
//! stands once. Unpacking returns every value byte for byte.

mod columns;
mod token;

/// Encoding of a data record's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// Bytes as they were published: read as JSON if they parse as JSON, else as text if they are
    /// UTF-8, else as binary.
    Plain,
    /// One item of CBOR.
    Cbor,
}

/// Data record: one value published to a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Sequence number in the record's stream on its device, from 1.
    pub seq: u64,
    /// Time at which the agent accepted the record, in milliseconds since 1970.
    pub time: u64,
    /// Encoding of the record's value.
    pub format: Format,
    /// Bytes as they were published, at most [`MAX_RECORD`].
    pub value: Vec<u8>,
}

/// Arrangement of records in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Records one after the other.
    Rows,
    /// The smaller of two: rows, or the records' common text once and what differs in columns.
    Smallest,
}

/// Largest unpacked size of a block in bytes, so that a hostile one cannot fill the memory.
pub const MAX_UNPACKED: usize = 16 * 1024 * 1024;

/// Most records in a block, since each costs memory beyond its value.
pub const MAX_RECORDS: usize = 65_536;

/// Largest value of a record, in bytes.
pub const MAX_RECORD: usize = 64 * 1024;

/// Reason why bytes are not a block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The block ends early or contradicts itself; the text says how.
    #[error("a damaged block: {0}")]
    Damaged(&'static str),
    /// The layout or compression, whose number is given, is of a later version.
    #[error("a block of an unknown kind: {0}; update this side")]
    Unknown(u8),
    /// The unpacked block would exceed [`MAX_UNPACKED`] bytes or [`MAX_RECORDS`] records.
    #[error("a block of more than {MAX_RECORDS} records or {MAX_UNPACKED} bytes")]
    TooLarge,
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

/// Appends a record's format, length and value.
fn row(record: &Record, out: &mut Vec<u8>) {
    let format = u64::from(record.format == Format::Cbor);
    let length = u64::try_from(record.value.len()).unwrap_or(u64::MAX);
    varint(out, length << 1 | format);
    out.extend_from_slice(&record.value);
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

fn take_row(bytes: &mut &[u8]) -> Result<(Format, Vec<u8>), BlockError> {
    let head = take_varint(bytes)?;
    let length = usize::try_from(head >> 1).unwrap_or(usize::MAX);
    if length > MAX_RECORD {
        return Err(BlockError::Damaged("a record too large"));
    }
    let Some((value, rest)) = bytes.split_at_checked(length) else {
        return Err(BlockError::Damaged("a record cut short"));
    };
    *bytes = rest;
    let format = if head & 1 == 1 { Format::Cbor } else { Format::Plain };
    Ok((format, value.to_vec()))
}

/// Maps a signed difference, held as its two's complement, to a small unsigned number: 0, -1, 1, -2 become 0, 1, 2, 3.
pub fn zigzag(difference: u64) -> u64 {
    let signed = difference.cast_signed();
    ((signed << 1) ^ (signed >> 63)).cast_unsigned()
}

/// Undoes [`zigzag`].
pub fn unzigzag(value: u64) -> u64 {
    (value >> 1) ^ (value & 1).wrapping_neg()
}

/// Appends a number in 7-bit groups, lowest first (LEB128): 1 to 10 bytes.
pub fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or(0));
}

/// Takes a number that [`varint`] wrote off the front of `bytes`.
///
/// # Errors
/// [`BlockError`] where the bytes end early or the number has over 64 bits.
pub fn take_varint(bytes: &mut &[u8]) -> Result<u64, BlockError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let Some((byte, rest)) = bytes.split_first() else {
            return Err(BlockError::Damaged("a number cut short"));
        };
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if shift == 63 && part > 1 {
            break;
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(BlockError::Damaged("a number too large"))
}

#[cfg(test)]
mod tests;
