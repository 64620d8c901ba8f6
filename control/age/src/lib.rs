//! Files encrypted to a recipient or by a passphrase, in version 1 of age's format
//! (<https://c2sp.org/age>): the programs `age` and `rage` read what this writes, and this reads
//! theirs.
//!
//! A file begins with a head, which wraps a key of its own for each recipient. Who opens the head
//! has that key, which opens this one file and no other. The rest is read and written in pieces of
//! 64 KiB, each of them authenticated, so that memory is bounded whatever the length.
//!
//! Without I/O of its own: it stands on readers and writers that it is given. See
//! decision 0160.

mod bech32;
mod error;
mod head;
mod keys;
mod payload;

pub use error::{AgeError, FIRST_LINE};
pub use head::{Head, With};
pub use keys::{FileKey, Identity, Recipient, To, identities};
pub use payload::{Decrypting, Encrypting};

#[cfg(test)]
mod tests;
