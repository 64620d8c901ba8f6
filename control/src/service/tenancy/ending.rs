//! The end of a tenant: planned, carried out, and its rows removed from the store.

use holdfast_base::ids::{DeviceId, Digest, Name};

use super::Tenancy;
use crate::api::TenantDeletion;
use crate::core::change::Finished;
use crate::core::model::{Model, key};
use crate::core::rights::{Action, Actor};
use crate::core::streams::owner;
use crate::service::Failure;
use crate::service::rights::may_whole;

/// Maximum number of rows that one change removes.
const ROWS: usize = 5_000;

/// Counts what goes with a tenant.
fn plan(model: &Model) -> TenantDeletion {
    let count = |number: usize| number as u64;
    TenantDeletion {
        name: model.tenant.to_string(),
        devices: count(model.devices.len()),
        workloads: count(model.workloads.len()),
        documents: count(model.policies.len()),
        tokens: count(model.tokens.len()),
        access: count(model.access.len()),
        artifacts: count(model.artifacts.len()),
        ..TenantDeletion::default()
    }
}

/// Says what is in the way of deleting a tenant.
fn occupied(plan: &TenantDeletion) -> Option<String> {
    let there = [
        (plan.devices, "device"),
        (plan.workloads, "workload"),
        (plan.documents, "other document"),
        (plan.streams, "stream"),
    ];
    let parts: Vec<String> = there
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| crate::api::count::count(number, what))
        .collect();
    (!parts.is_empty()).then(|| {
        format!(
            "tenant {} still has {}: delete them first, or all of it with the tenant (cascade=true; with dryRun=true the answer says what goes)",
            plan.name,
            parts.join(", ")
        )
    })
}

impl Tenancy {
    /// Deletes a tenant. Without `cascade` it must have no devices, documents and records; with it,
    /// everything goes. `dry_run`: only says what would go.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown tenant, and [`Failure::Conflict`] for the first one
    /// and for one that is not empty.
    pub async fn delete(
        &self,
        actor: &Actor,
        name: &str,
        cascade: bool,
        dry_run: bool,
    ) -> Result<TenantDeletion, Failure> {
        let first = self.documents.first_tenant();
        let permit = may_whole(actor, Action::DeleteTenant, first)?;
        let by = permit.by();
        let none = || Failure::no("tenant", name);
        let tenant: Name = name.parse().map_err(|_| none())?;
        if tenant == *first {
            return Err(Failure::Conflict(format!(
                "tenant {tenant} is the one that the control plane began with: it cannot be deleted"
            )));
        }
        if !self.documents.tenant_names().contains(&tenant) {
            return Err(none());
        }
        let (streams, records, _) = self.data.data_sums(&tenant);
        let full = |model: &Model| TenantDeletion { streams, records, ..plan(model) };
        if dry_run {
            return Ok(full(&self.documents.model(&tenant)));
        }
        let (gone, told) = self
            .documents
            .change_all(|tables| {
                let told = full(tables.of(&tenant));
                if let Some(why) = occupied(&told).filter(|_| !cascade) {
                    return Err(Failure::Conflict(why));
                }
                let now = self.documents.now();
                let (gone, done) = tables.end(&tenant, now, by).ok_or_else(none)?;
                Ok(((gone, told), done))
            })
            .await?;
        for (device, known) in &gone.devices {
            let id = DeviceId { tenant: tenant.clone(), device: device.clone() };
            self.data.forget(id, owner(&known.record.public_key));
        }
        let digests: Vec<Digest> = gone.artifacts.keys().copied().collect();
        self.workloads.drop_unowned(&digests);
        self.documents.forget_tenant(&tenant);
        self.alarms.forget_tenant(&tenant);
        self.fleet.forget_tenant(&tenant);
        self.data.forget_day(&tenant);
        tracing::warn!(%tenant, by, "a tenant was deleted");
        self.sweep().await?;
        Ok(TenantDeletion { deleted: true, ..told })
    }

    /// Removes the rows of tenants that have ended from the store, whatever they are. Must be called
    /// at the start: the process may have ended in between.
    ///
    /// # Errors
    /// Returns a [`Failure`] when the store cannot be read or written; the rest is removed later.
    pub async fn sweep(&self) -> Result<(), Failure> {
        let first = self.documents.first_tenant().clone();
        loop {
            let ended = self.documents.model(&first).ended.clone();
            if ended.is_empty() {
                return Ok(());
            }
            let snapshot = self.documents.snapshot()?;
            let of = ended.clone();
            let rows = tokio::task::spawn_blocking(move || {
                let mut rows = Vec::new();
                let seen = snapshot.visit(&[], &mut |row, _| {
                    if rows.len() < ROWS
                        && key::divide(row).is_some_and(|(tenant, _)| of.contains(&tenant))
                    {
                        rows.push(row.to_owned());
                    }
                    Ok(())
                });
                seen.map(|()| rows)
            });
            let rows: Vec<String> =
                rows.await.map_err(Failure::internal)?.map_err(Failure::internal)?;
            let over = rows.len() < ROWS;
            self.documents
                .change_all(|tables| {
                    let now = self.documents.now();
                    let none = || Failure::no("tenant", first.as_str());
                    let mut change = tables.begin(&first, now).ok_or_else(none)?;
                    if over {
                        for name in &ended {
                            change.model.ended.remove(name);
                            change.delete(key::ended(name));
                        }
                    }
                    change.live();
                    let mut done: Finished = change.finish();
                    done.writes.rows.extend(rows.into_iter().map(|row| (row, None)));
                    Ok(((), done))
                })
                .await?;
            if over {
                return Ok(());
            }
        }
    }
}
