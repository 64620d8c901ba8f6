//! Keys of the format: of a file, of recipients, and from passphrases.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use x25519_dalek::{PublicKey, StaticSecret};

use super::{AgeError, bech32};

/// Work factor of a passphrase's key that is written: 2^16 rounds take 64 MiB and a quarter of a
/// second. A control plane may be a small machine; a passphrase is one of six words.
const WORK: u8 = 16;

/// Highest work factor that is read: 2^18, the usual one of `age`, takes 256 MiB.
pub(crate) const MOST_WORK: u8 = 18;

const X25519_INFO: &[u8] = b"age-encryption.org/v1/X25519";
const SCRYPT_LABEL: &[u8] = b"age-encryption.org/v1/scrypt";

/// Length of the wrapped key of a file, in bytes.
pub(crate) const WRAPPED: usize = 32;

/// Fills an array with random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], AgeError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| AgeError::Random)?;
    Ok(bytes)
}

/// Length of a derived key.
struct Key32;

impl KeyType for Key32 {
    fn len(&self) -> usize {
        32
    }
}

/// Derives a key of 32 bytes.
pub(crate) fn derive(secret: &[u8], salt: &[u8], info: &[u8]) -> Result<[u8; 32], AgeError> {
    let mut key = [0; 32];
    Salt::new(HKDF_SHA256, salt)
        .extract(secret)
        .expand(&[info], Key32)
        .and_then(|okm| okm.fill(&mut key))
        .map_err(|_| AgeError::Random)?;
    Ok(key)
}

/// Makes the cipher of a key.
pub(crate) fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, AgeError> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, key).map_err(|_| AgeError::Random)?;
    Ok(LessSafeKey::new(key))
}

/// Key of one file. It opens that file and no other.
#[derive(Clone, PartialEq, Eq)]
pub struct FileKey(pub(crate) [u8; 16]);

impl std::fmt::Debug for FileKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileKey(withheld)")
    }
}

impl FileKey {
    /// Takes a key that [`Head::file_key`](super::Head::file_key) gave elsewhere.
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Bytes of the key.
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub(crate) fn make() -> Result<Self, AgeError> {
        Ok(Self(random()?))
    }

    /// Key with which the head is authenticated.
    pub(crate) fn mac(&self) -> Result<hmac::Key, AgeError> {
        Ok(hmac::Key::new(hmac::HMAC_SHA256, &derive(&self.0, &[], b"header")?))
    }

    fn wrap(&self, key: &[u8; 32]) -> Result<Vec<u8>, AgeError> {
        let mut bytes = self.0.to_vec();
        // Each wrapping key is used once.
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        cipher(key)?
            .seal_in_place_append_tag(nonce, Aad::empty(), &mut bytes)
            .map_err(|_| AgeError::Random)?;
        Ok(bytes)
    }

    fn unwrap(key: &[u8; 32], wrapped: &[u8; WRAPPED]) -> Result<Option<Self>, AgeError> {
        let mut bytes = *wrapped;
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let opened = cipher(key)?.open_in_place(nonce, Aad::empty(), &mut bytes);
        Ok(opened.ok().and_then(|key| <[u8; 16]>::try_from(&*key).ok()).map(Self))
    }
}

/// Receiver of files: a public key, `age1…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipient([u8; 32]);

impl std::str::FromStr for Recipient {
    type Err = AgeError;

    fn from_str(text: &str) -> Result<Self, AgeError> {
        let text = text.trim();
        let said = || text.chars().take(80).collect();
        bech32::decode("age", text).map(Self).ok_or_else(|| AgeError::Recipient(said()))
    }
}

impl std::fmt::Display for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&bech32::encode("age", &self.0))
    }
}

impl Recipient {
    /// Wraps a file's key: returns the ephemeral public key, and the wrapped key.
    pub(crate) fn wrap(&self, file: &FileKey) -> Result<([u8; 32], Vec<u8>), AgeError> {
        let ephemeral = StaticSecret::from(random::<32>()?);
        let share = PublicKey::from(&ephemeral).to_bytes();
        let shared = ephemeral.diffie_hellman(&PublicKey::from(self.0));
        if !shared.was_contributory() {
            return Err(AgeError::Recipient(self.to_string()));
        }
        let key = derive(shared.as_bytes(), &[share, self.0].concat(), X25519_INFO)?;
        Ok((share, file.wrap(&key)?))
    }
}

