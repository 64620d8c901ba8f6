//! How a block of records stands in the file: packed, checked by a sum that covers its key, and
//! cut into rows that each fill a page of redb, which would round larger ones up to the next
//! power of two.
//!
//! The first row begins with: version, sum (4 bytes), then as variable numbers last - first,
//! count, earliest time, latest - earliest, length of the packed block.

use holdfast_records::crc::crc;
use holdfast_records::{Layout, Record, block as wire};

use crate::core::data::stream::Block;

/// Records of so many bytes go into one block: what is read at once. Larger ones compress no
/// better.
pub(super) const BLOCK_BYTES: usize = 128 * 1024;
/// At most so many records.
pub(super) const BLOCK_RECORDS: usize = 4_096;
/// Below this compression gains nothing, in bytes.
const COMPRESS_FROM: usize = 256;
/// What a row of the table may hold so that it has one page of 4 KiB to itself: redb's leaf has 4
/// bytes of its own.
pub(super) const ROW: usize = 4_096 - 4 - ROW_OVERHEAD;
/// Bytes of a row's key: stream, first number, part.
pub(super) const KEY: usize = 4 + 8 + 2;
/// What a row takes beside its value: its key, and an offset of 4 bytes for each of both.
const ROW_OVERHEAD: usize = KEY + 8;
const VERSION: u8 = 1;

/// A block that is to be written.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) block: Block,
    bytes: Vec<u8>,
}

impl Packed {
    /// Of records whose numbers rise; `first` and `last` are what it answers for.
    pub(super) fn new(stream: u32, first: u64, last: u64, records: &[Record]) -> Self {
        let size: usize = records.iter().map(|record| record.value.len()).sum();
        let packed = wire::pack(records, Layout::Rows, size >= COMPRESS_FROM);
        let times = || records.iter().map(|record| record.time);
        let earliest = times().min().unwrap_or(0);
        let latest = times().max().unwrap_or(0);
        let count = u64::try_from(records.len()).unwrap_or(u64::MAX);
        let mut head = Vec::with_capacity(32);
        for number in [
            last - first,
            count,
            earliest,
            latest - earliest,
            u64::try_from(packed.len()).unwrap_or(u64::MAX),
        ] {
            varint(&mut head, number);
        }
        let sum = crc(&[&stream.to_be_bytes(), &first.to_be_bytes(), &head, &packed]);
        let mut bytes = Vec::with_capacity(5 + head.len() + packed.len());
        bytes.push(VERSION);
        bytes.extend(sum.to_be_bytes());
        bytes.extend(head);
        bytes.extend(packed);
        let rows = bytes.len().div_ceil(ROW);
        let on_disk = u64::try_from(bytes.len() + rows * ROW_OVERHEAD).unwrap_or(u64::MAX);
        let block = Block { first, last, count, bytes: on_disk, earliest, latest };
        Self { block, bytes }
    }

    /// One that was packed before. None: damaged.
    pub(super) fn read(stream: u32, first: u64, bytes: Vec<u8>) -> Option<Self> {
        let head = Head::read(first, &bytes)?;
        head.records(stream, &bytes)?;
        Some(Self { block: head.block, bytes })
    }

    /// All of it, as it is stored.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What its first row tells.
    pub(super) fn head(&self) -> Option<Head> {
        Head::read(self.block.first, &self.bytes)
    }

    /// Its rows, by part.
    pub(super) fn rows(&self) -> impl Iterator<Item = (u16, &[u8])> {
        (0..).zip(self.bytes.chunks(ROW))
    }
}

/// What the first row of a block tells without the others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) block: Block,
    /// Bytes of the whole, all rows together.
    pub(super) length: usize,
    packed: usize,
}

