//! Rights: the one decision about who may do what to which object.
//!
//! See decisions 0097, 0148 and 0157.

mod action;
mod actor;

use holdfast_api::selector::Selector;
use holdfast_api::{Decision, Granted, Role, WhoAmI};
use holdfast_base::ids::{Labels, Name};

pub use self::action::{Action, Need, Reach};
pub use self::actor::{Actor, Grant, Origin, Sight, Who};

/// Object of an action. Its kind is in the action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object<'a> {
    /// Tenant that the object belongs to.
    pub tenant: &'a Name,
    /// Name or id of the object. Empty: all objects of the action's kind that the tenant has.
    pub name: &'a str,
    /// Labels of the object, if it is a device. None: it is none, or its labels are not known yet.
    pub labels: Option<&'a Labels>,
}

/// Proof that an actor may do an action. Only [`may`] makes one, so whatever takes a permit was
/// allowed.
#[derive(Debug, Clone)]
pub struct Permit<'a> {
    actor: &'a Actor,
    action: Action,
    sight: Sight<'a>,
}

impl<'a> Permit<'a> {
    /// Id of the caller, for the audit log.
    pub fn by(&self) -> &'a str {
        self.actor.id()
    }

    /// Whoever was allowed.
    pub fn actor(&self) -> &'a Actor {
        self.actor
    }

    /// Tenant whose objects the action is about.
    pub fn tenant(&self) -> &'a Name {
        &self.actor.tenant
    }

    /// Action that is allowed.
    pub fn action(&self) -> Action {
        self.action
    }

    /// Devices that the action reaches.
    pub fn sight(&self) -> &Sight<'a> {
        &self.sight
    }

    /// Checks that the action reaches the tenant as a whole, for objects that belong to no devices.
    ///
    /// # Errors
    /// [`Denied::Whole`] for an actor whose roles reach some devices alone.
    pub fn whole(&self) -> Result<(), Denied> {
        match (&self.sight, self.action.need()) {
            (Sight::All, _) | (_, Need::Own) => Ok(()),
            (sight, Need::Role(needed)) => Err(Denied::Whole {
                action: self.action,
                needed,
                caller: self.actor.named(),
                sight: sight.words(),
            }),
        }
    }
}

/// Reason why an action is not allowed. Its text is shown to the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The caller has none of the roles.
    #[error(
        "this ({}) needs the role {}, and {caller} has {}: an admin gives roles, under Settings",
        .action.word(), one_of(.needed), roles(.has)
    )]
    Role {
        /// Action that was asked for.
        action: Action,
        /// Roles that may do it.
        needed: &'static [Role],
        /// Caller, in words.
        caller: String,
        /// Roles of the caller.
        has: Vec<Role>,
    },
    /// The caller's role reaches some devices alone, and the action needs all of them.
    #[error(
        "this ({}) is about the tenant as a whole, and {caller} reaches devices with {sight} alone: it needs the role {} without a selector",
        .action.word(), one_of(.needed)
    )]
    Whole {
        /// Action that was asked for.
        action: Action,
        /// Roles that may do it.
        needed: &'static [Role],
        /// Caller, in words.
        caller: String,
        /// Selectors of the caller's roles, in words.
        sight: String,
    },
    /// A device asks for what only operators may do.
    #[error("device {device} may not do {}: it needs the role {}", .action.word(), one_of(.needed))]
    Device {
        /// Name of the device.
        device: Name,
        /// Action that was asked for.
        action: Action,
        /// Roles that may do it.
        needed: &'static [Role],
    },
    /// The object belongs to another tenant, or to devices that the caller does not reach. The
    /// caller is told that there is none.
    #[error("there is no {name:?} here")]
    Elsewhere {
        /// Name that was asked for.
        name: String,
    },
}

/// Words for a choice of roles, such as `operator or admin`.
fn one_of(needed: &[Role]) -> String {
    needed.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" or ")
}

/// Words for the roles that somebody has.
fn roles(has: &[Role]) -> String {
    match has {
        [] => "no role".into(),
        [one] => format!("the role {one}"),
        more => {
            format!(
                "the roles {}",
                more.iter().map(|it| it.as_str()).collect::<Vec<_>>().join(", ")
            )
        }
    }
}

