//! Logins of the pages: begun with an access token, stored by the digest of their secret, ended
//! with the token.
//!
//! See decision 0029.

use std::net::IpAddr;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use holdfast_base::ids::Name;

use super::part::Access;
use crate::api;
use crate::api::time::rfc3339;
use crate::core::change::Change;
use crate::core::model::{Model, key};
use crate::core::records::{ADMIN, AccessRecord, SessionRecord};
use crate::core::rights::{Actor, Who};
use crate::core::session::{LIFE, MAX_SESSIONS, Secret};
use crate::core::tenants::Tenants;
use crate::service::Failure;

impl Access {
    /// Begins a login. Returns its secret, which goes into the cookie, and the document for the
    /// pages.
    ///
    /// # Errors
    /// Returns [`Failure::Unauthorized`] for a wrong token, and [`Failure::TooMany`] after many of
    /// them from one address.
    pub async fn login(
        &self,
        token: &str,
        from: IpAddr,
    ) -> Result<(Secret, api::Session), Failure> {
        let actor = self.authorize_slowly(token, from)?;
        let access: Box<str> = actor.id().into();
        let secret = Secret::new(self.authority.random().map_err(Failure::internal)?);
        let digest = secret.digest();
        let (record, of) = self
            .documents
            .change(&actor.tenant, |change| {
                let now = change.now;
                let Some(known) = change.model.access.get(&access).filter(|it| it.counts(now))
                else {
                    return Err(Failure::Unauthorized("the access token was just ended".into()));
                };
                let end = known.expires_at.unwrap_or(u64::MAX).min(now + LIFE);
                let of = known.clone();
                make_room(change);
                let record =
                    SessionRecord { access: access.clone(), created_at: now, expires_at: end };
                change.put(key::session(&digest), &record);
                change.model.sessions.insert(digest, record.clone());
                change.audit(&access, "session.begin", &access, format!("from {from}"));
                Ok((record, of))
            })
            .await?;
        let session = shown(&actor.tenant, &record, &of, &secret);
        Ok((secret, session))
    }

    /// Checks a token. Only wrong tokens are counted and delayed, by address: a user behind the
    /// same address as somebody who guesses still gets in with the right token.
    fn authorize_slowly(&self, token: &str, from: IpAddr) -> Result<Actor, Failure> {
        let wrong = match self.authorize(token) {
            Ok(actor) => return Ok(actor),
            Err(wrong) => wrong,
        };
        self.logins_refused.fetch_add(1, Ordering::Relaxed);
        let now = self.documents.now();
        let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seconds) = throttle.wait(from, now) {
            let message = format!("too many logins from {from} failed: try again in {seconds} s");
            return Err(Failure::TooMany { message, seconds });
        }
        throttle.failed(from, now);
        Err(wrong)
    }

    /// Returns the login with this secret.
    ///
    /// # Errors
    /// Returns [`Failure::Unauthorized`] when there is none, or it has ended.
    pub fn session(&self, secret: &Secret) -> Result<api::Session, Failure> {
        let (digest, tables) = (secret.digest(), self.documents.tables());
        let model = of_session(&tables, &digest)?;
        let record = model.sessions.get(&digest);
        let record = record.filter(|record| record.expires_at > self.documents.now());
        let record = record.ok_or_else(over)?;
        let known = model.access.get(&record.access).ok_or_else(over)?;
        Ok(shown(&model.tenant, record, known, secret))
    }

    /// Returns the actor of the login with this secret.
    ///
    /// # Errors
    /// Returns [`Failure::Unauthorized`] when there is none, or it has ended.
    pub fn authorize_session(&self, secret: &Secret) -> Result<Actor, Failure> {
        let (digest, tables) = (secret.digest(), self.documents.tables());
        let model = of_session(&tables, &digest)?;
        let record = model.sessions.get(&digest);
        let record =
            record.filter(|record| record.expires_at > self.documents.now()).ok_or_else(over)?;
        let known =
            model.access.get(&record.access).filter(|known| known.counts(self.documents.now()));
        let actor = known.ok_or_else(over)?.actor(&model.tenant);
        Ok(Actor { session: Some(digest), ..actor })
    }

    /// Returns true while an actor is still known, and this process knows what is. Tokens, logins
    /// and the lease may end while long responses are being sent.
    pub fn holds(&self, actor: &Actor) -> bool {
        if self.documents.check_held().is_err() {
            return false;
        }
        let (model, now) = (self.documents.model(&actor.tenant), self.documents.now());
        let counts = match &actor.who {
            Who::Token(id) => model.access.get(id).is_some_and(|known| known.counts(now)),
            Who::Person(_) => actor.session.is_some(),
            Who::Device(name) => model.devices.contains_key(name),
        };
        counts
            && actor.session.is_none_or(|digest| {
                model.sessions.get(&digest).is_some_and(|record| record.expires_at > now)
            })
    }

    /// Ends a login.
    ///
    /// # Errors
    /// Returns [`Failure::Unauthorized`] when there is none, and a [`Failure`] when the change
    /// cannot be stored.
    pub async fn logout(&self, secret: &Secret) -> Result<(), Failure> {
        let digest = secret.digest();
        let tenant = of_session(&self.documents.tables(), &digest)?.tenant.clone();
        self.documents
            .change(&tenant, |change| {
                let record = change.model.sessions.remove(&digest).ok_or_else(over)?;
                change.delete(key::session(&digest));
                change.audit(&record.access, "session.end", &record.access, String::new());
                Ok(())
            })
            .await
    }
}

/// Tables of the tenant that a login belongs to.
fn of_session<'a>(tables: &'a Tenants, digest: &[u8; 32]) -> Result<&'a Model, Failure> {
    tables.all().find(|model| model.sessions.contains_key(digest)).ok_or_else(over)
}

fn over() -> Failure {
    Failure::Unauthorized("the session is over: log in again".into())
}

fn shown(
    tenant: &Name,
    record: &SessionRecord,
    of: &AccessRecord,
    secret: &Secret,
) -> api::Session {
    api::Session {
        operator: record.access.to_string(),
        operator_name: of.title().map(str::to_owned),
        tenant: tenant.to_string(),
        roles: vec![of.role],
        setup: *record.access == *ADMIN,
        csrf: secret.csrf(),
        expires_at: rfc3339(record.expires_at),
    }
}

/// Ends the logins for which `which` returns true.
pub(in crate::service) fn end(change: &mut Change<'_>, which: impl Fn(&SessionRecord) -> bool) {
    let over = change.model.sessions.iter().filter(|(_, record)| which(record));
    let over: Vec<[u8; 32]> = over.map(|(digest, _)| *digest).collect();
    for digest in over {
        change.model.sessions.remove(&digest);
        change.delete(key::session(&digest));
    }
}

/// Ends the logins that have expired, and the oldest ones while there are too many.
fn make_room(change: &mut Change<'_>) {
    let now = change.now;
    end(change, |record| record.expires_at <= now);
    while change.model.sessions.len() >= MAX_SESSIONS {
        let sessions = change.model.sessions.iter();
        let oldest = sessions.min_by_key(|(_, record)| record.created_at);
        let Some(digest) = oldest.map(|(digest, _)| *digest) else { return };
        change.model.sessions.remove(&digest);
        change.delete(key::session(&digest));
    }
}
