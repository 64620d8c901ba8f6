//! Streams that the agent itself fills: logs of workloads, and the device's own figures.
//!
//! A log's position is stored in `sources.json` now and then. After a restart the records stored
//! behind it are compared with the log, so that a killed agent stores no line twice and misses none
//! that is still there.
//!
//! See decisions 0055 and 0145.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_base::collect;
use holdfast_base::ids::Name;
use holdfast_protocol::problem::ProblemCode;
use holdfast_records::{DataPolicies, Format, Range, Source, StreamName};
use serde::{Deserialize, Serialize};

use super::inputs::{SourceResult, TaskResult, Tell};
use super::problems::Problems;
use crate::adapters::buffer::{Buffer, Page, Window};
use crate::adapters::clock::uptime_ms;
use crate::adapters::intake::{Intake, Refused};
use crate::adapters::machine::Machine;
use crate::adapters::{files, logs, tasks};
use crate::core::follow::{Follower, Found, Piece, Position, SEARCHED, Search};
use crate::runtimes::Runtimes;

/// Bytes that are read of a log at once: some thousand lines, one durable step of the buffer.
const PIECE: usize = 256 * 1024;
/// Pause before a buffer that cannot be read is read again, in milliseconds.
const RETRY: u64 = 2_000;
/// Interval at which positions are stored, in milliseconds: a write a minute at most.
const KEEP: u64 = 60_000;
/// Maximum number of positions kept, of which those of logs that are not followed now are dropped
/// first.
const MAX_KEPT: usize = 256;

/// Position of a workload's log, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    workload: Name,
    position: Position,
}

/// Log that is followed into a stream.
struct Followed {
    workload: Name,
    log: PathBuf,
    follower: Follower,
}

/// Stream of the machine's figures.
struct Figures {
    every: u64,
    due: u64,
    machine: Machine,
    storing: bool,
}

/// All streams that the agent itself fills, and their positions.
pub(super) struct Sources {
    buffer: Buffer,
    intake: Arc<dyn Intake>,
    tell: Tell,
    /// Knows the logs of the workloads.
    runtimes: Runtimes,
    file: PathBuf,
    data: PathBuf,
    followers: BTreeMap<StreamName, Followed>,
    figures: BTreeMap<StreamName, Figures>,
    kept: BTreeMap<StreamName, Place>,
    /// True if positions have changed since they were stored.
    stale: bool,
    keep_at: u64,
    /// Problem of each stream whose source does not work.
    trouble: BTreeMap<StreamName, String>,
}

/// Sources that policies name, by stream.
#[derive(Default)]
struct Named {
    logs: BTreeMap<StreamName, Name>,
    figures: BTreeMap<StreamName, u64>,
    trouble: BTreeMap<StreamName, String>,
}

impl Named {
    fn of(policies: Option<&DataPolicies>) -> Self {
        let mut named = Self::default();
        let Self { logs, figures, trouble } = &mut named;
        for policy in policies.iter().flat_map(|policies| policies.streams.values()) {
            let (Some(source), Some(pattern)) = (&policy.source, policy.streams.first()) else {
                continue;
            };
            let Ok(stream) = pattern.as_str().parse::<StreamName>() else { continue };
            if logs.contains_key(&stream) || figures.contains_key(&stream) {
                trouble.insert(stream, "two policies have a source for it: the first holds".into());
                continue;
            }
            match source {
                Source::Metrics { every_ms } => drop(figures.insert(stream, *every_ms)),
                Source::Logs { workload } => drop(logs.insert(stream, workload.clone())),
            }
        }
        named
    }
}

impl Sources {
    pub(super) fn new(
        data: &Path,
        buffer: Buffer,
        intake: Arc<dyn Intake>,
        runtimes: Runtimes,
        tell: Tell,
    ) -> Self {
        let file = data.join("sources.json");
        let kept = std::fs::read(&file).ok().and_then(|bytes| {
            let read = serde_json::from_slice(&bytes);
            read.inspect_err(|error| tracing::error!(%error, "{}", file.display())).ok()
        });
        Self {
            buffer,
            intake,
            tell,
            runtimes,
            file,
            data: data.to_owned(),
            followers: BTreeMap::new(),
            figures: BTreeMap::new(),
            kept: kept.unwrap_or_default(),
            stale: false,
            keep_at: 0,
            trouble: BTreeMap::new(),
        }
    }

    /// Time at which figures are due or a log is to be read on, in milliseconds since the boot.
    pub(super) fn next_wake(&self) -> Option<u64> {
        let figures = self.figures.values().map(|it| it.due);
        let again = self.followers.values().filter_map(|it| it.follower.due());
        figures.chain(again).min()
    }

    /// Adds the problem of all sources that do not work.
    pub(super) fn problems(&self, list: &mut Problems) {
        let texts = self.trouble.iter().map(|(stream, why)| format!("stream {stream}: {why}"));
        let texts: Vec<String> = texts.collect();
        list.say(ProblemCode::Sources, (!texts.is_empty()).then(|| texts.join("; ")));
    }

