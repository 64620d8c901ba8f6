//! The model as people and scripts see it: the documents of `api.rs`.

use std::collections::BTreeMap;

use holdfast_protocol::data::DataReport;
use holdfast_protocol::ids::Name;
use holdfast_protocol::message::{Phase, WorkloadReport};
use serde_json::{Value, json};

use super::model::{Device, Model, Workload};
use super::records::{
    AccessRecord, PolicyRecord, RevisionRecord, Standing, TokenRecord, WorkloadRecord,
};
use super::time::rfc3339;
use crate::api::{self, API_VERSION, Metadata};

/// A device.
pub fn device(device: &Device) -> api::Device {
    let record = &device.record;
    let desired = device
        .desired
        .workloads
        .iter()
        .map(|(name, revision)| (name.to_string(), api::DesiredRevision { revision: *revision }))
        .collect();
    api::Device {
        api_version: API_VERSION.into(),
        kind: "Device".into(),
        metadata: Metadata {
            name: record.name.to_string(),
            labels: record.labels.clone(),
            resource_version: record.version,
            created_at: Some(rfc3339(record.created_at)),
            updated_at: Some(rfc3339(record.updated_at)),
        },
        desired,
        status: status(device),
    }
}

fn status(device: &Device) -> api::DeviceStatus {
    let (record, report) = (&device.record, &device.report);
    let agent = report.agent.as_deref();
    let workloads = report
        .workloads
        .iter()
        .map(|(name, said)| {
            let status = api::WorkloadStatus {
                revision: said.revision,
                phase: said.phase,
                restarts: said.restarts,
                pid: said.pid,
                reason: said.reason.clone(),
            };
            (name.to_string(), status)
        })
        .collect();
    let not_after = certificate_end(device);
    api::DeviceStatus {
        connection: device.live.seen(record.standing),
        last_seen: (report.last_seen > 0).then(|| rfc3339(report.last_seen)),
        address: report.address.map(|address| address.to_string()),
        shard: record.shard,
        epoch: report.applied.epoch,
        generation: api::Generations {
            desired: device.desired.generation,
            applied: report.applied.generation,
        },
        workloads,
        problems: report
            .all_problems()
            .into_iter()
            .map(|problem| api::Problem { code: problem.code, message: problem.message })
            .collect(),
        agent: agent.map(|agent| agent.version.clone()),
        arch: agent.map(|agent| agent.arch.clone()),
        kernel: agent.map(|agent| agent.kernel.clone()).filter(|kernel| !kernel.is_empty()),
        refused: agent.map_or(0, |agent| agent.refused),
        certificate_not_after: not_after.map(rfc3339),
        data: reported(device),
    }
}

/// What a device says of its data, without its streams: those have a list of their own.
pub fn reported(device: &Device) -> Option<Value> {
    let data = device.report.data.as_deref()?;
    let short = DataReport { streams: BTreeMap::new(), ..data.clone() };
    serde_json::to_value(short).ok()
}

/// When a device's certificate ends, in seconds since 1970: by its own word, or by what it was
/// given.
pub fn certificate_end(device: &Device) -> Option<u64> {
    let agent = device.report.agent.as_deref();
    agent
        .and_then(|agent| agent.certificate_not_after)
        .or_else(|| device.record.certificate.as_ref().map(|issued| issued.not_after))
}

/// An access token, without its secret.
pub fn access(record: &AccessRecord) -> api::Access {
    api::Access {
        metadata: api::AccessMetadata {
            name: record.id.to_string(),
            created_at: rfc3339(record.created_at),
        },
        comment: record.comment.to_string(),
        scope: record.scope,
        expires_at: record.expires_at.map(rfc3339),
        last_used_at: (record.last_used > 0).then(|| rfc3339(record.last_used)),
    }
}

/// The document of a workload, as one would apply it.
pub fn document(record: &WorkloadRecord) -> Value {
    let mut metadata = json!({ "name": record.name });
    if !record.labels.is_empty()
        && let Some(metadata) = metadata.as_object_mut()
    {
        metadata.insert("labels".into(), json!(record.labels));
    }
    json!({
        "apiVersion": API_VERSION, "kind": "Workload", "metadata": metadata,
        "spec": record.written,
    })
}

/// The document of a policy, as one would apply it.
pub fn policy_document(record: &PolicyRecord) -> Value {
    let mut metadata = json!({ "name": record.name });
    if !record.labels.is_empty()
        && let Some(metadata) = metadata.as_object_mut()
    {
        metadata.insert("labels".into(), json!(record.labels));
    }
    json!({
        "apiVersion": API_VERSION, "kind": record.policy.kind().document(), "metadata": metadata,
        "spec": record.written,
    })
}

