//! Logins: begun with an access token or by a person, stored by the digest of their secret, ended
//! with the token or the user.
//!
//! See decision 0029.

use std::net::IpAddr;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use holdfast_base::ids::Name;

use super::part::Access;
use crate::api;
use crate::api::Role;
use crate::api::time::rfc3339;
use crate::core::change::Change;
use crate::core::granted;
use crate::core::model::{Model, key};
use crate::core::people;
use crate::core::records::{ADMIN, Policy, PolicyKind, SessionRecord};
use crate::core::rights::{Actor, Who};
use crate::core::session::{LIFE, MAX_SESSIONS, PROVIDER_LIFE, Secret};
use crate::core::tenants::Tenants;
use crate::core::throttle::network;
use crate::service::Failure;

/// Longest name of a program that is kept, in characters.
const MAX_AGENT: usize = 200;

/// Where a login came from.
#[derive(Debug, Clone)]
pub struct Client {
    /// Address of the client.
    pub address: IpAddr,
    /// Program, as it names itself.
    pub agent: Box<str>,
}

impl Access {
    /// Begins a login with an access token. Returns its secret, which goes into the cookie, and the
    /// document for the pages.
    ///
    /// # Errors
    /// Returns [`Failure::Unauthorized`] for a wrong token, and [`Failure::TooMany`] after many of
    /// them from one address.
    pub async fn login(
        &self,
        token: &str,
        from: &Client,
    ) -> Result<(Secret, api::Session), Failure> {
        let actor = self.authorize_slowly(token, from.address)?;
        let record = SessionRecord { access: actor.id().into(), ..SessionRecord::default() };
        self.begin(&actor.tenant, record, from, |_| Ok(())).await
    }