/// Private key, `AGE-SECRET-KEY-1…`, of a recipient.
pub struct Identity(StaticSecret);

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("of", &self.recipient()).finish_non_exhaustive()
    }
}

impl Identity {
    /// Makes a new one.
    ///
    /// # Errors
    /// [`AgeError::Random`].
    pub fn make() -> Result<Self, AgeError> {
        Ok(Self(StaticSecret::from(random::<32>()?)))
    }

    /// Recipient that this identity opens files of.
    pub fn recipient(&self) -> Recipient {
        Recipient(PublicKey::from(&self.0).to_bytes())
    }

    /// Text of the identity, as a file of identities has it.
    pub fn text(&self) -> String {
        bech32::encode("age-secret-key-", &self.0.to_bytes()).to_ascii_uppercase()
    }

    /// Unwraps a file's key. None: it is wrapped for another recipient.
    pub(crate) fn unwrap(
        &self,
        share: &[u8; 32],
        wrapped: &[u8; WRAPPED],
    ) -> Result<Option<FileKey>, AgeError> {
        let shared = self.0.diffie_hellman(&PublicKey::from(*share));
        if !shared.was_contributory() {
            return Ok(None);
        }
        let salt = [*share, self.recipient().0].concat();
        FileKey::unwrap(&derive(shared.as_bytes(), &salt, X25519_INFO)?, wrapped)
    }
}

/// Reads the identities of a file as `age-keygen` writes it: one a line, with comments.
///
/// # Errors
/// [`AgeError::Identity`] when there is none, or a line is something else.
pub fn identities(text: &str) -> Result<Vec<Identity>, AgeError> {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let read = |line| bech32::decode("age-secret-key-", line).map(|it| Identity(it.into()));
    let all: Option<Vec<Identity>> = lines.map(read).collect();
    all.filter(|all| !all.is_empty()).ok_or(AgeError::Identity)
}

/// Receivers of a file that is written.
#[derive(Clone)]
pub enum To {
    /// Any of these recipients opens it.
    Recipients(Vec<Recipient>),
    /// This passphrase opens it.
    Passphrase(String),
}

impl std::fmt::Debug for To {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Recipients(all) => f.debug_tuple("Recipients").field(all).finish(),
            Self::Passphrase(_) => f.write_str("Passphrase(withheld)"),
        }
    }
}

fn of_passphrase(passphrase: &str, salt: &[u8; 16], work: u8) -> Result<[u8; 32], AgeError> {
    let parameters = scrypt::Params::new(work, 8, 1).map_err(|_| AgeError::Random)?;
    let mut key = [0; 32];
    let salt = [SCRYPT_LABEL, salt].concat();
    scrypt::scrypt(passphrase.as_bytes(), &salt, &parameters, &mut key)
        .map_err(|_| AgeError::Random)?;
    Ok(key)
}

/// Wraps a file's key by a passphrase: returns the salt, the work factor and the wrapped key.
pub(crate) fn wrap_by(
    passphrase: &str,
    file: &FileKey,
) -> Result<([u8; 16], u8, Vec<u8>), AgeError> {
    let salt = random()?;
    Ok((salt, WORK, file.wrap(&of_passphrase(passphrase, &salt, WORK)?)?))
}

/// Unwraps a file's key by a passphrase.
pub(crate) fn unwrap_by(
    passphrase: &str,
    (salt, work): (&[u8; 16], u8),
    wrapped: &[u8; WRAPPED],
) -> Result<FileKey, AgeError> {
    if work > MOST_WORK {
        return Err(AgeError::TooMuchWork(work));
    }
    let key = of_passphrase(passphrase, salt, work)?;
    FileKey::unwrap(&key, wrapped)?.ok_or(AgeError::WrongPassphrase)
}
