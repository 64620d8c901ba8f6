//! Policies (documents other than workloads, such as `Stream` and `LinkBudget`) as people read
//! them: listed, and with their devices. `apply.rs` applies and deletes them, `read.rs` explains
//! them.

use super::Workloads;
use crate::api;
use crate::core::desired::approved;
use crate::core::kinds::Looked;
use crate::core::policies::{self, Statuses};
use crate::core::records::PolicyKind;
use crate::core::rights::{Action, Actor};
use crate::core::view;
use crate::service::listing::page;
use crate::service::rights::may;
use crate::service::{Failure, Listed, Query};

impl Workloads {
    /// Lists policies of one kind in the order of their names.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for a bad query.
    pub fn policies(&self, actor: &Actor, kind: PolicyKind, query: &Query) -> Listed<api::Policy> {
        may(actor, Action::ListPolicies, "")?;
        let limit = query.limit()?;
        let after = query.after.as_deref().unwrap_or_default();
        let told = self.alarms.standings(&actor.tenant, kind);
        let model = self.documents.model(&actor.tenant);
        let looked = Looked { model: &model, told: &told, now: self.documents.now() };
        let mut statuses = Statuses::new(looked, kind, None);
        let items = model
            .policies
            .iter()
            .filter(|((of, name), _)| *of == kind && name.as_str() > after)
            .filter(|(_, known)| query.chooses(&known.record.labels))
            .take(limit + 1)
            .map(|(_, known)| {
                let status = statuses.of(&known.record);
                (known.record.name.to_string(), view::policy(&known.record, status))
            })
            .collect();
        Ok(page(items, limit, model.meta.version))
    }

    /// Returns one policy.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown name.
    pub fn policy(
        &self,
        actor: &Actor,
        kind: PolicyKind,
        name: &str,
    ) -> Result<api::Policy, Failure> {
        may(actor, Action::GetPolicy, name)?;
        let none = || Failure::no(kind.word(), name);
        let told = self.alarms.standings(&actor.tenant, kind);
        let model = self.documents.model(&actor.tenant);
        let wanted = (kind, name.parse().map_err(|_| none())?);
        let known = model.policies.get(&wanted).ok_or_else(none)?;
        let looked = Looked { model: &model, told: &told, now: self.documents.now() };
        let status = Statuses::new(looked, kind, Some(&wanted.1)).of(&known.record);
        Ok(view::policy(&known.record, status))
    }

    /// Lists the devices whose desired state holds a policy, in the order of their names, with what
    /// it does there.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown policy, and [`Failure::Invalid`] for a bad
    /// query.
    pub fn policy_devices(
        &self,
        actor: &Actor,
        kind: PolicyKind,
        name: &str,
        query: &Query,
    ) -> Listed<api::PolicyDevice> {
        may(actor, Action::ListPolicyDevices, name)?;
        let limit = query.limit()?;
        let none = || Failure::no(kind.word(), name);
        let after = query.after.as_deref().unwrap_or_default();
        let model = self.documents.model(&actor.tenant);
        let wanted = (kind, name.parse().map_err(|_| none())?);
        let record = &model.policies.get(&wanted).ok_or_else(none)?.record;
        let items = approved(&model)
            .filter(|device| device.record.name.as_str() > after)
            .filter(|device| query.chooses(&device.record.labels))
            .filter(|device| policies::is_desired(device, &wanted))
            .take(limit + 1)
            .map(|device| {
                let name = device.record.name.to_string();
                (name, policies::on_device(&model, device, record))
            })
            .collect();
        Ok(page(items, limit, model.meta.version))
    }
}
