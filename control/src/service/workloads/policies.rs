//! Policies (documents other than workloads, such as `Stream` and `LinkBudget`) as people read
//! them: listed, and with their devices. `apply.rs` applies and deletes them, `read.rs` explains
//! them.

use super::Workloads;
use crate::api;
use crate::core::desired::approved;
use crate::core::kinds::{AnyKind, Shown};
use crate::core::policies;
use crate::core::records::PolicyKind;
use crate::core::rights::{Action, Actor};
use crate::service::listing::page;
use crate::service::rights::{may, may_document};
use crate::service::{Failure, Listed, Query};

impl Workloads {
    /// Lists policies of one kind in the order of their names.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for a bad query.
    pub fn policies(&self, actor: &Actor, kind: PolicyKind, query: &Query) -> Listed<Shown> {
        let permit = may(actor, Action::ListPolicies, "")?;
        self.list(&permit, AnyKind::Policy(kind), query)
    }

    /// Returns one policy.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown name.
    pub fn policy(&self, actor: &Actor, kind: PolicyKind, name: &str) -> Result<Shown, Failure> {
        let permit = may(actor, Action::GetPolicy, name)?;
        self.show(&permit, AnyKind::Policy(kind), name)
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
        let permit = may(actor, Action::ListPolicyDevices, name)?;
        let limit = query.limit()?;
        let none = || Failure::no(kind.word(), name);
        let after = query.after.as_deref().unwrap_or_default();
        let model = self.documents.model(&actor.tenant);
        may_document(&permit, &model, AnyKind::Policy(kind), name)?;
        let wanted = (kind, name.parse().map_err(|_| none())?);
        let record = &model.policies.get(&wanted).ok_or_else(none)?.record;
        let items = approved(&model)
            .filter(|device| device.record.name.as_str() > after)
            .filter(|device| query.chooses(&device.record.labels))
            .filter(|device| permit.sight().sees(&device.record.labels))
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
