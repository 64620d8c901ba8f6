//! Backup and restore. A restored control plane has a higher epoch than any device knows, so that
//! devices follow what was restored even when their own state is newer.
//!
//! See decisions 0005 and 0099.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_base::ids::Name;

use super::Failure;
use super::alarms::Alarms;
use super::data::Data;
use super::documents::Documents;
use super::enrolment::Enrolment;
use super::rights::may_whole;
use crate::api::Restored;
use crate::core::alarms::Write;
use crate::core::model::{Device, key};
use crate::core::records::Meta;
use crate::core::rights::{Action, Actor};
use crate::core::streams::{Machine, owner};
use crate::core::tenants::{AllLate, Tenants};
use crate::ports::authority::{Authority, AuthorityError, Keys};
use crate::ports::store::Snapshot;

/// Content of a backup besides the artifacts.
pub struct Backup {
    /// Snapshot of the store.
    pub snapshot: Box<dyn Snapshot>,
    /// Keys of the authority.
    pub keys: Keys,
    /// Time of the backup, in seconds since 1970.
    pub at: u64,
}

impl std::fmt::Debug for Backup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backup").field("at", &self.at).finish_non_exhaustive()
    }
}

/// Store of a backup while it is read. Each record is checked as it arrives, so that of a file that
/// is no backup no more is held in memory than its valid part.
#[derive(Debug)]
pub struct Checking {
    records: Vec<(String, Vec<u8>)>,
    tables: Tenants,
    late: AllLate,
}

/// Backup that was read to its end and is valid.
#[derive(Debug)]
pub struct Checked {
    records: Vec<(String, Vec<u8>)>,
    tables: Tenants,
    keys: Keys,
}

fn bad(what: impl std::fmt::Display) -> Failure {
    Failure::invalid(format!("the backup cannot be used: {what}"))
}

impl Checking {
    /// Begins to check a backup. Of the tenants, `tenant` must be able to log in with it.
    pub fn new(tenant: &Name) -> Self {
        let tables = Tenants::new(tenant.clone());
        Self { records: Vec::new(), tables, late: AllLate::default() }
    }

    /// Checks and adds the next record of the store.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] when the record cannot be decoded.
    pub fn take(&mut self, key: String, value: Vec<u8>) -> Result<(), Failure> {
        // Logins, timelines and the delivery state of notifications belong to the past and are not
        // restored.
        let told = key::TOLD.iter().any(|told| key.starts_with(told));
        if told || key.starts_with(key::SESSIONS) || key.starts_with(key::HISTORIES) {
            return Ok(());
        }
        self.tables.take(&mut self.late, &key, &value).map_err(bad)?;
        self.records.push((key, value));
        Ok(())
    }

    /// Ends the check: with the authority's keys the backup is complete. `usable` tells whether an
    /// authority can be made from them.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] when the keys are bad, or the store has no `meta` or no access
    /// token.
    pub fn finish(
        mut self,
        keys: Keys,
        usable: impl FnOnce(&Keys) -> Result<(), AuthorityError>,
    ) -> Result<Checked, Failure> {
        usable(&keys).map_err(bad)?;
        self.tables.settle(self.late);
        if self.tables.all().all(|model| model.meta == Meta::default()) {
            return Err(bad("its store has no \"meta\""));
        }
        if self.tables.all().all(|model| model.access.is_empty()) {
            return Err(bad("it holds no access token: nobody could log in"));
        }
        Ok(Checked { records: self.records, tables: self.tables, keys })
    }
}

impl Checked {
    /// Authority's keys of the backup.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }
}

/// Backup and restore of the control plane as a whole.
pub struct Archive {
    documents: Arc<Documents>,
    alarms: Arc<Alarms>,
    data: Arc<Data>,
    enrolment: Arc<Enrolment>,
    authority: Arc<dyn Authority>,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").finish_non_exhaustive()
    }
}

impl Archive {
    pub(super) fn new(
        documents: Arc<Documents>,
        alarms: Arc<Alarms>,
        data: Arc<Data>,
        enrolment: Arc<Enrolment>,
        authority: Arc<dyn Authority>,
    ) -> Self {
        Self { documents, alarms, data, enrolment, authority }
    }

