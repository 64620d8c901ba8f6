//! Local users: made, changed and deleted by admins.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_base::ids::Name;

use super::part::People;
use crate::api::time::rfc3339;
use crate::api::{self, ChangeUser, Granted, List, NewUser, SetPassword, UserPassword};
use crate::core::change::Change;
use crate::core::granted;
use crate::core::model::{Model, key};
use crate::core::people::{MAX_USERS, UserRecord, check_password};
use crate::core::rights::{Action, Actor};
use crate::service::access::end;
use crate::service::listing::page;
use crate::service::rights::may;
use crate::service::{Failure, Listed, Query};

/// Longest name of a person, in characters.
const MAX_FULL_NAME: usize = 80;

/// Failure for a change after which nobody could let others in.
pub(super) fn last_admin() -> Failure {
    Failure::Conflict(
        "nobody could log in any more who may do everything: give somebody else the role admin first (a local user with a password, or an access token that does not end)".into(),
    )
}

impl People {
    /// Lists local users in the order of their names.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for a bad query.
    pub fn users(&self, actor: &Actor, query: &Query) -> Listed<api::User> {
        may(actor, Action::ListUsers, "")?;
        let limit = query.limit()?;
        let after = query.after.as_deref().unwrap_or_default();
        let model = self.documents.model(&actor.tenant);
        let users = model.users.values().filter(|user| user.name.as_str() > after).take(limit + 1);
        let items = users.map(|user| (user.name.to_string(), shown(&model, user))).collect();
        let found: List<api::User> = page(items, limit, model.meta.version);
        Ok(found)
    }

    /// Makes a local user. Roles come from `RoleBinding` documents.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for a bad name or password, and [`Failure::Conflict`] when there
    /// is one of this name.
    pub async fn create_user(&self, actor: &Actor, new: NewUser) -> Result<UserPassword, Failure> {
        let permit = may(actor, Action::CreateUser, &new.name)?;
        let by = permit.by();
        let name: Name =
            new.name.parse().map_err(|error| Failure::invalid(format!("name: {error}")))?;
        let full_name = one_line(&new.full_name)?;
        let (hash, made) = self.password(&name, new.password).await?;
        self.documents
            .change(&actor.tenant, |change| {
                if change.model.users.contains_key(&name) {
                    return Err(Failure::Conflict(format!("there is a user {name} already")));
                }
                if change.model.users.len() >= MAX_USERS {
                    return Err(Failure::Conflict(format!(
                        "there are {MAX_USERS} users: delete some"
                    )));
                }
                let record = UserRecord {
                    name: name.clone(),
                    full_name,
                    password: Some(hash),
                    must_change: true,
                    totp: None,
                    disabled: false,
                    created_at: change.now,
                    last_login: 0,
                };
                put(change, record);
                change.event("user", name.as_str(), "changed", "created".into());
                change.audit(by, "user.create", name.as_str(), String::new());
                answer(change.model, &name, made)
            })
            .await
    }

    /// Changes a local user's name or disables it, which ends its sessions.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`], and [`Failure::Conflict`] for the last admin.
    pub async fn change_user(
        &self,
        actor: &Actor,
        name: &str,
        wanted: ChangeUser,
    ) -> Result<api::User, Failure> {
        let permit = may(actor, Action::ChangeUser, name)?;
        let by = permit.by();
        let full_name = wanted.full_name.as_deref().map(one_line).transpose()?;
        self.documents
            .change(&actor.tenant, |change| {
                let user = known(change.model, name)?.clone();
                let disabled = wanted.disabled.unwrap_or(user.disabled);
                let next = UserRecord {
                    full_name: full_name.unwrap_or_else(|| user.full_name.clone()),
                    disabled,
                    ..user.clone()
                };
                keeps_an_admin(change.model, &user, Some(&next))?;
                put(change, next);
                if disabled {
                    end(change, |session| session.person.as_deref() == Some(name));
                }
                let what = match (user.disabled, disabled) {
                    (false, true) => "disabled",
                    (true, false) => "enabled",
                    _ => "changed",
                };
                change.event("user", name, "changed", what.into());
                change.audit(by, "user.change", name, what.into());
                Ok(shown(change.model, known(change.model, name)?))
            })
            .await
    }

    /// Deletes a local user and ends its sessions. Role bindings that name it stay.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`], and [`Failure::Conflict`] for the last admin.
    pub async fn delete_user(&self, actor: &Actor, name: &str) -> Result<(), Failure> {
        let permit = may(actor, Action::DeleteUser, name)?;
        let by = permit.by();
        self.documents
            .change(&actor.tenant, |change| {
                let user = known(change.model, name)?.clone();
                keeps_an_admin(change.model, &user, None)?;
                change.model.users.remove(&user.name);
                change.delete(key::user(&user.name));
                change.was(key::user(&user.name), &user);
                end(change, |session| session.person.as_deref() == Some(name));
                change.event("user", name, "deleted", format!("deleted by {by}"));
                change.audit(by, "user.delete", name, String::new());
                Ok(())
            })
            .await
    }

    /// Sets a user's password, and ends the user's sessions. The user is asked to choose another.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`], and [`Failure::Invalid`] for a weak password.
    pub async fn set_password(
        &self,
        actor: &Actor,
        name: &str,
        wanted: SetPassword,
    ) -> Result<UserPassword, Failure> {
        let permit = may(actor, Action::SetPassword, name)?;
        let by = permit.by();
        let user = known(&self.documents.model(&actor.tenant), name)?.name.clone();
        let (hash, made) = self.password(&user, wanted.password).await?;
        self.documents
            .change(&actor.tenant, |change| {
                let record = known(change.model, name)?.clone();
                put(change, UserRecord { password: Some(hash), must_change: true, ..record });
                end(change, |session| session.person.as_deref() == Some(name));
                change.audit(by, "user.password", name, "set by somebody else".into());
                answer(change.model, &user, made)
            })
            .await
    }

