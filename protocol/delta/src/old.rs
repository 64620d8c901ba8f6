//! The old file: random access, through one small window that is read ahead.

use std::io;

use crate::error::DeltaError;

/// Bytes of the window. Regions that are copied are mostly short or read in order, so that more
/// would be read in vain.
const WINDOW: usize = 16 * 1024;
/// Bytes kept before the position that is asked for: instructions are looked at backwards.
const BEFORE: u64 = 64;

/// Random access to the bytes of a file.
pub trait ReadAt {
    /// Reads from an offset, as many bytes as there are; 0 at the end.
    ///
    /// # Errors
    /// Returns the error of the medium.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
}

impl ReadAt for std::fs::File {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, into, offset)
    }
}

impl ReadAt for &[u8] {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let from = usize::try_from(offset).ok().and_then(|offset| self.get(offset..));
        let from = from.unwrap_or_default();
        let length = from.len().min(into.len());
        into.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        Ok(length)
    }
}

/// The old file, read through a window.
pub struct Old<'a> {
    file: &'a dyn ReadAt,
    size: u64,
    window: Vec<u8>,
    begin: u64,
}

impl<'a> Old<'a> {
    /// Old file of a size in bytes.
    pub fn new(file: &'a dyn ReadAt, size: u64) -> Self {
        Self { file, size, window: Vec::new(), begin: 0 }
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes from an offset, at most `WINDOW - 64`. Beyond the end of the file there are zeros.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn bytes(&mut self, offset: u64, length: usize) -> Result<&[u8], DeltaError> {
        let end = offset.saturating_add(length as u64);
        let held = self.begin.saturating_add(self.window.len() as u64);
        if offset < self.begin || end > held {
            self.fill(offset.saturating_sub(BEFORE))?;
        }
        let from = usize::try_from(offset - self.begin).unwrap_or(usize::MAX);
        self.window
            .get(from..from.saturating_add(length))
            .ok_or(DeltaError::Damaged("a piece of the old file that is too long"))
    }

    fn fill(&mut self, begin: u64) -> Result<(), DeltaError> {
        self.window.clear();
        self.window.resize(WINDOW, 0);
        self.begin = begin;
        let mut done = 0;
        while let Some(rest) = self.window.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = begin.saturating_add(done as u64);
            let left = usize::try_from(self.size.saturating_sub(at)).unwrap_or(usize::MAX);
            let Some(rest) = rest.get_mut(..left.min(WINDOW - done)).filter(|it| !it.is_empty())
            else {
                break;
            };
            match self.file.read_at(at, rest) {
                Ok(0) => break,
                Ok(read) => done = done.saturating_add(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(DeltaError::Old(error)),
            }
        }
        Ok(())
    }
}
