//! Applies documents, all or nothing, and deletes them. What that comes to is planned in
//! `core::apply`; here it is carried out.

use holdfast_base::ids::Digest;
use holdfast_protocol::enrol::Fault;
use serde_json::Value;

use super::Workloads;
use crate::api::Applied;
use crate::core::admission::{self, Admitted, What};
use crate::core::apply::{self, plan};
use crate::core::records::PolicyKind;
use crate::core::rights::{Action, Actor, Permit};
use crate::service::Failure;
use crate::service::rights::may;

/// True if a document forwards the audit log.
fn is_sink(document: &Admitted) -> bool {
    matches!(&document.what, What::Policy(policy) if policy.kind() == PolicyKind::AuditSink)
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
        let admitted = self.admit_documents(documents).map_err(|faults| {
            let message = match faults.len() {
                1 => "refused, there is a fault".to_owned(),
                count => format!("refused, there are {count} faults"),
            };
            Failure::Invalid { message, faults }
        })?;
        if admitted.iter().any(is_sink) {
            // Whoever forwards the audit log reads it.
            may(actor, Action::ExportAudit, "")?;
        }
        self.apply_admitted(permit, admitted, dry_run, None).await
    }

    /// Admits documents, with the artifacts that are stored here.
    pub(super) fn admit_documents(&self, documents: &[Value]) -> Result<Vec<Admitted>, Vec<Fault>> {
        admission::admit(documents, &|digest: &Digest| self.artifacts.size(digest))
    }

    /// Applies admitted documents. `former`: the document is that of this former revision.
    pub(super) async fn apply_admitted(
        &self,
        permit: Permit<'_>,
        admitted: Vec<Admitted>,
        dry_run: bool,
        former: Option<u64>,
    ) -> Result<Applied, Failure> {
        let (tenant, by) = (permit.tenant(), permit.by());
        if dry_run {
            return Ok(plan(&self.documents.model(tenant), admitted, self.documents.now())?.applied);
        }
        let applied = self.documents.change(tenant, |change| {
            let plan = plan(change.model, admitted, change.now)?;
            let rules = plan.changes_rules();
            Ok((plan.carry_out(change, by, former), rules))
        });
        let (applied, rules) = applied.await?;
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
            .change(&actor.tenant, |change| Ok(apply::delete_workload(change, name, expected, by)?))
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
        if kind == PolicyKind::AuditSink {
            may(actor, Action::ExportAudit, "")?;
        }
        let by = permit.by();
        self.documents
            .change(&actor.tenant, |change| {
                Ok(apply::delete_policy(change, kind, name, expected, by)?)
            })
            .await?;
        if kind.decides_absence() {
            self.documents.note_every_due_of(&actor.tenant);
        }
        Ok(())
    }
}
