//! Unpacking of a layer while it comes: gzip, zstd or neither, told by its first bytes. The size of
//! what comes out is bounded, so that a few bytes cannot fill a disk.

use std::io::{self, Write};

use holdfast_base::ids::Digest;

/// Largest window of zstd as a power of two: 128 MiB, the most that its tools use by themselves.
const MOST_WINDOW: u32 = 27;

/// Number of first bytes by which a way of packing is told.
const HEAD: usize = 4;

/// Reason why a layer is not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum NotUnpacked {
    /// More comes out than is allowed.
    #[error("it unpacks to more than {0} bytes")]
    TooLarge(u64),
    /// The bytes are damaged.
    #[error("it cannot be unpacked: {0}")]
    Damaged(io::Error),
    /// What comes out cannot be written.
    #[error("what was unpacked cannot be written: {0}")]
    Disk(io::Error),
}

/// Error inside of a decoder that says which side failed.
#[derive(Debug, thiserror::Error)]
enum Inner {
    #[error("more than {0} bytes")]
    TooLarge(u64),
    #[error("{0}")]
    Disk(io::Error),
}

fn sort(error: io::Error) -> NotUnpacked {
    match error.downcast::<Inner>() {
        Ok(Inner::TooLarge(most)) => NotUnpacked::TooLarge(most),
        Ok(Inner::Disk(error)) => NotUnpacked::Disk(error),
        Err(error) => NotUnpacked::Damaged(error),
    }
}

/// Writer that counts, hashes and bounds what passes.
struct Bounded<W> {
    to: W,
    hash: ring::digest::Context,
    size: u64,
    most: u64,
}

impl<W: Write> Write for Bounded<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.size = self.size.saturating_add(bytes.len() as u64);
        if self.size > self.most {
            return Err(io::Error::other(Inner::TooLarge(self.most)));
        }
        self.to.write_all(bytes).map_err(|error| io::Error::other(Inner::Disk(error)))?;
        self.hash.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush().map_err(|error| io::Error::other(Inner::Disk(error)))
    }
}

/// Way in which a layer is packed.
enum Packing<W: Write> {
    /// Too few bytes have come to tell.
    Unknown(Bounded<W>, Vec<u8>),
    None(Bounded<W>),
    Gzip(flate2::write::MultiGzDecoder<Bounded<W>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Bounded<W>>>),
}

/// Layer that was unpacked.
#[derive(Debug)]
pub struct Unpacked<W> {
    /// Writer with all of it.
    pub to: W,
    /// Digest of the bytes that came.
    pub packed: Digest,
    /// Number of the bytes that came.
    pub packed_size: u64,
    /// Digest of the uncompressed layer.
    pub digest: Digest,
    /// Size of the uncompressed layer in bytes.
    pub size: u64,
}

/// Layer that is being unpacked.
pub struct Unpacking<W: Write> {
    packing: Option<Packing<W>>,
    hash: ring::digest::Context,
    came: u64,
}

impl<W: Write> std::fmt::Debug for Unpacking<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpacking").field("came", &self.came).finish_non_exhaustive()
    }
}

fn sha256() -> ring::digest::Context {
    ring::digest::Context::new(&ring::digest::SHA256)
}

fn digest(hash: ring::digest::Context) -> Digest {
    let mut out = [0; 32];
    out.iter_mut().zip(hash.finish().as_ref()).for_each(|(to, from)| *to = *from);
    Digest(out)
}

impl<W: Write> Unpacking<W> {
    /// Begins to unpack a layer into a writer, at most `most` bytes.
    pub fn new(to: W, most: u64) -> Self {
        let bounded = Bounded { to, hash: sha256(), size: 0, most };
        Self { packing: Some(Packing::Unknown(bounded, Vec::new())), hash: sha256(), came: 0 }
    }

    /// Takes the next bytes of the layer.
    ///
    /// # Errors
    /// [`NotUnpacked`]; then the layer is of no use any more.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), NotUnpacked> {
        self.hash.update(bytes);
        self.came += bytes.len() as u64;
        let (packing, rest) = match self.packing.take() {
            Some(Packing::Unknown(to, mut head)) => {
                head.extend_from_slice(bytes);
                if head.len() < HEAD {
                    self.packing = Some(Packing::Unknown(to, head));
                    return Ok(());
                }
                (tell(to, &head)?, head)
            }
            Some(known) => (known, bytes.to_vec()),
            None => return Err(NotUnpacked::Damaged(io::ErrorKind::InvalidData.into())),
        };
        self.packing = Some(feed(packing, &rest)?);
        Ok(())
    }

    /// Ends the layer.
    ///
    /// # Errors
    /// [`NotUnpacked`], also for a layer that ends too early.
    pub fn finish(self) -> Result<Unpacked<W>, NotUnpacked> {
        let mut bounded = match self.packing {
            Some(Packing::Unknown(mut to, head)) => {
                to.write_all(&head).map_err(sort)?;
                to
            }
            Some(Packing::None(to)) => to,
            Some(Packing::Gzip(decoder)) => decoder.finish().map_err(sort)?,
            Some(Packing::Zstd(mut decoder)) => {
                decoder.flush().map_err(sort)?;
                decoder.into_inner()
            }
            None => return Err(NotUnpacked::Damaged(io::ErrorKind::InvalidData.into())),
        };
        bounded.flush().map_err(sort)?;
        let Bounded { to, hash, size, .. } = bounded;
        let packed = digest(self.hash);
        Ok(Unpacked { to, packed, packed_size: self.came, digest: digest(hash), size })
    }
}

