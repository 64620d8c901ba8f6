//! Conversion of the model to the documents of the API (`api.rs`).
//!
//! See decisions 0108 and 0129.

use std::collections::BTreeMap;

use holdfast_base::ids::Name;
use holdfast_protocol::message::{Detail, EngineInfo, WorkloadReport};
use holdfast_protocol::problem::{Area, ProblemCode};
use holdfast_records::DataReport;
use serde_json::{Value, json};

use super::absence;
use super::model::{Device, Model, Workload};
use super::pause;
use super::records::{
    AccessRecord, KnownProblem, PolicyRecord, Standing, TokenRecord, WorkloadRecord,
};
use super::rights::Sight;
use super::seen::Seen;
use super::state::{self, Condition};
use holdfast_api::link;
use holdfast_api::selector::Selector;
use holdfast_api::time::rfc3339;
use holdfast_api::{API_VERSION, Connection, Metadata, State};

/// Converts a device to the API's form.
pub fn device(device: &Device, now: u64) -> holdfast_api::Device {
    let record = &device.record;
    let desired = device
        .desired
        .workloads
        .iter()
        .map(|(name, revision)| {
            let paused = device.desired.paused.get(name).map(pause::stamp);
            (name.to_string(), holdfast_api::DesiredRevision { revision: *revision, paused })
        })
        .collect();
    holdfast_api::Device {
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
        status: status(device, now),
    }
}

fn status(device: &Device, now: u64) -> holdfast_api::DeviceStatus {
    let (record, report) = (&device.record, &device.report);
    let agent = report.agent.as_deref();
    let workloads = report
        .workloads
        .iter()
        .map(|(name, said)| (name.to_string(), workload_status(device, name, said, now)));
    let not_after = certificate_end(device);
    let time = |at: u64| (at > 0).then(|| rfc3339(at));
    holdfast_api::DeviceStatus {
        connection: device.live.seen(record.standing, report.last_seen > 0),
        connection_since: time(connection_since(device)),
        heard_at: time(device.heard_at(now)),
        heard_by: device.live.heard_by(now).map(rfc3339),
        overdue: device.live.overdue(now).is_some(),
        absence: absence::status(device, now),
        health: state::health(device, now),
        address: report.address.map(|address| address.to_string()),
        shard: record.shard,
        epoch: report.applied.epoch,
        generation: holdfast_api::Generations {
            desired: device.desired.generation,
            applied: report.applied.generation,
        },
        workloads: workloads.collect(),
        problems: device.problems().into_iter().map(|it| problem(device, it)).collect(),
        agent: agent.map(|agent| agent.version.clone()),
        arch: agent.map(|agent| agent.arch.clone()),
        kernel: agent.map(|agent| agent.kernel.clone()).filter(|kernel| !kernel.is_empty()),
        engine: agent.and_then(|agent| agent.engine.as_ref()).map(engine),
        neighbours: agent.map(|agent| agent.neighbours.clone()).unwrap_or_default(),
        refused: agent.map_or(0, |agent| agent.refused),
        certificate_not_after: not_after.map(rfc3339),
        secrets: record.sealing_key.is_some(),
        data: reported(device),
    }
}

fn problem(device: &Device, problem: KnownProblem) -> holdfast_api::Problem {
    let link = device.report.data.as_deref().map(|data| &data.link);
    let link = link.filter(|_| problem.code == ProblemCode::LinkBudget);
    let known = problem.code.known();
    holdfast_api::Problem {
        consequences: link.map(link::consequences).unwrap_or_default(),
        cure: known.map(|code| code.cure().to_owned()),
        area: known.map(|code| area(code.area())),
        code: problem.code.to_string(),
        message: problem.message,
        since: (problem.since > 0).then(|| rfc3339(problem.since)),
    }
}

fn area(area: Area) -> holdfast_api::ProblemArea {
    match area {
        Area::Device => holdfast_api::ProblemArea::Device,
        Area::Link => holdfast_api::ProblemArea::Link,
        Area::Streams => holdfast_api::ProblemArea::Streams,
    }
}