    /// Takes a backup; changes go on meanwhile. An entry in the audit log is made before the first
    /// byte is sent, except when the disk takes no writes: a last backup must be possible then.
    ///
    /// # Errors
    /// Returns a [`Failure`] when the store cannot be read.
    pub async fn backup(&self, actor: &Actor) -> Result<Backup, Failure> {
        let permit = may_whole(actor, Action::ReadBackup, self.documents.first_tenant())?;
        let by = permit.by();
        tracing::info!(by, "a backup is read");
        let audited = self
            .documents
            .change(&actor.tenant, |change| {
                let detail = "with the CA's and the signing key".to_owned();
                change.audit(by, "backup.read", "control plane", detail);
                Ok(())
            })
            .await;
        if let Err(error) = audited {
            tracing::warn!(by, %error, "that a backup is read cannot be written to the audit log");
        }
        Ok(Backup {
            snapshot: self.documents.snapshot()?,
            keys: self.authority.keys().clone(),
            at: self.documents.now(),
        })
    }

    /// Checks that an actor may restore a backup.
    ///
    /// # Errors
    /// Returns [`Failure::Refused`] with what the actor lacks, and [`Failure::NotFound`] for an actor
    /// of another tenant than the first.
    pub fn admit_restore(&self, actor: &Actor) -> Result<(), Failure> {
        may_whole(actor, Action::Restore, self.documents.first_tenant()).map(|_| ())
    }

    /// Replaces the whole state by a backup. Its artifacts must be stored already.
    ///
    /// # Errors
    /// Returns a [`Failure`] when the store does not take it; then nothing was changed.
    pub async fn restore(&self, actor: &Actor, checked: Checked) -> Result<Restored, Failure> {
        let permit = may_whole(actor, Action::Restore, self.documents.first_tenant())?;
        let by = permit.by();
        let mut told: BTreeMap<Name, Vec<Write>> = BTreeMap::new();
        for tenant in self.documents.tenant_names() {
            let writes = self.alarms.told(&tenant);
            told.insert(tenant, writes);
        }
        let other_authority = checked.keys != *self.authority.keys();
        let now = self.documents.now();
        let restored = self
            .documents
            .change_all(|tables| {
                let Checked { records, tables: fresh, keys } = checked;
                let mut restored = Restored::default();
                let done = tables.restore(records, fresh, now, |change| {
                    let model = &change.model;
                    let epoch = model.meta.epoch;
                    restored.epoch = restored.epoch.max(epoch);
                    restored.devices += model.devices.len() as u64;
                    restored.workloads += model.workloads.len() as u64;
                    // What receivers were told before the restore stays told, whatever the backup
                    // says.
                    let told = told.remove(&change.model.tenant).unwrap_or_default();
                    super::alarms::put(change, told);
                    change.audit(by, "restore", "control plane", format!("epoch {epoch}"));
                    change.put_authority(&keys);
                });
                Ok((restored, done))
            })
            .await?;
        self.documents.reset_events();
        self.documents.note_every_due();
        tracing::warn!(epoch = restored.epoch, by, "restored from a backup");
        Ok(Restored { notes: self.notes(other_authority), ..restored })
    }

    /// Notes for the operator about what follows from a restore.
    fn notes(&self, other_authority: bool) -> Vec<String> {
        let mut notes = Vec::new();
        if other_authority {
            self.enrolment.need_restart();
            notes.push(
                "the backup has another CA and signing key: restart the control plane; until then its devices cannot connect, and afterwards command lines must log in anew, with its ca-sha256".into(),
            );
        }
        let (streams, records) = self.orphans();
        if streams > 0 {
            let note = format!(
                "the backup does not know the devices of some streams ({streams}, with {records} records): these go after a day, unless a backup that knows their devices is restored before"
            );
            tracing::warn!("{note}");
            notes.push(note);
        }
        notes.push("the access tokens of the backup count from now on".into());
        notes.push("devices connect again by themselves and follow the restored state".into());
        notes
    }

    /// Number of streams whose machine is unknown, and of their stored records.
    fn orphans(&self) -> (u64, u64) {
        let owners: BTreeSet<Machine> = {
            let tables = self.documents.tables();
            let machines = tables.all().flat_map(|model| {
                let of = |device: &Device| owner(&device.record.public_key);
                model.devices.iter().map(move |(name, device)| (model.id(name), of(device)))
            });
            machines.collect()
        };
        let mut found = (0, 0);
        self.data.each_stream(|row| {
            if !owners.contains(&row.machine()) {
                found = (found.0 + 1, found.1 + row.tally.kept);
            }
        });
        found
    }
}
