//! Content of `holdfast-agent status`: a stable JSON document, documented in the README.

use holdfast_base::collect;
use holdfast_protocol::message::{Detail, EngineInfo, Problem};
use serde_json::{Value, json};

use super::identity::DeviceIdentity;
use super::link::Link;
use crate::adapters::identity::Identity;
use crate::core::agent::View;

/// Status document of the whole agent. `now` in seconds since 1970; `bus` and `data` are the parts
/// of the local bus and of data, `engine` is the container engine.
pub(super) fn document(
    (view, problems): (&View, Vec<Problem>),
    identity: &DeviceIdentity,
    link: &Link,
    now: u64,
    (bus, data, engine): (Value, Value, EngineInfo),
) -> Value {
    let workloads = collect::map(view.workloads.iter().map(|(name, report)| {
        let mut status = json!({
            "revision": report.revision,
            "phase": report.phase,
            "pid": report.pid(),
            "restarts": report.restarts,
            "reason": report.reason,
        });
        if let (Some(Detail::Container(detail)), Some(status)) =
            (&report.detail, status.as_object_mut())
        {
            let container = json!({ "id": detail.id, "ports": detail.ports });
            status.insert("container".into(), container);
        }
        (name.to_string(), status)
    }));
    let identity = identity.present();
    let device = identity
        .and_then(Identity::device)
        .map(|device| device.to_string())
        .or_else(|| identity.and_then(Identity::name).map(ToString::to_string));
    json!({
        "device": device,
        "time": now,
        "link": if link.outlet().is_some() { "up" } else { "down" },
        "linkReason": link.reason(),
        "epoch": view.applied.epoch,
        "generation": {
            "desired": view.desired.generation,
            "applied": view.applied.generation,
        },
        "workloads": workloads,
        "problems": problems,
        "bus": bus,
        "refused": link.refused(),
        "certificateNotAfter": identity.and_then(Identity::life).map(|life| life.not_after),
        "data": data,
        "engine": engine,
        "version": env!("CARGO_PKG_VERSION"),
    })
}
