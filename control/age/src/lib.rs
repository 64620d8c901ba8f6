//! Files encrypted to a recipient or by a passphrase, in version 1 of age's format
//! (<https://c2sp.org/age>): the programs `age` and `rage` read what this writes, and this reads
//! theirs.
//!
//! A file begins with a head, which wraps a key of its own for each recipient. Who opens the head
//! has that key, which opens this one file and no other. The rest is read and written in pieces of
//! 64 KiB, each of them authenticated, so that memory is bounded whatever the length.
//!
//! Without I/O of its own: it stands on readers and writers that it is given. See decision
//! NEW-encrypted-backups.

mod bech32;
mod head;
mod keys;
mod payload;

pub use head::{Head, With};
pub use keys::{FileKey, Identity, Recipient, To, identities};
pub use payload::{Decrypting, Encrypting};

/// First line of a file in age's format.
pub const FIRST_LINE: &str = "age-encryption.org/v1";

/// Reason why a file cannot be encrypted or decrypted. Its text is for people.
#[derive(Debug, thiserror::Error)]
pub enum AgeError {
    /// The file is not in age's format, or is of a kind that is not read here.
    #[error("this is no file in age's format, or its beginning is damaged")]
    NoAge,
    /// The text is no recipient.
    #[error(
        "{0:?} is no recipient: one begins with age1, has 62 characters, and is printed by `age-keygen`"
    )]
    Recipient(String),
    /// The file of identities holds none.
    #[error(
        "the identity file holds no line that begins with AGE-SECRET-KEY-1, as `age-keygen -o FILE` writes it"
    )]
    Identity,
    /// The passphrase is not that of the file.
    #[error("the passphrase is not the one that the backup was encrypted with")]
    WrongPassphrase,
    /// None of the identities opens the file.
    #[error("none of the identities opens the backup: it was encrypted to other recipients")]
    WrongIdentity,
    /// A passphrase was given for a file that was encrypted to recipients.
    #[error("the backup was encrypted to a recipient: say --identity FILE, not a passphrase")]
    NeedsIdentity,
    /// An identity was given for a file that was encrypted by a passphrase.
    #[error(
        "the backup was encrypted by a passphrase: say --passphrase-file FILE, not an identity"
    )]
    NeedsPassphrase,
    /// The work factor of a passphrase's key would take too much memory.
    #[error("the passphrase asks for 2^{0} rounds of work, and {max} is the most here: encrypt the file again with less", max = keys::MOST_WORK)]
    TooMuchWork(u8),
    /// The key that was given for the file is not its own.
    #[error("the key does not belong to this file")]
    WrongKey,
    /// The system gives no random numbers, or a parameter was impossible.
    #[error("the system gives no random numbers")]
    Random,
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

#[cfg(test)]
mod tests;
