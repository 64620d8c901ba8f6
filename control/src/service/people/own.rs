//! What users do to their own account: password and second factor.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_base::ids::Name;

use super::login::context;
use super::part::People;
use super::users::{known, put};
use crate::api::{ChangePassword, Code, SecondFactor, WithPassword};
use crate::core::people::{TotpRecord, UserRecord};
use crate::core::rights::{Action, Actor, Who};
use crate::core::throttle::network;
use crate::core::totp;
use crate::service::Failure;
use crate::service::access::end_but;
use crate::service::rights::may;

impl People {
    /// Changes the caller's own password, and ends the caller's other sessions.
    ///
    /// # Errors
    /// Returns [`Failure::Unauthorized`] for a wrong present password, and [`Failure::Invalid`] for
    /// a weak new one.
    pub async fn change_password(
        &self,
        actor: &Actor,
        wanted: ChangePassword,
    ) -> Result<(), Failure> {
        let permit = may(actor, Action::ChangeOwnPassword, "")?;
        let by = permit.by();
        let user = self.own(actor, wanted.password).await?;
        let (hash, _) = self.password(&user, Some(wanted.new_password)).await?;
        self.documents
            .change(&actor.tenant, |change| {
                let record = known(change.model, user.as_str())?.clone();
                put(change, UserRecord { password: Some(hash), must_change: false, ..record });
                change.audit(by, "user.password", user.as_str(), "changed by the user".into());
                end_but(change, actor.session, |session| {
                    session.person.as_deref() == Some(user.as_str())
                });
                Ok(())
            })
            .await
    }

    /// Makes a secret for the caller's authenticator program. It counts once a code was shown.
    ///
    /// # Errors
    /// Returns [`Failure::Unauthorized`] for a wrong password.
    pub async fn begin_second_factor(
        &self,
        actor: &Actor,
        proof: WithPassword,
    ) -> Result<SecondFactor, Failure> {
        may(actor, Action::BeginSecondFactor, "")?;
        let user = self.own(actor, proof.password).await?;
        let secret: [u8; totp::SECRET] = self.authority.random().map_err(Failure::internal)?;
        self.documents
            .change(&actor.tenant, |change| {
                let record = known(change.model, user.as_str())?.clone();
                if record.needs_code() {
                    return Err(Failure::Conflict(
                        "there is a second factor already: remove it first".into(),
                    ));
                }
                // Within the change: data keys are exchanged between changes.
                let sealed = self.keyring.seal(&context(&actor.tenant, &user), &secret);
                let sealed = STANDARD.encode(sealed.map_err(Failure::internal)?);
                let totp = TotpRecord { sealed: sealed.into(), confirmed: false, last_step: 0 };
                put(change, UserRecord { totp: Some(totp), ..record });
                Ok(())
            })
            .await?;
        Ok(SecondFactor {
            secret: totp::base32(&secret),
            address: totp::address(&secret, actor.tenant.as_str(), user.as_str()),
        })
    }

    /// Confirms the caller's second factor with a code of it. From now on each login needs one.
    ///
    /// # Errors
    /// Returns [`Failure::SecondFactor`] for a wrong code.
    pub async fn confirm_second_factor(&self, actor: &Actor, given: &Code) -> Result<(), Failure> {
        let permit = may(actor, Action::ConfirmSecondFactor, "")?;
        let by = permit.by();
        let user = person(actor)?;
        let record = known(&self.documents.model(&actor.tenant), user)?.clone();
        let begun = record.totp.clone().filter(|totp| !totp.confirmed).ok_or_else(|| {
            Failure::Conflict("there is no second factor to confirm: begin with one".into())
        })?;
        let tried = (network(address(actor)), format!("{}/{user}", actor.tenant).into());
        self.wait(&tried)?;
        let asked = TotpRecord { confirmed: true, ..begun.clone() };
        let asked = UserRecord { totp: Some(asked.clone()), ..record };
        let step = match self.second_factor(&actor.tenant, &asked, Some(&given.code)) {
            Ok(step) => step.unwrap_or(0),
            Err(wrong) => {
                self.note_failure(tried);
                return Err(wrong);
            }
        };
        self.documents
            .change(&actor.tenant, |change| {
                let record = known(change.model, user)?.clone();
                if record.totp.as_ref() != Some(&begun) {
                    return Err(Failure::Conflict("another one was begun meanwhile".into()));
                }
                let totp = TotpRecord { confirmed: true, last_step: step, ..begun };
                put(change, UserRecord { totp: Some(totp), ..record });
                change.audit(by, "user.second-factor", user, "set up by the user".into());
                Ok(())
            })
            .await
    }

    /// Takes the caller's own second factor away.
    ///
    /// # Errors
    /// Returns [`Failure::Unauthorized`] for a wrong password.
    pub async fn end_second_factor(
        &self,
        actor: &Actor,
        proof: WithPassword,
    ) -> Result<(), Failure> {
        let permit = may(actor, Action::EndSecondFactor, "")?;
        let by = permit.by();
        let user = self.own(actor, proof.password).await?;
        self.documents
            .change(&actor.tenant, |change| {
                let record = known(change.model, user.as_str())?.clone();
                put(change, UserRecord { totp: None, ..record });
                let what = "removed by the user".into();
                change.audit(by, "user.second-factor", user.as_str(), what);
                Ok(())
            })
            .await
    }

    /// Name of the local user who asks, after a check of the password.
    async fn own(&self, actor: &Actor, password: String) -> Result<Name, Failure> {
        let user = person(actor)?;
        let record = known(&self.documents.model(&actor.tenant), user)?.clone();
        let tried = (network(address(actor)), format!("{}/{user}", actor.tenant).into());
        self.wait(&tried)?;
        if !self.hashing.check(password, record.password).await? {
            self.note_failure(tried);
            // 403 and not 401: the session is good, and the pages must not end it.
            return Err(Failure::Refused("the present password is wrong".into()));
        }
        Ok(record.name)
    }
}

/// Name of the local user who asks.
fn person(actor: &Actor) -> Result<&str, Failure> {
    match &actor.who {
        Who::Person(caller) if !caller.contains('@') => {
            Ok(caller.strip_prefix("user ").unwrap_or(caller))
        }
        Who::Person(_) => Err(Failure::Conflict(
            "this account belongs to an identity provider: change it there".into(),
        )),
        Who::Token(_) | Who::Device(_) => Err(Failure::Conflict(
            "an access token has no password: log in with name and password".into(),
        )),
    }
}

fn address(actor: &Actor) -> std::net::IpAddr {
    actor.origin.address.unwrap_or(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))
}