fn workload_status(
    device: &Device,
    name: &Name,
    said: &WorkloadReport,
    now: u64,
) -> holdfast_api::WorkloadStatus {
    let wanted = device.desired.workloads.binary_search_by(|(known, _)| known.cmp(name));
    let wanted = wanted.ok().and_then(|at| device.desired.workloads.get(at));
    let is = wanted.map(|(_, revision)| state::of(device, name, *revision, now));
    let mark = device.report.reported(name).map(|(_, mark)| mark).unwrap_or_default();
    holdfast_api::WorkloadStatus {
        revision: said.revision,
        phase: said.phase,
        restarts: said.restarts,
        pid: said.pid(),
        container: said.detail.as_ref().and_then(container),
        reason: said.reason.clone(),
        download: said.progress.map(Into::into),
        state: is.map(|is| is.state),
        since: is.and_then(|is| is.since).map(rfc3339),
        phase_since: (mark.phase > 0).then(|| rfc3339(mark.phase)),
        last_state: is.and_then(|is| is.last),
    }
}

fn engine(engine: &EngineInfo) -> holdfast_api::Engine {
    let given = |text: &String| (!text.is_empty()).then(|| text.clone());
    holdfast_api::Engine {
        name: given(&engine.name),
        version: given(&engine.version),
        api: given(&engine.api),
        problem: given(&engine.problem),
    }
}

fn container(detail: &Detail) -> Option<holdfast_api::ContainerStatus> {
    let Detail::Container(container) = detail else { return None };
    let ports = container.ports.iter().map(|(name, port)| (name.to_string(), *port));
    Some(holdfast_api::ContainerStatus { id: container.id.clone(), ports: ports.collect() })
}

/// Returns the begin of the present connection state, in seconds since 1970; 0: not known.
pub fn connection_since(device: &Device) -> u64 {
    match device.live.seen(device.record.standing, device.report.last_seen > 0) {
        Connection::Online => device.live.since,
        Connection::Offline => device.report.gone_at(),
        Connection::NeverSeen | Connection::Pending => device.record.created_at,
        Connection::Revoked => device.record.updated_at,
    }
}

/// Returns what a device reports about data, without its streams, which have a list of their own.
pub fn reported(device: &Device) -> Option<Value> {
    let data = device.report.data.as_deref()?;
    let short = DataReport { streams: BTreeMap::new(), ..data.clone() };
    serde_json::to_value(short).ok()
}

/// Returns the end of a device's certificate, in seconds since 1970: the reported one, or else that
/// of the certificate issued last.
pub fn certificate_end(device: &Device) -> Option<u64> {
    let agent = device.report.agent.as_deref();
    agent
        .and_then(|agent| agent.certificate_not_after)
        .or_else(|| device.record.certificate.as_ref().map(|issued| issued.not_after))
}

/// Converts an access token to the API's form, without its secret.
pub fn access(record: &AccessRecord) -> holdfast_api::Access {
    holdfast_api::Access {
        metadata: holdfast_api::AccessMetadata {
            name: record.id.to_string(),
            created_at: rfc3339(record.created_at),
        },
        name: record.name.to_string(),
        role: record.role,
        selector: record.selector.as_ref().map(Selector::words),
        former_until: record.former.as_ref().map(|former| rfc3339(former.until)),
        expires_at: record.expires_at.map(rfc3339),
        last_used_at: (record.last_used > 0).then(|| rfc3339(record.last_used)),
    }
}

/// Returns the document of a workload, ready to be applied again.
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

/// Returns a policy document, ready to be applied again. `spec` is its content without secrets.
pub fn policy_document(record: &PolicyRecord, spec: Value) -> Value {
    let mut metadata = json!({ "name": record.name });
    if !record.labels.is_empty()
        && let Some(metadata) = metadata.as_object_mut()
    {
        metadata.insert("labels".into(), json!(record.labels));
    }
    json!({
        "apiVersion": API_VERSION, "kind": record.policy.kind().document(), "metadata": metadata,
        "spec": spec,
    })
}

