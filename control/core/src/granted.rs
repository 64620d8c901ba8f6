//! Roles that people have by role bindings, and whether somebody can still let others in.
//!
//! See decision 0158.

use holdfast_api::Role;
use holdfast_api::selector::Selector;
use holdfast_base::ids::Name;

use super::model::Model;
use super::people::{Binding, UserRecord, caller};
use super::records::{AccessRecord, Policy, PolicyKey, PolicyRecord};
use super::rights::{Actor, Grant, Who};

/// Role bindings of a tenant: name, content, devices.
#[derive(Debug)]
struct Bindings<'a>(Vec<(&'a Name, &'a Binding, &'a Selector)>);

impl<'a> Bindings<'a> {
    /// Role bindings among these documents.
    fn among(records: impl Iterator<Item = &'a PolicyRecord>) -> Self {
        Self(
            records
                .filter_map(|record| match &record.policy {
                    Policy::RoleBinding { binding } => {
                        Some((&record.name, &**binding, &record.devices))
                    }
                    _ => None,
                })
                .collect(),
        )
    }

    /// Roles that the bindings give to a person.
    fn grants(&self, subject: &str) -> Vec<Grant> {
        self.0
            .iter()
            .filter(|(_, binding, _)| binding.subjects.iter().any(|one| **one == *subject))
            .map(|(name, binding, devices)| Grant {
                role: binding.role,
                selector: (!devices.is_empty()).then(|| (*devices).clone()),
                by: format!("role binding {name}").into(),
            })
            .collect()
    }

    /// True if somebody can log in who may do everything, and needs no other system (an identity
    /// provider) for it.
    fn have_admin(&self, model: &Model) -> bool {
        let admin = |grant: &Grant| grant.role == Role::Admin && grant.selector.is_none();
        let user = |user: &UserRecord| {
            !user.disabled
                && user.password.is_some()
                && self.grants(user.name.as_str()).iter().any(admin)
        };
        model.access.values().any(AccessRecord::keeps_the_door) || model.users.values().any(user)
    }
}

fn present(model: &Model) -> Bindings<'_> {
    Bindings::among(model.policies.values().map(|known| &known.record))
}

/// Roles that bindings give to a person.
pub fn grants(model: &Model, subject: &str) -> Vec<Grant> {
    present(model).grants(subject)
}

/// Actor of a person who is logged in; `given` are the roles beside those of bindings.
pub fn actor(model: &Model, subject: &str, given: &[Grant]) -> Actor {
    let mut all = grants(model, subject);
    all.extend(given.iter().cloned());
    Actor::new(Who::Person(caller(subject)), model.tenant.clone(), all)
}

/// True if somebody in the tenant can log in who may do everything, and does not need another
/// system (an identity provider) for it. The control plane refuses a change after which nobody can.
pub fn has_admin(model: &Model) -> bool {
    present(model).have_admin(model)
}

/// True if nobody could do everything any more once these documents are stored (`next`) and that one
/// is deleted (`gone`), and somebody can now.
pub fn locks_out<'a>(
    model: &'a Model,
    next: impl Iterator<Item = &'a PolicyRecord>,
    gone: Option<&PolicyKey>,
) -> bool {
    let next: Vec<&PolicyRecord> = next.collect();
    let stays = |record: &&PolicyRecord| {
        let key = record.key();
        gone != Some(&key) && !next.iter().any(|other| other.key() == key)
    };
    let kept: Vec<&PolicyRecord> =
        model.policies.values().map(|known| &known.record).filter(stays).collect();
    let after = Bindings::among(kept.into_iter().chain(next.iter().copied()));
    has_admin(model) && !after.have_admin(model)
}
