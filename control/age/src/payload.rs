//! What follows the head: the content in pieces of 64 KiB, each encrypted under its number. The last
//! one is marked, so that a file that was cut is noticed.

use std::io::{self, Read, Write};

use ring::aead::{Aad, LessSafeKey, Nonce};

use super::AgeError;
use super::head::{self, Head};
use super::keys::{FileKey, To, cipher, derive, random};

/// Length of a piece, in bytes.
const PIECE: usize = 64 * 1024;

/// Length of the code that each piece ends with, in bytes.
const TAG: usize = 16;

/// Length of the number that a file's own key is made with, in bytes.
const SALT: usize = 16;

/// Number of the next piece.
struct Counter(u64);

impl Counter {
    fn next(&mut self, last: bool) -> io::Result<Nonce> {
        let mut nonce = [0; 12];
        if let Some(place) = nonce.get_mut(3..11) {
            place.copy_from_slice(&self.0.to_be_bytes());
        }
        if let Some(place) = nonce.last_mut() {
            *place = u8::from(last);
        }
        self.0 = self.0.checked_add(1).ok_or_else(|| io::Error::other("the file is too long"))?;
        Ok(Nonce::assume_unique_for_key(nonce))
    }
}

/// Writer that encrypts what is written. [`Encrypting::finish`] ends the file.
pub struct Encrypting<W: Write> {
    out: W,
    key: LessSafeKey,
    number: Counter,
    held: Vec<u8>,
}

impl<W: Write> std::fmt::Debug for Encrypting<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encrypting").field("piece", &self.number.0).finish_non_exhaustive()
    }
}

impl<W: Write> Encrypting<W> {
    /// Begins a file: writes its head.
    ///
    /// # Errors
    /// [`AgeError`].
    pub fn begin(to: &To, mut out: W) -> Result<Self, AgeError> {
        let key = FileKey::make()?;
        head::write(to, &key, &mut out)?;
        let salt = random::<SALT>()?;
        out.write_all(&salt)?;
        let key = cipher(&derive(&key.0, &salt, b"payload")?)?;
        Ok(Self { out, key, number: Counter(0), held: Vec::with_capacity(PIECE + TAG) })
    }

    fn seal(&mut self, last: bool) -> io::Result<()> {
        let nonce = self.number.next(last)?;
        self.key
            .seal_in_place_append_tag(nonce, Aad::empty(), &mut self.held)
            .map_err(|_| io::Error::other("a piece could not be encrypted"))?;
        self.out.write_all(&self.held)?;
        self.held.clear();
        Ok(())
    }

    /// Ends the file and returns the writer.
    ///
    /// # Errors
    /// Errors of the writer.
    pub fn finish(mut self) -> io::Result<W> {
        self.seal(true)?;
        Ok(self.out)
    }
}

impl<W: Write> Write for Encrypting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full piece waits until more comes, because the last one is marked.
        if self.held.len() == PIECE && !bytes.is_empty() {
            self.seal(false)?;
        }
        let some = bytes.len().min(PIECE - self.held.len());
        self.held.extend_from_slice(bytes.get(..some).unwrap_or_default());
        Ok(some)
    }

    /// Flushes the writer below. The piece that is being filled waits for its end.
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Reader that decrypts what is read. A piece that was changed, or a file that was cut, is an error
/// of the kind [`io::ErrorKind::InvalidData`] or [`io::ErrorKind::UnexpectedEof`].
pub struct Decrypting<R: Read> {
    from: R,
    key: LessSafeKey,
    number: Counter,
    piece: Vec<u8>,
    /// Bytes of the piece that were given out.
    given: usize,
    ended: bool,
}

impl<R: Read> std::fmt::Debug for Decrypting<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decrypting").field("piece", &self.number.0).finish_non_exhaustive()
    }
}

fn fill(from: &mut impl Read, most: usize, into: &mut Vec<u8>) -> io::Result<usize> {
    into.clear();
    from.take(most as u64).read_to_end(into)
}

impl<R: Read> Decrypting<R> {
    /// Begins to read what follows `head` in `from`, with the file's key.
    ///
    /// # Errors
    /// [`AgeError::WrongKey`] when the key is another file's, and errors of the reader.
    pub fn begin(head: &Head, key: &FileKey, mut from: R) -> Result<Self, AgeError> {
        head.check(key)?;
        let mut salt = [0; SALT];
        from.read_exact(&mut salt)?;
        let key = cipher(&derive(&key.0, &salt, b"payload")?)?;
        let piece = Vec::with_capacity(PIECE + TAG);
        Ok(Self { from, key, number: Counter(0), piece, given: 0, ended: false })
    }

    fn next(&mut self) -> io::Result<()> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "a piece was changed");
        let first = self.number.0 == 0;
        let count = fill(&mut self.from, PIECE + TAG, &mut self.piece)?;
        if count < TAG || (count == TAG && !first) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let whole = self.piece.clone();
        let mut open = |last: bool, number: u64| -> io::Result<Option<usize>> {
            let nonce = Counter(number).next(last)?;
            self.piece.clone_from(&whole);
            Ok(self.key.open_in_place(nonce, Aad::empty(), &mut self.piece).ok().map(|it| it.len()))
        };
        // Only a piece of full length can be one in the middle.
        let middle = if count == PIECE + TAG { open(false, self.number.0)? } else { None };
        let length = match middle {
            Some(length) => length,
            None => {
                self.ended = true;
                let Some(length) = open(true, self.number.0)? else {
                    let kind = if count < PIECE + TAG {
                        // A file that was cut ends with part of a piece.
                        io::ErrorKind::UnexpectedEof
                    } else {
                        io::ErrorKind::InvalidData
                    };
                    return Err(io::Error::new(kind, "a piece was changed, or the file was cut"));
                };
                let mut more = Vec::new();
                if fill(&mut self.from, 1, &mut more)? > 0 {
                    return Err(damaged());
                }
                length
            }
        };
        self.number.0 += 1;
        self.piece.truncate(length);
        self.given = 0;
        Ok(())
    }
}

impl<R: Read> Read for Decrypting<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.given == self.piece.len() && !self.ended {
            self.next()?;
        }
        let rest = self.piece.get(self.given..).unwrap_or_default();
        let some = rest.len().min(into.len());
        if let (Some(to), Some(from)) = (into.get_mut(..some), rest.get(..some)) {
            to.copy_from_slice(from);
        }
        self.given += some;
        Ok(some)
    }
}
