//! Record of a block, its bounds, and how it and its numbers are written.

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

/// Appends a record's format, length and value.
pub(super) fn row(record: &Record, out: &mut Vec<u8>) {
    let format = u64::from(record.format == Format::Cbor);
    let length = u64::try_from(record.value.len()).unwrap_or(u64::MAX);
    varint(out, length << 1 | format);
    out.extend_from_slice(&record.value);
}

/// Takes the format and the value of a record, which [`row`] wrote, off the front of `bytes`.
pub(super) fn take_row(bytes: &mut &[u8]) -> Result<(Format, Vec<u8>), BlockError> {
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
