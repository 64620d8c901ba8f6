//! Applies documents, all or nothing, and deletes them. What that comes to is planned in
//! `core::apply`; here it is carried out.

use std::sync::Arc;

use holdfast_base::ids::{Digest, Name};
use holdfast_protocol::enrol::Fault;
use serde_json::{Value, json};

use super::{Workloads, client_secrets};
use crate::api::{API_VERSION, Applied};
use crate::core::admission::{self, Admitted};
use crate::core::apply::{self, plan};
use crate::core::change::Change;
use crate::core::kinds::AnyKind;
use crate::core::model::Model;
use crate::core::records::PolicyKind;
use crate::core::rights::{Action, Actor, Permit, Sight};
use crate::service::Failure;
use crate::service::rights::{may, may_kind, may_whole};

/// True for the document of a tenant, which admins of the first tenant alone apply.
fn is_tenant(admitted: &Admitted) -> bool {
    admitted.what.kind() == AnyKind::Policy(PolicyKind::Tenant)
}

impl Workloads {
    /// Admits documents and applies them, all or nothing. With `dry_run` it only says what applying
    /// them would do.
    ///
    /// # Errors
    /// Returns a [`Failure`]; then nothing was applied.
    pub async fn apply(
        &self,
        actor: &Actor,
        documents: &[Value],
        dry_run: bool,
    ) -> Result<Applied, Failure> {
        let permit = may(actor, Action::Apply, "")?;
        let admitted = self.admit_documents(&actor.tenant, documents).map_err(|faults| {
            let message = match faults.len() {
                1 => "refused, there is a fault".to_owned(),
                count => format!("refused, there are {count} faults"),
            };
            Failure::Invalid { message, faults }
        })?;
        for document in &admitted {
            may_apply(&permit, document.what.kind())?;
        }
        if admitted.iter().any(is_tenant) {
            may_whole(actor, Action::CreateTenant, self.documents.first_tenant())?;
        }
        self.apply_admitted(permit, admitted, dry_run, None).await
    }

    /// Admits documents, with the artifacts that the tenant has pushed.
    pub(super) fn admit_documents(
        &self,
        tenant: &Name,
        documents: &[Value],
    ) -> Result<Vec<Admitted>, Vec<Fault>> {
        admission::admit(documents, &|digest: &Digest| self.artifact_size(tenant, digest))
    }

    /// Applies admitted documents. `former`: the document is that of this former revision.
    pub(super) async fn apply_admitted(
        &self,
        permit: Permit<'_>,
        mut admitted: Vec<Admitted>,
        dry_run: bool,
        former: Option<u64>,
    ) -> Result<Applied, Failure> {
        let (tenant, by) = (permit.tenant(), permit.by());
        self.vault.seal_documents(tenant, &mut admitted, self.documents.now())?;
        let keyring = Arc::clone(&self.keyring);
        if dry_run {
            let model = self.documents.model(tenant);
            apply::may_apply(&model, permit.sight(), &admitted)?;
            client_secrets::seal(&model, &*keyring, &mut admitted)?;
            return Ok(plan(&model, admitted, self.documents.now())?.applied);
        }
        let tenants: Vec<Name> =
            admitted.iter().filter(|one| is_tenant(one)).map(|one| one.name.clone()).collect();
        let act = |change: &mut Change<'_>| {
            apply::may_apply(change.model, permit.sight(), &admitted)?;
            if let Some(ending) = tenants.iter().find(|name| change.model.ended.contains(*name)) {
                return Err(Failure::Conflict(format!(
                    "tenant {ending} was deleted, and its last rows are being removed: try again"
                )));
            }
            client_secrets::seal(change.model, &*keyring, &mut admitted)?;
            let plan = plan(change.model, admitted, change.now)?;
            let (rules, replaced) = (plan.changes_rules(), plan.replaced(change.model));
            Ok((plan.carry_out(change, by, former), rules, replaced))
        };
        let (applied, rules, replaced) = match tenants.is_empty() {
            true => self.documents.change(tenant, act).await?,
            false => self.documents.change_tenants(act).await?,
        };
        for (old, new) in &replaced {
            self.artifacts.expect(old, new);
        }
        if rules {
            self.documents.note_every_due_of(tenant);
        }
        Ok(applied)
    }

    /// Deletes a workload; its devices stop it. When `expected` is given, the workload must still
    /// have this resource version.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`], [`Failure::Conflict`] for another resource version, or a
    /// [`Failure`] when the change cannot be stored.
    pub async fn delete_workload(
        &self,
        actor: &Actor,
        name: &str,
        expected: Option<u64>,
    ) -> Result<(), Failure> {
        let permit = may(actor, Action::DeleteWorkload, name)?;
        let by = permit.by();
        self.documents
            .change(&actor.tenant, |change| {
                may_change(change.model, permit.sight(), AnyKind::Workload, name)?;
                Ok(apply::delete_workload(change, name, expected, by)?)
            })
            .await
    }

    /// Deletes a policy; devices go on without it. When `expected` is given, the policy must still
    /// have this resource version.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`], [`Failure::Conflict`] for another resource version, or a
    /// [`Failure`] when the change cannot be stored.
    pub async fn delete_policy(
        &self,
        actor: &Actor,
        kind: PolicyKind,
        name: &str,
        expected: Option<u64>,
    ) -> Result<(), Failure> {
        let permit = may(actor, Action::DeletePolicy, name)?;
        may_apply(&permit, AnyKind::Policy(kind))?;
        if kind == PolicyKind::Tenant {
            return Err(Failure::Refused(
                "the document of a tenant goes with the tenant and all that it has: delete the tenant itself, not its document".into(),
            ));
        }
        let by = permit.by();
        self.documents
            .change(&actor.tenant, |change| {
                may_change(change.model, permit.sight(), AnyKind::Policy(kind), name)?;
                Ok(apply::delete_policy(change, kind, name, expected, by)?)
            })
            .await?;
        if kind.decides_absence() {
            self.documents.note_every_due_of(&actor.tenant);
        }
        Ok(())
    }

    /// Gives a local user the role of an admin, by a `RoleBinding` document `admin-NAME`.
    ///
    /// # Errors
    /// Returns a [`Failure`] when the document cannot be stored.
    pub async fn make_admin(&self, actor: &Actor, name: &Name) -> Result<(), Failure> {
        let document = json!({
            "apiVersion": API_VERSION,
            "kind": "RoleBinding",
            "metadata": { "name": format!("admin-{name}") },
            "spec": { "role": "admin", "subjects": [name], "devices": "all" },
        });
        self.apply(actor, &[document], false).await.map(drop)
    }
}

/// Checks that an actor may apply or delete documents of a kind: those that say who may do what are
/// for admins.
fn may_apply(permit: &Permit<'_>, kind: AnyKind) -> Result<(), Failure> {
    if kind == AnyKind::Policy(PolicyKind::AuditSink) {
        // Whoever forwards the audit log reads it.
        may(permit.actor(), Action::ExportAudit, "")?;
    }
    if kind.administers() {
        may(permit.actor(), Action::CreateUser, "").map_err(|denied| match denied {
            Failure::Refused(why) => {
                Failure::Refused(format!("{} documents: {why}", kind.words().document))
            }
            other => other,
        })?;
    }
    may_kind(permit, kind)
}

/// Checks that a document may be changed or deleted; one that is not there may.
fn may_change(model: &Model, sight: &Sight<'_>, kind: AnyKind, name: &str) -> Result<(), Failure> {
    match name.parse() {
        Ok(name) => Ok(apply::may_change(model, sight, kind, &name)?),
        Err(_) => Ok(()),
    }
}
