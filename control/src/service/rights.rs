//! The service's one question about rights: every method that an operator reaches asks it first.
//!
//! See decision 0148.

use holdfast_base::ids::Name;

use super::Failure;
use crate::core::model::Model;
use crate::core::rights::{self, Action, Actor, Denied, Object, Permit};

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Elsewhere { .. } => Self::NotFound(denied.to_string()),
            Denied::Role { .. } | Denied::Whole { .. } | Denied::Device { .. } => {
                Self::Refused(denied.to_string())
            }
        }
    }
}

/// Decides whether an actor may do an action to the object of this name in the actor's tenant. An
/// empty name stands for all objects of the action's kind.
///
/// # Errors
/// Returns [`Failure::Refused`] with what the actor lacks.
pub fn may<'a>(actor: &'a Actor, action: Action, name: &str) -> Result<Permit<'a>, Failure> {
    let object = Object { tenant: &actor.tenant, name, labels: None };
    Ok(rights::may(actor, action, &object)?)
}

/// Decides whether an actor may do an action to a device, which its roles may not reach. A device
/// that they do not reach is not there.
///
/// # Errors
/// Returns [`Failure::Refused`] with what the actor lacks, and [`Failure::NotFound`] for a device
/// that does not exist or is not reached.
pub(super) fn may_device<'a>(
    actor: &'a Actor,
    action: Action,
    model: &Model,
    name: &str,
) -> Result<Permit<'a>, Failure> {
    let none = || Failure::no("device", name);
    let labels = model.devices.get(name).map(|device| &device.record.labels);
    let permit = rights::may(actor, action, &Object { tenant: &actor.tenant, name, labels });
    match (permit, labels) {
        (Err(Denied::Elsewhere { .. }), _) | (Ok(_), None) => Err(none()),
        (permit, _) => Ok(permit?),
    }
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
    let object = Object { tenant: first, name: "control plane", labels: None };
    Ok(rights::may(actor, action, &object)?)
}