    /// Notes that `bytes` bytes were cut off the beginning of this workload's log.
    pub(super) fn cut(&mut self, workload: &Name, bytes: u64) {
        if bytes == 0 {
            return;
        }
        for (stream, it) in self.followers.iter_mut().filter(|(_, it)| it.workload == *workload) {
            let missed = it.follower.cut(bytes);
            if missed > 0 {
                tracing::warn!(%stream, %workload, bytes = missed, "cut before it could be read");
            }
            self.stale = true;
            self.keep_at = 0;
        }
    }

    /// Stores the positions if they have changed and it is time.
    fn keep(&mut self, now: u64) {
        if !self.stale || now < self.keep_at {
            return;
        }
        for (stream, it) in &self.followers {
            if let Some(position) = it.follower.position() {
                let place = Place { workload: it.workload.clone(), position: position.clone() };
                self.kept.insert(stream.clone(), place);
            }
        }
        while self.kept.len() > MAX_KEPT {
            let spare = self.kept.keys().find(|it| !self.followers.contains_key(*it)).cloned();
            let Some(spare) = spare else { break };
            self.kept.remove(&spare);
        }
        self.keep_at = now + KEEP;
        let bytes = serde_json::to_vec(&self.kept).unwrap_or_default();
        match files::replace(&self.file, &bytes, 0o600) {
            Ok(()) => self.stale = false,
            // Without the file lines may be stored twice, and none is lost.
            Err(error) => tracing::warn!(%error, "the places of logs cannot be kept"),
        }
    }

    /// Stores the positions, because the agent ends.
    pub(super) fn keep_places(&mut self) {
        self.keep_at = 0;
        self.keep(uptime_ms());
    }

    /// Takes over the policies of a desired state. Returns the streams that the agent itself fills.
    pub(super) fn follow(&mut self, policies: Option<&DataPolicies>) -> BTreeSet<StreamName> {
        let Named { logs, figures, trouble } = Named::of(policies);
        let streams = collect::set(logs.keys().chain(figures.keys()).cloned());
        let now = uptime_ms();
        self.trouble = trouble;
        self.stale |= !self.followers.is_empty();
        self.keep(now);
        self.figures.retain(|stream, it| figures.get(stream) == Some(&it.every));
        for (stream, every) in figures {
            let every = every.max(1_000);
            let machine = || Machine::new(&self.data);
            let new = || Figures { every, due: now + every, machine: machine(), storing: false };
            self.figures.entry(stream).or_insert_with(new);
        }
        self.followers.retain(|stream, it| logs.get(stream) == Some(&it.workload));
        for (stream, workload) in logs {
            if !self.followers.contains_key(&stream) {
                let kept = self.kept.get(&stream).filter(|it| it.workload == workload);
                let position = kept.map(|it| it.position.clone());
                let log = self.runtimes.log(&workload);
                self.find(stream.clone(), log.clone(), position.clone());
                let follower = Follower::new(position);
                self.followers.insert(stream, Followed { workload, log, follower });
            }
        }
        streams
    }

    /// Begins to search the position at which a log is continued. `stored`: the stored one; None:
    /// the log is read from its beginning.
    fn find(&self, stream: StreamName, log: PathBuf, stored: Option<Position>) {
        let (buffer, tell) = (self.buffer.clone(), self.tell.clone());
        tasks::spawn(async move {
            let found = find(&buffer, &stream, &log, stored).await;
            let _agent_ends =
                tell.send(TaskResult::Source(SourceResult::Found(stream, found))).await;
        });
    }

    /// Reads what was written to this workload's log. `whole`: a last line without an end is taken
    /// as whole if the log has not grown since the last such call.
    pub(super) fn read_log(&mut self, workload: &Name, whole: bool) {
        let of = self.followers.iter().filter(|(_, it)| it.workload == *workload);
        let streams: Vec<StreamName> = of.map(|(stream, _)| stream.clone()).collect();
        for stream in streams {
            self.read_for(&stream, whole);
        }
    }

    fn read_for(&mut self, stream: &StreamName, whole: bool) {
        let now = uptime_ms();
        let Some(Followed { log, follower, .. }) = self.followers.get_mut(stream) else { return };
        let Some(offset) = follower.wants(now) else { return };
        let records = match logs::piece(log, offset, PIECE) {
            Ok(Some(piece)) => follower.read(&piece, whole, now),
            Ok(None) => {
                follower.absent();
                None
            }
            Err(error) => {
                tracing::warn!(%stream, %error, "a log cannot be read");
                follower.failed(now);
                None
            }
        };
        if let Some(records) = records {
            self.store_for(stream.clone(), records);
        }
    }

    fn store_for(&self, stream: StreamName, records: Vec<Vec<u8>>) {
        let records = records.into_iter().map(|it| (Format::Plain, it)).collect();
        let stored = self.intake.append(None, stream.clone(), records);
        let tell = self.tell.clone();
        tasks::spawn(async move {
            let result = SourceResult::Stored(stream, stored.await);
            let _agent_ends = tell.send(TaskResult::Source(result)).await;
        });
    }

