//! Access tokens of the API: made, listed, deleted and checked. Of a token's secret only its SHA-256
//! digest is stored.
//!
//! See decisions 0026 and 0097.

use holdfast_base::ids::{Name, hex};

use super::part::Access;
use super::sessions;
use crate::api::selector::{self, Selector};
use crate::api::{self, CreatedAccess, NewAccess, Role, RotateAccess};
use crate::core::change::Change;
use crate::core::granted;
use crate::core::model::{key, sha256};
use crate::core::records::{ADMIN, AccessRecord, FormerSecret};
use crate::core::rights::{Action, Actor};
use crate::core::view;
use crate::service::listing::page;
use crate::service::rights::may;
use crate::service::{Failure, Listed, Query};

/// Maximum number of access tokens that the control plane stores.
const MAX_ACCESS: usize = 1_000;

/// Longest life of a token that can be asked for, in seconds: ten years.
const MAX_TTL: u64 = 10 * 366 * 86_400;

/// Life of a token unless another one is asked for, in seconds: 90 days.
const USUAL_TTL: u64 = 90 * 86_400;

/// Maximum length of a token's name, in characters.
const MAX_NAME: usize = 80;

/// Time for which a former secret counts after a rotation unless another one is asked for, in
/// seconds: one day.
const USUAL_OVERLAP: u64 = 86_400;

/// Longest such time that can be asked for, in seconds: 30 days.
const MAX_OVERLAP: u64 = 30 * 86_400;

/// Shortest time between two updates of a token's stored time of last use, in seconds. A script may
/// use its token a thousand times a second.
const NOTED_EVERY: u64 = 300;

impl Access {
    /// Returns the actor of whoever has started this program on its machine, who may do everything:
    /// the machine holds all keys.
    pub fn host(&self) -> Actor {
        Actor::token(self.documents.first_tenant().clone(), "holdfast", Role::Admin)
    }

    /// True if an access token with this secret (its SHA-256 digest) may read records of all
    /// devices of its tenant.
    pub(in crate::service) fn may_read(
        &self,
        tenant: &Name,
        access: &str,
        secret_sha256: &[u8; 32],
    ) -> bool {
        let (model, now) = (self.documents.model(tenant), self.documents.now());
        let known = model.access.get(access).filter(|known| known.counts(now));
        known.is_some_and(|known| {
            let actor = known.actor(&model.tenant);
            let reads = may(&actor, Action::ListRecords, "").is_ok_and(|it| it.sight().is_all());
            reads && known.has_secret(&hex(secret_sha256), now)
        })
    }

    /// Makes the admin's access token when the control plane starts for the first time. Returns the
    /// token's text, which cannot be read again later; `None` at any later start. A token that was made but never shown (the process ended in between) is
    /// replaced.
    ///
    /// # Errors
    /// Returns a [`Failure`] when no random bytes are to be had or the change cannot be stored.
    pub async fn first_start(&self) -> Result<Option<String>, Failure> {
        let waits = {
            let model = self.documents.model(self.documents.first_tenant());
            model.access.is_empty() || model.access.get(ADMIN).is_some_and(|known| known.unshown)
        };
        if waits { self.new_admin_token().await.map(Some) } else { Ok(None) }
    }

    /// Makes a new access token for the admin and returns its text. The former one ends, and every
    /// login that was begun with it.
    ///
    /// # Errors
    /// Returns a [`Failure`] when no random bytes are to be had or the change cannot be stored.
    pub async fn new_admin_token(&self) -> Result<String, Failure> {
        let (token, record) = self.new_token(ADMIN, "made at the first start")?;
        self.documents
            .change(self.documents.first_tenant(), |change| {
                let record = AccessRecord { created_at: change.now, unshown: true, ..record };
                change.put(key::access(ADMIN), &record);
                change.model.access.insert(record.id.clone(), record);
                sessions::end(change, |session| *session.access == *ADMIN);
                change.event("access", ADMIN, "changed", "created".into());
                change.audit(
                    "holdfast",
                    "access.create",
                    ADMIN,
                    "at the first start of the control plane".into(),
                );
                Ok(())
            })
            .await?;
        Ok(token)
    }

