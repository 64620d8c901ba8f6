//! People: local users, their sessions, and what they do to their own account.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Granted;

/// A local user, without password and second factor.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// Name that the user logs in with.
    pub name: String,
    /// Name of the person; may be empty.
    pub full_name: String,
    /// True if the user may not log in.
    pub disabled: bool,
    /// True if the user has a password.
    pub password: bool,
    /// True if somebody else has set the password, and the user has not chosen another since.
    pub must_change: bool,
    /// True if a login needs a code of the user's authenticator program.
    pub second_factor: bool,
    /// Roles, from role bindings.
    pub roles: Vec<Granted>,
    /// Time at which the user was made.
    pub created_at: String,
    /// Time of the last login. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_login_at: Option<String>,
}

/// Request of `POST /api/v1/users`: a new local user. Roles come from `RoleBinding` documents.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewUser {
    /// Name that the user logs in with: 1 to 63 characters of a-z, 0-9 and -.
    pub name: String,
    /// Name of the person: one line of at most 80 characters. Default: empty.
    #[serde(default)]
    pub full_name: String,
    /// Password. Absent: one is made, and shown in the response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

impl std::fmt::Debug for NewUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewUser").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Request of `PATCH /api/v1/users/{name}`. What is absent stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangeUser {
    /// Name of the person: one line of at most 80 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_name: Option<String>,
    /// True: the user may not log in, and its sessions end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// Request of `POST /api/v1/users/{name}/password`. All sessions of the user end.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetPassword {
    /// Password. Absent: one is made, and shown in the response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

impl std::fmt::Debug for SetPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SetPassword(withheld)")
    }
}

/// A user whose password was set. The user is asked to choose another at the next login.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserPassword {
    /// The user.
    pub user: User,
    /// Password that was made: the only time that it is shown. Absent: it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

impl std::fmt::Debug for UserPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserPassword").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Request of `POST /api/v1/me/password`. The user's other sessions end.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangePassword {
    /// Present password.
    pub password: String,
    /// Password from now on: 12 characters or more.
    pub new_password: String,
}

impl std::fmt::Debug for ChangePassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChangePassword(withheld)")
    }
}

/// Request about one's own second factor: the password, as a proof that it is the user.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WithPassword {
    /// Present password.
    pub password: String,
}

impl std::fmt::Debug for WithPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WithPassword(withheld)")
    }
}

/// Response to `POST /api/v1/me/second-factor`: the secret for an authenticator program. It counts
/// once a code of it was shown.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct SecondFactor {
    /// Secret in base32, to type in by hand.
    pub secret: String,
    /// The same as an address, `otpauth://…`, for a QR code.
    pub address: String,
}

impl std::fmt::Debug for SecondFactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecondFactor(withheld)")
    }
}

/// Request of `POST /api/v1/me/second-factor/confirm`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Code {
    /// Code of six digits that the authenticator program shows.
    pub code: String,
}

/// A login that is open.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenSession {
    /// Id of the session. It is no secret.
    pub id: String,
    /// Who has logged in, such as `user anna` or `access token 0011223344556677`.
    pub caller: String,
    /// Time of the login.
    pub created_at: String,
    /// Time at which the session ends.
    pub expires_at: String,
    /// Address that the login came from. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Program that logged in, as it names itself; may be empty.
    pub agent: String,
    /// True for the session of this request.
    pub own: bool,
}