/// Tells by its first bytes how a layer is packed.
fn tell<W: Write>(to: Bounded<W>, head: &[u8]) -> Result<Packing<W>, NotUnpacked> {
    match head {
        [0x1f, 0x8b, ..] => Ok(Packing::Gzip(flate2::write::MultiGzDecoder::new(to))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let mut decoder =
                zstd::stream::write::Decoder::new(to).map_err(NotUnpacked::Damaged)?;
            decoder.window_log_max(MOST_WINDOW).map_err(NotUnpacked::Damaged)?;
            Ok(Packing::Zstd(Box::new(decoder)))
        }
        _ => Ok(Packing::None(to)),
    }
}

fn feed<W: Write>(mut packing: Packing<W>, bytes: &[u8]) -> Result<Packing<W>, NotUnpacked> {
    match &mut packing {
        Packing::Unknown(_, head) => head.extend_from_slice(bytes),
        Packing::None(to) => to.write_all(bytes).map_err(sort)?,
        Packing::Gzip(decoder) => decoder.write_all(bytes).map_err(sort)?,
        Packing::Zstd(decoder) => decoder.write_all(bytes).map_err(sort)?,
    }
    Ok(packing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest_of;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        to.write_all(bytes).unwrap();
        to.finish().unwrap()
    }

    fn unpack(bytes: &[u8], piece: usize, most: u64) -> Result<Unpacked<Vec<u8>>, NotUnpacked> {
        let mut unpacking = Unpacking::new(Vec::new(), most);
        for piece in bytes.chunks(piece) {
            unpacking.write(piece)?;
        }
        unpacking.finish()
    }

    fn content() -> Vec<u8> {
        (0..200_000_u32).flat_map(|at| (at / 7).to_le_bytes()).collect()
    }

    #[test]
    fn each_packing_is_told_and_undone_in_whatever_pieces_it_comes() {
        let plain = content();
        let zstd = zstd::encode_all(plain.as_slice(), 3).unwrap();
        let two = [gzip(&plain[..1000]), gzip(&plain[1000..])].concat();
        for (name, packed) in
            [("none", plain.clone()), ("gzip", gzip(&plain)), ("zstd", zstd), ("two", two)]
        {
            for piece in [1, 3, 4096, usize::MAX] {
                if piece == 1 && name == "none" {
                    continue; // The same as three, 800,000 times.
                }
                let unpacked = unpack(&packed, piece, 1 << 20).unwrap();
                assert!(unpacked.to == plain, "{name} by {piece}");
                assert_eq!(unpacked.digest, digest_of(&plain));
                assert_eq!(unpacked.packed, digest_of(&packed));
                let sizes = (unpacked.packed_size, unpacked.size);
                assert_eq!(sizes, (packed.len() as u64, plain.len() as u64));
            }
        }
        let short = unpack(b"ab", 1, 10).unwrap();
        assert_eq!((short.to.as_slice(), short.size), (&b"ab"[..], 2));
        assert_eq!(unpack(b"", 1, 10).unwrap().size, 0);
    }

    #[test]
    fn a_bomb_ends_at_its_bound() {
        let zeros = vec![0; 64 << 20];
        for packed in [gzip(&zeros), zstd::encode_all(zeros.as_slice(), 19).unwrap()] {
            assert!(packed.len() < 100_000);
            let why = unpack(&packed, 4096, 1 << 20).unwrap_err();
            assert!(matches!(why, NotUnpacked::TooLarge(1_048_576)), "{why}");
        }
        assert!(matches!(unpack(&[7; 11], 4, 10), Err(NotUnpacked::TooLarge(10))));
    }

    #[test]
    fn damage_and_a_full_disk_are_told_apart() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let packed = gzip(&content());
        let mut full = Unpacking::new(Full, 1 << 20);
        let failed = full.write(&packed).and_then(|()| full.finish().map(drop));
        assert!(matches!(failed, Err(NotUnpacked::Disk(_))));
        let mut cut = packed.clone();
        cut.truncate(packed.len() / 2);
        assert!(matches!(unpack(&cut, 4096, 1 << 20), Err(NotUnpacked::Damaged(_))));
        let mut broken = packed;
        broken[100] ^= 0xff;
        assert!(unpack(&broken, 4096, 1 << 20).is_err());
    }
}