    /// Makes the first access token of a tenant, which may everything there, and returns its text.
    /// `None`: the tenant has one already. Who of the first tenant made it stands in the log of that
    /// one alone.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown tenant, and a [`Failure`] when no random bytes are
    /// to be had or the change cannot be stored.
    pub(in crate::service) async fn first_of_tenant(
        &self,
        tenant: &Name,
    ) -> Result<Option<String>, Failure> {
        let id: [u8; 8] = self.authority.random().map_err(Failure::internal)?;
        let (token, record) = self.new_token(&hex(&id), "made with the tenant")?;
        self.documents
            .change(tenant, |change| {
                if !change.model.access.is_empty() {
                    return Ok(None);
                }
                let record = AccessRecord { created_at: change.now, ..record };
                change.put(key::access(&record.id), &record);
                change.event("access", &record.id, "changed", "created".into());
                let detail = "the first of the tenant".to_owned();
                change.audit("holdfast", "access.create", &record.id, detail);
                change.model.access.insert(record.id.clone(), record);
                Ok(Some(token))
            })
            .await
    }

    /// Notes that the admin's token was written to a terminal or a file, so that
    /// [`Access::first_start`] does not replace it.
    ///
    /// # Errors
    /// Returns a [`Failure`] when the change cannot be stored.
    pub async fn admin_token_was_shown(&self) -> Result<(), Failure> {
        self.documents
            .change(self.documents.first_tenant(), |change| {
                if let Some(record) = change.model.access.get_mut(ADMIN) {
                    record.unshown = false;
                    let record = record.clone();
                    change.put(key::access(ADMIN), &record);
                }
                Ok(())
            })
            .await
    }

    /// Makes a secret of 32 random bytes; returns the token's text (`hfa1.ID.SECRET`) and its
    /// record.
    fn new_token(&self, id: &str, name: &str) -> Result<(String, AccessRecord), Failure> {
        let secret: [u8; 32] = self.authority.random().map_err(Failure::internal)?;
        let secret = hex(&secret);
        let record = AccessRecord {
            id: id.into(),
            secret_sha256: hex(&sha256(secret.as_bytes())).into(),
            created_at: 0,
            name: name.into(),
            role: Role::Admin,
            selector: None,
            expires_at: None,
            last_used: 0,
            unshown: false,
            former: None,
        };
        Ok((format!("hfa1.{id}.{secret}"), record))
    }

    /// Lists access tokens in the order of their ids, without their secrets.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for a bad query.
    pub fn access_tokens(&self, actor: &Actor, query: &Query) -> Listed<api::Access> {
        may(actor, Action::ListAccess, "")?;
        let limit = query.limit()?;
        let after = query.after.as_deref().unwrap_or_default();
        let model = self.documents.model(&actor.tenant);
        let items = model
            .access
            .iter()
            .filter(|(id, _)| ***id > *after)
            .take(limit + 1)
            .map(|(id, record)| (id.to_string(), view::access(record)))
            .collect();
        Ok(page(items, limit, model.meta.version))
    }

    /// Makes an access token. Its secret is in the response and is not stored.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for a bad name, selector or life, and [`Failure::Conflict`] when
    /// there are too many tokens or the name is taken.
    pub async fn create_access(
        &self,
        actor: &Actor,
        new: NewAccess,
    ) -> Result<CreatedAccess, Failure> {
        let permit = may(actor, Action::CreateAccess, "")?;
        let by = permit.by();
        let ttl = life(&new)?;
        let selector = new.selector.as_deref().map(narrowed).transpose()?;
        let id: [u8; 8] = self.authority.random().map_err(Failure::internal)?;
        let id = hex(&id);
        let name = named(&new.name, &id)?;
        let (token, record) = self.new_token(&id, &name)?;
        self.documents
            .change(&actor.tenant, |change| {
                let now = change.now;
                if change.model.access.len() >= MAX_ACCESS {
                    forget(change);
                }
                if change.model.access.len() >= MAX_ACCESS {
                    return Err(Failure::Conflict(format!(
                        "there are {MAX_ACCESS} access tokens: delete some"
                    )));
                }
                let mut living = change.model.access.values().filter(|it| it.counts(now));
                if let Some(other) = living.find(|it| *it.name == *name) {
                    return Err(Failure::Conflict(format!(
                        "the access token {} is already called {name:?}: choose another name, rotate that one, or delete it",
                        other.id
                    )));
                }
                let record = AccessRecord {
                    created_at: now,
                    role: new.role,
                    selector,
                    expires_at: ttl.map(|ttl| now + ttl),
                    ..record
                };
                change.put(key::access(&id), &record);
                change.event("access", &id, "changed", "created".into());
                let detail = described(&record);
                change.model.access.insert(record.id.clone(), record);
                change.audit(by, "access.create", &id, detail);
                Ok(CreatedAccess { id: id.clone(), token })
            })
            .await
    }

