//! Volumes of containers: a device lists, deletes, backs up and restores them on a call. The content
//! travels as an artifact, over HTTPS, so that a large one delays nothing else.
//!
//! See decision 0180.

use std::sync::Arc;

use holdfast_base::codec;
use holdfast_base::ids::{DeviceId, Digest, Name};
use holdfast_protocol::message::{Method, ReplyCode};
use holdfast_protocol::volume::{VolumeBackup, VolumeId, VolumeOrder, Volumes};
use holdfast_protocol::workload::Artifact;

use super::Workloads;
use super::transfers::Transfer;
use crate::api::{List, ListMeta, StoredArtifact, Volume};
use crate::core::rights::{Action, Actor, Who};
use crate::service::Failure;
use crate::service::calls::NoAnswer;
use crate::service::rights::may_device;

/// Maximum size of a device's reply, in bytes: a list of as many volumes as a device names, each with
/// two names of 63 bytes and some figures.
const ANSWER: usize = 256 * 1024;

impl Workloads {
    /// Lists the volumes of a device's containers, as the device knows them now.
    ///
    /// # Errors
    /// Returns a [`Failure`], [`Failure::Unavailable`] when the device cannot be asked.
    pub async fn volumes(&self, actor: &Actor, device: &str) -> Result<List<Volume>, Failure> {
        let (id, _) = self.of_device(actor, Action::ListVolumes, device)?;
        let body = self.order(&id, VolumeOrder::List).await?;
        let said: Volumes = read(&id, &body)?;
        let items = said.volumes.into_iter().map(|volume| Volume {
            workload: volume.id.workload.to_string(),
            volume: volume.id.volume.to_string(),
            bytes: volume.bytes,
            used: volume.used,
        });
        let resource_version = self.documents.model(&actor.tenant).meta.version;
        Ok(List {
            items: items.collect(),
            metadata: ListMeta { resource_version, ..ListMeta::default() },
        })
    }

    /// Deletes a volume of a device for good.
    ///
    /// # Errors
    /// As [`Workloads::volumes`]; [`Failure::Conflict`] when a container uses it, and
    /// [`Failure::NotFound`] for a volume that the device does not have.
    pub async fn delete_volume(
        &self,
        actor: &Actor,
        device: &str,
        workload: &str,
        volume: &str,
    ) -> Result<(), Failure> {
        let (id, by) = self.of_device(actor, Action::DeleteVolume, device)?;
        let volume = named(workload, volume)?;
        self.note(by, &id, "volume.delete", &volume).await?;
        self.order(&id, VolumeOrder::Delete(volume)).await.map(drop)
    }

    /// Has a device upload the content of a volume as a tar, which becomes an artifact of the actor's
    /// tenant.
    ///
    /// # Errors
    /// As [`Workloads::volumes`]; [`Failure::Conflict`] while another backup of the device is under
    /// way.
    pub async fn back_volume_up(
        &self,
        actor: &Actor,
        device: &str,
        workload: &str,
        volume: &str,
    ) -> Result<StoredArtifact, Failure> {
        let (id, by) = self.of_device(actor, Action::BackVolumeUp, device)?;
        let volume = named(workload, volume)?;
        let _ends = Transfer::begin(&self.transfers.uploads, id.clone())
            .ok_or_else(|| under_way(&id, "backup"))?;
        self.note(by, &id, "volume.backup", &volume).await?;
        let body = self.order(&id, VolumeOrder::Backup(volume)).await?;
        let VolumeBackup { artifact, .. } = read(&id, &body)?;
        if self.artifact_size(&actor.tenant, &artifact.digest) != Some(artifact.size) {
            return Err(Failure::Unavailable(format!(
                "device {} says that it has uploaded {}, which did not arrive: try again",
                id.device, artifact.digest
            )));
        }
        Ok(StoredArtifact { digest: artifact.digest.to_string(), size: artifact.size })
    }

