//! Sessions of everybody in the tenant: listed, and ended by admins.

use holdfast_base::ids::hex;

use super::part::People;
use crate::api::OpenSession;
use crate::api::time::rfc3339;
use crate::core::model::key;
use crate::core::records::SessionRecord;
use crate::core::rights::{Action, Actor};
use crate::service::access::caller_of;
use crate::service::listing::page;
use crate::service::rights::may;
use crate::service::{Failure, Listed, Query};

/// Id of a session: half of the digest of its secret. It opens nothing.
fn id(digest: &[u8; 32]) -> String {
    hex(digest).chars().take(32).collect()
}

fn shown(digest: &[u8; 32], record: &SessionRecord, own: bool) -> OpenSession {
    let caller = match record.person {
        Some(_) => caller_of(record).to_string(),
        None => format!("access token {}", record.access),
    };
    OpenSession {
        id: id(digest),
        caller,
        created_at: rfc3339(record.created_at),
        expires_at: rfc3339(record.expires_at),
        address: record.from.map(|from| from.to_string()),
        agent: record.agent.to_string(),
        own,
    }
}

impl People {
    /// Lists the open sessions of the tenant, in the order of their ids.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for a bad query.
    pub fn sessions(&self, actor: &Actor, query: &Query) -> Listed<OpenSession> {
        may(actor, Action::ListSessions, "")?;
        let limit = query.limit()?;
        let after = query.after.as_deref().unwrap_or_default();
        let (model, now) = (self.documents.model(&actor.tenant), self.documents.now());
        let open = model.sessions.iter().filter(|(_, record)| record.expires_at > now);
        let items = open
            .map(|(digest, record)| (id(digest), digest, record))
            .filter(|(id, ..)| id.as_str() > after)
            .take(limit + 1)
            .map(|(id, digest, record)| (id, shown(digest, record, actor.session == Some(*digest))))
            .collect();
        Ok(page(items, limit, model.meta.version))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] when there is none of this id.
    pub async fn end_session(&self, actor: &Actor, wanted: &str) -> Result<(), Failure> {
        let permit = may(actor, Action::EndOtherSession, wanted)?;
        let by = permit.by();
        self.documents
            .change(&actor.tenant, |change| {
                let found = change.model.sessions.keys().find(|digest| id(digest) == *wanted);
                let digest = *found.ok_or_else(|| Failure::no("session", wanted))?;
                if let Some(record) = change.model.sessions.remove(&digest) {
                    let of = caller_of(&record);
                    change.audit(by, "session.end", &of, "ended by an admin".into());
                }
                change.delete(key::session(&digest));
                Ok(())
            })
            .await
    }
}
