//! Streams that the agent itself fills: logs of workloads, and the device's own figures.
//!
//! A log's position is stored in `sources.json` now and then. After a restart the records stored
//! behind it are compared with the log, so that a killed agent stores no line twice and misses none
//! that is still there.
//!
//! See decision 0055.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_base::ids::Name;
use holdfast_records::{DataPolicies, Range, Source, StreamName};
use serde::{Deserialize, Serialize};

use super::{Driver, TaskResult};
use crate::adapters::buffer::{Buffer, Page, Window};
use crate::adapters::clock::uptime_ms;
use crate::adapters::intake::{Intake, Refused};
use crate::adapters::machine::Machine;
use crate::adapters::{files, logs};
use crate::core::follow::{self, Position};

/// Bytes that are read of a log at once: some thousand lines, one durable step of the buffer.
const PIECE: usize = 256 * 1024;
/// Largest part of a log that is searched for a lost position, in bytes.
const SEARCHED: usize = 8 * 1024 * 1024;
/// Pause before records that were refused are stored again, in milliseconds.
const RETRY: u64 = 2_000;
/// Interval at which positions are stored, in milliseconds: a write a minute at most.
const KEEP: u64 = 60_000;
/// Maximum number of positions kept, of which those of logs that are not followed now are dropped
/// first.
const MAX_KEPT: usize = 256;

/// Results of tasks for sources.
pub(super) enum SourceResult {
    /// Position at which a log is continued. None: there is none.
    Found(StreamName, Option<Position>),
    /// Numbers of the records of a log, or of the machine, that were stored, or the reason for
    /// which they were not.
    Stored(StreamName, Result<Range, Refused>),
}

/// Position of a workload's log, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    workload: Name,
    position: Position,
}

/// Log that is followed into a stream.
struct Follower {
    workload: Name,
    log: PathBuf,
    position: Position,
    stage: Stage,
    /// Time before which it is not read, because something was refused; milliseconds since the
    /// boot.
    not_before: u64,
    /// Bytes that were cut before they were read, and are not reported in the stream yet.
    missed: u64,
    /// Length in bytes when all logs were polled last: a last line without an end is taken as whole
    /// if the log has not grown since.
    length: u64,
    /// True if it has more to read than was read at once.
    more: bool,
}

enum Stage {
    /// The position is being found. The number is that of the bytes cut from the log meanwhile.
    Finding(u64),
    /// The log is read up to `position`.
    Ready,
    /// Records that were read are being stored.
    Storing(Box<Storing>),
}

/// Records on their way into the buffer.
struct Storing {
    /// Position of the log once they are stored.
    ahead: Position,
    /// Missed bytes that the records report.
    told: u64,
    /// Bytes of these records that were cut from the log meanwhile: they are missed if the records
    /// cannot be stored.
    at_risk: u64,
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
    file: PathBuf,
    data: PathBuf,
    followers: BTreeMap<StreamName, Follower>,
    figures: BTreeMap<StreamName, Figures>,
    kept: BTreeMap<StreamName, Place>,
    /// True if positions have changed since they were stored.
    stale: bool,
    keep_at: u64,
    /// Problem of each stream whose source does not work.
    trouble: BTreeMap<StreamName, String>,
}