    /// Begins a login. `more` makes further changes with it, and refuses it.
    ///
    /// # Errors
    /// Returns [`Failure::Unauthorized`] when whoever logs in may not any more.
    pub(in crate::service) async fn begin(
        &self,
        tenant: &Name,
        record: SessionRecord,
        from: &Client,
        more: impl FnOnce(&mut Change<'_>) -> Result<(), Failure>,
    ) -> Result<(Secret, api::Session), Failure> {
        let secret = Secret::new(self.authority.random().map_err(Failure::internal)?);
        let digest = secret.digest();
        let session = self
            .documents
            .change(tenant, |change| {
                let now = change.now;
                let Some(end) = end_of(change.model, &record, now) else {
                    return Err(Failure::Unauthorized("this login was just ended".into()));
                };
                let life = if record.issuer.is_some() { PROVIDER_LIFE } else { LIFE };
                let record = SessionRecord {
                    created_at: now,
                    expires_at: end.min(now + life),
                    from: Some(from.address),
                    agent: from.agent.chars().take(MAX_AGENT).collect(),
                    ..record
                };
                let by = caller_of(&record);
                more(change)?;
                make_room(change);
                change.put(key::session(&digest), &record);
                change.model.sessions.insert(digest, record.clone());
                let detail = format!("from {}", from.address);
                change.audit(&by, "session.begin", &by, detail);
                shown(change.model, &record, &secret, now).ok_or_else(over)
            })
            .await?;
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
        if let Some(seconds) = throttle.wait(&network(from), now) {
            let message = format!("too many logins from {from} failed: try again in {seconds} s");
            return Err(Failure::TooMany { message, seconds });
        }
        throttle.failed(network(from), now);
        Err(wrong)
    }

    /// Returns the login with this secret.
    ///
    /// # Errors
    /// Returns [`Failure::Unauthorized`] when there is none, or it has ended.
    pub fn session(&self, secret: &Secret) -> Result<api::Session, Failure> {
        let (digest, tables) = (secret.digest(), self.documents.tables());
        let model = of_session(&tables, &digest)?;
        let now = self.documents.now();
        let record = model.sessions.get(&digest).filter(|record| record.expires_at > now);
        record.and_then(|record| shown(model, record, secret, now)).ok_or_else(over)
    }

    /// Returns the actor of the login with this secret.
    ///
    /// # Errors
    /// Returns [`Failure::Unauthorized`] when there is none, or it has ended.
    pub fn authorize_session(&self, secret: &Secret) -> Result<Actor, Failure> {
        let (digest, tables) = (secret.digest(), self.documents.tables());
        let model = of_session(&tables, &digest)?;
        let now = self.documents.now();
        let record = model.sessions.get(&digest).filter(|record| record.expires_at > now);
        let actor = record.and_then(|record| actor_of(model, record, now)).ok_or_else(over)?;
        Ok(Actor { session: Some(digest), ..actor })
    }

    /// Returns true while an actor is still known, and this process knows what is. Tokens, logins
    /// and the lease may end while long responses are being sent.
    pub fn holds(&self, actor: &Actor) -> bool {
        if self.documents.check_held().is_err() {
            return false;
        }
        let (model, now) = (self.documents.model(&actor.tenant), self.documents.now());
        if let Some(digest) = actor.session {
            // A role that was taken away ends long responses too.
            let record = model.sessions.get(&digest).filter(|record| record.expires_at > now);
            let present = record.and_then(|record| actor_of(&model, record, now));
            return present.is_some_and(|present| present.grants == actor.grants);
        }
        match &actor.who {
            Who::Token(id) => model
                .access
                .get(id)
                .is_some_and(|known| known.counts(now) && [known.grant()] == *actor.grants),
            Who::Person(_) => false,
            Who::Device(name) => model.devices.contains_key(name),
        }
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
                let by = caller_of(&record);
                change.audit(&by, "session.end", &by, String::new());
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

/// Id of whoever a login is of, as the audit log has it.
pub(in crate::service) fn caller_of(record: &SessionRecord) -> Box<str> {
    record.person.as_deref().map_or_else(|| record.access.clone(), people::caller)
}

/// Time at which what a login stands on ends. None: it has ended, or is no longer there.
fn end_of(model: &Model, record: &SessionRecord, now: u64) -> Option<u64> {
    match record.person.as_deref() {
        Some(person) if person.contains('@') => {
            let provider = person.rsplit_once('@')?.1.parse().ok()?;
            let known = model.policies.get(&(PolicyKind::IdentityProvider, provider))?;
            match &known.record.policy {
                // Another issuer's people are others, whatever they are called.
                Policy::IdentityProvider { provider } => {
                    (Some(&provider.issuer) == record.issuer.as_ref()).then_some(u64::MAX)
                }
                _ => None,
            }
        }
        Some(person) => model.users.get(person).filter(|user| !user.disabled).map(|_| u64::MAX),
        None => {
            let known = model.access.get(&record.access).filter(|known| known.counts(now))?;
            Some(known.expires_at.unwrap_or(u64::MAX))
        }
    }
}

/// Actor of a login. None: what it stands on has ended.
fn actor_of(model: &Model, record: &SessionRecord, now: u64) -> Option<Actor> {
    end_of(model, record, now)?;
    match record.person.as_deref() {
        Some(person) => Some(granted::actor(model, person, &record.given)),
        None => Some(model.access.get(&record.access)?.actor(&model.tenant)),
    }
}

/// Document of a login for the pages. None: what it stands on has ended.
fn shown(model: &Model, record: &SessionRecord, secret: &Secret, now: u64) -> Option<api::Session> {
    let actor = actor_of(model, record, now)?;
    let mut roles: Vec<Role> = actor.grants.iter().map(|grant| grant.role).collect();
    roles.sort_unstable();
    roles.dedup();
    let user = record.person.as_deref().and_then(|person| model.users.get(person));
    let operator_name = match user {
        Some(user) => Some(user.full_name.to_string()).filter(|name| !name.is_empty()),
        None => model.access.get(&record.access).and_then(|it| it.title().map(str::to_owned)),
    };
    Some(api::Session {
        operator: caller_of(record).to_string(),
        operator_name,
        user: record.person.as_deref().map(str::to_owned),
        tenant: model.tenant.to_string(),
        roles,
        setup: *record.access == *ADMIN,
        must_change: user.is_some_and(|user| user.must_change),
        second_factor: user.is_some_and(people::UserRecord::needs_code),
        csrf: secret.csrf(),
        expires_at: rfc3339(record.expires_at),
    })
}

/// Ends the logins for which `which` returns true.
pub(in crate::service) fn end(change: &mut Change<'_>, which: impl Fn(&SessionRecord) -> bool) {
    end_but(change, None, which);
}

/// Ends the logins for which `which` returns true, but for the one with this digest.
pub(in crate::service) fn end_but(
    change: &mut Change<'_>,
    kept: Option<[u8; 32]>,
    which: impl Fn(&SessionRecord) -> bool,
) {
    let over = change.model.sessions.iter();
    let over = over.filter(|(digest, record)| which(record) && Some(**digest) != kept);
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