/// Converts a policy document to the API's form. `spec` is its content without secrets.
pub fn policy(
    record: &PolicyRecord,
    spec: Value,
    status: holdfast_api::PolicyStatus,
) -> holdfast_api::Policy {
    holdfast_api::Policy {
        api_version: API_VERSION.into(),
        kind: record.policy.kind().document().into(),
        metadata: Metadata {
            name: record.name.to_string(),
            labels: record.labels.clone(),
            resource_version: record.version,
            created_at: Some(rfc3339(record.created_at)),
            updated_at: Some(rfc3339(record.updated_at)),
        },
        spec,
        status,
    }
}

/// Converts a workload to the API's form. Its pauses name the devices that are seen.
pub fn workload(
    workload: &Workload,
    summary: holdfast_api::WorkloadSummary,
    seen: &Seen<'_>,
) -> holdfast_api::Workload {
    let summary = holdfast_api::WorkloadSummary { state: overall(&summary), ..summary };
    let record = &workload.record;
    holdfast_api::Workload {
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
        paused: record.paused.shown(&|device| seen.names(device)),
    }
}

/// Counts the states of workloads over all devices in sight, in one pass. `only`: of this workload
/// alone.
pub fn summaries(
    model: &Model,
    sight: &Sight<'_>,
    only: Option<&Name>,
    now: u64,
) -> BTreeMap<Name, holdfast_api::WorkloadSummary> {
    let mut all: BTreeMap<Name, holdfast_api::WorkloadSummary> = model
        .workloads
        .iter()
        .filter(|(name, _)| only.is_none_or(|only| only == *name))
        .map(|(name, workload)| {
            let revision = workload.record.revision;
            (name.clone(), holdfast_api::WorkloadSummary { revision, ..Default::default() })
        })
        .collect();
    for device in model.devices.values() {
        if device.record.standing != Standing::Approved || !sight.sees(&device.record.labels) {
            continue;
        }
        for (name, revision) in &device.desired.workloads {
            if let Some(summary) = all.get_mut(name) {
                let is_away = absence::is_normal(device, now);
                count(summary, state::of(device, name, *revision, now), is_away);
            }
        }
    }
    all
}

/// Adds the state on one device to a summary. `is_away`: the device is offline as expected.
pub fn count(summary: &mut holdfast_api::WorkloadSummary, is: Condition, is_away: bool) {
    summary.desired += 1;
    match is.state {
        State::Running => summary.running += 1,
        State::Progressing => summary.progressing += 1,
        State::Failing => summary.failing += 1,
        State::Done => summary.done += 1,
        State::Paused => summary.paused += 1,
        State::Unknown => {
            summary.unknown += 1;
            let good = matches!(is.last, Some(State::Running | State::Done));
            summary.last_running += u64::from(good);
            summary.away += u64::from(is_away);
        }
    }
}

/// Returns the state of a workload over all its devices, by which workloads are listed and counted.
pub fn overall(summary: &holdfast_api::WorkloadSummary) -> holdfast_api::WorkloadState {
    use holdfast_api::WorkloadState as Whole;
    match summary {
        one if one.desired == 0 => Whole::Unplaced,
        one if one.failing > 0 => Whole::Failing,
        one if one.progressing > 0 => Whole::Progressing,
        // A device that is offline as expected does not make the state unknown while others run the
        // workload.
        one if one.unknown > one.away || one.away == one.desired => Whole::Unknown,
        one if one.paused > 0 => Whole::Paused,
        one if one.done + one.away == one.desired => Whole::Done,
        _ => Whole::Running,
    }
}

/// Converts an enrolment token to the API's form, without its secret.
pub fn token(record: &TokenRecord, now: u64) -> holdfast_api::Token {
    holdfast_api::Token {
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
