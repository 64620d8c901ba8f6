//! The first 96 bytes of a delta.

use std::io::Read;

use crate::error::DeltaError;

/// First bytes of a delta; the last one is the version of the format.
pub const MAGIC: [u8; 4] = *b"HFD1";
/// Bytes of the header.
pub const LENGTH: usize = 96;

/// How the result is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// The whole new file, compressed by zstd. No base is needed.
    Whole,
    /// Compressed by zstd with the old file as what went before; it is held in memory.
    Prefix,
    /// Regions of the old file with what differs in them.
    Patch,
}

/// Header of a delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// How the result is made.
    pub method: Method,
    /// Bytes of memory that applying it needs at most.
    pub memory: u64,
    /// Bytes of the old file; 0 without one.
    pub old_size: u64,
    /// Bytes of the new file.
    pub new_size: u64,
    /// SHA-256 of the old file; zeros without one.
    pub old: [u8; 32],
    /// SHA-256 of the new file.
    pub new: [u8; 32],
}

impl Header {
    /// Bytes of the header.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        // The second byte names the coder of the streams. There is one for each method so far.
        out.extend([self.method as u8, 0, 0, 0]);
        for number in [self.memory, self.old_size, self.new_size] {
            out.extend(number.to_le_bytes());
        }
        out.extend(self.old);
        out.extend(self.new);
        out
    }

    /// Reads a header.
    ///
    /// # Errors
    /// When it ends early, or is of another format, method or coder.
    pub fn read(from: &mut dyn Read) -> Result<Self, DeltaError> {
        let mut magic = [0; 4];
        from.read_exact(&mut magic).map_err(DeltaError::Delta)?;
        if magic != MAGIC {
            return Err(DeltaError::NotADelta);
        }
        let mut kind = [0; 4];
        from.read_exact(&mut kind).map_err(DeltaError::Delta)?;
        let method = match kind {
            [0, 0, 0, 0] => Method::Whole,
            [1, 0, 0, 0] => Method::Prefix,
            [2, 0, 0, 0] => Method::Patch,
            [method, ..] => return Err(DeltaError::UnknownMethod(method)),
        };
        let mut number = || {
            let mut eight = [0; 8];
            from.read_exact(&mut eight).map_err(DeltaError::Delta)?;
            Ok(u64::from_le_bytes(eight))
        };
        let (memory, old_size, new_size) = (number()?, number()?, number()?);
        let (mut old, mut new) = ([0; 32], [0; 32]);
        from.read_exact(&mut old).map_err(DeltaError::Delta)?;
        from.read_exact(&mut new).map_err(DeltaError::Delta)?;
        Ok(Self { method, memory, old_size, new_size, old, new })
    }
}
