//! Bounding of every workload's log, and its history: what was cut, when it grew, where runs began.
//!
//! See decisions 0001, 0038 and 0107.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use holdfast_base::collect;
use holdfast_base::ids::Name;

use super::sources::Sources;
use crate::adapters::calls::known_seconds;
use crate::adapters::clock::{Time, uptime_ms};
use crate::adapters::log_watch::LogWatch;
use crate::adapters::logs::Histories;
use crate::adapters::{files, logs};
use crate::core::backoff::Entropy;
use crate::core::disk;
use crate::core::history::History;
use crate::core::log_poll::{self, LogPoll};
use crate::runtimes::Runtimes;

/// Delay until a log that cannot be watched is polled again after it was too long, and first after
/// a start, in milliseconds.
const BLIND: u64 = 250;

/// Interval at which all logs are polled without any event, in milliseconds.
const ALL: u64 = 5_000;

/// Interval at which histories are stored, in milliseconds. After a crash, lines of that time get
/// the time of the log's last change, and runs that began in it are not told apart.
const KEEP: u64 = 300_000;

/// Histories and size polls of all logs.
pub(super) struct Logs {
    data: PathBuf,
    runtimes: Runtimes,
    time: Time,
    /// Longest log of a workload, in bytes.
    limit: u64,
    watch: LogWatch,
    histories: Histories,
    file: PathBuf,
    /// True if histories have changed since they were stored.
    stale: bool,
    keep_at: u64,
    entropy: Entropy,
    polls: BTreeMap<Name, LogPoll>,
    /// Time at which all logs are polled without any event, in milliseconds since the boot.
    all_at: u64,
}

impl Logs {
    /// Reads the stored histories. `limit`: longest log in bytes. All logs are polled first at
    /// `all_at`.
    pub(super) fn new(
        data: &Path,
        runtimes: Runtimes,
        time: Time,
        limit: u64,
        all_at: u64,
        entropy: Entropy,
    ) -> Self {
        let file = data.join("logs.history");
        let kept = std::fs::read(&file).unwrap_or_default();
        let kept: BTreeMap<Name, Vec<u64>> = serde_json::from_slice(&kept).unwrap_or_default();
        let histories = Histories::default();
        for (name, numbers) in kept {
            // A damaged history begins anew.
            let history = History::unpack(&numbers);
            histories.lock().extend(history.map(|history| (name, history)));
        }
        Self {
            data: data.to_owned(),
            runtimes,
            time,
            limit,
            watch: LogWatch::begin(),
            histories,
            file,
            stale: false,
            keep_at: 0,
            entropy,
            polls: BTreeMap::new(),
            all_at,
        }
    }

    /// Shared handle of the histories, for readers of logs.
    pub(super) fn histories(&self) -> Histories {
        self.histories.clone()
    }

    /// Begins a history of this log if there is none.
    pub(super) fn know(&mut self, name: &Name) {
        let mut all = self.histories.lock();
        if !all.contains_key(name) {
            let id = u32::try_from(self.entropy.draw() >> 32).unwrap_or(0).max(1);
            all.insert(name.clone(), History::new(id));
            // Stored at once: without it a log that is followed would be sent anew after a crash.
            (self.stale, self.keep_at) = (true, 0);
        }
    }

    /// Stores the histories if they have changed and it is time.
    fn keep(&mut self, now: u64) {
        if !self.stale || now < self.keep_at {
            return;
        }
        self.keep_at = now + KEEP;
        let mut all = BTreeMap::new();
        for (name, history) in &*self.histories.lock() {
            // A history that was read at the start and not compared with the log since.
            let tail = match history.tail.as_slice() {
                [] => logs::last_bytes(&self.runtimes.log(name), history),
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

    /// Time at which a log is to be polled, in milliseconds since the boot.
    pub(super) fn next_wake(&self) -> u64 {
        self.polls.values().filter_map(LogPoll::due).fold(self.all_at, u64::min)
    }

    /// Waits until something is written to a log that was quiet.
    pub(super) async fn written(&mut self) -> Vec<Name> {
        self.watch.written().await
    }

    /// Notes that something was written to these logs.
    pub(super) fn note(&mut self, names: Vec<Name>) {
        for name in names {
            self.polls.entry(name).or_default().wrote(uptime_ms());
        }
    }

    /// Begins a run of a workload in its log, and polls the log from its start, in case it is
    /// flooded at once.
    pub(super) fn begin(&mut self, name: &Name, log: &Path) {
        self.know(name);
        if let Some(history) = self.histories.lock().get_mut(name) {
            logs::start(log, history);
            self.stale = true;
        }
        let wait = if self.watch.works() { 0 } else { BLIND };
        self.polls.entry(name.clone()).or_default().poll_at(uptime_ms() + wait);
    }

    /// Stores the histories, because the agent ends.
    pub(super) fn keep_histories(&mut self) {
        self.keep_at = 0;
        self.keep(uptime_ms());
    }

    /// Polls the logs of these workloads that are due, and cuts those that are too long, of ended
    /// workloads too. Other workloads are forgotten.
    pub(super) fn bound(&mut self, names: &[Name], sources: &mut Sources) {
        let now = uptime_ms();
        let all = now >= self.all_at;
        if all {
            self.all_at = now + ALL;
            let known = collect::set(names);
            self.polls.retain(|name, _| known.contains(name));
            self.histories.lock().retain(|name, _| known.contains(name));
        }
        let limit = self.limit;
        let is_low = disk::is_low(files::free_bytes(&self.data).ok());
        let keep = log_poll::kept(limit, is_low);
        for name in names {
            self.know(name);
            let poll = self.polls.entry(name.clone()).or_default();
            if !all && poll.due().is_none_or(|due| now < due) {
                continue;
            }
            let log = self.runtimes.log(name);
            // Armed before the size is read, so that a write after it is noticed.
            let armed = self.watch.arm(name, &log);
            // The records are read before the log is cut.
            sources.read_log(name, all);
            let time = known_seconds(&self.time);
            let mut histories = self.histories.lock();
            let Some(history) = histories.get_mut(name) else { continue };
            // Lines written while no agent ran get the time of the last of them.
            let first = !history.tail.is_empty();
            let time = |changed: u64| if first { time.min(changed) } else { time };
            match logs::poll_size(&log, limit, keep, history, time) {
                Ok(look) => {
                    self.stale |= look.grew;
                    sources.cut(name, look.found.saturating_sub(look.left));
                    poll.polled(look.found, look.left, limit, now);
                    if !armed && look.found > limit {
                        poll.poll_at(now + BLIND);
                    }
                }
                Err(error) => {
                    poll.polled(0, 0, limit, now);
                    tracing::warn!(workload = %name, %error, "its log cannot be bounded");
                }
            }
        }
        self.keep(now);
    }
}
