//! Login with name and password.

use std::sync::PoisonError;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_base::ids::Name;

use super::part::{People, Tried};
use crate::api::{self, Login};
use crate::core::model::key;
use crate::core::people::{LONGEST_PASSWORD, UserRecord};
use crate::core::records::SessionRecord;
use crate::core::session::Secret;
use crate::core::throttle::network;
use crate::core::totp;
use crate::service::access::Client;
use crate::service::{Failure, origin};

/// Context under which the secret of a second factor is sealed.
pub(super) fn context(tenant: &Name, user: &Name) -> Vec<u8> {
    format!("totp/{tenant}/{user}").into_bytes()
}

fn wrong() -> Failure {
    Failure::Unauthorized("the name or the password is wrong, or the user may not log in".into())
}

impl People {
    /// Begins a login of a local user.
    ///
    /// # Errors
    /// Returns [`Failure::Unauthorized`] for a wrong name or password, [`Failure::SecondFactor`]
    /// when a code is missing or wrong, and [`Failure::TooMany`] after many failures from one
    /// address for one user, or while many others log in.
    pub async fn login(
        &self,
        login: &Login,
        from: &Client,
    ) -> Result<(Secret, api::Session), Failure> {
        let (Some(user), Some(password)) = (&login.user, &login.password) else {
            return Err(Failure::invalid(
                "a login needs an access token, or the name of a user with the password",
            ));
        };
        let tenant = match login.tenant.as_deref() {
            Some(tenant) => tenant.parse().map_err(|_| wrong())?,
            None => self.documents.first_tenant().clone(),
        };
        let shown: String = user.chars().take(80).collect();
        let tried: Tried = (network(from.address), format!("{tenant}/{shown}").into());
        self.wait(&tried)?;
        let known = self.known(&tenant, user);
        let hash = known.as_ref().and_then(|user| user.password.clone());
        let right = password.len() <= LONGEST_PASSWORD
            && self.hashing.check(password.clone(), hash.clone()).await?;
        let Some(known) = known.filter(|user| right && !user.disabled) else {
            self.failed(tried, &format!("user {shown}"), &tenant);
            return Err(wrong());
        };
        let step = match self.second_factor(&tenant, &known, login.code.as_deref()) {
            Ok(step) => step,
            Err(failure) => {
                if login.code.is_some() {
                    self.failed(tried, &known.caller(), &tenant);
                }
                return Err(failure);
            }
        };
        let record =
            SessionRecord { person: Some(known.name.as_str().into()), ..SessionRecord::default() };
        let begun = self.access.begin(&tenant, record, from, |change| {
            let now = change.now;
            let user = change.model.users.get_mut(&known.name).filter(|user| user.password == hash);
            let user = user.ok_or_else(wrong)?;
            if let (Some(totp), Some(step)) = (&mut user.totp, step) {
                // Another login may have used the code meanwhile.
                if totp.last_step >= step {
                    return Err(code_used());
                }
                totp.last_step = step;
            }
            user.last_login = now;
            let user = user.clone();
            change.put(key::user(&known.name), &user);
            Ok(())
        });
        begun.await
    }

    /// Local user of this name.
    fn known(&self, tenant: &Name, user: &str) -> Option<UserRecord> {
        self.documents.model(tenant).users.get(user).cloned()
    }

    /// Checks the code of a user who has a second factor. Returns the code's step.
    pub(super) fn second_factor(
        &self,
        tenant: &Name,
        user: &UserRecord,
        code: Option<&str>,
    ) -> Result<Option<u64>, Failure> {
        let Some(totp) = user.totp.as_ref().filter(|totp| totp.confirmed) else { return Ok(None) };
        let code = code.ok_or_else(|| {
            Failure::SecondFactor("the code of the authenticator program is needed too".into())
        })?;
        let secret = STANDARD.decode(&*totp.sealed).map_err(Failure::internal)?;
        let secret = self.keyring.open(&context(tenant, &user.name), &secret);
        let secret = secret.map_err(Failure::internal)?;
        totp::check(&secret, code, self.documents.now(), totp.last_step)
            .map(Some)
            .ok_or_else(code_used)
    }

    /// Refuses whoever has failed too often to log in as this user from this address.
    pub(super) fn wait(&self, tried: &Tried) -> Result<(), Failure> {
        let throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        match throttle.wait(tried, self.documents.now()) {
            None => Ok(()),
            Some(seconds) => Err(Failure::TooMany {
                message: format!(
                    "too many logins of this user from {} failed: try again in {seconds} s",
                    tried.0
                ),
                seconds,
            }),
        }
    }

    /// Counts a failure.
    pub(super) fn note_failure(&self, tried: Tried) {
        let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        throttle.failed(tried, self.documents.now());
    }

    /// Counts a failure, and says whose login it was: the refusal of the request is an entry of the
    /// audit log, counted where it repeats. That of a tenant that does not exist is one of the first
    /// tenant.
    pub(super) fn failed(&self, tried: Tried, by: &str, tenant: &Name) {
        self.note_failure(tried);
        if self.documents.has_tenant(tenant) {
            return origin::tries(tenant, by);
        }
        let by = format!("{by} of tenant {tenant}, which does not exist");
        origin::tries(self.documents.first_tenant(), &by);
    }
}

fn code_used() -> Failure {
    Failure::SecondFactor(
        "the code is wrong, or was used already: wait for the next one, and check the clock of the authenticator".into(),
    )
}