impl Sources {
    pub(super) fn new(data: &Path, buffer: Buffer, intake: Arc<dyn Intake>) -> Self {
        let file = data.join("sources.json");
        let kept = std::fs::read(&file).ok().and_then(|bytes| {
            let read = serde_json::from_slice(&bytes);
            read.inspect_err(|error| tracing::error!(%error, "{}", file.display())).ok()
        });
        Self {
            buffer,
            intake,
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
        let again =
            self.followers.values().filter(|it| it.more && matches!(it.stage, Stage::Ready));
        figures.chain(again.map(|it| it.not_before)).min()
    }

    /// Problem text about all sources that do not work.
    pub(super) fn problem(&self) -> Option<String> {
        let texts = self.trouble.iter().map(|(stream, why)| format!("stream {stream}: {why}"));
        let texts: Vec<String> = texts.collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }

    /// Notes that `bytes` bytes were cut off the beginning of this workload's log.
    pub(super) fn cut(&mut self, workload: &Name, bytes: u64) {
        for (stream, it) in &mut self.followers {
            if it.workload != *workload || bytes == 0 {
                continue;
            }
            if let Stage::Finding(cut) = &mut it.stage {
                *cut += bytes;
                continue;
            }
            it.length = it.length.saturating_sub(bytes);
            let behind = it.position.cut(bytes);
            let missed = match &mut it.stage {
                Stage::Storing(storing) => {
                    let missed = storing.ahead.cut(bytes);
                    storing.at_risk += behind - missed;
                    missed
                }
                _ => behind,
            };
            if missed > 0 {
                it.missed += missed;
                tracing::warn!(%stream, %workload, bytes = missed, "cut before it could be read");
            }
            self.stale = true;
            self.keep_at = 0;
        }
    }

    /// Stores the positions if they have changed and it is time.
    pub(super) fn keep(&mut self, now: u64) {
        if !self.stale || now < self.keep_at {
            return;
        }
        for (stream, it) in &self.followers {
            if !matches!(it.stage, Stage::Finding(_)) {
                let place = Place { workload: it.workload.clone(), position: it.position.clone() };
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
}

impl Driver {
    /// Takes over the policies of a desired state.
    pub(super) fn follow_sources(&mut self, policies: Option<&DataPolicies>) {
        let (mut logs, mut figures) = (BTreeMap::new(), BTreeMap::new());
        let mut trouble = BTreeMap::new();
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
        self.inlets.keep_for_sources(logs.keys().chain(figures.keys()).cloned().collect());
        let now = uptime_ms();
        self.sources.trouble = trouble;
        self.sources.stale |= !self.sources.followers.is_empty();
        self.sources.keep(now);
        let sources = &mut self.sources;
        sources.figures.retain(|stream, it| figures.get(stream) == Some(&it.every));
        for (stream, every) in figures {
            let every = every.max(1_000);
            let new = || Figures {
                every,
                due: now + every,
                machine: Machine::new(&sources.data),
                storing: false,
            };
            sources.figures.entry(stream).or_insert_with(new);
        }
        sources.followers.retain(|stream, it| logs.get(stream) == Some(&it.workload));
        for (stream, workload) in logs {
            if !self.sources.followers.contains_key(&stream) {
                let kept = self.sources.kept.get(&stream);
                let kept = kept.filter(|it| it.workload == workload);
                let position = kept.map(|it| it.position.clone());
                self.begin_following(stream, workload, position, 0);
            }
        }
    }

    /// Begins to follow a log. `position`: the stored one; None: the log is read from its
    /// beginning. `missed`: bytes that were cut before they were read.
    fn begin_following(
        &mut self,
        stream: StreamName,
        workload: Name,
        position: Option<Position>,
        missed: u64,
    ) {
        let log = self.runtimes.log(&workload);
        let follower = Follower {
            workload,
            log: log.clone(),
            position: position.clone().unwrap_or_default(),
            stage: Stage::Finding(0),
            not_before: 0,
            missed,
            length: 0,
            more: false,
        };
        self.sources.followers.insert(stream.clone(), follower);
        let (buffer, tell) = (self.sources.buffer.clone(), self.tell.clone());
        tokio::spawn(async move {
            let found = find(&buffer, &stream, &log, position).await;
            let _agent_ends =
                tell.send(TaskResult::Source(SourceResult::Found(stream, found))).await;
        });
    }

    /// Reads what was written to this workload's log. `whole`: a last line without an end is taken
    /// as whole if the log has not grown since the last such call.
    pub(super) fn read_log(&mut self, workload: &Name, whole: bool) {
        let streams: Vec<StreamName> = self
            .sources
            .followers
            .iter()
            .filter(|(_, it)| it.workload == *workload)
            .map(|(stream, _)| stream.clone())
            .collect();
        for stream in streams {
            self.read_for(&stream, whole);
        }
    }

    fn read_for(&mut self, stream: &StreamName, whole: bool) {
        let now = uptime_ms();
        let Some(it) = self.sources.followers.get_mut(stream) else { return };
        if !matches!(it.stage, Stage::Ready) || now < it.not_before {
            return;
        }
        let piece = match logs::piece(&it.log, it.position.offset, PIECE) {
            Ok(Some(piece)) => piece,
            Ok(None) => {
                it.more = false;
                return;
            }
            Err(error) => {
                tracing::warn!(%stream, %error, "a log cannot be read");
                it.not_before = now + RETRY;
                it.more = true;
                return;
            }
        };
        if piece.inode != it.position.inode || piece.length < it.position.offset {
            // Another file, or one that somebody emptied: it is read from its beginning.
            let seq = it.position.seq;
            it.position = Position { inode: piece.inode, seq, ..Position::default() };
            it.length = 0;
            it.more = piece.length > 0;
            it.not_before = now;
            return;
        }
        let at_end = it.position.offset + piece.bytes.len() as u64 == piece.length;
        let quiet = whole && at_end && piece.length == it.length;
        if whole {
            it.length = piece.length;
        }
        let (mut records, taken) = follow::records(&piece.bytes, quiet);
        it.more = !at_end && taken > 0;
        if taken == 0 {
            return;
        }
        let mut ahead = it.position.clone();
        ahead.advance(piece.bytes.get(..taken).unwrap_or_default());
        let missed = std::mem::take(&mut it.missed);
        if missed > 0 {
            let told = format!(
                "[holdfast: {missed} bytes of this log were cut before they could be read]"
            );
            records.insert(0, told.into_bytes());
        }
        if records.is_empty() {
            it.position = ahead;
            return;
        }
        it.stage = Stage::Storing(Box::new(Storing { ahead, told: missed, at_risk: 0 }));
        self.store_for(stream.clone(), records);
    }

    fn store_for(&self, stream: StreamName, records: Vec<Vec<u8>>) {
        let records = records.into_iter().map(|it| (holdfast_records::Format::Plain, it)).collect();
        let stored = self.sources.intake.append(None, stream.clone(), records);
        let tell = self.tell.clone();
        tokio::spawn(async move {
            let result = SourceResult::Stored(stream, stored.await);
            let _agent_ends = tell.send(TaskResult::Source(result)).await;
        });
    }

    pub(super) fn source_task_ended(&mut self, result: SourceResult) {
        let now = uptime_ms();
        match result {
            SourceResult::Found(stream, found) => {
                let Some(it) = self.sources.followers.get_mut(&stream) else { return };
                let Stage::Finding(cut) = it.stage else { return };
                if cut > 0 {
                    // The position was found in content that has moved since: it is found again.
                    let (workload, mut position) = (it.workload.clone(), it.position.clone());
                    let missed = it.missed + position.cut(cut);
                    let position = Some(position).filter(|it| *it != Position::default());
                    return self.begin_following(stream, workload, position, missed);
                }
                it.stage = Stage::Ready;
                it.position = found.unwrap_or_default();
                self.sources.stale = true;
                self.sources.keep_at = 0;
                self.sources.keep(now);
                self.read_for(&stream, false);
            }
            SourceResult::Stored(stream, result) => self.stored(&stream, result, now),
        }
    }

    fn stored(&mut self, stream: &StreamName, result: Result<Range, Refused>, now: u64) {
        if let Some(figures) = self.sources.figures.get_mut(stream) {
            figures.storing = false;
        }
        match &result {
            Ok(_) => drop(self.sources.trouble.remove(stream)),
            Err(why) => drop(self.sources.trouble.insert(stream.clone(), why.to_string())),
        }
        // Dropped records are in the gap ledger already, once: the log goes on behind them.
        let result = match result {
            Err(Refused::Dropped(range)) => Ok(range),
            other => other,
        };
        let Some(it) = self.sources.followers.get_mut(stream) else { return };
        let Stage::Storing(storing) = std::mem::replace(&mut it.stage, Stage::Ready) else {
            return;
        };
        match result {
            Ok(range) => {
                it.position = Position { seq: range.to, ..storing.ahead };
                self.sources.stale = true;
                self.read_for(stream, false);
            }
            Err(_) => {
                it.missed += storing.told + storing.at_risk;
                it.not_before = now + RETRY;
                it.more = true;
            }
        }
    }

    /// Stores the positions, because the agent ends.
    pub(super) fn keep_places(&mut self) {
        self.sources.keep_at = 0;
        self.sources.keep(uptime_ms());
    }

    /// Reads logs and takes figures that are due.
    pub(super) fn feed_sources(&mut self) {
        let now = uptime_ms();
        self.sources.keep(now);
        if self.sources.next_wake().is_none_or(|due| now < due) {
            return;
        }
        let again = self.sources.followers.iter();
        let again = again.filter(|(_, it)| it.more && now >= it.not_before);
        let again: Vec<StreamName> = again.map(|(stream, _)| stream.clone()).collect();
        for stream in again {
            self.read_for(&stream, false);
        }
        let mut due = Vec::new();
        for (stream, it) in &mut self.sources.figures {
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
    kept: Option<Position>,
) -> Option<Position> {
    let whole = logs::piece(log, 0, SEARCHED).ok().flatten();
    let Some(mut position) = kept else {
        // Without a stored position the log is read from its beginning, whatever the stream has
        // already.
        let seq = last(buffer, stream).await;
        let inode = whole.map(|it| it.inode).unwrap_or_default();
        return Some(Position { inode, seq, ..Position::default() });
    };
    // A position without an inode was stored before there was a log: it is the file that came.
    let same = |it: &logs::Piece| it.inode == position.inode || position.inode == 0;
    let Some(whole) = whole.filter(same) else { return Some(position) };
    position.inode = whole.inode;
    let mut content = whole.bytes;
    match position.find(&content) {
        Some(offset) => position.offset = offset as u64,
        // Beyond the part that is searched, the stored offset is taken.
        None if position.offset > SEARCHED as u64 => {}
        None => {
            tracing::warn!(%stream, "its place in the log is lost: it begins at what is left");
            position.offset = 0;
            position.tail.clear();
        }
    }
    // Records that were stored after the position are in the log behind it, in order.
    let mut base = 0_u64;
    loop {
        let window = Window { from: position.seq + 1, ..Window::default() };
        let page = read(buffer, stream, window).await;
        for record in &page.records {
            position.seq = record.seq;
            let at = usize::try_from(position.offset.saturating_sub(base)).unwrap_or(usize::MAX);
            let near = content.len().saturating_sub(at) <= record.value.len() + 64;
            if near || position.offset < base {
                let more = logs::piece(log, position.offset, SEARCHED).ok().flatten();
                content = more.map(|it| it.bytes).unwrap_or_default();
                base = position.offset;
            }
            let at = usize::try_from(position.offset.saturating_sub(base)).unwrap_or(usize::MAX);
            let rest = content.get(at..).unwrap_or_default();
            // Records that others published to the stream are not in the log.
            if let Some(taken) = follow::taken(rest, &record.value) {
                position.advance(rest.get(..taken).unwrap_or_default());
            }
        }
        if page.next.is_none() || page.records.is_empty() {
            return Some(position);
        }
    }
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
