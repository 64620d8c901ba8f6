//! Enrolment tokens. Of a token's secret only its digest is stored.
//!
//! See decision 0128.

use holdfast_base::ids::{check_label_key, hex};
use holdfast_protocol::enrol::EnrolToken;

use super::Enrolment;
use crate::api;
use crate::api::time::rfc3339;
use crate::api::{CreatedToken, NewToken, TokenDevice, TokenUse};
use crate::core::enrolment::{MAX_LABELS, check_labels};
use crate::core::model::{Device, key, sha256};
use crate::core::records::{ANY_LABEL, TokenRecord};
use crate::core::rights::{Action, Actor, Sight};
use crate::core::seen::Seen;
use crate::core::view;
use crate::service::listing::page;
use crate::service::rights::may;
use crate::service::{Failure, Listed, Query};

/// Longest life of an enrolment token, in seconds: ten years.
const MAX_TTL: u64 = 10 * 366 * 86_400;

/// Maximum number of stored tokens. Tokens that can no longer be used are removed first.
const MAX_TOKENS: usize = 10_000;

/// Maximum number of devices listed with a token. A token of a large fleet has thousands.
const MOST_DEVICES: usize = 100;

/// Refusal of a token whose devices the caller might not reach.
fn outside(sight: &Sight<'_>) -> Failure {
    Failure::Refused(format!(
        "its devices could be outside of what you reach, which is devices with {0}: give the token labels that match {0}, and let no device claim those itself (allowLabels; with approve: manual a device claims any label that the token does not set)",
        sight.words()
    ))
}

impl Enrolment {
    /// Makes an enrolment token. Its secret is in the response and is not stored.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for a bad request, and [`Failure::Conflict`] when there are too
    /// many active tokens.
    pub async fn create_token(
        &self,
        actor: &Actor,
        new: NewToken,
    ) -> Result<CreatedToken, Failure> {
        let permit = may(actor, Action::CreateToken, "")?;
        let by = permit.by();
        if new.ttl_seconds == 0 || new.ttl_seconds > MAX_TTL {
            return Err(Failure::invalid("ttlSeconds: from one second to ten years"));
        }
        if new.uses == 0 {
            return Err(Failure::invalid("uses: at least 1"));
        }
        check_labels(&new.labels).map_err(|fault| Failure::invalid(fault.to_string()))?;
        if new.allow_labels.len() > MAX_LABELS {
            return Err(Failure::invalid(format!("allowLabels: at most {MAX_LABELS}")));
        }
        for key in new.allow_labels.iter().filter(|key| **key != ANY_LABEL) {
            check_label_key(key)
                .map_err(|error| Failure::invalid(format!("allowLabels: {key}: {error}")))?;
        }
        let id: [u8; 8] = self.authority.random().map_err(Failure::internal)?;
        let secret: [u8; 32] = self.authority.random().map_err(Failure::internal)?;
        let ca_sha256 = self.authority.ca_sha256();
        let token = EnrolToken { id: hex(&id), secret, ca_sha256 };
        let made = TokenRecord {
            id: token.id.as_str().into(),
            secret_sha256: hex(&sha256(&secret)).into(),
            created_at: 0,
            expires_at: 0,
            uses: new.uses,
            used: 0,
            labels: new.labels,
            allow_labels: new.allow_labels.into_iter().map(String::into_boxed_str).collect(),
            approve: new.approve,
            revoked: false,
            version: 0,
        };
        if !permit.sight().keeps(&made.labels, |key| made.lets_claim(key)) {
            return Err(outside(permit.sight()));
        }
        self.documents
            .change(&actor.tenant, |change| {
                let now = change.now;
                if change.model.tokens.len() >= MAX_TOKENS {
                    let over =
                        change.model.tokens.values().find(|known| known.state(now) != "active");
                    let Some(over) = over.map(|over| over.id.clone()) else {
                        return Err(Failure::Conflict(format!(
                            "there are {MAX_TOKENS} active tokens: revoke some"
                        )));
                    };
                    change.model.tokens.remove(&over);
                    change.delete(key::token(&over));
                }
                let record = TokenRecord {
                    created_at: now,
                    expires_at: now + new.ttl_seconds,
                    version: change.version(),
                    ..made
                };
                change.put(key::token(&token.id), &record);
                change.model.tokens.insert(record.id.clone(), record);
                change.event("token", &token.id, "changed", "created".into());
                change.audit(by, "token.create", &token.id, String::new());
                Ok(CreatedToken { token: token.to_string(), id: token.id.clone() })
            })
            .await
    }

    /// Returns an enrolment token with the devices that enrolled with it, the newest first, at most
    /// 100.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown token.
    pub fn token(&self, actor: &Actor, id: &str) -> Result<TokenUse, Failure> {
        let permit = may(actor, Action::GetToken, id)?;
        let model = self.documents.model(&actor.tenant);
        let seen = Seen::new(&model, permit.sight());
        let record = model.tokens.get(id).filter(|record| seen.token(record));
        let record = record.ok_or_else(|| Failure::no("token", id))?;
        let of = |device: &&Device| {
            *device.record.token == *record.id && permit.sight().sees(&device.record.labels)
        };
        let mut devices: Vec<&Device> = model.devices.values().filter(of).collect();
        devices.sort_by_key(|device| std::cmp::Reverse(device.record.created_at));
        let devices = devices.into_iter().take(MOST_DEVICES).map(|device| TokenDevice {
            name: device.record.name.to_string(),
            enrolled_at: rfc3339(device.record.created_at),
            uncounted_labels: device.record.uncounted.iter().map(ToString::to_string).collect(),
        });
        Ok(TokenUse {
            token: view::token(record, self.documents.now()),
            devices: devices.collect(),
        })
    }

    /// Revokes an enrolment token. Devices that enrolled with it stay.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`], or a [`Failure`] when the change cannot be stored.
    pub async fn revoke_token(&self, actor: &Actor, id: &str) -> Result<(), Failure> {
        let permit = may(actor, Action::RevokeToken, id)?;
        let by = permit.by();
        self.documents
            .change(&actor.tenant, |change| {
                let version = change.model.meta.version + 1;
                let none = || Failure::no("token", id);
                let known = change.model.tokens.get(id).ok_or_else(none)?;
                if !Seen::new(change.model, permit.sight()).token(known) {
                    return Err(none());
                }
                let record = change.model.tokens.get_mut(id).ok_or_else(none)?;
                if record.revoked {
                    return Ok(());
                }
                let before = record.clone();
                record.revoked = true;
                record.version = version;
                let record = record.clone();
                change.was(key::token(id), &before);
                change.version();
                change.put(key::token(id), &record);
                change.event("token", id, "changed", "revoked".into());
                change.audit(by, "token.revoke", id, String::new());
                Ok(())
            })
            .await
    }

    /// Lists enrolment tokens in the order of their ids, without their secrets.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for a bad query.
    pub fn tokens(&self, actor: &Actor, query: &Query) -> Listed<api::Token> {
        let permit = may(actor, Action::ListTokens, "")?;
        let limit = query.limit()?;
        let after = query.after.as_deref().unwrap_or_default();
        let (model, now) = (self.documents.model(&actor.tenant), self.documents.now());
        let seen = Seen::new(&model, permit.sight());
        let items = model
            .tokens
            .iter()
            .filter(|(id, record)| ***id > *after && query.chooses(&record.labels))
            .filter(|(_, record)| seen.token(record))
            .take(limit + 1)
            .map(|(id, record)| (id.to_string(), view::token(record, now)))
            .collect();
        Ok(page(items, limit, model.meta.version))
    }
}
