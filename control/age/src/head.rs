//! Head of a file: its key, wrapped for each who may open it, and a code that authenticates the
//! head.

use std::io::{Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::hmac;

use super::keys::{FileKey, Identity, To, WRAPPED, unwrap_by, wrap_by};
use super::{AgeError, FIRST_LINE};

/// Maximum length of a head, in bytes: some two hundred recipients.
const MAX_HEAD: usize = 32 * 1024;

/// Maximum length of a line of a body, as the format has it.
const COLUMNS: usize = 64;

/// Key of a file, wrapped in one way.
enum Stanza {
    X25519 {
        share: [u8; 32],
        wrapped: [u8; WRAPPED],
    },
    Scrypt {
        salt: [u8; 16],
        work: u8,
        wrapped: [u8; WRAPPED],
    },
    /// A way that is not known here, such as a plugin's.
    Other,
}

/// What opens a file.
#[derive(Debug)]
pub enum With {
    /// Any of these identities.
    Identities(Vec<Identity>),
    /// Passphrase of the file.
    Passphrase(String),
}

/// Head of a file that was read.
pub struct Head {
    stanzas: Vec<Stanza>,
    /// Bytes that the code authenticates: up to and including `---`.
    authenticated: Vec<u8>,
    code: Vec<u8>,
}

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Head").field("stanzas", &self.stanzas.len()).finish_non_exhaustive()
    }
}

fn fixed<const N: usize>(text: &str) -> Result<[u8; N], AgeError> {
    let bytes = STANDARD_NO_PAD.decode(text).map_err(|_| AgeError::NoAge)?;
    bytes.try_into().map_err(|_| AgeError::NoAge)
}

/// Reads one line, without its end, byte by byte: what follows the head is not consumed.
fn line(from: &mut impl Read, left: &mut usize) -> Result<String, AgeError> {
    let mut bytes = Vec::new();
    loop {
        let mut byte = [0];
        *left = left.checked_sub(1).ok_or(AgeError::NoAge)?;
        if from.read(&mut byte)? == 0 {
            return Err(AgeError::NoAge);
        }
        match byte {
            [b'\n'] => return String::from_utf8(bytes).map_err(|_| AgeError::NoAge),
            [byte] => bytes.push(byte),
        }
    }
}

impl Stanza {
    fn of(words: &[&str], body: &str) -> Result<Self, AgeError> {
        Ok(match words {
            ["X25519", share] => Self::X25519 { share: fixed(share)?, wrapped: fixed(body)? },
            ["scrypt", salt, work] => {
                let clean =
                    work.bytes().all(|byte| byte.is_ascii_digit()) && !work.starts_with('0');
                let work = work.parse().ok().filter(|_| clean).ok_or(AgeError::NoAge)?;
                Self::Scrypt { salt: fixed(salt)?, work, wrapped: fixed(body)? }
            }
            ["X25519" | "scrypt", ..] | [] => return Err(AgeError::NoAge),
            _ => Self::Other,
        })
    }
}

impl Head {
    /// Reads the head of a file, and nothing beyond it. It is authenticated once its key is known.
    ///
    /// # Errors
    /// [`AgeError::NoAge`] for a file of another format, and errors of the reader.
    pub fn read(from: &mut impl Read) -> Result<Self, AgeError> {
        let mut left = MAX_HEAD;
        let (mut stanzas, mut text) = (Vec::new(), String::new());
        let mut next = |text: &mut String| -> Result<String, AgeError> {
            let line = line(from, &mut left)?;
            text.push_str(&line);
            text.push('\n');
            Ok(line)
        };
        if next(&mut text)? != FIRST_LINE {
            return Err(AgeError::NoAge);
        }
        loop {
            let line = next(&mut text)?;
            if let Some(code) = line.strip_prefix("--- ") {
                let end = text.len() - code.len() - " \n".len();
                let code = fixed::<32>(code)?.to_vec();
                text.truncate(end);
                let alone = stanzas.len() == 1;
                if stanzas.iter().any(|it| matches!(it, Stanza::Scrypt { .. })) && !alone {
                    return Err(AgeError::NoAge);
                }
                return Ok(Self { stanzas, authenticated: text.into_bytes(), code });
            }
            let words = line.strip_prefix("-> ").ok_or(AgeError::NoAge)?;
            let words: Vec<&str> = words.split(' ').collect();
            let mut body = String::new();
            loop {
                let piece = next(&mut text)?;
                body.push_str(&piece);
                match piece.len() {
                    COLUMNS => {}
                    0..COLUMNS => break,
                    _ => return Err(AgeError::NoAge),
                }
            }
            stanzas.push(Stanza::of(&words, &body)?);
        }
    }

    /// True when a passphrase opens the file, and false when an identity does.
    pub fn is_by_passphrase(&self) -> bool {
        matches!(self.stanzas.as_slice(), [Stanza::Scrypt { .. }])
    }

    /// Opens the key of the file.
    ///
    /// # Errors
    /// An [`AgeError`] that says what was wrong with the passphrase or identity.
    pub fn file_key(&self, with: &With) -> Result<FileKey, AgeError> {
        let key = match (with, self.stanzas.as_slice()) {
            (With::Passphrase(passphrase), [Stanza::Scrypt { salt, work, wrapped }]) => {
                unwrap_by(passphrase, (salt, *work), wrapped)?
            }
            (With::Passphrase(_), _) => return Err(AgeError::NeedsIdentity),
            (With::Identities(_), [Stanza::Scrypt { .. }]) => {
                return Err(AgeError::NeedsPassphrase);
            }
            (With::Identities(identities), stanzas) => self.by_identity(identities, stanzas)?,
        };
        self.check(&key)?;
        Ok(key)
    }

    fn by_identity(&self, all: &[Identity], stanzas: &[Stanza]) -> Result<FileKey, AgeError> {
        for stanza in stanzas {
            let Stanza::X25519 { share, wrapped } = stanza else { continue };
            for identity in all {
                if let Some(key) = identity.unwrap(share, wrapped)? {
                    return Ok(key);
                }
            }
        }
        Err(AgeError::WrongIdentity)
    }

    /// Checks that the key is that of this file, and that nobody has changed its head.
    ///
    /// # Errors
    /// [`AgeError::WrongKey`].
    pub fn check(&self, key: &FileKey) -> Result<(), AgeError> {
        hmac::verify(&key.mac()?, &self.authenticated, &self.code).map_err(|_| AgeError::WrongKey)
    }
}

/// Writes the head of a file with this key.
pub(crate) fn write(to: &To, key: &FileKey, mut out: impl Write) -> Result<(), AgeError> {
    let mut text = format!("{FIRST_LINE}\n");
    let encode = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes);
    let mut stanza = |words: &str, wrapped: &[u8]| {
        // A wrapped key of 32 bytes has 43 characters: one line.
        text.push_str(&format!("-> {words}\n{}\n", encode(wrapped)));
    };
    match to {
        To::Recipients(all) => {
            for recipient in all {
                let (share, wrapped) = recipient.wrap(key)?;
                stanza(&format!("X25519 {}", encode(&share)), &wrapped);
            }
        }
        To::Passphrase(passphrase) => {
            let (salt, work, wrapped) = wrap_by(passphrase, key)?;
            stanza(&format!("scrypt {} {work}", encode(&salt)), &wrapped);
        }
    }
    text.push_str("---");
    let code = hmac::sign(&key.mac()?, text.as_bytes());
    text.push_str(&format!(" {}\n", encode(code.as_ref())));
    out.write_all(text.as_bytes())?;
    Ok(())
}
