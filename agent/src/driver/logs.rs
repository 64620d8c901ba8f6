//! Keeping every workload's log within its bound, and its history: what was cut, when it was
//! looked at, where runs began.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use holdfast_base::ids::Name;

use super::health::LOW;
use super::{Driver, HOUSEKEEPING};
use crate::adapters::calls::known_seconds;
use crate::adapters::clock::uptime_ms;
use crate::adapters::log_watch::LogWatch;
use crate::adapters::logs::Histories;
use crate::adapters::runtime::RuntimeContext;
use crate::adapters::{files, logs};
use crate::core::backoff::Entropy;
use crate::core::flow::Flow;
use crate::core::history::History;

/// Where a log cannot be watched: how soon it is looked at again once it was too long, and first
/// after a start, in milliseconds.
const BLIND: u64 = 250;

/// How often histories are kept on disk, in milliseconds. After a crash the lines of so long have
/// the time of the log's last change, and runs that began since are not told apart.
const KEEP: u64 = 300_000;

/// What is known of the logs.
pub(super) struct Logs {
    watch: LogWatch,
    histories: Histories,
    file: PathBuf,
    /// Something is new in them, and from when on it is to be kept.
    stale: bool,
    keep_at: u64,
    flows: BTreeMap<Name, Flow>,
    /// When all are looked at, whatever was told of them: milliseconds since the boot.
    all_at: u64,
}

impl Logs {
    /// All are looked at first at `all_at`.
    pub(super) fn new(data: &Path, all_at: u64) -> Self {
        let file = data.join("logs.history");
        let kept = std::fs::read(&file).unwrap_or_default();
        let kept: BTreeMap<Name, Vec<u64>> = serde_json::from_slice(&kept).unwrap_or_default();
        let histories = Histories::default();
        for (name, numbers) in kept {
            // A damaged one begins anew.
            let history = History::unpack(&numbers);
            histories.lock().extend(history.map(|history| (name, history)));
        }
        let (watch, flows) = (LogWatch::begin(), BTreeMap::new());
        Self { watch, histories, file, stale: false, keep_at: 0, flows, all_at }
    }

    /// For those who read logs.
    pub(super) fn histories(&self) -> Histories {
        self.histories.clone()
    }

    /// There is a history of this log.
    pub(super) fn know(&mut self, name: &Name, entropy: &mut Entropy) {
        let mut all = self.histories.lock();
        if !all.contains_key(name) {
            let id = u32::try_from(entropy.draw() >> 32).unwrap_or(0).max(1);
            all.insert(name.clone(), History::new(id));
            // Soon: without it a log that is followed is sent anew after a crash.
            (self.stale, self.keep_at) = (true, 0);
        }
    }

    /// Keeps the histories on disk.
    fn keep(&mut self, place: &RuntimeContext, now: u64) {
        if !self.stale || now < self.keep_at {
            return;
        }
        self.keep_at = now + KEEP;
        let mut all = BTreeMap::new();
        for (name, history) in &*self.histories.lock() {
            // What was kept and not looked at since.
            let tail = match history.tail.as_slice() {
                [] => logs::last_bytes(&place.log(name), history),
                tail => tail.to_vec(),
            };
            all.insert(name.clone(), history.pack(&tail));
        }
        let bytes = serde_json::to_vec(&all).unwrap_or_default();
        match files::replace(&self.file, &bytes, 0o600) {
            Ok(()) => self.stale = false,
            Err(error) => tracing::warn!(%error, "the histories of logs cannot be kept"),
        }
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
    pub(super) fn begin(&mut self, name: &Name, log: &Path, entropy: &mut Entropy) {
        self.know(name, entropy);
        if let Some(history) = self.histories.lock().get_mut(name) {
            logs::start(log, history);
            self.stale = true;
        }
        let wait = if self.watch.works() { 0 } else { BLIND };
        self.flows.entry(name.clone()).or_default().look_at(uptime_ms() + wait);
    }
}

impl Driver {
    /// The agent ends: the histories are kept as they are.
    pub(super) fn keep_histories(&mut self) {
        self.logs.keep_at = 0;
        self.logs.keep(&self.place, uptime_ms());
    }

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
            self.logs.histories.lock().retain(|name, _| known.contains(name));
        }
        let limit = self.config.log_bytes;
        let room = files::free_bytes(&self.data).unwrap_or(u64::MAX);
        let keep = if room < LOW { limit / 4 } else { limit / 4 * 3 };
        let names: Vec<Name> = self.agent.records().map(|(name, _)| name.clone()).collect();
        for name in &names {
            self.logs.know(name, &mut self.entropy);
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
            let time = known_seconds(&self.time);
            let Logs { histories, flows, stale, .. } = &mut self.logs;
            let mut histories = histories.lock();
            let (Some(flow), Some(history)) = (flows.get_mut(name), histories.get_mut(name)) else {
                continue;
            };
            // What was written while no agent looked has the time of the last of it.
            let first = !history.tail.is_empty();
            let time = |changed: u64| if first { time.min(changed) } else { time };
            match logs::poll_size(&log, limit, keep, history, time) {
                Ok(look) => {
                    *stale |= look.grew;
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
        self.logs.keep(&self.place, now);
    }
}
