//! Writes the bits that the model asks for.

use holdfast_delta::DeltaError;
use holdfast_delta::coder::{Coder, middle};

/// Coder that writes, and knows the new file.
pub(crate) struct Encoder<'a> {
    out: Vec<u8>,
    low: u32,
    high: u32,
    new: &'a [u8],
}

impl<'a> Encoder<'a> {
    /// Encoder that appends to bytes that are there already.
    pub(crate) fn new(out: Vec<u8>, new: &'a [u8]) -> Self {
        Self { out, low: 0, high: u32::MAX, new }
    }

    /// Ends the stream. Returns all bytes.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.out.extend(self.high.to_be_bytes());
        self.out
    }
}

impl Coder for Encoder<'_> {
    const FORESEES: bool = true;

    fn bit(&mut self, one: u16, bit: bool) -> Result<bool, DeltaError> {
        let middle = middle(self.low, self.high, one);
        if bit {
            self.high = middle;
        } else {
            self.low = middle + 1;
        }
        while (self.low ^ self.high) >> 24 == 0 {
            let [top, ..] = self.high.to_be_bytes();
            self.out.push(top);
            self.low <<= 8;
            self.high = (self.high << 8) | 0xff;
        }
        Ok(bit)
    }

    fn foresee(&mut self, into: &mut [u8]) {
        into.iter_mut().zip(self.new).for_each(|(to, from)| *to = *from);
    }

    fn done(&mut self, bytes: &[u8]) -> Result<(), DeltaError> {
        let (made, rest) = self.new.split_at_checked(bytes.len()).unwrap_or((self.new, &[]));
        if made != bytes {
            return Err(DeltaError::Damaged("the maker's model does not give the new file"));
        }
        self.new = rest;
        Ok(())
    }
}
