//! People: local users with their passwords, and the content of role bindings.
//!
//! See decision 0158.

use holdfast_api::Role;
use holdfast_base::ids::Name;
use serde::{Deserialize, Serialize};

/// Most local users of a tenant.
pub const MAX_USERS: usize = 10_000;

/// Shortest password, in characters. Length is what counts; no rule asks for signs of certain kinds.
pub const SHORTEST_PASSWORD: usize = 12;

/// Longest password, in bytes.
pub const LONGEST_PASSWORD: usize = 256;

/// A local user.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserRecord {
    /// Name that the user logs in with.
    pub name: Name,
    /// Name of the person; may be empty.
    #[serde(default)]
    pub full_name: Box<str>,
    /// Hash of the password: argon2id in PHC form. None: nobody can log in with a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Box<str>>,
    /// True if somebody else has set the password: the user is asked to choose another.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub must_change: bool,
    /// Second factor. None: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totp: Option<TotpRecord>,
    /// True if the user may not log in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// Time of creation, in seconds since 1970.
    pub created_at: u64,
    /// Time of the last login, in seconds since 1970; 0: never.
    #[serde(default)]
    pub last_login: u64,
}

impl std::fmt::Debug for UserRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserRecord").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Second factor of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TotpRecord {
    /// Secret, sealed under the master key, in base64.
    pub sealed: Box<str>,
    /// True once the user has shown a code: from then on every login needs one.
    pub confirmed: bool,
    /// Step of the last code that was used.
    #[serde(default)]
    pub last_step: u64,
}

impl UserRecord {
    /// True if a login needs a code.
    pub fn needs_code(&self) -> bool {
        self.totp.as_ref().is_some_and(|totp| totp.confirmed)
    }

    /// Id of the user as a caller, as the audit log has it.
    pub fn caller(&self) -> Box<str> {
        caller(self.name.as_str())
    }
}

/// Id of a person as a caller: of a local user, or of `NAME@PROVIDER`.
pub fn caller(subject: &str) -> Box<str> {
    format!("user {subject}").into()
}

/// Reason why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakPassword {
    /// Fewer than 12 characters.
    #[error("password: at least {SHORTEST_PASSWORD} characters; several words are easy to keep")]
    Short,
    /// More than 256 bytes.
    #[error("password: at most {LONGEST_PASSWORD} bytes")]
    Long,
    /// It is made of the user's name.
    #[error("password: it is the user's name with little else")]
    Name,
    /// It has fewer than five different characters.
    #[error("password: it repeats few characters")]
    Repeats,
}

/// Checks a new password of a user.
///
/// # Errors
/// [`WeakPassword`].
pub fn check_password(user: &str, password: &str) -> Result<(), WeakPassword> {
    if password.chars().count() < SHORTEST_PASSWORD {
        return Err(WeakPassword::Short);
    }
    if password.len() > LONGEST_PASSWORD {
        return Err(WeakPassword::Long);
    }
    let without = password.to_lowercase().replace(&user.to_lowercase(), "");
    if without.chars().count() < SHORTEST_PASSWORD / 2 {
        return Err(WeakPassword::Name);
    }
    let different: std::collections::BTreeSet<char> = password.chars().collect();
    if different.len() < 5 { Err(WeakPassword::Repeats) } else { Ok(()) }
}

/// Content of a `RoleBinding` document, beside the devices that it chooses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    /// Role that is given.
    pub role: Role,
    /// Who gets it: names of local users, and `NAME@PROVIDER` for those of an identity provider.
    pub subjects: Vec<Box<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_judged_by_its_length_and_not_by_its_signs() {
        for good in ["correct horse battery", "längere wörter", "abcdefghijkl", "anna likes tea.."]
        {
            assert_eq!(check_password("anna", good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("short", WeakPassword::Short),
            ("elevenchars", WeakPassword::Short),
            ("annaannaanna", WeakPassword::Name),
            ("ANNA-anna-12", WeakPassword::Name),
            ("aaaaaaaaaaaaaaa", WeakPassword::Repeats),
            ("abababababababab", WeakPassword::Repeats),
        ] {
            assert_eq!(check_password("anna", bad), Err(why), "{bad}");
        }
        let long = "long words ".repeat(24);
        assert_eq!(check_password("anna", &long), Err(WeakPassword::Long));
    }
}