/// A document about data.
pub fn policy(record: &PolicyRecord, status: api::PolicyStatus) -> api::Policy {
    api::Policy {
        api_version: API_VERSION.into(),
        kind: record.policy.kind().document().into(),
        metadata: Metadata {
            name: record.name.to_string(),
            labels: record.labels.clone(),
            resource_version: record.version,
            created_at: Some(rfc3339(record.created_at)),
            updated_at: Some(rfc3339(record.updated_at)),
        },
        spec: record.written.clone(),
        status,
    }
}

/// A workload.
pub fn workload(workload: &Workload, summary: api::WorkloadSummary) -> api::Workload {
    let record = &workload.record;
    api::Workload {
        api_version: API_VERSION.into(),
        kind: "Workload".into(),
        metadata: Metadata {
            name: record.name.to_string(),
            labels: record.labels.clone(),
            resource_version: record.version,
            created_at: Some(rfc3339(record.created_at)),
            updated_at: Some(rfc3339(record.updated_at)),
        },
        spec: record.written.clone(),
        status: summary,
    }
}

/// How one workload fares on one device that should run it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fares {
    /// It runs this revision, or has run it to its good end.
    Running,
    /// It is reachable and not there yet.
    Progressing,
    /// It says `failed`, `unhealthy` or `backoff`.
    Failing,
    /// It cannot be reached and did not run this revision when it was.
    Offline,
}

/// True for a job that has run to its good end: nothing is left to do, and all is as desired.
pub fn is_done(said: &WorkloadReport) -> bool {
    said.phase == Phase::Stopped && said.pid.is_none()
}

/// How it fares.
pub fn fares(device: &Device, name: &Name, revision: u64) -> Fares {
    let said = device.report.workload(name);
    let there = said.filter(|said| said.revision == revision);
    match there.map(|said| said.phase) {
        Some(Phase::Running) => Fares::Running,
        _ if there.is_some_and(is_done) => Fares::Running,
        _ if device.live.connection == 0 => Fares::Offline,
        Some(Phase::Failed | Phase::Unhealthy | Phase::Backoff) => Fares::Failing,
        _ => Fares::Progressing,
    }
}

/// How these workloads fare, in one pass over all devices. None: all of them.
pub fn summaries(model: &Model, only: Option<&Name>) -> BTreeMap<Name, api::WorkloadSummary> {
    let mut all: BTreeMap<Name, api::WorkloadSummary> = model
        .workloads
        .iter()
        .filter(|(name, _)| only.is_none_or(|only| only == *name))
        .map(|(name, workload)| {
            let revision = workload.record.revision;
            (name.clone(), api::WorkloadSummary { revision, ..Default::default() })
        })
        .collect();
    for device in model.devices.values() {
        if device.record.standing != Standing::Approved {
            continue;
        }
        for (name, revision) in &device.desired.workloads {
            let Some(summary) = all.get_mut(name) else { continue };
            summary.desired += 1;
            match fares(device, name, *revision) {
                Fares::Running => summary.running += 1,
                Fares::Progressing => summary.progressing += 1,
                Fares::Failing => summary.failing += 1,
                Fares::Offline => summary.offline += 1,
            }
        }
    }
    all
}

/// A revision.
pub fn revision(record: &RevisionRecord) -> api::Revision {
    api::Revision {
        api_version: API_VERSION.into(),
        kind: "Revision".into(),
        metadata: Metadata {
            name: format!("{}.{}", record.workload, record.revision),
            labels: record.labels.clone(),
            resource_version: record.version,
            created_at: Some(rfc3339(record.created_at)),
            updated_at: None,
        },
        workload: record.workload.to_string(),
        revision: record.revision,
        created_by: record.created_by.to_string(),
        spec: record.written.clone(),
    }
}

/// An enrolment token, without its secret.
pub fn token(record: &TokenRecord, now: u64) -> api::Token {
    api::Token {
        api_version: API_VERSION.into(),
        kind: "Token".into(),
        metadata: Metadata {
            name: record.id.to_string(),
            labels: record.labels.clone(),
            resource_version: record.version,
            created_at: Some(rfc3339(record.created_at)),
            updated_at: None,
        },
        expires_at: rfc3339(record.expires_at),
        uses: record.uses,
        used: record.used,
        allow_labels: record.allow_labels.iter().map(ToString::to_string).collect(),
        approve: record.approve,
        state: record.state(now).into(),
    }
}
