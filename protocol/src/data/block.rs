//! Records packed together: what a device ships, and how both sides keep it.
//!
//! A block is one byte for its layout, one for its compression, then the content. [`Layout::Rows`]
//! is one record after the other. What a record's value is, byte for byte, always comes back.

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
    /// It would be larger than [`MAX_UNPACKED`].
    #[error("a block that unpacks to more than {MAX_UNPACKED} bytes")]
    TooLarge,
}

const ROWS: u8 = 0;
const STORED: u8 = 0;
const ZSTD: u8 = 1;

/// zstd's level: the fast end, for small processors.
const LEVEL: i32 = 3;

/// Packs records, in their order; their numbers must rise.
pub fn pack(records: &[Record], layout: Layout, compress: bool) -> Vec<u8> {
    let _only_rows_yet = layout;
    let mut content = Vec::new();
    rows(records, &mut content);
    if compress
        && let Ok(small) = zstd::bulk::compress(&content, LEVEL)
        && small.len() + 4 < content.len()
    {
        let mut out = vec![ROWS, ZSTD];
        out.extend(small);
        return out;
    }
    let mut out = vec![ROWS, STORED];
    out.append(&mut content);
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
    if *layout != ROWS {
        return Err(BlockError::Unknown(*layout));
    }
    match *compression {
        STORED if content.len() > MAX_UNPACKED => Err(BlockError::TooLarge),
        STORED => from_rows(content),
        ZSTD => {
            let content = zstd::bulk::decompress(content, MAX_UNPACKED)
                .map_err(|_| BlockError::Damaged("not what zstd wrote, or too large"))?;
            from_rows(&content)
        }
        other => Err(BlockError::Unknown(other)),
    }
}

fn rows(records: &[Record], out: &mut Vec<u8>) {
    let (mut seq, mut time) = (0u64, 0u64);
    for record in records {
        varint(out, record.seq.wrapping_sub(seq));
        varint(out, zigzag(record.time.wrapping_sub(time)));
        let format = u64::from(record.format == Format::Cbor);
        let length = u64::try_from(record.value.len()).unwrap_or(u64::MAX);
        varint(out, length << 1 | format);
        out.extend_from_slice(&record.value);
        (seq, time) = (record.seq, record.time);
    }
}

fn from_rows(mut bytes: &[u8]) -> Result<Vec<Record>, BlockError> {
    let (mut seq, mut time) = (0u64, 0u64);
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let step = take_varint(&mut bytes)?;
        let next = seq.checked_add(step).filter(|next| *next > seq);
        seq = next.ok_or(BlockError::Damaged("numbers do not rise"))?;
        time = time.wrapping_add(unzigzag(take_varint(&mut bytes)?));
        let head = take_varint(&mut bytes)?;
        let length = usize::try_from(head >> 1).unwrap_or(usize::MAX);
        if length > MAX_RECORD {
            return Err(BlockError::Damaged("a record too large"));
        }
        let Some((value, rest)) = bytes.split_at_checked(length) else {
            return Err(BlockError::Damaged("a record cut short"));
        };
        bytes = rest;
        let format = if head & 1 == 1 { Format::Cbor } else { Format::Plain };
        records.push(Record { seq, time, format, value: value.to_vec() });
    }
    Ok(records)
}

pub(super) fn zigzag(difference: u64) -> u64 {
    let signed = difference.cast_signed();
    ((signed << 1) ^ (signed >> 63)).cast_unsigned()
}

pub(super) fn unzigzag(value: u64) -> u64 {
    (value >> 1) ^ (value & 1).wrapping_neg()
}

pub(super) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or(0));
}

pub(super) fn take_varint(bytes: &mut &[u8]) -> Result<u64, BlockError> {
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records() -> impl Strategy<Value = Vec<Record>> {
        let one = (
            1u64..1000,
            any::<u64>(),
            any::<bool>(),
            proptest::collection::vec(any::<u8>(), 0..50),
        );
        proptest::collection::vec(one, 0..40).prop_map(|all| {
            let mut seq = 0;
            all.into_iter()
                .map(|(step, time, cbor, value)| {
                    seq += step;
                    let format = if cbor { Format::Cbor } else { Format::Plain };
                    Record { seq, time, format, value }
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(records in records(), compress: bool) {
            for layout in [Layout::Rows, Layout::Smallest] {
                let packed = pack(&records, layout, compress);
                prop_assert_eq!(unpack(&packed).unwrap(), records.clone());
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _any = unpack(&bytes);
        }
    }
}
