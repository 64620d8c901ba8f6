//! Forwarding of the audit log: each `AuditSink` has a position, and gets what comes after it, in
//! order, as soon as it is on disk. The log itself is the backlog: nothing is skipped, and what
//! retention cut before it was sent is said.
//!
//! See decision 0169.

use std::sync::Arc;
use std::time::Duration;

use holdfast_base::ids::Name;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::busy::Of;
use super::part::Audit;
use crate::core::alarms::{NotDelivered, Outcome};
use crate::core::audit_sink::{AuditSink, BATCH, SinkBatch, Sunk};
use crate::core::model::key;
use crate::core::records::{Policy, PolicyKind};
use crate::service::documents::told;
use crate::service::{Failure, Forward};

/// Time between two looks for entries to forward.
const LOOK: Duration = Duration::from_millis(500);

/// Result of one delivery: its sink, what was to be sent, and what the receiver said.
struct Forwarded {
    of: Of,
    batch: SinkBatch,
    outcome: Outcome,
}

/// Forwards audit logs until `stopping` is true.
pub async fn run(audit: Arc<Audit>, mut stopping: watch::Receiver<bool>) {
    let mut under_way: JoinSet<Option<Forwarded>> = JoinSet::new();
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stopping.changed() => return,
            _ = looks.tick() => {}
            Some(done) = under_way.join_next() => match done {
                Ok(Some(done)) => audit.forwarded(done).await,
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "forwarding of an audit log ended badly"),
            },
        }
        audit.keep_sinks().await;
        audit.forward(&mut under_way);
    }
}

impl Audit {
    /// Gives each new sink its position, and forgets those of sinks that are gone.
    async fn keep_sinks(&self) {
        for tenant in self.documents.tenant_names() {
            let (fresh, gone) = {
                let model = self.documents.model(&tenant);
                let known = &model.sunk;
                let of = model.policies.iter().filter_map(|((kind, name), known)| {
                    let Policy::AuditSink { sink } = &known.record.policy else { return None };
                    (*kind == PolicyKind::AuditSink).then(|| (name.clone(), (**sink).clone()))
                });
                let sinks: Vec<(Name, AuditSink)> = of.collect();
                let named = |name: &Name| sinks.iter().any(|(of, _)| of == name);
                let gone: Vec<Name> = known.keys().filter(|name| !named(name)).cloned().collect();
                let fresh: Vec<(Name, AuditSink)> =
                    sinks.iter().filter(|(name, _)| !known.contains_key(name)).cloned().collect();
                (fresh, gone)
            };
            if fresh.is_empty() && gone.is_empty() {
                continue;
            }
            let kept = self.documents.change(&tenant, |change| {
                let next = change.model.meta.next_audit;
                let first = change.model.chain.first.unwrap_or(next);
                for (name, sink) in fresh {
                    let sunk = Sunk::begin(&sink, first, next);
                    change.put(key::sunk(&name), &sunk);
                    change.model.sunk.insert(name, sunk);
                }
                for name in gone {
                    change.delete(key::sunk(&name));
                    change.model.sunk.remove(&name);
                }
                Ok(())
            });
            if let Err(error) = kept.await {
                tracing::warn!(%error, "the position of an audit sink cannot be stored");
            }
        }
    }

    /// Starts one delivery for each sink that has something to send and is due.
    fn forward(self: &Arc<Self>, under_way: &mut JoinSet<Option<Forwarded>>) {
        if !self.documents.lease().acts() {
            return;
        }
        let now = self.documents.now();
        for tenant in self.documents.tenant_names() {
            let due: Vec<(Name, u64, AuditSink)> = {
                let model = self.documents.model(&tenant);
                let end = model.meta.next_audit;
                let due = model.sunk.iter().filter(|(_, it)| it.next < end && it.is_due(now));
                due.filter_map(|(name, sunk)| {
                    let known = model.policies.get(&(PolicyKind::AuditSink, name.clone()))?;
                    let Policy::AuditSink { sink } = &known.record.policy else { return None };
                    Some((name.clone(), sunk.next, (**sink).clone()))
                })
                .collect()
            };
            for (name, from, sink) in due {
                let of = (tenant.clone(), name);
                if !self.busy.with(|busy| busy.insert(of.clone())) {
                    continue;
                }
                let audit = Arc::clone(self);
                under_way.spawn(async move {
                    let done = audit.send(&of, from, &sink).await;
                    if done.is_none() {
                        audit.busy.with(|busy| busy.remove(&of));
                    }
                    done
                });
            }
        }
    }

    /// Delivers the next entries of a sink. None: nothing is on disk to send.
    async fn send(self: &Arc<Self>, of: &Of, from: u64, sink: &AuditSink) -> Option<Forwarded> {
        let (audit, tenant) = (Arc::clone(self), of.0.clone());
        let read = tokio::task::spawn_blocking(move || audit.batch(&tenant, from)).await;
        let batch = match read {
            Ok(Ok(batch)) => batch?,
            Ok(Err(error)) => {
                tracing::error!(%error, "the audit log cannot be read to be forwarded");
                return None;
            }
            Err(error) => {
                tracing::error!(%error, "the audit log cannot be read to be forwarded");
                return None;
            }
        };
        let now = self.documents.now();
        let outcome = match self.vault.reveal_sink(&of.0, &of.1, sink.clone()) {
            Ok(sink) => self.sender.forward(Forward { to: &sink.to, batch: &batch, now }).await,
            Err(error) => Err(NotDelivered::Secret(error.to_string())),
        };
        Some(Forwarded { of: of.clone(), batch, outcome })
    }

    /// Reads the next entries from the disk. Blocks.
    fn batch(&self, tenant: &Name, from: u64) -> Result<Option<SinkBatch>, Failure> {
        let first = self.documents.audit_span(tenant).start;
        let end = self.documents.stored_next_audit(tenant)?;
        let start = from.max(first);
        let to = start.saturating_add(BATCH as u64).min(end);
        let entries = self.documents.stored_audit(tenant, start..to.max(start))?;
        let entries = entries.into_iter().map(told).collect();
        Ok(SinkBatch::of(tenant.as_str(), from, first, entries))
    }

    /// Stores the position after a delivery, or notes why it failed.
    async fn forwarded(&self, done: Forwarded) {
        let Forwarded { of, batch, outcome } = done;
        let (tenant, name) = &of;
        let now = self.documents.now();
        match outcome {
            Ok(_) => {
                let stored = self.documents.change(tenant, |change| {
                    let Some(mut sunk) = change.model.sunk.get(name).cloned() else {
                        return Ok(());
                    };
                    sunk.took(batch.counts(), batch.next, now);
                    change.put(key::sunk(name), &sunk);
                    change.model.sunk.insert(name.clone(), sunk);
                    Ok(())
                });
                if let Err(error) = stored.await {
                    tracing::warn!(%tenant, %name, %error, "what was forwarded of the audit log cannot be stored: it is sent again");
                }
            }
            Err(why) => self.not_forwarded(&of, &why, now),
        }
        self.busy.with(|busy| busy.remove(&of));
    }

    fn not_forwarded(&self, (tenant, name): &Of, why: &NotDelivered, now: u64) {
        let why = why.to_string();
        let mut tables = self.documents.tables_mut();
        let sunk = tables.of_mut(tenant).and_then(|model| model.sunk.get_mut(name));
        let Some(sunk) = sunk else { return };
        if sunk.failing_since == 0 {
            tracing::warn!(%tenant, %name, why, "the audit log cannot be forwarded: it is tried again, and nothing is skipped");
        }
        sunk.failed(why, now);
    }
}
