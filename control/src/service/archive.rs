//! Backup and restore. A restored control plane has a higher epoch than any device knows, so that
//! devices follow what was restored even when their own state is newer.
//!
//! See decisions 0005 and 0099.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use holdfast_age::{Recipient, To};
use holdfast_base::ids::{Name, hex};

use super::alarms::Alarms;
use super::audit::Audit;
use super::data::Data;
use super::documents::Documents;
use super::enrolment::Enrolment;
use super::keys::{MasterKeys, refused};
use super::rights::may_whole;
use super::vault::Vault;
use super::{Failure, origin};
use crate::PROGRAM;
use crate::api::chain::{Hash, RESTORE};
use crate::api::{BackupRequest, Restored, SHORTEST_PASSPHRASE};
use crate::core::alarms::Write;
use crate::core::format;
use crate::core::model::{AUTHORITY, Device, FORMAT, KEYRING, key};
use crate::core::records::Meta;
use crate::core::rights::{Action, Actor, Permit};
use crate::core::streams::{Machine, owner};
use crate::core::tenants::{AllLate, Tenants};
use crate::ports::authority::{Authority, AuthorityError, Keys};
use crate::ports::keyring::{DataKey, KeyringChange, ManagedKeyring};
use crate::ports::store::Snapshot;

/// Content of a backup besides the artifacts.
pub struct Backup {
    /// Snapshot of the store.
    pub snapshot: Box<dyn Snapshot>,
    /// Keys that the backup carries.
    pub keys: Carried,
    /// Receivers of the encrypted backup. None: it is not encrypted.
    pub to: Option<To>,
    /// Time of the backup, in seconds since 1970.
    pub at: u64,
}

/// Keys that a backup carries.
#[derive(Debug)]
pub enum Carried {
    /// In the clear, in an encrypted backup alone: it can be restored anywhere.
    Open {
        /// Keys of the authority.
        authority: Keys,
        /// Data keys, under which the sealed values of the store lie.
        data_keys: Vec<DataKey>,
    },
    /// As the store has them, sealed and wrapped: only with the same master key can they be used.
    Sealed {
        /// Row of the authority.
        authority: Vec<u8>,
        /// Row of the keyring.
        keyring: Vec<u8>,
    },
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
    data_keys: Vec<DataKey>,
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
        if told
            || key.starts_with(key::SESSIONS)
            || key.starts_with(key::HISTORIES)
            || key.starts_with(key::SUNK)
        {
            return Ok(());
        }
        self.tables.take(&mut self.late, &key, &value).map_err(bad)?;
        self.records.push((key, value));
        Ok(())
    }

    /// Ends the check: with the authority's keys, and the data keys of what is sealed in its store,
    /// the backup is complete. `usable` tells whether an
    /// authority can be made from them.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] when the keys are bad, or the store has no `meta` or no access
    /// token.
    pub fn finish(
        mut self,
        keys: Keys,
        data_keys: Vec<DataKey>,
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
        Ok(Checked { records: self.records, tables: self.tables, keys, data_keys })
    }
}

impl Checked {
    /// Authority's keys of the backup.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }
}

/// Maximum number of recipients of a backup.
const MAX_RECIPIENTS: usize = 20;

/// Returns who can open a backup that was asked for.
fn receivers(wanted: BackupRequest) -> Result<To, Failure> {
    let BackupRequest { recipients, passphrase } = wanted;
    match (recipients.as_slice(), passphrase) {
        ([], None) => Err(Failure::invalid(
            "a backup holds every key of the control plane: say to whom it is encrypted, by recipients or a passphrase",
        )),
        ([], Some(passphrase)) if passphrase.chars().count() < SHORTEST_PASSPHRASE => {
            Err(Failure::invalid(format!(
                "the passphrase is shorter than {SHORTEST_PASSPHRASE} characters: six words that a dice chose are good"
            )))
        }
        ([], Some(passphrase)) => Ok(To::Passphrase(passphrase)),
        (_, Some(_)) => {
            Err(Failure::invalid("either recipients or a passphrase open a backup, not both"))
        }
        (all, None) if all.len() > MAX_RECIPIENTS => {
            Err(Failure::invalid(format!("a backup has {MAX_RECIPIENTS} recipients at most")))
        }
        (all, None) => {
            let all: Result<Vec<Recipient>, _> = all.iter().map(|text| text.parse()).collect();
            all.map(To::Recipients).map_err(|error| Failure::invalid(error.to_string()))
        }
    }
}

/// Text and digest of the entry that announces a restore: the history that it replaced, and the
/// epoch that begins. A witness of the former history is told by it from one of a hidden restore.
fn announced(replaced: Option<(u64, Hash)>, epoch: u64) -> (String, Option<Box<str>>) {
    match replaced {
        Some((number, hash)) => (
            format!(
                "restored from a backup: replaces the history up to entry {number}; epoch {epoch}"
            ),
            Some(hex(&hash).into()),
        ),
        None => (format!("restored from a backup; epoch {epoch}"), None),
    }
}

/// Backup and restore of the control plane as a whole.
pub struct Archive {
    documents: Arc<Documents>,
    alarms: Arc<Alarms>,
    data: Arc<Data>,
    enrolment: Arc<Enrolment>,
    audit: Arc<Audit>,
    authority: Arc<dyn Authority>,
    keys: Arc<MasterKeys>,
    vault: Arc<Vault>,
    passphrases: Mutex<()>,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").finish_non_exhaustive()
    }
}

impl Archive {
    pub(super) fn new(
        (documents, alarms, data, enrolment): (
            Arc<Documents>,
            Arc<Alarms>,
            Arc<Data>,
            Arc<Enrolment>,
        ),
        (audit, vault): (Arc<Audit>, Arc<Vault>),
        authority: Arc<dyn Authority>,
        keys: Arc<MasterKeys>,
    ) -> Self {
        let passphrases = Mutex::new(());
        Self { documents, alarms, data, enrolment, audit, authority, keys, vault, passphrases }
    }

