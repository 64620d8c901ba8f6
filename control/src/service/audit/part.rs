//! The state of the audit part, and what it does by time: checkpoints, retention, and the entries
//! that count refusals and readings.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use holdfast_base::ids::Name;
use holdfast_protocol::checkpoint::Checkpoint;
use tokio::sync::Semaphore;

use super::busy::Busy;
use super::sender::AuditSender;
use crate::core::audit::{Former, MAX_AGE, MAX_KEPT, Origin};
use crate::core::records::AuditRecord;
use crate::core::tally::{Kind, Tally};
use crate::ports::authority::Authority;
use crate::service::calls::Calls;
use crate::service::documents::Documents;
use crate::service::vault::Vault;

/// The audit log as a chain.
pub struct Audit {
    pub(super) documents: Arc<Documents>,
    pub(super) calls: Arc<Calls>,
    pub(super) authority: Arc<dyn Authority>,
    /// Refusals and readings of the present windows.
    tally: Mutex<Tally>,
    /// Turn of whoever reads the whole log: one at a time, and no retention meanwhile.
    pub(super) turn: Arc<Semaphore>,
    pub(super) sender: Arc<dyn AuditSender>,
    pub(super) vault: Arc<Vault>,
    pub(super) busy: Busy,
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audit").finish_non_exhaustive()
    }
}

/// Refusal or reading that the audit log gets.
#[derive(Debug, Clone)]
pub struct Seen<'a> {
    /// Tenant of the caller. None: the caller is not known.
    pub tenant: Option<&'a Name>,
    /// Caller, as the audit log has it.
    pub by: &'a str,
    /// Action as a word.
    pub action: &'a str,
    /// Object of the action; may be empty.
    pub subject: &'a str,
    /// True for a refusal.
    pub refused: bool,
    /// Description, in words; may be empty.
    pub message: &'a str,
}

/// Longest text of a caller that an entry takes, in characters.
const MAX_TEXT: usize = 200;

fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

impl Audit {
    pub(in crate::service) fn new(
        documents: Arc<Documents>,
        calls: Arc<Calls>,
        authority: Arc<dyn Authority>,
        sender: Arc<dyn AuditSender>,
        vault: Arc<Vault>,
    ) -> Self {
        let (turn, busy) = (Arc::new(Semaphore::new(1)), Busy::default());
        Self { documents, calls, authority, tally: Mutex::default(), turn, sender, vault, busy }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a refusal or a reading to the audit log, or counts it where an equal one is there. It
    /// waits for nothing.
    pub fn saw(&self, seen: &Seen<'_>, origin: &Origin) {
        let tenant = seen.tenant.unwrap_or_else(|| self.documents.first_tenant());
        let (subject, message) = (cut(seen.subject), cut(seen.message));
        let kind = Kind {
            tenant: tenant.clone(),
            by: cut(seen.by).into(),
            from: origin.address.map(|address| address.to_string().into()),
            action: seen.action.into(),
            subject: if seen.refused { "".into() } else { subject.as_str().into() },
            refused: seen.refused,
        };
        let now = self.documents.now();
        let entry = self.tally().note(kind, now, &subject, (origin, &message));
        if let Some(entry) = entry {
            self.write(tenant, entry);
        }
    }

    /// Writes an entry that was made apart from a change. When the store takes nothing it is lost,
    /// and the log of the process has it.
    fn write(&self, tenant: &Name, entry: AuditRecord) {
        let (action, by) = (entry.action.clone(), entry.by.clone());
        if !self.documents.note(tenant, |change| change.audit_entry(entry), |_| {}) {
            tracing::warn!(action, by, "an entry of the audit log cannot be written");
        }
    }

    /// Does what is due: entries that count, checkpoints, retention. Must be called about once a
    /// second.
    pub fn tick(self: &Arc<Self>) {
        let now = self.documents.now();
        let due = self.tally().due(now);
        due.into_iter().for_each(|(tenant, entry)| self.write(&tenant, entry));
        for tenant in self.documents.tenant_names() {
            self.checkpoint(&tenant, now);
        }
        self.checkpoint_whole(now);
        self.retain(MAX_KEPT, MAX_AGE);
    }

    /// Cuts the next entries of each tenant that are more than `kept` or older than `age` seconds,
    /// behind a checkpoint that stays.
    pub fn retain(&self, kept: u64, age: u64) {
        let now = self.documents.now();
        for tenant in self.documents.tenant_names() {
            self.cut(&tenant, now, kept, age);
        }
    }

    /// Writes the entries of all windows, because the control plane stops.
    pub fn end(&self) {
        let all = self.tally().all();
        all.into_iter().for_each(|(tenant, entry)| self.write(&tenant, entry));
    }

    fn sign(&self, checkpoint: &Checkpoint, tenant: Option<&str>) -> Option<Box<str>> {
        match self.authority.signer().sign_checkpoint(checkpoint, tenant) {
            Ok(bytes) => Some(BASE64_STANDARD.encode(bytes).into()),
            Err(error) => {
                tracing::error!(%error, "a checkpoint of the audit log cannot be signed");
                None
            }
        }
    }

    /// Begins the chain of a tenant whose log is of a version before it.
    fn begin(&self, tenant: &Name, Former { first, last, count }: Former) {
        if self.documents.note(tenant, |change| change.begin_chain(), |_| {}) {
            tracing::info!(%tenant, first, last, count, "the chain of the audit log begins behind the entries of an earlier version, which stay and have no hashes of their own");
        }
    }

    /// Makes the checkpoint of a tenant's audit log that is due. Desired states carry it once it is
    /// durable.
    fn checkpoint(self: &Arc<Self>, tenant: &Name, now: u64) {
        let (former, due) = {
            let model = self.documents.model(tenant);
            (model.chain.former, model.chain.is_due(model.meta.next_audit, now))
        };
        if let Some(former) = former {
            self.begin(tenant, former);
            return;
        }
        if !due {
            return;
        }
        let made = Arc::new(Mutex::new(None));
        let (shown, audit, of) = (Arc::clone(&made), Arc::clone(self), tenant.clone());
        let _later = self.documents.note(
            tenant,
            |change| {
                let sealed = change.checkpoint(|made, tenant| self.sign(made, Some(tenant)));
                *made.lock().unwrap_or_else(PoisonError::into_inner) = sealed;
            },
            move |stored| {
                let made = *shown.lock().unwrap_or_else(PoisonError::into_inner);
                if let (true, Some(made)) = (stored, made)
                    && let Some(model) = audit.documents.tables_mut().of_mut(&of)
                {
                    model.chain.shown = Some(made);
                }
            },
        );
    }

    /// Makes the checkpoint of the audit log over all tenants that is due.
    fn checkpoint_whole(&self, now: u64) {
        if self.documents.tables().whole.is_due(now) {
            let first = self.documents.first_tenant();
            let seal = |made: &Checkpoint| self.sign(made, None);
            let _later = self.documents.note(first, |change| change.checkpoint_whole(seal), |_| {});
        }
    }

    /// Cuts the next entries that are too many or too old, unless somebody reads the whole log.
    fn cut(&self, tenant: &Name, now: u64, kept: u64, age: u64) {
        let last = {
            let model = self.documents.model(tenant);
            model.chain.cut(model.meta.next_audit, now, kept, age)
        };
        let Some(last) = last else { return };
        let Ok(_turn) = self.turn.try_acquire() else { return };
        let _later = self.documents.note(
            tenant,
            |change| {
                let _whole = change.cut_audit(last);
            },
            |_| {},
        );
    }
}
