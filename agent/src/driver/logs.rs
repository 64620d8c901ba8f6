//! Keeping every workload's log within its bound.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_protocol::ids::Name;

use super::health::LOW;
use super::{Driver, HOUSEKEEPING};
use crate::adapters::clock::uptime_ms;
use crate::adapters::log_watch::LogWatch;
use crate::adapters::{files, logs};
use crate::core::flow::Flow;

/// Where a log cannot be watched: how soon it is looked at again once it was too long, and first
/// after a start, in milliseconds.
const BLIND: u64 = 250;

/// What is known of the logs.
pub(super) struct Logs {
    watch: LogWatch,
    flows: BTreeMap<Name, Flow>,
    /// When all are looked at, whatever was told of them: milliseconds since the boot.
    all_at: u64,
}

impl Logs {
    /// All are looked at first at `all_at`.
    pub(super) fn new(all_at: u64) -> Self {
        Self { watch: LogWatch::begin(), flows: BTreeMap::new(), all_at }
    }

    /// When one is to be looked at.
    pub(super) fn next_wake(&self) -> u64 {
        self.flows.values().filter_map(Flow::due).fold(self.all_at, u64::min)
    }

    /// Waits until something is written to one that was silent.
    pub(super) async fn written(&mut self) -> Vec<Name> {
        self.watch.written().await
    }

    /// Something was written to these.
    pub(super) fn note(&mut self, names: Vec<Name>) {
        for name in names {
            self.flows.entry(name).or_default().wrote(uptime_ms());
        }
    }

    /// A workload is about to start: from now on its log is watched. What floods it does so from
    /// its start.
    pub(super) fn begin(&mut self, name: &Name) {
        let wait = if self.watch.works() { 0 } else { BLIND };
        self.flows.entry(name.clone()).or_default().look_at(uptime_ms() + wait);
    }
}

impl Driver {
    /// Looks at the logs that are due, and cuts those that are too long: also of what has ended,
    /// which may have said a lot before.
    pub(super) fn bound_logs(&mut self) {
        let now = uptime_ms();
        if now < self.logs.next_wake() {
            return;
        }
        let all = now >= self.logs.all_at;
        if all {
            self.logs.all_at = now + HOUSEKEEPING;
            let known: BTreeSet<&Name> = self.agent.records().map(|(name, _)| name).collect();
            self.logs.flows.retain(|name, _| known.contains(name));
        }
        let limit = self.config.log_bytes;
        let room = files::free_bytes(&self.data).unwrap_or(u64::MAX);
        let keep = if room < LOW { limit / 4 } else { limit / 4 * 3 };
        let names: Vec<Name> = self.agent.records().map(|(name, _)| name.clone()).collect();
        for name in &names {
            let Logs { watch, flows, .. } = &mut self.logs;
            let flow = flows.entry(name.clone()).or_default();
            if !all && flow.due().is_none_or(|due| now < due) {
                continue;
            }
            let log = self.place.log(name);
            // Armed before the look: what is written behind the look is told.
            let armed = watch.arm(name, &log);
            // Read before it is cut.
            self.read_log(name, all);
            let Some(flow) = self.logs.flows.get_mut(name) else { continue };
            match logs::bound(&log, limit, keep) {
                Ok(look) => {
                    self.sources.cut(name, look.found.saturating_sub(look.left));
                    flow.looked(look.found, look.left, limit, now);
                    if !armed && look.found > limit {
                        flow.look_at(now + BLIND);
                    }
                }
                Err(error) => {
                    flow.looked(0, 0, limit, now);
                    tracing::warn!(workload = %name, %error, "its log cannot be bounded");
                }
            }
        }
    }
}
