//! Changes of the documents: made in memory under the lock, queued for the store, told when they
//! are durable. After a failure of the store the documents are read from it again.
//!
//! See decision 0018.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use holdfast_base::ids::{DeviceId, Name};
use tokio::sync::oneshot;

use super::jobs::Job;
use super::part::{Documents, VERSION_GAP, load};
use crate::core::change::{After, Change, Finished, Told, Writes};
use crate::core::tenants::Tenants;
use crate::ports::store::{Batch, StoreError};
use crate::service::{Failure, origin};

/// Takes a change apart: its number, the batch for the store, and what is told afterwards.
fn prepared(finished: Finished) -> (u64, Batch, After) {
    for defect in finished.defects {
        tracing::error!(defect, "a record has no JSON and is not stored: this is a defect");
    }
    let Writes { clear, rows } = finished.writes;
    let batch = Batch { clear, writes: rows, ..Batch::default() };
    (finished.number, batch, finished.after)
}

impl Documents {
    /// Makes a change of a tenant's tables and returns once it is durable. A change that turns out to
    /// do nothing also waits until everything before it is durable.
    pub(in crate::service) async fn change<T>(
        &self,
        tenant: &Name,
        act: impl FnOnce(&mut Change<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (none, now) = (|| Failure::no("tenant", tenant.as_str()), self.now());
        // Nothing is kept for a tenant that a stranger has made up.
        if !self.has_tenant(tenant) {
            return Err(none());
        }
        self.change_as(tenant, Some(tenant.clone()), |tables| {
            let mut change = tables.begin(tenant, now).ok_or_else(none)?;
            change.origin = origin::present();
            let out = act(&mut change)?;
            Ok((out, change.finish()))
        })
        .await
    }

    /// Makes a change that may touch the tables of all tenants, and returns once it is durable. It is
    /// stored after everything that was changed before it, and before everything after it.
    pub(in crate::service) async fn change_all<T>(
        &self,
        act: impl FnOnce(&mut Tenants) -> Result<(T, Finished), Failure>,
    ) -> Result<T, Failure> {
        self.change_as(&self.first, None, act).await
    }

    /// Makes a change of the documents of the first tenant, `Tenant` documents among them, and
    /// returns once it is durable.
    pub(in crate::service) async fn change_tenants<T>(
        &self,
        act: impl FnOnce(&mut Change<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let now = self.now();
        self.change_all(|tables| {
            let none = || Failure::no("tenant", self.first.as_str());
            let mut change = tables.begin(&self.first, now).ok_or_else(none)?;
            let out = act(&mut change)?;
            let mut done = change.finish();
            tables.make(now, &mut done);
            Ok((out, done))
        })
        .await
    }

    /// Makes a change in the line of the tenant `by`. `of`: the tenant whose tables it touches; None:
    /// those of all.
    async fn change_as<T>(
        &self,
        by: &Name,
        of: Option<Name>,
        act: impl FnOnce(&mut Tenants) -> Result<(T, Finished), Failure>,
    ) -> Result<T, Failure> {
        let closed = || Failure::Unavailable("the control plane is stopping".into());
        let place = self.jobs.place(by).await.ok_or_else(closed)?;
        let (answer, answered) = oneshot::channel();
        let turn = self.jobs.turn(by).await;
        let out = {
            let mut tables = self.tables_mut();
            if !self.ensure_in_sync(&mut tables) {
                return Err(Failure::Unavailable(
                    "the store could not be read after a failure: nothing is changed until it can; see the log".into(),
                ));
            }
            let (out, finished) = act(&mut tables)?;
            let (number, batch, after) = prepared(finished);
            let tell = Box::new(move |documents: &Self, result: Result<(), StoreError>| {
                if result.is_ok() {
                    documents.tell(after);
                }
                if answer.send(result).is_err() {
                    tracing::debug!("whoever asked for a change has gone");
                }
            });
            self.jobs.put(Job::new(of, (number, batch), tell, place));
            out
        };
        drop(turn);
        answered.await.map_err(|_| closed())??;
        Ok(out)
    }

    /// Makes a change that nobody waits for; `then` gets whether it became durable. Returns false
    /// when too many changes wait for the disk; then nothing was done.
    pub(in crate::service) fn note(
        &self,
        tenant: &Name,
        act: impl FnOnce(&mut Change<'_>),
        then: impl FnOnce(bool) + Send + 'static,
    ) -> bool {
        let Some(place) = self.jobs.try_place(tenant) else {
            self.counters.overloads.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        let mut tables = self.tables_mut();
        if !self.ensure_in_sync(&mut tables) {
            return false;
        }
        let Some(mut change) = tables.begin(tenant, self.now()) else { return false };
        act(&mut change);
        let (number, batch, after) = prepared(change.finish());
        let tell = Box::new(move |documents: &Self, result: Result<(), StoreError>| {
            if result.is_ok() {
                documents.tell(after);
            }
            then(result.is_ok());
        });
        self.jobs.put(Job::new(Some(tenant.clone()), (number, batch), tell, place));
        true
    }

    /// Tells devices and watchers about a durable change.
    fn tell(&self, after: After) {
        let devices: BTreeSet<DeviceId> = after
            .events
            .iter()
            .filter(|(_, told)| told.event.kind == "device")
            .filter_map(|(tenant, told)| {
                Some(DeviceId { tenant: tenant.clone(), device: told.event.name.parse().ok()? })
            })
            .collect();
        for device in &devices {
            self.note_due(device);
        }
        let mut by_tenant: BTreeMap<Name, Vec<Told>> = BTreeMap::new();
        for (tenant, told) in after.events {
            by_tenant.entry(tenant).or_default().push(told);
        }
        for (tenant, events) in by_tenant {
            self.events_of(&tenant).publish(events);
        }
        for device in &after.desired {
            self.bus.desired_changed(device);
        }
        for device in &after.disconnect {
            self.bus.disconnect(device);
        }
    }

    /// Handles a change that the store refused. All changes that wait behind it were built on it
    /// and are refused too, and the model is read from the store again. Connections stay as they
    /// are. Returns true when the closing job was among the waiting ones.
    pub(super) fn after_failure(&self, error: &StoreError) -> bool {
        let mut tables = self.tables_mut();
        let mut stale = Vec::new();
        while let Some(job) = self.jobs.take() {
            stale.push(job);
        }
        let last = stale.iter().any(|job| job.last);
        self.storing.diverges(true);
        self.ensure_in_sync(&mut tables);
        drop(tables);
        for job in stale {
            (job.tell)(self, Err(error.clone()));
        }
        last
    }

    /// Ensures that the model equals the store, which it is read from again after a failure. Returns
    /// false when that fails: no change may be made then, because it would be built on something that
    /// is not stored.
    fn ensure_in_sync(&self, tables: &mut Tenants) -> bool {
        if !self.has_diverged() {
            return true;
        }
        match load(&*self.storing.store, &self.first) {
            Ok(fresh) => {
                let taken_back = self.taken_back(tables);
                self.replace(tables, fresh);
                self.storing.diverges(false);
                for device in &taken_back {
                    self.bus.desired_changed(device);
                }
                true
            }
            Err(error) => {
                tracing::error!(%error, "the store cannot be read again: no change is made until it can");
                false
            }
        }
    }

    /// Returns the devices whose desired state in memory never became durable. One of them that
    /// asked for it meanwhile got none, and would wait until its next connect for the one that is
    /// stored.
    fn taken_back(&self, tables: &Tenants) -> Vec<DeviceId> {
        let mut devices = Vec::new();
        for model in tables.all() {
            let refused = model
                .devices
                .iter()
                .filter(|(_, it)| !self.is_durable(&model.tenant, it.desired_in));
            let tenant = &model.tenant;
            devices.extend(
                refused.map(|(name, _)| DeviceId { tenant: tenant.clone(), device: name.clone() }),
            );
        }
        devices
    }

    /// Replaces the model by one that was read from the store, keeping the connections.
    fn replace(&self, tables: &mut Tenants, mut fresh: Tenants) {
        fresh.batches = tables.batches;
        for fresh in fresh.all_mut() {
            let model = tables.of(&fresh.tenant);
            for (name, device) in &mut fresh.devices {
                if let Some(known) = model.devices.get(name) {
                    device.live = known.live.clone();
                    device.report.connected = known.report.connected;
                }
            }
            fresh.batches = model.batches;
            fresh.started = self.clock.started;
            fresh.settle_rules();
            fresh.meta.epoch = fresh.meta.epoch.max(model.meta.epoch);
            // Lists may have shown the versions of changes that were refused: none is given again.
            fresh.meta.version = fresh.meta.version.max(model.meta.version) + VERSION_GAP;
            if let Some(events) = self.events.known(&fresh.tenant) {
                events.reset(fresh.meta.version);
            }
        }
        *tables = fresh;
    }
}
