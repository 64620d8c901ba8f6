//! Access tokens of the API: made, listed, deleted and checked. Of a token's secret only its SHA-256
//! digest is stored.
//!
//! See decisions 0026 and 0097.

use holdfast_base::ids::{Name, hex, unhex};

use super::part::Access;
use super::sessions;
use crate::api::{self, CreatedAccess, NewAccess, Scope};
use crate::core::change::Change;
use crate::core::model::{key, sha256};
use crate::core::records::{ADMIN, AccessRecord};
use crate::core::rights::{Action, Actor};
use crate::core::view;
use crate::service::listing::page;
use crate::service::rights::may;
use crate::service::{Failure, Listed, Query};

/// Maximum number of access tokens that the control plane stores.
const MAX_ACCESS: usize = 1_000;

/// Longest life of a token that can be asked for, in seconds: ten years.
const MAX_TTL: u64 = 10 * 366 * 86_400;

/// Maximum length of a token's comment, in characters.
const MAX_COMMENT: usize = 200;

/// Shortest time between two updates of a token's stored time of last use, in seconds. A script may
/// use its token a thousand times a second.
const NOTED_EVERY: u64 = 300;

impl Access {
    /// Returns the actor of whoever has started this program on its machine, who may do everything:
    /// the machine holds all keys.
    pub fn host(&self) -> Actor {
        Actor::operator(self.documents.first_tenant().clone(), "holdfast", Scope::Admin)
    }

    /// SHA-256 digest of an access token's secret; `None` when the token is unknown, has ended, or
    /// may not read records.
    pub(in crate::service) fn secret_of(&self, tenant: &Name, access: &str) -> Option<[u8; 32]> {
        let model = self.documents.model(tenant);
        let known = model.access.get(access).filter(|known| known.counts(self.documents.now()))?;
        let actor = Actor::operator(model.tenant.clone(), known.id.clone(), known.scope);
        may(&actor, Action::ListRecords, "").ok()?;
        unhex::<32>(&known.secret_sha256)
    }

    /// Stores the authority's keys and makes the admin's access token when the control plane starts
    /// for the first time. Returns the token's text, which cannot be read again later; `None` at
    /// any later start. A token that was made but never shown (the process ended in between) is
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
                change.put_authority(self.authority.keys());
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
    fn new_token(&self, id: &str, comment: &str) -> Result<(String, AccessRecord), Failure> {
        let secret: [u8; 32] = self.authority.random().map_err(Failure::internal)?;
        let secret = hex(&secret);
        let record = AccessRecord {
            id: id.into(),
            secret_sha256: hex(&sha256(secret.as_bytes())).into(),
            created_at: 0,
            comment: comment.into(),
            scope: Scope::Admin,
            expires_at: None,
            last_used: 0,
            unshown: false,
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
    /// Returns [`Failure::Invalid`] for a bad comment or life, and [`Failure::Conflict`] when there
    /// are too many tokens.
    pub async fn create_access(
        &self,
        actor: &Actor,
        new: NewAccess,
    ) -> Result<CreatedAccess, Failure> {
        let permit = may(actor, Action::CreateAccess, "")?;
        let by = permit.by();
        let comment = new.comment.trim();
        if comment.chars().count() > MAX_COMMENT || comment.chars().any(char::is_control) {
            return Err(Failure::invalid(format!(
                "comment: one line of at most {MAX_COMMENT} characters"
            )));
        }
        if new.ttl_seconds.is_some_and(|ttl| ttl == 0 || ttl > MAX_TTL) {
            return Err(Failure::invalid("ttlSeconds: from one second to ten years"));
        }
        let id: [u8; 8] = self.authority.random().map_err(Failure::internal)?;
        let id = hex(&id);
        let (token, record) = self.new_token(&id, comment)?;
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
                let record = AccessRecord {
                    created_at: now,
                    scope: new.scope,
                    expires_at: new.ttl_seconds.map(|ttl| now + ttl),
                    ..record
                };
                change.put(key::access(&id), &record);
                change.event("access", &id, "changed", "created".into());
                let detail = format!("scope {}: {}", record.scope, record.comment);
                let detail = detail.trim_end_matches([':', ' ']).to_owned();
                change.model.access.insert(record.id.clone(), record);
                change.audit(by, "access.create", &id, detail);
                Ok(CreatedAccess { id: id.clone(), token })
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
            let mut all = change.model.access.values();
            if record.keeps_the_door()
                && !all.any(|other| *other.id != *id && other.keeps_the_door())
            {
                return Err(Failure::Conflict(
                    "it is the last access token of scope admin that does not end: without it nobody could make another. Make one first".into(),
                ));
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
        let given = sha256(secret.as_bytes());
        let now = self.documents.now();
        let tables = self.documents.tables();
        let known = tables
            .all()
            .filter_map(|model| Some((&model.tenant, model.access.get(id)?)))
            // Comparing digests instead of secrets needs no constant time: how far two digests
            // agree tells nothing about the secret. Ids of two tenants may be the same.
            .find(|(_, known)| unhex::<32>(&known.secret_sha256) == Some(given))
            .map(|(tenant, known)| {
                let actor = Actor::operator(tenant.clone(), known.id.clone(), known.scope);
                (actor, known.counts(now), known.last_used)
            });
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