    /// Has a device replace the content of a volume by that of a tar, an artifact of the actor's
    /// tenant.
    ///
    /// # Errors
    /// As [`Workloads::delete_volume`]; [`Failure::NotFound`] for an artifact that the tenant does not
    /// have.
    pub async fn restore_volume(
        &self,
        actor: &Actor,
        (device, workload, volume): (&str, &str, &str),
        digest: &str,
    ) -> Result<(), Failure> {
        let (id, by) = self.of_device(actor, Action::RestoreVolume, device)?;
        let volume = named(workload, volume)?;
        let digest: Digest =
            digest.parse().map_err(|error| Failure::invalid(format!("digest: {error}")))?;
        let size = self
            .artifact_size(&actor.tenant, &digest)
            .ok_or_else(|| Failure::no("artifact", &digest.to_string()))?;
        let _ends = Transfer::begin(&self.transfers.downloads, (id.clone(), digest))
            .ok_or_else(|| under_way(&id, "restore"))?;
        self.note(by, &id, "volume.restore", &volume).await?;
        let artifact = Artifact { digest, size };
        self.order(&id, VolumeOrder::Restore(volume, artifact)).await.map(drop)
    }

    /// True if an actor is a device that may upload an artifact now: it backs up a volume.
    pub(super) fn may_upload(&self, actor: &Actor) -> bool {
        match &actor.who {
            Who::Device(device) => self.transfers.uploads(&device_id(&actor.tenant, device)),
            _ => false,
        }
    }

    /// True if a device restores a volume from this artifact now.
    pub(super) fn may_download(&self, tenant: &Name, device: &Name, digest: &Digest) -> bool {
        self.transfers.downloads(&device_id(tenant, device), digest)
    }

    /// Returns the device, and who the actor is in the audit log.
    fn of_device<'a>(
        &self,
        actor: &'a Actor,
        action: Action,
        device: &str,
    ) -> Result<(DeviceId, &'a str), Failure> {
        let model = self.documents.model(&actor.tenant);
        let permit = may_device(actor, action, &model, device)?;
        let known = model.devices.get(device).ok_or_else(|| Failure::no("device", device))?;
        Ok((model.id(&known.record.name), permit.by()))
    }

    /// Adds an entry to the audit log, before anything is done.
    async fn note(
        &self,
        by: &str,
        device: &DeviceId,
        action: &'static str,
        volume: &VolumeId,
    ) -> Result<(), Failure> {
        let text = format!("volume {volume}");
        self.documents
            .change(&device.tenant, |change| {
                change.audit(by, action, device.device.as_str(), text);
                Ok(())
            })
            .await
    }

    async fn order(&self, device: &DeviceId, order: VolumeOrder) -> Result<Vec<u8>, Failure> {
        let method = Method::Volume(order);
        let name = &device.device;
        match self.calls.ask(device, method, ANSWER, &Arc::default()).await {
            Ok((_, body)) => Ok(body),
            Err(NoAnswer::Now(why)) => Err(Failure::Unavailable(format!(
                "device {name} {why}: its volumes can be reached when it is connected"
            ))),
            Err(silent @ NoAnswer::Silent) => Err(Failure::Unavailable(format!(
                "device {name} {silent}: an agent of an earlier version knows nothing of volumes"
            ))),
            Err(NoAnswer::Said(why)) => {
                let text = format!("device {name}: {why}");
                Err(match why.code {
                    ReplyCode::NotFound => Failure::NotFound(text),
                    ReplyCode::Failed => Failure::Conflict(text),
                    ReplyCode::Busy | ReplyCode::Unsupported | ReplyCode::OverBudget => {
                        Failure::Unavailable(text)
                    }
                })
            }
            Err(NoAnswer::Never(failure)) => Err(failure),
        }
    }
}

fn device_id(tenant: &Name, device: &Name) -> DeviceId {
    DeviceId { tenant: tenant.clone(), device: device.clone() }
}

fn named(workload: &str, volume: &str) -> Result<VolumeId, Failure> {
    let name = |text: &str, what: &str| {
        text.parse::<Name>().map_err(|error| Failure::invalid(format!("{what}: {error}")))
    };
    Ok(VolumeId { workload: name(workload, "workload")?, volume: name(volume, "volume")? })
}

fn under_way(device: &DeviceId, what: &str) -> Failure {
    Failure::Conflict(format!("a {what} of a volume of device {} is under way", device.device))
}

fn read<T: serde::de::DeserializeOwned>(device: &DeviceId, body: &[u8]) -> Result<T, Failure> {
    codec::decode(body).map_err(|error| {
        Failure::Unavailable(format!(
            "device {} answered what is not understood: {error}",
            device.device
        ))
    })
}
