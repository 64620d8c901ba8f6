//! Storage form of a block of records: packed, covered by a checksum that includes its key, and cut
//! into rows that each fill one page of redb, which would round larger ones up to the next power of
//! two.
//!
//! The first row begins with the version (1 byte) and the checksum (4 bytes), followed by varints:
//! last - first, count, earliest time, latest - earliest, and the length of the packed records.
//!
//! See decision 0043.

use holdfast_records::crc::crc;
use holdfast_records::{Layout, Record, block as wire};

use crate::core::data::stream::Block;

/// Bytes of values that go into one block, which is read as a whole. Larger blocks do not compress
/// better.
pub(super) const BLOCK_BYTES: usize = 128 * 1024;
/// Most records in one block.
pub(super) const BLOCK_RECORDS: usize = 4_096;
/// Bytes of values below which compression gains nothing.
const COMPRESS_FROM: usize = 256;
/// Most bytes in a row so that it has one page of 4 KiB to itself; redb's leaf page takes 4 bytes.
pub(super) const ROW: usize = 4_096 - 4 - ROW_OVERHEAD;
/// Bytes of a row's key: stream, first sequence number, part.
pub(super) const KEY: usize = 4 + 8 + 2;
/// Bytes that a row takes beside its value: the key, and 4 bytes of offset for each of key and
/// value.
const ROW_OVERHEAD: usize = KEY + 8;
const VERSION: u8 = 1;

/// A block that is packed and ready to be written.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) block: Block,
    bytes: Vec<u8>,
}

impl Packed {
    /// Packs records whose sequence numbers rise. The block accounts for `first..=last`, also where
    /// records are missing in it.
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

    /// Checks a block that was packed before. `None` when it is damaged.
    pub(super) fn read(stream: u32, first: u64, bytes: Vec<u8>) -> Option<Self> {
        let head = Head::read(first, &bytes)?;
        head.records(stream, &bytes)?;
        Some(Self { block: head.block, bytes })
    }

    /// Stored form of the block, all rows together.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Head of the block, parsed from its first row.
    pub(super) fn head(&self) -> Option<Head> {
        Head::read(self.block.first, &self.bytes)
    }

    /// Rows of the block, each with its part number.
    pub(super) fn rows(&self) -> impl Iterator<Item = (u16, &[u8])> {
        (0..).zip(self.bytes.chunks(ROW))
    }
}

/// Description of a block that its first row holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) block: Block,
    /// Length of the stored block, all rows together, in bytes.
    pub(super) length: usize,
    packed: usize,
}

impl Head {
    /// Parses the head of a block. `None` when it is damaged; only [`Head::records`] checks the
    /// checksum.
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

    /// Unpacks the records of a block from all its rows. `None` when the block is damaged.
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

/// Number of rows of a block of `length` bytes.
pub(super) fn rows(length: usize) -> u16 {
    u16::try_from(length.div_ceil(ROW)).unwrap_or(u16::MAX)
}

/// Cuts records into blocks, bounded by [`BLOCK_BYTES`] and [`BLOCK_RECORDS`].
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