    /// Takes in the result of a task.
    pub(super) fn task_ended(&mut self, result: SourceResult) {
        match result {
            SourceResult::Found(stream, found) => {
                let Some(it) = self.followers.get_mut(&stream) else { return };
                match it.follower.found(found) {
                    Found::Nothing => {}
                    Found::Again(position) => {
                        let log = it.log.clone();
                        self.find(stream, log, position);
                    }
                    Found::Ready => {
                        self.stale = true;
                        self.keep_at = 0;
                        self.keep(uptime_ms());
                        self.read_for(&stream, false);
                    }
                }
            }
            SourceResult::Stored(stream, result) => self.stored(&stream, result),
        }
    }

    fn stored(&mut self, stream: &StreamName, result: Result<Range, Refused>) {
        if let Some(figures) = self.figures.get_mut(stream) {
            figures.storing = false;
        }
        match &result {
            Ok(_) => drop(self.trouble.remove(stream)),
            Err(why) => drop(self.trouble.insert(stream.clone(), why.to_string())),
        }
        let Some(it) = self.followers.get_mut(stream).filter(|it| it.follower.is_storing()) else {
            return;
        };
        match result {
            // Dropped records are in the gap ledger already, once: the log goes on behind them.
            Ok(range) | Err(Refused::Dropped(range)) => {
                it.follower.stored(range.to);
                self.stale = true;
                self.read_for(stream, false);
            }
            Err(_) => it.follower.refused(uptime_ms()),
        }
    }

    /// Reads logs and takes figures that are due.
    pub(super) fn feed(&mut self) {
        let now = uptime_ms();
        self.keep(now);
        if self.next_wake().is_none_or(|due| now < due) {
            return;
        }
        let again = self.followers.iter();
        let again = again.filter(|(_, it)| it.follower.due().is_some_and(|due| now >= due));
        let again: Vec<StreamName> = again.map(|(stream, _)| stream.clone()).collect();
        for stream in again {
            self.read_for(&stream, false);
        }
        let mut due = Vec::new();
        for (stream, it) in &mut self.figures {
            if now < it.due {
                continue;
            }
            // Figures that a sleeping device missed are not made up for.
            it.due = now + it.every - (now - it.due) % it.every;
            let record = it.machine.sample();
            // While the buffer takes nothing, only one record of figures waits.
            if !std::mem::replace(&mut it.storing, true) {
                due.push((stream.clone(), record));
            }
        }
        for (stream, record) in due {
            self.store_for(stream, vec![record]);
        }
    }
}

/// Finds the position at which a log is continued: behind the records that its stream has.
async fn find(
    buffer: &Buffer,
    stream: &StreamName,
    log: &Path,
    stored: Option<Position>,
) -> Option<Position> {
    let start = piece(log, 0);
    let Some(stored) = stored else {
        // Without a stored position the log is read from its beginning, whatever the stream has
        // already.
        let seq = last(buffer, stream).await;
        let inode = start.map(|it| it.inode).unwrap_or_default();
        return Some(Position { inode, seq, ..Position::default() });
    };
    let Some(mut search) = Search::new(&stored, start) else { return Some(stored) };
    if search.is_lost() {
        tracing::warn!(%stream, "its place in the log is lost: it begins at what is left");
    }
    loop {
        let window = Window { from: search.next(), ..Window::default() };
        let page = read(buffer, stream, window).await;
        for record in &page.records {
            if let Some(offset) = search.lacks(&record.value) {
                search.refill(piece(log, offset));
            }
            search.take(record.seq, &record.value);
        }
        if page.next.is_none() || page.records.is_empty() {
            return Some(search.end());
        }
    }
}

/// Reads a part of a log that is searched. None: it cannot be read, or there is none.
fn piece(log: &Path, offset: u64) -> Option<Piece> {
    logs::piece(log, offset, SEARCHED).ok().flatten()
}

/// Reads a page of a stream. Waits for a buffer that cannot be read now, because the records in it
/// would be stored a second time.
async fn read(buffer: &Buffer, stream: &StreamName, window: Window) -> Page {
    loop {
        match buffer.read(stream, window, PIECE).await {
            Some(page) if !page.failed => return page,
            // Nothing was ever published, or the agent ends.
            _ if !buffer.is_in_use() => return Page::default(),
            _ => tokio::time::sleep(Duration::from_millis(RETRY)).await,
        }
    }
}

/// Last sequence number that a stream gave; 0: none.
async fn last(buffer: &Buffer, stream: &StreamName) -> u64 {
    loop {
        match buffer.summary().await {
            Some(summary) => {
                let known = summary.streams.iter().find(|it| it.name == *stream);
                return known.map_or(0, |it| it.last);
            }
            None if !buffer.is_in_use() => return 0,
            None => tokio::time::sleep(Duration::from_millis(RETRY)).await,
        }
    }
}
