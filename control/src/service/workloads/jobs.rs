//! Actions of operators on workloads besides applying them: rollback, pause, restart. A pause is
//! part of the desired state and holds without a link. A restart is requested from the devices that
//! are connected now, and from no other one later.
//!
//! See decisions 0115, 0116 and 0117.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;
use holdfast_base::ids::{DeviceId, Name};
use holdfast_protocol::message::Method;

use super::Workloads;
use crate::api::{
    NotRestarted, OnDevices, PauseResult, RestartProgress, RestartResult, Rollback, RolledBack,
};
use crate::core::jobs::{self, Restart};
use crate::core::kinds::AnyKind;
use crate::core::rights::{Action, Actor};
use crate::service::Failure;
use crate::service::calls::{Calls, NoAnswer, NotNow};
use crate::service::rights::{may, may_document};

/// Maximum number of devices that restart at the same time, so that the fleet is never down as a
/// whole.
const AT_ONCE: usize = 64;

/// Maximum size of a device's reply to a restart, in bytes. The reply is empty.
const ANSWER: usize = 1_024;

/// Restart that is about to begin. Dropping its run leaves out the devices that were not asked by
/// then.
#[derive(Debug)]
pub struct Restarting {
    calls: Arc<Calls>,
    tenant: Name,
    workload: Name,
    devices: Vec<Name>,
    not_asked: Vec<NotRestarted>,
}

impl Workloads {
    /// Applies the document of a former revision again, as a new revision, or returns what that
    /// would do (`dry_run`). Without a number it is the newest revision that differs from the
    /// present one.
    ///
    /// # Errors
    /// Returns a [`Failure`], also when the document cannot be applied any more; then nothing was
    /// applied.
    pub async fn rollback(
        &self,
        actor: &Actor,
        name: &str,
        wanted: &Rollback,
        dry_run: bool,
    ) -> Result<RolledBack, Failure> {
        let permit = may(actor, Action::RollBackWorkload, name)?;
        let (to, document) = {
            let model = self.documents.model(&actor.tenant);
            may_document(&permit, &model, AnyKind::Workload, name)?;
            jobs::former(&model, name, wanted)?
        };
        let admitted = self.admit_documents(&actor.tenant, &[document]).map_err(|faults| {
            Failure::Invalid {
                message: format!("revision {to} cannot be applied any more"),
                faults,
            }
        })?;
        let applied = self.apply_admitted(permit, admitted, dry_run, Some(to)).await?;
        Ok(RolledBack { to, results: applied.results })
    }

    /// Pauses a workload or resumes it, on all of its devices or on selected ones.
    ///
    /// # Errors
    /// Returns a [`Failure`]; then nothing was changed.
    pub async fn pause(
        &self,
        actor: &Actor,
        name: &str,
        on: &OnDevices,
        paused: bool,
    ) -> Result<PauseResult, Failure> {
        let permit =
            may(actor, if paused { Action::PauseWorkload } else { Action::ResumeWorkload }, name)?;
        let by = (permit.by(), permit.sight());
        self.documents
            .change(&actor.tenant, |change| {
                may_document(&permit, change.model, AnyKind::Workload, name)?;
                Ok(jobs::pause(change, name, on, paused, by)?)
            })
            .await
    }

    /// Determines the devices on which a workload is restarted, and adds an entry to the audit log.
    ///
    /// # Errors
    /// Returns a [`Failure`] when the workload or a device is unknown, or when it is paused on all
    /// of them.
    pub async fn restart(
        &self,
        actor: &Actor,
        name: &str,
        on: &OnDevices,
    ) -> Result<Restarting, Failure> {
        let permit = may(actor, Action::RestartWorkload, name)?;
        let by = (permit.by(), permit.sight());
        let begun = self
            .documents
            .change(&actor.tenant, |change| {
                may_document(&permit, change.model, AnyKind::Workload, name)?;
                Ok(jobs::restart(change, name, on, by)?)
            })
            .await?;
        let Restart { workload, devices, not_asked } = begun;
        Ok(Restarting {
            calls: Arc::clone(&self.calls),
            tenant: actor.tenant.clone(),
            workload,
            devices,
            not_asked,
        })
    }
}

impl Restarting {
    /// Asks the devices, at most 64 at a time, and waits for their replies. Calls `tell`
    /// with the progress after each.
    pub async fn run(self, mut tell: impl FnMut(RestartProgress)) -> RestartResult {
        let of = self.devices.len() as u64;
        let mut result = RestartResult { not_asked: self.not_asked, ..Default::default() };
        let (calls, tenant, workload) = (&self.calls, &self.tenant, &self.workload);
        tell(RestartProgress { answered: 0, of });
        let asked = stream::iter(self.devices)
            .map(|device| async move {
                let id = DeviceId { tenant: tenant.clone(), device: device.clone() };
                let answer = one(calls, &id, workload).await;
                (device.to_string(), answer)
            })
            .buffer_unordered(AT_ONCE);
        futures_util::pin_mut!(asked);
        let mut answered = 0;
        while let Some((device, answer)) = asked.next().await {
            answered += 1;
            match answer {
                Ok(()) => result.restarted.push(device),
                Err((true, reason)) => result.failed.push(NotRestarted { device, reason }),
                Err((false, reason)) => result.not_asked.push(NotRestarted { device, reason }),
            }
            tell(RestartProgress { answered, of });
        }
        result.restarted.sort_unstable();
        for list in [&mut result.failed, &mut result.not_asked] {
            list.sort_unstable_by(|a, b| a.device.cmp(&b.device));
        }
        result
    }
}

/// Has one device restart the workload. An error holds whether the device was asked, and the
/// reason.
async fn one(calls: &Arc<Calls>, device: &DeviceId, workload: &Name) -> Result<(), (bool, String)> {
    let method = Method::Restart { workload: workload.clone() };
    match calls.ask(device, method, ANSWER, &Arc::default()).await {
        Ok(_) => Ok(()),
        Err(NoAnswer::Now(NotNow::Offline)) => Err((false, "offline".to_owned())),
        Err(NoAnswer::Now(why)) => Err((false, why.to_string())),
        Err(NoAnswer::Silent) => {
            Err((true, "no answer: it may have been restarted or not".to_owned()))
        }
        Err(NoAnswer::Said(why)) => Err((true, why.text)),
        Err(NoAnswer::Never(failure)) => Err((false, failure.to_string())),
    }
}