/// Actions that a device may do over HTTPS with its certificate.
const OF_DEVICES: &[Action] = &[Action::GetArtifact, Action::PutArtifact, Action::ListNeighbours];

/// Decides whether an actor may do an action to an object. Whatever is not allowed by a role is
/// denied.
///
/// # Errors
/// [`Denied`], whose text names what was missing.
pub fn may<'a>(
    actor: &'a Actor,
    action: Action,
    object: &Object<'_>,
) -> Result<Permit<'a>, Denied> {
    let elsewhere = || Denied::Elsewhere { name: object.name.chars().take(80).collect() };
    if *object.tenant != actor.tenant {
        return Err(elsewhere());
    }
    let Need::Role(needed) = action.need() else {
        return Ok(Permit { actor, action, sight: Sight::All });
    };
    if let Who::Device(device) = &actor.who {
        return if OF_DEVICES.contains(&action) {
            Ok(Permit { actor, action, sight: Sight::All })
        } else {
            Err(Denied::Device { device: device.clone(), action, needed })
        };
    }
    // What every role may do, like changing one's own password, a person without any may do too.
    let everybody = (needed == Role::ALL).then_some(Sight::All);
    let sight = everybody.or_else(|| sight(actor, needed)).ok_or_else(|| {
        let mut has: Vec<Role> = actor.grants.iter().map(|grant| grant.role).collect();
        has.sort_unstable();
        has.dedup();
        Denied::Role { action, needed, caller: actor.named(), has }
    })?;
    let permit = Permit { actor, action, sight };
    match action.reach() {
        Reach::Whole => permit.whole().map(|()| permit),
        Reach::Device if object.labels.is_some_and(|labels| !permit.sight.sees(labels)) => {
            Err(elsewhere())
        }
        Reach::Device | Reach::Anything => Ok(permit),
    }
}

/// Decides an action as [`may`] does, and says why, whatever the decision is.
pub fn explain(actor: &Actor, action: Action, object: &Object<'_>) -> Decision {
    let decided =
        |allowed, reach, why| Decision { action: action.word().into(), allowed, reach, why };
    match may(actor, action, object) {
        Err(denied) => decided(false, None, denied.to_string()),
        Ok(permit) => {
            let reach = match action.reach() {
                Reach::Device if !permit.sight.is_all() => Some(permit.sight.words()),
                _ => None,
            };
            decided(true, reach, given(actor, action))
        }
    }
}

/// Words for what gives an actor an action.
fn given(actor: &Actor, action: Action) -> String {
    let Need::Role(needed) = action.need() else { return "it needs no role".into() };
    let mut by: Vec<String> = actor
        .grants
        .iter()
        .filter(|grant| needed.contains(&grant.role))
        .map(|grant| format!("role {} of {}", grant.role, grant.by))
        .collect();
    by.dedup();
    match by.as_slice() {
        [] if needed == Role::ALL => "everybody may".into(),
        [] => "devices may".into(),
        by => by.join(", "),
    }
}

/// Describes an actor: its roles, and each action with the decision about it.
pub fn described(actor: &Actor, expires_at: Option<String>) -> WhoAmI {
    let object = Object { tenant: &actor.tenant, name: "", labels: None };
    let granted = |grant: &Grant| Granted {
        role: grant.role,
        selector: grant.selector.as_ref().map(Selector::words),
        by: grant.by.to_string(),
    };
    let needs_role = |action: &&Action| action.need() != Need::Own;
    WhoAmI {
        caller: actor.named(),
        tenant: actor.tenant.to_string(),
        grants: actor.grants.iter().map(granted).collect(),
        expires_at,
        actions: Action::ALL
            .iter()
            .filter(needs_role)
            .map(|action| explain(actor, *action, &object))
            .collect(),
    }
}

/// Devices that the actor reaches with one of these roles. None: it has none of them.
fn sight<'a>(actor: &'a Actor, needed: &[Role]) -> Option<Sight<'a>> {
    let mut selectors = Vec::new();
    for grant in actor.grants.iter().filter(|grant| needed.contains(&grant.role)) {
        match &grant.selector {
            None => return Some(Sight::All),
            Some(selector) => selectors.push(selector),
        }
    }
    (!selectors.is_empty()).then_some(Sight::Selected(selectors))
}

#[cfg(test)]
mod tests;
