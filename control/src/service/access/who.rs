//! What callers are told of themselves: their roles, and what these allow.
//!
//! See decision 0157.

use holdfast_base::ids::Labels;

use super::part::Access;
use crate::api::time::rfc3339;
use crate::api::{Decision, WhoAmI};
use crate::core::rights::{self, Action, Actor, Object, Reach, Who};
use crate::service::Failure;
use crate::service::rights::may;

impl Access {
    /// Describes the caller: its roles and every action, with what gave it or what is missing.
    ///
    /// # Errors
    /// Returns [`Failure::Refused`] for a caller without any role.
    pub fn whoami(&self, actor: &Actor) -> Result<WhoAmI, Failure> {
        may(actor, Action::WhoAmI, "")?;
        let model = self.documents.model(&actor.tenant);
        let session = actor.session.and_then(|digest| model.sessions.get(&digest));
        let end = match (session, &actor.who) {
            (Some(session), _) => Some(session.expires_at),
            (None, Who::Token(id)) => model.access.get(id).and_then(|known| known.expires_at),
            (None, _) => None,
        };
        Ok(rights::described(actor, end.map(rfc3339)))
    }

    /// Decides whether the caller may do an action to an object: the name of a device, where the
    /// action is about one.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for a word that is no action.
    pub fn can(&self, actor: &Actor, word: &str, name: &str) -> Result<Decision, Failure> {
        may(actor, Action::CanI, "")?;
        let action = Action::of_word(word).ok_or_else(|| {
            let shown: String = word.chars().take(80).collect();
            Failure::invalid(format!("action: {shown:?} is none: the answer of whoami lists them"))
        })?;
        let model = self.documents.model(&actor.tenant);
        let of_one = action.route().1.starts_with("/api/v1/devices/{name}");
        let known = (action.reach() == Reach::Device && of_one && !name.is_empty())
            .then(|| model.devices.get(name).map(|device| &device.record.labels))
            .map(|labels| {
                // A device that no role of the caller reaches is not there, whatever is asked of it.
                let reached = |labels: &&Labels| {
                    let mut selectors = actor.grants.iter().map(|grant| &grant.selector);
                    selectors.any(|it| it.as_ref().is_none_or(|it| it.matches(labels)))
                };
                labels.filter(reached).ok_or_else(|| Failure::no("device", name))
            });
        let labels = known.transpose()?;
        Ok(rights::explain(actor, action, &Object { tenant: &actor.tenant, name, labels }))
    }
}