impl Head {
    /// None: damaged. It may be damaged even so: only [`Head::records`] checks the sum.
    pub(super) fn read(first: u64, row: &[u8]) -> Option<Self> {
        let (version, rest) = row.split_first()?;
        let (_sum, mut rest) = rest.split_at_checked(4)?;
        if *version != VERSION {
            return None;
        }
        let mut number = || take_varint(&mut rest);
        let (span, count, earliest, spread, packed) =
            (number()?, number()?, number()?, number()?, number()?);
        let packed = usize::try_from(packed).ok().filter(|it| *it <= wire::MAX_UNPACKED)?;
        let length = row.len() - rest.len() + packed;
        let rows = length.div_ceil(ROW);
        let block = Block {
            first,
            last: first.checked_add(span)?,
            count: if count <= span + 1 { count } else { return None },
            bytes: u64::try_from(length + rows * ROW_OVERHEAD).ok()?,
            earliest,
            latest: earliest.checked_add(spread)?,
        };
        Some(Self { block, length, packed })
    }

    /// The records of a block, all rows together. None: damaged.
    pub(super) fn records(&self, stream: u32, bytes: &[u8]) -> Option<Vec<Record>> {
        let (_version, rest) = bytes.split_first()?;
        let (sum, rest) = rest.split_at_checked(4)?;
        let (head, packed) = rest.split_at_checked(rest.len().checked_sub(self.packed)?)?;
        let first = self.block.first;
        let right = crc(&[&stream.to_be_bytes(), &first.to_be_bytes(), head, packed]);
        if sum != right.to_be_bytes() {
            return None;
        }
        wire::unpack(packed).ok()
    }
}

/// How many rows a block of so many bytes has.
pub(super) fn rows(length: usize) -> u16 {
    u16::try_from(length.div_ceil(ROW)).unwrap_or(u16::MAX)
}

/// Cuts records into blocks.
pub(super) fn cut(records: &[Record]) -> Vec<&[Record]> {
    let mut blocks = Vec::new();
    let mut rest = records;
    while !rest.is_empty() {
        let mut size = 0;
        let fitting = rest.iter().take(BLOCK_RECORDS).take_while(|record| {
            let fits = size == 0 || size + record.value.len() <= BLOCK_BYTES;
            size += record.value.len().max(1);
            fits
        });
        let (block, after) = rest.split_at(fitting.count());
        blocks.push(block);
        rest = after;
    }
    blocks
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use holdfast_records::Format;

    use super::*;

    fn records(count: u64, size: usize) -> Vec<Record> {
        (1..=count)
            .map(|seq| Record {
                seq,
                time: 1_000 + seq,
                format: Format::Plain,
                value: (0..size).map(|at| (seq as u8).wrapping_mul(at as u8)).collect(),
            })
            .collect()
    }

    #[test]
    fn a_block_comes_back_and_a_flipped_bit_does_not() {
        for (count, size) in [(1, 0), (1, 10), (40, 200), (3, 65_536)] {
            let records = records(count, size);
            let packed = Packed::new(7, 1, count, &records);
            let whole: Vec<u8> = packed.rows().flat_map(|(_, row)| row.to_vec()).collect();
            let first = packed.rows().next().unwrap().1;
            let head = Head::read(1, first).unwrap();
            assert_eq!(head.block, packed.block);
            assert_eq!(head.length, whole.len());
            assert_eq!(head.records(7, &whole).unwrap(), records);
            assert!(head.records(8, &whole).is_none(), "of another stream");
            for at in (0..whole.len()).step_by(whole.len() / 64 + 1) {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << (at % 8);
                let read = Head::read(1, &bytes[..bytes.len().min(ROW)]);
                let read = read.and_then(|head| head.records(7, &bytes));
                assert!(read.is_none() || at == 0, "byte {at}");
                let cut = head.records(7, &whole[..at]);
                assert!(cut.is_none(), "cut at {at}");
            }
        }
    }

    #[test]
    fn blocks_are_cut_by_bytes_and_by_number() {
        assert_eq!(cut(&records(10_000, 1)).iter().map(|it| it.len()).max(), Some(BLOCK_RECORDS));
        let large = records(10, 60_000);
        assert!(cut(&large).iter().all(|block| block.len() <= 2 && !block.is_empty()));
        assert_eq!(cut(&large).concat(), large);
        assert!(cut(&[]).is_empty());
    }
}
