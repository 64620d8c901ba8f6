//! Reading of the store's rows into the model, at a start and for a restore.

use holdfast_base::ids::{Digest, Name, unhex};

use super::alarms::Silence;
use super::images::KnownImage;
use super::kinds::AnyKind;
use super::model::{BadRecord, Device, Model, read, sha256};
use super::people::UserRecord;
use super::records::{
    AccessRecord, DesiredRecord, DeviceRecord, ReportRecord, RevisionRecord, TokenRecord,
};

/// Rows that wait for their device or workload while the store is read.
#[derive(Debug, Default)]
pub struct Late {
    desired: Vec<(Name, DesiredRecord)>,
    reports: Vec<(Name, ReportRecord)>,
    revisions: Vec<RevisionRecord>,
}

impl Model {
    /// Adds one row of the store. Rows come in the order of their keys: those of a device that may
    /// come before the device itself (`desired/` sorts before `device/`) wait in `late` for
    /// [`Model::settle`].
    ///
    /// # Errors
    /// [`BadRecord`].
    pub fn take(&mut self, late: &mut Late, key: &str, value: &[u8]) -> Result<(), BadRecord> {
        let unknown = || BadRecord::Key(key.chars().take(200).collect());
        let (kind, rest) = key.split_once('/').unwrap_or((key, ""));
        let name = || rest.parse::<Name>().map_err(|_| unknown());
        match kind {
            "meta" => self.meta = read(key, value)?,
            "device" => {
                let record: DeviceRecord = read(key, value)?;
                self.keys.insert(sha256(record.public_key.as_bytes()), record.name.clone());
                self.devices.insert(record.name.clone(), Device::new(record));
            }
            "desired" => late.desired.push((name()?, read(key, value)?)),
            "report" => late.reports.push((name()?, read(key, value)?)),
            "revision" => late.revisions.push(read(key, value)?),
            "gone" => drop(self.gone.insert(name()?, read(key, value)?)),
            "token" => {
                let record: TokenRecord = read(key, value)?;
                self.tokens.insert(record.id.clone(), record);
            }
            "access" => {
                let record: AccessRecord = read(key, value)?;
                self.access.insert(record.id.clone(), record);
            }
            "user" => {
                let record: UserRecord = read(key, value)?;
                self.users.insert(record.name.clone(), record);
            }
            "session" => {
                let digest = unhex::<32>(rest).ok_or_else(unknown)?;
                self.sessions.insert(digest, read(key, value)?);
            }
            "artifact" => {
                let digest = unhex::<32>(rest).map(Digest).ok_or_else(unknown)?;
                self.artifacts.insert(digest, read(key, value)?);
            }
            "image" => {
                let digest = unhex::<32>(rest).map(Digest).ok_or_else(unknown)?;
                self.images.contents.insert(digest, KnownImage::new(read(key, value)?));
            }
            "repository" => {
                let name = rest.parse().map_err(|_| unknown())?;
                self.images.repositories.insert(name, read(key, value)?);
            }
            "ended" => drop(self.ended.insert(name()?)),
            "silence" => {
                let silence: Silence = read(key, value)?;
                self.silences.insert(silence.id.clone(), silence);
            }
            // Parsed when the alarms begin to be kept: a row that cannot be read there costs one
            // repeated notification, not the start.
            "told" | "outbox" | "notified" => self.told.push((key.to_owned(), value.to_owned())),
            // Timelines stay in the store and are read when somebody asks.
            "history" => {}
            "audit" => self.read_audit(read(key, value)?),
            "sunk" => drop(self.sunk.insert(name()?, read(key, value)?)),
            "checkpoint" => self.chain.read_checkpoint(read(key, value)?),
            word => match AnyKind::of_word(word) {
                Some(kind) => kind.rules().load(self, key, value)?,
                None => return Err(unknown()),
            },
        }
        Ok(())
    }

    /// Adds the rows that waited for their device or workload.
    pub fn settle(&mut self, late: Late) {
        for (name, desired) in late.desired {
            if let Some(device) = self.devices.get_mut(&name) {
                device.desired = desired;
            }
        }
        for (name, mut report) in late.reports {
            if let Some(device) = self.devices.get_mut(&name) {
                if std::mem::take(&mut report.connected) {
                    // The control plane ended while the device was connected. It counts as
                    // connected until `alive`, when the control plane last wrote that it runs; its
                    // last packet came at most one and a half keep-alives before that.
                    report.last_seen = report.heard_before(self.meta.alive);
                    report.gone = report.last_seen.max(self.meta.alive);
                }
                device.report = report;
            }
        }
        for revision in late.revisions {
            if let Some(workload) = self.workloads.get_mut(&revision.workload) {
                workload.revisions.push_back(revision);
            }
        }
        self.settle_rules();
    }
}
