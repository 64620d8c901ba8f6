//! Enrolment tokens and access tokens. Of a secret only its digest is kept.

use holdfast_protocol::enrol::EnrolToken;
use holdfast_protocol::ids::{hex, unhex};

use super::{Failure, Service};
use crate::api::{CreatedToken, NewToken};
use crate::core::enrolment::check_labels;
use crate::core::model::{AUTHORITY, key, sha256};
use crate::core::records::{AccessRecord, TokenRecord};

/// Longest life of a token, in seconds: ten years.
const MAX_TTL: u64 = 10 * 366 * 86_400;

/// Most tokens that are kept; those that are over go first.
const MAX_TOKENS: usize = 10_000;

/// Name of the first access token.
const ADMIN: &str = "admin";

impl Service {
    /// Makes an enrolment token; its secret is in the answer alone.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn create_token(&self, new: NewToken, by: &str) -> Result<CreatedToken, Failure> {
        if new.ttl_seconds == 0 || new.ttl_seconds > MAX_TTL {
            return Err(Failure::invalid("ttlSeconds: from one second to ten years"));
        }
        if new.uses == 0 {
            return Err(Failure::invalid("uses: at least 1"));
        }
        check_labels(&new.labels).map_err(Failure::invalid)?;
        let id: [u8; 8] = self.authority.random().map_err(Failure::internal)?;
        let secret: [u8; 32] = self.authority.random().map_err(Failure::internal)?;
        let ca_sha256 = self.authority.ca_sha256();
        let token = EnrolToken { id: hex(&id), secret, ca_sha256 };
        self.change(|change| {
            let now = change.now;
            if change.model.tokens.len() >= MAX_TOKENS {
                let over = change.model.tokens.values().find(|known| known.state(now) != "active");
                let Some(over) = over.map(|over| over.id.clone()) else {
                    return Err(Failure::Conflict(format!(
                        "there are {MAX_TOKENS} active tokens: revoke some"
                    )));
                };
                change.model.tokens.remove(&over);
                change.delete(key::token(&over));
            }
            let record = TokenRecord {
                id: token.id.as_str().into(),
                secret_sha256: hex(&sha256(&secret)).into(),
                created_at: now,
                expires_at: now + new.ttl_seconds,
                uses: new.uses,
                used: 0,
                labels: new.labels,
                approve: new.approve,
                revoked: false,
                version: change.version(),
            };
            change.put(key::token(&token.id), &record);
            change.model.tokens.insert(record.id.clone(), record);
            change.event("token", &token.id, "changed", "created".into());
            change.audit(by, "token.create", &token.id, String::new());
            Ok(CreatedToken { token: token.to_string(), id: token.id.clone() })
        })
        .await
    }

    /// Ends an enrolment token.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn revoke_token(&self, id: &str, by: &str) -> Result<(), Failure> {
        self.change(|change| {
            let version = change.model.meta.version + 1;
            let record = change.model.tokens.get_mut(id).ok_or_else(|| Failure::no("token", id))?;
            if record.revoked {
                return Ok(());
            }
            record.revoked = true;
            record.version = version;
            let record = record.clone();
            change.version();
            change.put(key::token(id), &record);
            change.event("token", id, "changed", "revoked".into());
            change.audit(by, "token.revoke", id, String::new());
            Ok(())
        })
        .await
    }

    /// At the first start: stores the authority's keys and makes the admin's access token, whose
    /// text is shown this once. A token that was made and not shown (the process ended in
    /// between) is replaced by another.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn first_start(&self) -> Result<Option<String>, Failure> {
        let waits = {
            let model = self.model();
            model.access.is_empty() || model.access.get(ADMIN).is_some_and(|known| known.unshown)
        };
        if waits { self.new_admin_token().await.map(Some) } else { Ok(None) }
    }

    /// Makes an access token for the admin; the former one ends.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn new_admin_token(&self) -> Result<String, Failure> {
        let secret: [u8; 32] = self.authority.random().map_err(Failure::internal)?;
        let secret = hex(&secret);
        self.change(|change| {
            let record = AccessRecord {
                id: ADMIN.into(),
                secret_sha256: hex(&sha256(secret.as_bytes())).into(),
                created_at: change.now,
                unshown: true,
            };
            change.put(key::access(ADMIN), &record);
            change.put(AUTHORITY.into(), self.authority.keys());
            change.model.access.insert(record.id.clone(), record);
            change.audit("holdfast", "access.create", ADMIN, "by `holdfast serve`".into());
            Ok(())
        })
        .await?;
        Ok(format!("hfa1.{ADMIN}.{secret}"))
    }

    /// The admin's token stands on a terminal or in a file by now: it is not made again.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn admin_token_was_shown(&self) -> Result<(), Failure> {
        self.change(|change| {
            if let Some(record) = change.model.access.get_mut(ADMIN) {
                record.unshown = false;
                let record = record.clone();
                change.put(key::access(ADMIN), &record);
            }
            Ok(())
        })
        .await
    }

    /// Whose access token this is: its id.
    ///
    /// # Errors
    /// [`Failure::Unauthorized`].
    pub fn authorize(&self, token: &str) -> Result<Box<str>, Failure> {
        let mut parts = token.split('.');
        let (Some("hfa1"), Some(id), Some(secret), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Failure::Unauthorized(
                "that is not an access token: it is hfa1.<id>.<secret>, as `holdfast serve` printed it at its first start".into(),
            ));
        };
        let given = sha256(secret.as_bytes());
        let model = self.model();
        let known = model.access.get(id).filter(|known| {
            // Digests are compared, not secrets: how far two of them agree tells nothing.
            unhex::<32>(&known.secret_sha256) == Some(given)
        });
        known.map(|known| known.id.clone()).ok_or_else(|| {
            Failure::Unauthorized(
                "the access token is not known here: `holdfast login` again".into(),
            )
        })
    }
}
