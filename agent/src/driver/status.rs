//! Content of `holdfast-agent status`: a stable JSON document, documented in the README.

use holdfast_base::collect;
use serde_json::{Value, json};

use super::Driver;
use crate::adapters::identity::Identity;

impl Driver {
    /// Status document of the whole agent.
    pub(super) fn status(&self) -> Value {
        let view = self.view();
        let workloads = collect::map(view.workloads.iter().map(|(name, report)| {
            let report = json!({
                "revision": report.revision,
                "phase": report.phase,
                "pid": report.pid(),
                "restarts": report.restarts,
                "reason": report.reason,
            });
            (name.to_string(), report)
        }));
        let identity = self.identity.present();
        let device = identity
            .and_then(Identity::device)
            .map(|device| device.to_string())
            .or_else(|| identity.and_then(Identity::name).map(ToString::to_string));
        let up = self.link.outlet.is_some();
        json!({
            "device": device,
            "time": self.time.now(),
            "link": if up { "up" } else { "down" },
            "linkReason": self.link.reason,
            "epoch": view.applied.epoch,
            "generation": {
                "desired": view.desired.generation,
                "applied": view.applied.generation,
            },
            "workloads": workloads,
            "problems": self.problems(),
            "bus": self.inlets.status(),
            "refused": self.trouble.refused,
            "certificateNotAfter": identity.and_then(Identity::life).map(|life| life.not_after),
            "data": self.shipping.status(self.identity.life()),
            "version": env!("CARGO_PKG_VERSION"),
        })
    }
}