    /// Takes a user's second factor away, for somebody who has lost it.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] when there is no such user, or it has none.
    pub async fn remove_second_factor(&self, actor: &Actor, name: &str) -> Result<(), Failure> {
        let permit = may(actor, Action::RemoveSecondFactor, name)?;
        let by = permit.by();
        self.documents
            .change(&actor.tenant, |change| {
                let record = known(change.model, name)?.clone();
                if record.totp.is_none() {
                    return Err(Failure::NotFound(format!("user {name} has no second factor")));
                }
                put(change, UserRecord { totp: None, ..record });
                end(change, |session| session.person.as_deref() == Some(name));
                change.audit(by, "user.second-factor", name, "removed by an admin".into());
                Ok(())
            })
            .await
    }

    /// Gives a local user a new password and the role of an admin, makes it if there is none, and
    /// takes a second factor away. For whoever is on the machine itself and cannot log in any more.
    ///
    /// # Errors
    /// Returns a [`Failure`] when the change cannot be stored.
    pub async fn reset_admin(&self, actor: &Actor, name: &Name) -> Result<String, Failure> {
        let (hash, made) = self.password(name, None).await?;
        let there = self.documents.model(&actor.tenant).users.contains_key(name);
        if !there {
            let new = NewUser { name: name.to_string(), full_name: String::new(), password: None };
            self.create_user(actor, new).await?;
        }
        self.documents
            .change(&actor.tenant, |change| {
                let record = known(change.model, name.as_str())?.clone();
                let record = UserRecord {
                    password: Some(hash),
                    must_change: true,
                    totp: None,
                    disabled: false,
                    ..record
                };
                put(change, record);
                end(change, |session| session.person.as_deref() == Some(name.as_str()));
                change.audit(actor.id(), "user.reset", name.as_str(), "on the machine".into());
                Ok(())
            })
            .await?;
        made.ok_or_else(|| Failure::Internal("no password was made".into()))
    }

    /// Hashes the given password, or one that is made here and returned.
    pub(super) async fn password(
        &self,
        user: &Name,
        given: Option<String>,
    ) -> Result<(Box<str>, Option<String>), Failure> {
        let (password, made) = match given {
            Some(given) => (given, false),
            None => {
                let random: [u8; 15] = self.authority.random().map_err(Failure::internal)?;
                (URL_SAFE_NO_PAD.encode(random), true)
            }
        };
        if !made {
            check_password(user.as_str(), &password)
                .map_err(|weak| Failure::invalid(weak.to_string()))?;
        }
        let salt: [u8; 16] = self.authority.random().map_err(Failure::internal)?;
        let hash = self.hashing.hash(password.clone(), salt).await?;
        Ok((hash, made.then_some(password)))
    }
}

/// Refuses a change of a user after which nobody could let others in. `next`: the user afterwards;
/// None: it is deleted.
fn keeps_an_admin(
    model: &mut Model,
    user: &UserRecord,
    next: Option<&UserRecord>,
) -> Result<(), Failure> {
    let had = granted::has_admin(model);
    match next {
        Some(next) => drop(model.users.insert(user.name.clone(), next.clone())),
        None => drop(model.users.remove(&user.name)),
    }
    let has = granted::has_admin(model);
    model.users.insert(user.name.clone(), user.clone());
    if had && !has { Err(last_admin()) } else { Ok(()) }
}

/// Stores a user.
pub(super) fn put(change: &mut Change<'_>, record: UserRecord) {
    if let Some(before) = change.model.users.get(&record.name).cloned() {
        change.was(key::user(&record.name), &before);
    }
    change.put(key::user(&record.name), &record);
    change.model.users.insert(record.name.clone(), record);
}

pub(super) fn known<'a>(model: &'a Model, name: &str) -> Result<&'a UserRecord, Failure> {
    model.users.get(name).ok_or_else(|| Failure::no("user", name))
}

fn answer(model: &Model, name: &Name, made: Option<String>) -> Result<UserPassword, Failure> {
    Ok(UserPassword { user: shown(model, known(model, name.as_str())?), password: made })
}

fn one_line(text: &str) -> Result<Box<str>, Failure> {
    let text = text.trim();
    if text.chars().count() > MAX_FULL_NAME || text.chars().any(char::is_control) {
        return Err(Failure::invalid(format!(
            "fullName: one line of at most {MAX_FULL_NAME} characters"
        )));
    }
    Ok(text.into())
}

/// Converts a user to the API's form.
fn shown(model: &Model, user: &UserRecord) -> api::User {
    let roles = granted::grants(model, user.name.as_str());
    api::User {
        name: user.name.to_string(),
        full_name: user.full_name.to_string(),
        disabled: user.disabled,
        password: user.password.is_some(),
        must_change: user.must_change,
        second_factor: user.needs_code(),
        roles: roles
            .iter()
            .map(|grant| Granted {
                role: grant.role,
                selector: grant.selector.as_ref().map(|selector| selector.words()),
                by: grant.by.to_string(),
            })
            .collect(),
        created_at: rfc3339(user.created_at),
        last_login_at: (user.last_login > 0).then(|| rfc3339(user.last_login)),
    }
}
