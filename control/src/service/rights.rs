//! The service's one question about rights: every method that an operator reaches asks it first.
//!
//! See decision 0148.

use holdfast_base::ids::Name;

use super::Failure;
use crate::core::rights::{self, Action, Actor, Denied, Object, Permit};

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Elsewhere { .. } => Self::NotFound(denied.to_string()),
            Denied::Scope { .. } | Denied::Device { .. } => Self::Refused(denied.to_string()),
        }
    }
}

/// Decides whether an actor may do an action to the object of this name in the actor's tenant. An
/// empty name stands for all objects of the action's kind.
///
/// # Errors
/// Returns [`Failure::Refused`] with what the actor lacks.
pub fn may<'a>(actor: &'a Actor, action: Action, name: &str) -> Result<Permit<'a>, Failure> {
    let object = Object { tenant: &actor.tenant, name };
    Ok(rights::may(actor, action, &object)?)
}

/// Decides whether an actor may do an action to the control plane as a whole, all tenants included.
/// That belongs to the tenant that the control plane began with, `first`.
///
/// # Errors
/// Returns [`Failure::Refused`] with what the actor lacks, and [`Failure::NotFound`] for an actor of
/// another tenant.
pub(super) fn may_whole<'a>(
    actor: &'a Actor,
    action: Action,
    first: &Name,
) -> Result<Permit<'a>, Failure> {
    let object = Object { tenant: first, name: "control plane" };
    Ok(rights::may(actor, action, &object)?)
}
