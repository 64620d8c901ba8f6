//! Passwords by argon2id.
//!
//! See decision 0158.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};

use crate::ports::passwords::{PasswordError, Passwords};

/// Memory of one hash in KiB, passes and lanes: 19 MiB, 2 and 1, the first choice of OWASP.
const COST: (u32, u32, u32) = (19 * 1_024, 2, 1);

/// Passwords by argon2id.
#[derive(Debug)]
pub struct Argon2id {
    argon2: Argon2<'static>,
    /// Hash of nobody's password, for users that there are not.
    nobody: String,
}

impl Argon2id {
    /// Makes the hasher with the cost of this program.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub fn new() -> Result<Self, PasswordError> {
        Self::of(COST)
    }

    /// Makes a hasher with another cost: memory in KiB, passes and lanes. For tests.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub fn of((memory, passes, lanes): (u32, u32, u32)) -> Result<Self, PasswordError> {
        let params = Params::new(memory, passes, lanes, None).map_err(failed)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut made = Self { argon2, nobody: String::new() };
        made.nobody = made.hash("nobody", [0; 16])?;
        Ok(made)
    }
}

fn failed(error: impl std::fmt::Display) -> PasswordError {
    PasswordError(error.to_string())
}

impl Passwords for Argon2id {
    fn hash(&self, password: &str, salt: [u8; 16]) -> Result<String, PasswordError> {
        let hash =
            self.argon2.hash_password_with_salt(password.as_bytes(), &salt).map_err(failed)?;
        Ok(hash.to_string())
    }

    fn check(&self, password: &str, hash: Option<&str>) -> bool {
        let against = hash.unwrap_or(&self.nobody);
        let right = PasswordHash::new(against)
            .is_ok_and(|it| self.argon2.verify_password(password.as_bytes(), &it).is_ok());
        right && hash.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_by_its_hash_alone() {
        let passwords = Argon2id::of((8, 1, 1)).unwrap();
        let hash = passwords.hash("correct horse battery", [7; 16]).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{hash}");
        assert!(!hash.contains("horse"));
        assert!(passwords.check("correct horse battery", Some(&hash)));
        assert!(!passwords.check("correct horse batterie", Some(&hash)));
        assert!(!passwords.check("correct horse battery", Some("$argon2id$nonsense")));
        assert!(!passwords.check("nobody", None), "a user that there is not has no password");
        let other = passwords.hash("correct horse battery", [8; 16]).unwrap();
        assert_ne!(hash, other, "the salt tells them apart");
    }

    #[test]
    fn a_hash_costs_what_was_decided() {
        let hash = Argon2id::new().unwrap().hash("x", [0; 16]).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    }
}
