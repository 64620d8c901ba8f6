//! Records packed together: what a device ships, and how both sides keep it.
//!
//! A block is one byte for its layout, one for its compression, then the content. [`Layout::Rows`]
//! is one record after the other; in columns (`columns.rs`) what records have in common stands
//! once. What a record's value is, byte for byte, always comes back.

mod columns;
mod token;

/// How a record's value is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// Bytes as they were published: JSON if they parse as JSON, else text if they are UTF-8, else
    /// binary.
    Plain,
    /// CBOR.
    Cbor,
}

/// One record of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number in its stream on its device, from 1.
    pub seq: u64,
    /// When the agent took it in, in milliseconds since 1970.
    pub time: u64,
    /// How its value is to be read.
    pub format: Format,
    /// What was published.
    pub value: Vec<u8>,
}

/// How records are laid out in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One after the other.
    Rows,
    /// Their common text once, what differs in columns, where that is smaller.
    Smallest,
}

/// Largest block when it is unpacked, in bytes: a hostile one cannot fill a memory.
pub const MAX_UNPACKED: usize = 16 * 1024 * 1024;

/// Most records of a block: what each costs beside its value is bounded too.
pub const MAX_RECORDS: usize = 65_536;

/// Largest value of a record, in bytes.
pub const MAX_RECORD: usize = 64 * 1024;

/// Why bytes are not a block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Ended early, or says what cannot be.
    #[error("a damaged block: {0}")]
    Damaged(&'static str),
    /// Of a later version.
    #[error("a block of an unknown kind: {0}; update this side")]
    Unknown(u8),
    /// It would be larger than [`MAX_UNPACKED`], or of more than [`MAX_RECORDS`].
    #[error("a block of more than {MAX_RECORDS} records or {MAX_UNPACKED} bytes")]
    TooLarge,
}

const ROWS: u8 = 0;
const COLUMNS: u8 = 1;
const STORED: u8 = 0;
const ZSTD: u8 = 1;

/// zstd's level: the fast end, for small processors.
const LEVEL: i32 = 3;

/// Columns of less than this part of the rows are taken without trying what zstd makes of rows.
const PLAINLY_BETTER: usize = 10;

/// Packs records, in their order; their numbers must rise, and they are at most [`MAX_RECORDS`].
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

/// The records of a block.
///
/// # Errors
/// [`BlockError`], whatever the bytes are.
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
            // What the frame says of its size saves room; it is no more believed than the rest.
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

/// A record's format and value.
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