    /// Gives an access token a new secret. The former one goes on for a while, so that programs can
    /// be given the new one without a gap.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown id, and [`Failure::Invalid`] for bad times.
    pub async fn rotate_access(
        &self,
        actor: &Actor,
        id: &str,
        wanted: RotateAccess,
    ) -> Result<CreatedAccess, Failure> {
        let permit = may(actor, Action::RotateAccess, id)?;
        let by = permit.by();
        let overlap = wanted.overlap_seconds.unwrap_or(USUAL_OVERLAP);
        if overlap > MAX_OVERLAP {
            return Err(Failure::invalid("overlapSeconds: at most 30 days"));
        }
        in_bounds(wanted.ttl_seconds)?;
        let (token, fresh) = self.new_token(id, "")?;
        self.documents
            .change(&actor.tenant, |change| {
                let now = change.now;
                let Some(record) = change.model.access.get(id).filter(|it| it.counts(now)) else {
                    return Err(Failure::no("access token", id));
                };
                // With an end, the last admin's token would lock everybody out one day.
                if record.keeps_the_door() && wanted.ttl_seconds.is_some() {
                    let record = record.clone();
                    change.model.access.remove(id);
                    let left = granted::has_admin(change.model);
                    change.model.access.insert(record.id.clone(), record);
                    if !left {
                        return Err(Failure::Conflict(
                            "it is the last access token of the role admin that does not end, and no local user is an admin: rotate it without an end, or make another first".into(),
                        ));
                    }
                }
                let Some(record) = change.model.access.get(id) else {
                    return Err(Failure::no("access token", id));
                };
                let was = record.expires_at.map(|end| end.saturating_sub(record.created_at));
                let ttl = wanted.ttl_seconds.or(was);
                let former = FormerSecret {
                    secret_sha256: record.secret_sha256.clone(),
                    until: now + overlap,
                };
                let before = record.clone();
                let record = AccessRecord {
                    secret_sha256: fresh.secret_sha256,
                    created_at: now,
                    expires_at: ttl.map(|ttl| now + ttl),
                    unshown: false,
                    former: (overlap > 0).then_some(former),
                    ..before.clone()
                };
                change.was(key::access(id), &before);
                change.put(key::access(id), &record);
                change.event("access", id, "changed", "rotated".into());
                let detail = format!("the former secret counts for {overlap} s more");
                change.audit(by, "access.rotate", id, detail);
                change.model.access.insert(record.id.clone(), record);
                if overlap == 0 {
                    sessions::end(change, |session| *session.access == *id);
                }
                Ok(CreatedAccess { id: id.into(), token })
            })
            .await
    }

    /// Deletes an access token and ends every login that was begun with it.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown id, and [`Failure::Conflict`] for the last
    /// admin token without an end, without which nobody could make another.
    pub async fn delete_access(&self, actor: &Actor, id: &str) -> Result<(), Failure> {
        let permit = may(actor, Action::DeleteAccess, id)?;
        let by = permit.by();
        self.documents.change(&actor.tenant, |change| {
            let Some(record) = change.model.access.get(id) else {
                return Err(Failure::no("access token", id));
            };
            let record = record.clone();
            change.was(key::access(id), &record);
            if record.keeps_the_door() {
                change.model.access.remove(id);
                let left = granted::has_admin(change.model);
                change.model.access.insert(record.id.clone(), record);
                if !left {
                    return Err(Failure::Conflict(
                        "it is the last access token of the role admin that does not end, and no local user is an admin: without it nobody could let others in. Make another first".into(),
                    ));
                }
            }
            // Written before the token is removed, while its name can still be looked up.
            change.audit(by, "access.delete", id, String::new());
            change.model.access.remove(id);
            change.delete(key::access(id));
            sessions::end(change, |session| *session.access == *id);
            change.event("access", id, "deleted", format!("deleted by {by}"));
            Ok(())
        })
        .await
    }

