//! Export of the audit log as JSON lines: first what is needed to check it, then its entries with
//! their hashes. `holdfast audit verify --file` checks it without a control plane.

use std::sync::Arc;

use holdfast_base::ids::Name;
use tokio::sync::OwnedSemaphorePermit;

use super::Audit;
use crate::api::{AUDIT_FORMAT, AuditHead};
use crate::core::audit::CheckpointRecord;
use crate::core::rights::{Action, Actor};
use crate::service::Failure;
use crate::service::documents::{PART, told};
use crate::service::rights::may;

/// Lines of an exported audit log.
pub struct AuditLines {
    audit: Arc<Audit>,
    tenant: Name,
    head: Option<AuditHead>,
    at: u64,
    next: u64,
    /// No retention before it is read.
    _turn: OwnedSemaphorePermit,
}

impl std::fmt::Debug for AuditLines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditLines").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Audit {
    /// Takes the turn of whoever reads the whole log.
    ///
    /// # Errors
    /// Returns [`Failure::Unavailable`] when another one has it.
    pub(super) fn turn(&self) -> Result<OwnedSemaphorePermit, Failure> {
        Arc::clone(&self.turn).try_acquire_owned().map_err(|_| {
            Failure::Unavailable(
                "the audit log is being verified or exported already: try again when that is done"
                    .into(),
            )
        })
    }

    /// What is needed to check a tenant's audit log. Blocks on the disk.
    pub(super) fn head(&self, tenant: &Name) -> Result<AuditHead, Failure> {
        // From the disk, and before the entries: whatever a checkpoint covers must be there then.
        let checkpoints = self.documents.stored_checkpoints(tenant)?;
        let next = self.documents.stored_next_audit(tenant)?;
        let first = self.documents.model(tenant).chain.first;
        let base = first.and_then(|first| first.checked_sub(1));
        let base = checkpoints.iter().find(|it| Some(it.number) == base);
        Ok(AuditHead {
            format: AUDIT_FORMAT.into(),
            tenant: tenant.to_string(),
            at: self.documents.now(),
            signing_key: self.authority.signing_public(),
            base: base.map(CheckpointRecord::document),
            checkpoints: checkpoints.iter().map(CheckpointRecord::document).collect(),
            next,
        })
    }

    /// Begins an export of the tenant's whole audit log. Blocks on the disk.
    ///
    /// # Errors
    /// Returns [`Failure::Unavailable`] while another one reads it, or a [`Failure`] when the store
    /// cannot be read.
    pub fn export(self: &Arc<Self>, actor: &Actor) -> Result<AuditLines, Failure> {
        may(actor, Action::ExportAudit, "")?;
        let turn = self.turn()?;
        let head = self.head(&actor.tenant)?;
        let (at, next) = (self.documents.audit_span(&actor.tenant).start, head.next);
        let (audit, tenant) = (Arc::clone(self), actor.tenant.clone());
        Ok(AuditLines { audit, tenant, head: Some(head), at, next, _turn: turn })
    }

    /// Public key that checkpoints are signed with.
    pub(super) fn signing_key(&self) -> Vec<u8> {
        self.authority.signer().public_key()
    }
}

impl AuditLines {
    /// Returns the next lines. None: there are no more. Blocks on the disk.
    ///
    /// # Errors
    /// Returns a [`Failure`] when the store cannot be read.
    pub fn next_lines(&mut self) -> Result<Option<String>, Failure> {
        let mut text = String::new();
        if let Some(head) = self.head.take() {
            text = serde_json::to_string(&head).map_err(Failure::internal)? + "\n";
        }
        if self.at >= self.next {
            return Ok((!text.is_empty()).then_some(text));
        }
        let end = self.at.saturating_add(PART).min(self.next);
        for entry in self.audit.documents.stored_audit(&self.tenant, self.at..end)? {
            let line = serde_json::to_string(&told(entry)).map_err(Failure::internal)?;
            text.push_str(&line);
            text.push('\n');
        }
        self.at = end;
        Ok(Some(text))
    }
}
