//! Port of the passwords: how they are hashed and checked.
//!
//! See decision 0158.

/// Reason why a password cannot be hashed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a password cannot be hashed: {0}")]
pub struct PasswordError(pub String);

/// Hashes and checks passwords. Both take a while and much memory on purpose, so the caller bounds
/// how many run at a time, and runs them where they hold nobody up.
pub trait Passwords: Send + Sync + 'static {
    /// Hashes a password with this salt; returns the PHC text.
    ///
    /// # Errors
    /// [`PasswordError`].
    fn hash(&self, password: &str, salt: [u8; 16]) -> Result<String, PasswordError>;

    /// True if `hash` is of this password. Without a hash it takes as long and is false, so that
    /// nobody learns by the time which users there are.
    fn check(&self, password: &str, hash: Option<&str>) -> bool;
}