    /// The audit log as a chain.
    pub(super) fn audit(&self) -> &Arc<Audit> {
        &self.audit
    }

    /// Seals what an older version stored in plain text.
    pub(super) fn seal_old(&self) {
        self.vault.seal_old();
    }

    /// Keyring that opens a backup whose keys are sealed.
    pub fn keyring(&self) -> &dyn ManagedKeyring {
        self.keys.keyring()
    }

    /// Lock of the work with passphrases: one at a time, whoever asks, bounds its memory.
    pub fn passphrases(&self) -> &Mutex<()> {
        &self.passphrases
    }

    /// Takes an encrypted backup; changes go on meanwhile. It carries every key.
    ///
    /// # Errors
    /// Returns a [`Failure`] when nobody is named who could open it, or the store cannot be read.
    pub async fn backup(&self, actor: &Actor, wanted: BackupRequest) -> Result<Backup, Failure> {
        let permit = may_whole(actor, Action::ReadBackup, self.documents.first_tenant())?;
        let to = receivers(wanted)?;
        let detail = match &to {
            To::Recipients(all) => {
                let all: Vec<String> = all.iter().map(ToString::to_string).collect();
                format!("with every key, encrypted to {}", all.join(", "))
            }
            To::Passphrase(_) => "with every key, encrypted by a passphrase".into(),
        };
        self.note_reading(&permit, "backup.read", detail).await;
        let snapshot = self.documents.snapshot()?;
        let keyring = self.keys.keyring();
        let (authority, data_keys) = (self.authority.keys().clone(), keyring.export());
        let keys = Carried::Open { authority, data_keys };
        Ok(Backup { snapshot, keys, to: Some(to), at: self.documents.now() })
    }

    /// Takes a backup that is not encrypted; changes go on meanwhile. What is sealed in the store
    /// stays sealed in it, the authority's keys too: it can be restored with the present master key
    /// alone.
    ///
    /// # Errors
    /// Returns a [`Failure`] when the store cannot be read.
    pub async fn backup_unencrypted(&self, actor: &Actor) -> Result<Backup, Failure> {
        let action = Action::ReadUnencryptedBackup;
        let permit = may_whole(actor, action, self.documents.first_tenant())?;
        let detail = "not encrypted, with every key sealed".to_owned();
        self.note_reading(&permit, "backup.read-unencrypted", detail).await;
        let snapshot = self.documents.snapshot()?;
        let keyring = self.keys.keyring();
        let sealed = self.authority.keys().seal(keyring).map_err(Failure::internal)?;
        let authority = serde_json::to_vec(&sealed).map_err(Failure::internal)?;
        let keyring = keyring.row().map_err(Failure::internal)?;
        let keys = Carried::Sealed { authority, keyring };
        Ok(Backup { snapshot, keys, to: None, at: self.documents.now() })
    }

    /// Makes an entry in the audit log before the first byte is sent, except when the disk takes no
    /// writes: a last backup must be possible then.
    async fn note_reading(&self, permit: &Permit<'_>, action: &'static str, detail: String) {
        let by = permit.by();
        tracing::info!(by, action, detail, "a backup is read");
        let audited = self
            .documents
            .change(permit.tenant(), |change| {
                change.audit(by, action, "control plane", detail);
                Ok(())
            })
            .await;
        if let Err(error) = audited {
            tracing::warn!(by, %error, "that a backup is read cannot be written to the audit log");
        }
    }

    /// Checks that an actor may restore, before its file is read and artifacts in it are stored.
    ///
    /// # Errors
    /// Returns a [`Failure`] when it may not.
    pub fn may_restore(&self, actor: &Actor) -> Result<(), Failure> {
        may_whole(actor, Action::Restore, self.documents.first_tenant()).map(drop)
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
        let origin = origin::present();
        let other_authority = checked.keys != *self.authority.keys();
        let now = self.documents.now();
        let _alone = self.keys.alone().await;
        let import = KeyringChange::Import(checked.data_keys.clone());
        let row = self.keys.keyring().stage(import).map_err(refused)?;
        let shared = self.shared(&checked.keys, row)?;
        let restored = self
            .documents
            .change_all(|tables| {
                let Checked { records, tables: fresh, .. } = checked;
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
                    change.origin = origin.clone();
                    let (message, before) = announced(change.replaced(), epoch);
                    let entry = change.audit(by, RESTORE, "control plane", message);
                    entry.before = before;
                    for (key, row) in &shared {
                        change.put_shared(key, row.clone());
                    }
                });
                Ok((restored, done))
            })
            .await?;
        self.keys.keyring().adopt().map_err(Failure::internal)?;
        self.seal_old();
        self.documents.reset_events();
        self.documents.note_every_due();
        tracing::warn!(epoch = restored.epoch, by, "restored from a backup");
        Ok(Restored { notes: self.notes(other_authority), ..restored })
    }

    /// Returns the rows that belong to no tenant, with these keys of the authority and this row of
    /// the keyring. The newest data key is in that row, too.
    fn shared(
        &self,
        keys: &Keys,
        keyring: Vec<u8>,
    ) -> Result<[(&'static str, Vec<u8>); 3], Failure> {
        let sealed = keys.seal(self.keys.keyring()).map_err(Failure::internal)?;
        Ok([
            (FORMAT, serde_json::to_vec(&format::present(PROGRAM)).map_err(Failure::internal)?),
            (KEYRING, keyring),
            (AUTHORITY, serde_json::to_vec(&sealed).map_err(Failure::internal)?),
        ])
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
