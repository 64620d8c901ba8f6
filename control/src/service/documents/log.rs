//! Reading of the audit log: its newest entries are in memory, all others in the store.
//!
//! See decision 0169.

use std::ops::Range;

use holdfast_base::ids::Name;

use super::part::{Documents, audit_entries};
use crate::core::activity::Filter;
use crate::core::audit::CheckpointRecord;
use crate::core::model::key;
use crate::core::records::{AuditRecord, Meta};
use crate::service::Failure;

/// Number of entries that are read from the disk at once: about half a megabyte.
pub(in crate::service) const PART: u64 = 1_000;

/// Most checkpoints that are read: retention leaves one of 10,000 entries or of thirty days.
const MOST_CHECKPOINTS: usize = 10_000;

/// Seconds by which an older entry may have a later time, because clocks are corrected.
const SLACK: u64 = 3 * 3_600;

impl Documents {
    /// Returns the entries with these numbers, the oldest first. Blocks on the disk where they are
    /// not in memory.
    fn audit_part(&self, tenant: &Name, numbers: Range<u64>) -> Result<Vec<AuditRecord>, Failure> {
        {
            let model = self.model(tenant);
            let oldest = model.audit.front().map_or(u64::MAX, |entry| entry.number);
            if numbers.start >= oldest || model.chain.first == Some(oldest) {
                let within = model.audit.iter().filter(|entry| numbers.contains(&entry.number));
                return Ok(within.cloned().collect());
            }
        }
        self.stored_audit(tenant, numbers)
    }

    /// Returns the stored entries with these numbers, the oldest first. Blocks on the disk.
    pub(in crate::service) fn stored_audit(
        &self,
        tenant: &Name,
        numbers: Range<u64>,
    ) -> Result<Vec<AuditRecord>, Failure> {
        audit_entries(&*self.storing.store, tenant, numbers).map_err(unreadable)
    }

    /// Numbers of the oldest stored entry, and of the one that comes next.
    pub(in crate::service) fn audit_span(&self, tenant: &Name) -> Range<u64> {
        let model = self.model(tenant);
        model.chain.first.unwrap_or(model.meta.next_audit)..model.meta.next_audit
    }

    /// Number that the next entry gets, as of the last change that is on disk. Blocks on the disk.
    pub(in crate::service) fn stored_next_audit(&self, tenant: &Name) -> Result<u64, Failure> {
        let stored = self.stored_at(&[key::of(tenant, key::META)])?;
        let meta: Option<Meta> = match stored.into_iter().next().flatten() {
            Some(row) => Some(serde_json::from_slice(&row.value).map_err(Failure::internal)?),
            None => None,
        };
        Ok(meta.map_or(0, |meta| meta.next_audit))
    }

    /// Returns the stored checkpoints of the audit log, the oldest first. Blocks on the disk. Read
    /// before the entries: those of its entries are on disk then.
    pub(in crate::service) fn stored_checkpoints(
        &self,
        tenant: &Name,
    ) -> Result<Vec<CheckpointRecord>, Failure> {
        let prefix = key::of(tenant, key::CHECKPOINTS);
        let rows = self.storing.store.read(&prefix, MOST_CHECKPOINTS).map_err(unreadable)?;
        let read = rows.iter().map(|(_, value)| serde_json::from_slice(value));
        read.collect::<Result<_, _>>().map_err(Failure::internal)
    }

    /// Returns the stored checkpoint over all tenants, if there is one, and of each of these tenants
    /// the number that its next entry gets: all as of one moment. Blocks on the disk.
    pub(in crate::service) fn stored_ends(
        &self,
        tenants: &[Name],
    ) -> Result<(Option<CheckpointRecord>, Vec<u64>), Failure> {
        let mut keys = vec![key::WHOLE_CHECKPOINT.to_owned()];
        keys.extend(tenants.iter().map(|tenant| key::of(tenant, key::META)));
        let mut rows = self.stored_at(&keys)?.into_iter();
        let point = match rows.next().flatten() {
            Some(row) => Some(serde_json::from_slice(&row.value).map_err(Failure::internal)?),
            None => None,
        };
        let next = rows.map(|row| match row {
            Some(row) => serde_json::from_slice(&row.value).map(|meta: Meta| meta.next_audit),
            None => Ok(0),
        });
        Ok((point, next.collect::<Result<_, _>>().map_err(Failure::internal)?))
    }

    /// Returns the chosen entries below a number, the newest first, at most `most`. `read` gives of
    /// some entries those that the caller reads. Blocks on the disk.
    pub(in crate::service) fn newest_audit(
        &self,
        tenant: &Name,
        below: u64,
        filter: &Filter,
        most: usize,
        read: &dyn Fn(Vec<AuditRecord>) -> Vec<AuditRecord>,
    ) -> Result<Vec<AuditRecord>, Failure> {
        let span = self.audit_span(tenant);
        let mut end = span.end.min(below);
        let mut found = Vec::new();
        while end > span.start && found.len() < most {
            let start = end.saturating_sub(PART).max(span.start);
            let part = self.audit_part(tenant, start..end)?;
            let is_over = is_before(part.last(), filter);
            // What the caller does not read must not decide what is found either.
            let chosen = read(part).into_iter().rev().filter(|entry| filter.chooses(entry));
            found.extend(chosen.take(most - found.len()));
            end = if is_over { span.start } else { start };
        }
        Ok(found.into_iter().map(told).collect())
    }

    /// Returns the chosen entries from a number on, the oldest first, at most `most`. Blocks on the
    /// disk.
    pub(in crate::service) fn oldest_audit(
        &self,
        tenant: &Name,
        from: u64,
        filter: &Filter,
        most: usize,
    ) -> Result<Vec<AuditRecord>, Failure> {
        let span = self.audit_span(tenant);
        let mut start = span.start.max(from);
        let mut found = Vec::new();
        while start < span.end && found.len() < most {
            let end = start.saturating_add(PART).min(span.end);
            let part = self.audit_part(tenant, start..end)?;
            let chosen = part.into_iter().filter(|entry| filter.chooses(entry));
            found.extend(chosen.take(most - found.len()));
            start = end;
        }
        Ok(found.into_iter().map(told).collect())
    }
}

fn unreadable(error: impl std::fmt::Display) -> Failure {
    Failure::Internal(format!("the audit log cannot be read: {error}"))
}

/// True if an entry and all before it are older than what the filter wants.
fn is_before(entry: Option<&AuditRecord>, filter: &Filter) -> bool {
    let since = filter.since();
    entry.is_some_and(|entry| since.is_some_and(|since| entry.at.saturating_add(SLACK) < since))
}

/// Returns an entry as it is told: without its place among those of all tenants.
pub(in crate::service) fn told(entry: AuditRecord) -> AuditRecord {
    AuditRecord { whole_number: None, ..entry }
}
