//! The service's one question about rights: every method that an operator reaches asks it first.
//!
//! See decision 0148.

use super::{Failure, Service};
use crate::api::Scope;
use crate::core::rights::{self, Action, Actor, Denied, Object, Permit};

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Elsewhere { .. } => Self::NotFound(denied.to_string()),
            Denied::Scope { .. } | Denied::Device { .. } => Self::Refused(denied.to_string()),
        }
    }
}

impl Service {
    /// Returns the actor of whoever has started this program on its machine, who may do everything:
    /// the machine holds all keys.
    pub fn host(&self) -> Actor {
        Actor::operator(self.settings.tenant.clone(), "holdfast", Scope::Admin)
    }

    /// Decides whether an actor may do an action to the object of this name in the actor's tenant.
    /// An empty name stands for all objects of the action's kind.
    ///
    /// # Errors
    /// Returns [`Failure::Refused`] with what the actor lacks.
    pub fn may<'a>(
        &self,
        actor: &'a Actor,
        action: Action,
        name: &str,
    ) -> Result<Permit<'a>, Failure> {
        let object = Object { tenant: &actor.tenant, name };
        Ok(rights::may(actor, action, &object)?)
    }

    /// Decides whether an actor may do an action to the control plane as a whole, all tenants
    /// included. That belongs to the tenant that the control plane began with.
    ///
    /// # Errors
    /// Returns [`Failure::Refused`] with what the actor lacks, and [`Failure::NotFound`] for an
    /// actor of another tenant.
    pub(super) fn may_whole<'a>(
        &self,
        actor: &'a Actor,
        action: Action,
    ) -> Result<Permit<'a>, Failure> {
        let object = Object { tenant: &self.settings.tenant, name: "control plane" };
        Ok(rights::may(actor, action, &object)?)
    }
}
