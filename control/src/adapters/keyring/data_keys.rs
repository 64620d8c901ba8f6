//! Data keys in memory: they seal values and open them. A sealed value is the number of its form
//! (1), the id of its data key (8 bytes), a nonce (12 bytes), and what AES-256-GCM made of it.
//!
//! See decision NEW-keyring.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_base::ids::{hex, unhex};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::ports::keyring::{DataKey, KeyringError};

/// Number of the form of sealed values.
const FORM: u8 = 1;

/// Length of a data key's id, in bytes.
const ID: usize = 8;

/// Length of everything before the ciphertext, in bytes.
const HEAD: usize = 1 + ID + NONCE_LEN;

/// Maximum number of data keys. Each rotation adds one and removes those before, and a restore
/// brings what the backup has, so that there are rarely more than two.
pub(super) const MOST: usize = 64;

/// Data key with its id.
#[derive(Clone)]
pub(super) struct Known {
    id: [u8; ID],
    bytes: [u8; 32],
    pub(super) made_at: u64,
}

/// Fills an array with random bytes.
pub(super) fn random<const N: usize>() -> Result<[u8; N], KeyringError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| KeyringError::Random)?;
    Ok(bytes)
}

/// Makes the cipher of a key of 32 bytes.
fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, KeyringError> {
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| KeyringError::Form)?;
    Ok(LessSafeKey::new(key))
}

/// Encrypts a value with a random nonce, which the result begins with.
pub(super) fn encrypt(key: &[u8; 32], aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, KeyringError> {
    let nonce = random::<NONCE_LEN>()?;
    let mut out = Vec::with_capacity(HEAD + plain.len() + AES_256_GCM.tag_len());
    out.extend_from_slice(plain);
    let unique = Nonce::assume_unique_for_key(nonce);
    cipher(key)?
        .seal_in_place_append_tag(unique, Aad::from(aad), &mut out)
        .map_err(|_| KeyringError::Form)?;
    out.splice(0..0, nonce);
    Ok(out)
}

/// Decrypts what [`encrypt`] made.
pub(super) fn decrypt(key: &[u8; 32], aad: &[u8], from: &[u8]) -> Result<Vec<u8>, KeyringError> {
    let (nonce, sealed) = from.split_first_chunk::<NONCE_LEN>().ok_or(KeyringError::Form)?;
    let mut bytes = sealed.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let opened = cipher(key)?.open_in_place(nonce, Aad::from(aad), &mut bytes);
    let length = opened.map_err(|_| KeyringError::Altered)?.len();
    bytes.truncate(length);
    Ok(bytes)
}

impl Known {
    /// Makes a new key.
    pub(super) fn make(made_at: u64) -> Result<Self, KeyringError> {
        Ok(Self { id: random()?, bytes: random()?, made_at })
    }

    /// Makes a key from its parts. None: the id is not one.
    pub(super) fn of(id: &str, bytes: [u8; 32], made_at: u64) -> Option<Self> {
        Some(Self { id: unhex(id)?, bytes, made_at })
    }

    /// Id in hexadecimal.
    pub(super) fn id(&self) -> String {
        hex(&self.id)
    }

    /// The key itself.
    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// Returns the key in the form of a backup.
    pub(super) fn export(&self) -> DataKey {
        DataKey { id: self.id(), key: STANDARD.encode(self.bytes), made_at: self.made_at }
    }

    /// Reads a key of a backup. None: it is none.
    pub(super) fn import(key: &DataKey) -> Option<Self> {
        let bytes = STANDARD.decode(&key.key).ok()?.try_into().ok()?;
        Self::of(&key.id, bytes, key.made_at)
    }
}

/// Data keys, the oldest first; the last one seals.
#[derive(Clone)]
pub(super) struct DataKeys {
    older: Vec<Known>,
    newest: Known,
}

impl DataKeys {
    /// Makes keys of which `newest` seals.
    pub(super) fn new(older: Vec<Known>, newest: Known) -> Self {
        Self { older, newest }
    }

    /// All keys, the oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Known> {
        self.older.iter().chain([&self.newest])
    }

    /// The key that seals.
    pub(super) fn newest(&self) -> &Known {
        &self.newest
    }

    /// Seals a value under the newest key.
    pub(super) fn seal_under_newest(
        &self,
        context: &[u8],
        plain: &[u8],
    ) -> Result<Vec<u8>, KeyringError> {
        let encrypted = encrypt(&self.newest.bytes, context, plain)?;
        Ok([&[FORM][..], &self.newest.id, &encrypted].concat())
    }

    /// Opens a value under the key that it names.
    pub(super) fn open_under_any(
        &self,
        context: &[u8],
        sealed: &[u8],
    ) -> Result<Vec<u8>, KeyringError> {
        let Some(([FORM], rest)) = sealed.split_first_chunk::<1>() else {
            return Err(KeyringError::Form);
        };
        let (id, rest) = rest.split_first_chunk::<ID>().ok_or(KeyringError::Form)?;
        let key = self.all().find(|key| key.id == *id);
        let key = key.ok_or_else(|| KeyringError::UnknownKey(hex(id)))?;
        decrypt(&key.bytes, context, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_with_its_context_and_key_alone() {
        let keys = DataKeys::new(Vec::new(), Known::make(7).unwrap());
        let sealed = keys.seal_under_newest(b"secret/acme/db/password", b"hunter2").unwrap();
        assert_eq!(sealed.len(), b"hunter2".len() + 37);
        assert_eq!(keys.open_under_any(b"secret/acme/db/password", &sealed).unwrap(), b"hunter2");
        assert_eq!(
            keys.open_under_any(b"secret/zeta/db/password", &sealed),
            Err(KeyringError::Altered)
        );
        assert_ne!(sealed, keys.seal_under_newest(b"secret/acme/db/password", b"hunter2").unwrap());
        let newer = DataKeys::new(keys.all().cloned().collect(), Known::make(8).unwrap());
        assert_eq!(newer.open_under_any(b"secret/acme/db/password", &sealed).unwrap(), b"hunter2");
        let other = DataKeys::new(Vec::new(), Known::make(7).unwrap());
        let id = keys.newest().id();
        let said = other.open_under_any(b"secret/acme/db/password", &sealed);
        assert_eq!(said, Err(KeyringError::UnknownKey(id)));
    }

    #[test]
    fn no_flipped_bit_and_no_cut_opens() {
        let keys = DataKeys::new(Vec::new(), Known::make(7).unwrap());
        let sealed = keys.seal_under_newest(b"c", b"some value").unwrap();
        for at in 0..sealed.len() {
            assert!(keys.open_under_any(b"c", sealed.get(..at).unwrap()).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut bytes = sealed.clone();
                *bytes.get_mut(at).unwrap() ^= 1 << bit;
                assert!(keys.open_under_any(b"c", &bytes).is_err(), "byte {at}, bit {bit}");
            }
        }
        assert!(keys.open_under_any(b"c", &[]).is_err());
    }

    #[test]
    fn a_key_survives_its_export() {
        let key = Known::make(7).unwrap();
        let again = Known::import(&key.export()).unwrap();
        assert_eq!((again.id(), again.bytes(), again.made_at), (key.id(), key.bytes(), 7));
        assert!(!format!("{:?}", key.export()).contains(&key.export().key));
        let short = DataKey { key: STANDARD.encode([1; 31]), ..key.export() };
        assert!(Known::import(&short).is_none());
    }
}