    /// Checks an access token and returns whom it belongs to and its scope.
    ///
    /// # Errors
    /// Returns [`Failure::Unauthorized`] when the token is malformed, unknown or has ended.
    pub fn authorize(&self, token: &str) -> Result<Actor, Failure> {
        let mut parts = token.split('.');
        let (Some("hfa1"), Some(id), Some(secret), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Failure::Unauthorized(
                "that is not an access token: it is hfa1.<id>.<secret>, as the control plane printed it at its first start".into(),
            ));
        };
        let given = hex(&sha256(secret.as_bytes()));
        let now = self.documents.now();
        let tables = self.documents.tables();
        let known = tables
            .all()
            .filter_map(|model| Some((&model.tenant, model.access.get(id)?)))
            // Ids of two tenants may be the same.
            .find(|(_, known)| known.has_secret(&given, now))
            .map(|(tenant, known)| (known.actor(tenant), known.counts(now), known.last_used));
        drop(tables);
        let Some((actor, counts, last_used)) = known else {
            return Err(Failure::Unauthorized(
                "this access token is not known here: it was revoked, mistyped, or made by another control plane".into(),
            ));
        };
        if !counts {
            return Err(Failure::Unauthorized(format!(
                "the access token {} has ended: ask for another one",
                actor.id()
            )));
        }
        self.note_use(&actor, last_used);
        Ok(actor)
    }

    /// Updates the token's time of last use, at most once every [`NOTED_EVERY`] seconds.
    fn note_use(&self, actor: &Actor, last_used: u64) {
        let (id, now) = (actor.id(), self.documents.now());
        if now < last_used.saturating_add(NOTED_EVERY) {
            return;
        }
        let noted = self.documents.note(
            &actor.tenant,
            |change| {
                let Some(record) = change.model.access.get_mut(id) else { return };
                record.last_used = now;
                let record = record.clone();
                change.put(key::access(id), &record);
            },
            |_| {},
        );
        if !noted {
            tracing::debug!(id, "the use of an access token is not written down: too much waits");
        }
    }
}

/// Life of a new token in seconds. None: it does not end by itself.
fn life(new: &NewAccess) -> Result<Option<u64>, Failure> {
    in_bounds(new.ttl_seconds)?;
    match (new.ttl_seconds, new.endless) {
        (Some(_), true) => Err(Failure::invalid("endless: not together with ttlSeconds")),
        (None, true) => Ok(None),
        (given, false) => Ok(Some(given.unwrap_or(USUAL_TTL))),
    }
}

fn in_bounds(ttl: Option<u64>) -> Result<(), Failure> {
    if ttl.is_some_and(|ttl| ttl == 0 || ttl > MAX_TTL) {
        return Err(Failure::invalid("ttlSeconds: from one second to ten years"));
    }
    Ok(())
}

/// Name of a new token; its id, when none is given.
fn named(given: &str, id: &str) -> Result<String, Failure> {
    let name = given.trim();
    if name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(Failure::invalid(format!("name: one line of at most {MAX_NAME} characters")));
    }
    Ok(if name.is_empty() { id.to_owned() } else { name.to_owned() })
}

/// Selector of the devices that a token reaches.
fn narrowed(text: &str) -> Result<Selector, Failure> {
    let selector =
        selector::parse(text).map_err(|error| Failure::invalid(format!("selector: {error}")))?;
    if selector.is_empty() {
        return Err(Failure::invalid(
            "selector: it has no condition; leave it out for all devices of the tenant",
        ));
    }
    Ok(selector)
}

/// Words about a new token for the audit log.
fn described(record: &AccessRecord) -> String {
    let reach = record.selector.as_ref().map(|one| format!(", devices with {}", one.words()));
    format!("role {}{}: {}", record.role, reach.unwrap_or_default(), record.name)
}

/// Deletes the tokens that have ended, and their logins.
fn forget(change: &mut Change<'_>) {
    let now = change.now;
    let ended = change.model.access.values().filter(|record| !record.counts(now));
    let ended: Vec<Box<str>> = ended.map(|record| record.id.clone()).collect();
    for id in ended {
        change.model.access.remove(&id);
        change.delete(key::access(&id));
        sessions::end(change, |session| session.access == id);
    }
}
