//! The service's one question about rights: every method that an operator reaches asks it first.
//!
//! See decision 0148.

use holdfast_base::ids::Name;

use super::Failure;
use crate::core::kinds::AnyKind;
use crate::core::model::Model;
use crate::core::rights::{self, Action, Actor, Denied, Object, Permit};
use crate::core::seen::Seen;

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

/// Checks that a permit covers documents of a kind. A kind whose documents belong to no devices
/// needs a role without a selector.
///
/// # Errors
/// Returns [`Failure::Refused`] with what the actor lacks.
pub(super) fn may_kind(permit: &Permit<'_>, kind: AnyKind) -> Result<(), Failure> {
    if kind.of_devices() {
        return Ok(());
    }
    permit.whole().map_err(|denied| {
        Failure::Refused(format!("{} documents: {denied}", kind.words().document))
    })
}

/// Checks that a permit covers a document, which the actor may not see. A document that it does not
/// see is not there.
///
/// # Errors
/// Returns [`Failure::Refused`] for a kind whose documents belong to no devices, and
/// [`Failure::NotFound`] for a document that does not exist or is not seen.
pub(super) fn may_document(
    permit: &Permit<'_>,
    model: &Model,
    kind: AnyKind,
    name: &str,
) -> Result<(), Failure> {
    may_kind(permit, kind)?;
    let seen = Seen::new(model, permit.sight()).document(kind, name);
    if seen { Ok(()) } else { Err(Failure::no(kind.words().word, name)) }
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
