//! Sealing of workloads' content to a device, each time that its desired state is sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_base::ids::{DeviceId, Name};
use holdfast_protocol::message::DesiredState;
use holdfast_protocol::sealing::{self, OnChange, Sealed, SealedContent};

use super::part::{Bound, Vault};
use crate::core::desired::sealing::{Parcel, Part};
use crate::core::secrets::references;
use crate::service::Failure;

impl Vault {
    /// Puts the sealed content of each workload into a desired state.
    ///
    /// # Errors
    /// Returns a [`Failure`] that names what cannot be opened or sealed; no value is in it.
    pub(in crate::service) fn seal_state(
        &self,
        state: &mut DesiredState,
        sealing_key: Option<&str>,
        parcels: Vec<Parcel>,
    ) -> Result<(), Failure> {
        if parcels.is_empty() {
            return Ok(());
        }
        let device = state.device.clone();
        let key = sealing_key.and_then(|key| STANDARD.decode(key).ok()).ok_or_else(|| {
            Failure::Internal(format!("device {device} has no key that content is sealed to"))
        })?;
        for parcel in parcels {
            let epoch = state.epoch;
            let Some(workload) = state.workloads.get_mut(&parcel.workload) else { continue };
            let content = self.content(&device.tenant, &parcel)?;
            let bound = sealing::Bound {
                device: &device,
                workload: &parcel.workload,
                revision: workload.revision,
                epoch,
                version: parcel.version,
            };
            let bytes = self.sealed_to(&device, &key, &content, &bound)?;
            let on_change = match parcel.on_change {
                references::OnChange::Restart => OnChange::Restart,
                references::OnChange::Signal(number) => OnChange::Signal(number),
            };
            workload.sealed = Some(Box::new(Sealed { version: parcel.version, on_change, bytes }));
        }
        Ok(())
    }

    fn sealed_to(
        &self,
        device: &DeviceId,
        key: &[u8],
        content: &SealedContent,
        bound: &sealing::Bound<'_>,
    ) -> Result<Vec<u8>, Failure> {
        let random = self.authority.random().map_err(Failure::internal)?;
        sealing::seal(content, key, bound, random).map_err(|error| {
            let workload = bound.workload;
            Failure::Internal(format!("content of {workload} for {device}: {error}"))
        })
    }

    /// Opens what a workload gets.
    fn content(&self, tenant: &Name, parcel: &Parcel) -> Result<SealedContent, Failure> {
        let mut content = SealedContent::default();
        for (name, parts) in &parcel.content.env {
            let text = String::from_utf8(self.joined(tenant, parts)?);
            let text = text.map_err(|_| {
                Failure::Internal(format!("variable {name} of {} is no text", parcel.workload))
            })?;
            content.env.insert(name.clone(), text);
        }
        for (path, parts) in &parcel.content.files {
            content.files.insert(path.clone(), self.joined(tenant, parts)?.into());
        }
        Ok(content)
    }

    fn joined(&self, tenant: &Name, parts: &[Part]) -> Result<Vec<u8>, Failure> {
        let mut all = Vec::new();
        for part in parts {
            match part {
                Part::Bytes(bytes) => all.extend_from_slice(bytes),
                Part::Secret { name, key, value } => {
                    let plain = self.open((tenant, Bound::Secret(name, key)), value)?;
                    all.extend_from_slice(plain.bytes());
                }
            }
        }
        Ok(all)
    }
}
