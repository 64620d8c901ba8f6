//! The buffer's thread: stores groups of appends, handles calls, and keeps the buffer within its
//! bounds.
//!
//! See decisions 0045, 0047 and 0064.

mod batch;
mod group;
mod moved;
mod reading;
mod reduced;
mod room;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_base::ids::Name;
use holdfast_records::{GapReason, RangeSet, Ship, StreamName};

use super::ceilings::Ceilings;
use super::change::Change;
use super::contain;
use super::file::{File, FileError, Found};
use super::queue::{Job, Next, Queue};
use super::{StreamSummary, Summary, Written, path};
use crate::adapters::crash;
use crate::core::data::stream::Stream;
use group::Weight;

/// Time without work after which changes that are only marked in memory are stored, and the disk is
/// looked at again.
const IDLE_AFTER: Duration = Duration::from_secs(30);
/// Longest delay until an acknowledgement of the control plane is stored. If it is lost meanwhile,
/// a batch is sent twice, which the control plane notices.
const STORE_MARKS_AFTER: Duration = Duration::from_secs(30);
/// Pause before a file that could not be opened or written is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// Stack of the thread, in bytes: redb's trees are a few levels deep.
const STACK: usize = 512 * 1024;

/// Starts the thread. False when the system gives none.
pub(super) fn spawn(queue: Arc<Queue>) -> bool {
    let thread = std::thread::Builder::new().name("buffer".into()).stack_size(STACK);
    let spawned = thread.spawn(move || {
        contain::this_thread(&queue);
        Worker::new(queue).run();
    });
    spawned.inspect_err(|error| tracing::error!(%error, "no thread for the buffer")).is_ok()
}

/// Sets the file aside after the thread panicked on its content, so that it is not opened again.
pub(super) fn suspect(data: &Path, why: &str) {
    tracing::error!("the buffer's thread failed: {why}");
    let _what_is_left = set_aside(data, why);
}

/// Sets the database aside as `data.damaged`, replacing a former one; returns the notice for a
/// person.
fn set_aside(data: &Path, why: &str) -> String {
    let (file, aside) = (path(data), data.join("data.damaged"));
    let moved = std::fs::rename(&file, &aside);
    let notice = format!(
        "the buffer was damaged ({why}) and set aside as {}: {}; what was in it stands in the gap ledger",
        aside.display(),
        if moved.is_ok() { "begun anew" } else { "it could not even be moved" }
    );
    tracing::error!("{notice}");
    notice
}

struct Worker {
    queue: Arc<Queue>,
    file: Option<File>,
    tried: Option<Instant>,
    streams: BTreeMap<u32, Stream>,
    ids: BTreeMap<StreamName, u32>,
    ceilings: Ceilings,
    /// First sequence number of new streams: 1, or higher when the state of former streams is lost
    /// or was forgotten.
    base: u64,
    /// Control plane's data store that holds what is acknowledged, if it ever named one.
    store: Option<u64>,
    /// Streams that are forgotten but still have a row in the file.
    forgotten: BTreeSet<u32>,
    /// Names of forgotten streams that still have a ceiling.
    gone: BTreeSet<StreamName>,
    /// Reductions in progress, by stream.
    reductions: BTreeMap<u32, reduced::Reduction>,
    /// Streams whose state is to be stored with the next step.
    marked: BTreeSet<u32>,
    /// Segments to be stored with the next step, by stream and start.
    segments: BTreeSet<(u32, u64)>,
    marked_at: Option<Instant>,
    written: Written,
    /// Part of the file's own byte count that is already in `written`.
    counted: u64,
    /// Part of `written` that is stored.
    stored_total: u64,
    room: room::Room,
    /// The link's ledger, while it waits to be stored.
    ledger: Option<Vec<u8>>,
    damage: Option<String>,
    full: Option<String>,
}

impl Worker {
    fn new(queue: Arc<Queue>) -> Self {
        let ceilings = Ceilings::open(&queue.data);
        let room = room::Room::new(queue.limits);
        Self {
            queue,
            file: None,
            tried: None,
            streams: BTreeMap::new(),
            ids: BTreeMap::new(),
            ceilings,
            base: 1,
            store: None,
            forgotten: BTreeSet::new(),
            gone: BTreeSet::new(),
            reductions: BTreeMap::new(),
            marked: BTreeSet::new(),
            segments: BTreeSet::new(),
            marked_at: None,
            written: Written::default(),
            counted: 0,
            stored_total: 0,
            room,
            ledger: None,
            damage: None,
            full: None,
        }
    }

    fn run(mut self) {
        self.open();
        let mut call_first = false;
        loop {
            match self.queue.next(IDLE_AFTER, call_first) {
                Next::Store(group) => {
                    self.store(group);
                    call_first = true;
                }
                Next::Call(Job::Close { reply }) => {
                    self.keep_marks(true);
                    // The database is complete without its journal then, for whoever copies it.
                    if self.with_file(File::checkpoint).is_ok() {
                        self.lower();
                    }
                    self.file = None;
                    self.queue.close();
                    let _nobody = reply.send(());
                    return;
                }
                Next::Call(job) => {
                    self.handle(job);
                    call_first = false;
                }
                Next::Idle => {
                    self.open();
                    let _logged = self.with_file(File::checkpoint_if_large);
                    call_first = false;
                }
            }
            self.keep_marks(false);
        }
    }

    /// Opens the file unless it is open, at most every [`RETRY`]. A damaged file is set aside and a
    /// new one begun.
    fn open(&mut self) -> Option<&File> {
        let waits = self.tried.is_some_and(|tried| tried.elapsed() < RETRY);
        if self.file.is_none() && !waits {
            self.tried = Some(Instant::now());
            let path = path(&self.queue.data);
            match File::open(&path) {
                Ok((file, found)) => self.loaded(file, found),
                Err(FileError::Damaged(why)) => {
                    self.damage = Some(set_aside(&self.queue.data, &why));
                    match File::open(&path) {
                        Ok((file, found)) => self.loaded(file, found),
                        Err(error) => self.failed(&error),
                    }
                }
                Err(error) => self.failed(&error),
            }
        }
        self.file.as_ref()
    }

    fn failed(&mut self, error: &FileError) {
        tracing::error!("the buffer cannot be used: {}", error.text());
        self.file = None;
        self.full = Some(error.text().to_owned());
    }

    /// Takes over the state of a file that was opened. A file that is new, empty or rolled back
    /// goes on above the ceilings. Its "whole" mark is stored in the same step as the gaps of what
    /// was lost: a crash in between finds no mark and accounts for the loss again.
    fn loaded(&mut self, file: File, found: Found) {
        self.counted = 0;
        self.full = None;
        // What this thread gave itself since its start is exact; the ceilings are only an upper
        // bound.
        let given: BTreeMap<_, _> =
            self.streams.values().map(|it| (it.name().clone(), it.next())).collect();
        self.streams = found.streams;
        self.marked.clear();
        self.forgotten.clear();
        self.gone.clear();
        self.reductions.clear();
        self.segments = found.closed.into_iter().collect();
        self.ids = self.streams.iter().map(|(id, stream)| (stream.name().clone(), *id)).collect();
        let damaged = !found.damaged.is_empty();
        for (id, range) in found.damaged {
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.lost(range, GapReason::Damaged);
                self.marked.insert(id);
            }
        }
        if found.rolled_back {
            tracing::warn!("the buffer's last step was taken back: it was not whole");
        }
        self.file = Some(file);
        self.load_written();
        self.store = self.read_meta("store");
        let new = self.read_meta::<bool>("whole").is_none();
        // A damaged block may be the last of its stream; how many numbers it held is then unknown.
        let lost = new || found.rolled_back || damaged;
        // The highest sequence number of any stream may be missing from an older copy, and the
        // ceilings may have been restored with it: treated like damaged ceilings, which `go_above`
        // passes by the clock.
        if found.older {
            // An older copy of the file: the ceilings may be as old.
            let why = "the buffer's file (data.redb) is an older copy of itself; what was stored since stands in the gap ledger";
            tracing::error!("{why}");
            self.damage = Some(why.to_owned());
            self.ceilings.damaged = true;
        }
        let had = self.ceilings.damaged || self.ceilings.iter().next().is_some();
        if new && had && self.damage.is_none() {
            let why = "the buffer's file is gone (data.redb): begun anew; what was in it stands in the gap ledger";
            tracing::error!("{why}");
            self.damage = Some(why.to_owned());
        }
        self.base = self.read_meta("base").unwrap_or(1).max(self.ceilings.base());
        if lost {
            self.go_above(&given);
        }
        let _tried_with_the_next_records = self.cover_all();
        self.queue.changed.notify_one();
    }

    /// Moves every stream above any sequence number that it can have given, after state was lost.
    /// `known` holds the exact next numbers of streams that this thread has served itself.
    fn go_above(&mut self, known: &BTreeMap<StreamName, u64>) {
        if self.ceilings.damaged {
            // Without ceilings nothing bounds what was given. Milliseconds since 1970 do: a number
            // per millisecond, without a pause since 1970, is more than any device gives. A stream
            // that was at 5,000,000 goes on at about 1,790,000,000,000, and the numbers between
            // become a gap.
            self.base = self.base.max(self.queue.time.now_ms());
            for (id, stream) in &mut self.streams {
                stream.skip_to(self.base);
                self.marked.insert(*id);
            }
        }
        let above: Vec<_> =
            self.ceilings.iter().map(|(name, ceiling)| (name.clone(), ceiling)).collect();
        for (name, ceiling) in above {
            // Example: the file ends at 1,000, the ceiling is 1,256. Numbers up to 1,256 may have
            // been given and acknowledged, so the stream goes on at 1,257 and tells 1,001..=1,256
            // as a gap. If this thread knows that 1,040 was next, 1,040 will do.
            let above = ceiling.saturating_add(1);
            let next = match known.get(&name) {
                Some(next) => above.min(*next),
                None if self.ceilings.damaged => above.max(self.base),
                None => above,
            };
            let id = self.id_of(&name, next, None);
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.skip_to(next);
                self.marked.insert(id);
            }
        }
        let mut change = Change::default();
        self.take_marks(&mut change);
        change.meta.insert("base".into(), serde_cbor::to_vec(&self.base).unwrap_or_default());
        change.meta.insert("whole".into(), serde_cbor::to_vec(&true).unwrap_or_default());
        let _logged = self.apply(change, 0);
    }

    /// Writes a ceiling for every stream, whatever happened to the file of ceilings: a number that
    /// is only in the database would be given again if that were lost.
    fn cover_all(&mut self) -> Result<(), FileError> {
        let given = |stream: &Stream| (stream.name().clone(), stream.next() - 1);
        let all: Vec<_> = self.streams.values().map(given).collect();
        self.raise(&all)?;
        self.ceilings.damaged = false;
        Ok(())
    }

    /// Raises ceilings to at least the numbers in `needed`, before these are given.
    fn raise(&mut self, needed: &[(StreamName, u64)]) -> Result<(), FileError> {
        match self.ceilings.cover(needed, &self.gone, self.base) {
            Ok(written) => {
                self.gone.clear();
                self.written.bookkeeping += written.next_multiple_of(4_096);
                Ok(())
            }
            Err(error) => {
                let error = FileError::Full(format!("data.ceilings: {error}"));
                self.full = Some(error.text().to_owned());
                Err(error)
            }
        }
    }

    /// Lowers the ceilings to what was given, since no more numbers are given until the next start.
    fn lower(&mut self) {
        let given = self.streams.values().map(|stream| (stream.name().clone(), stream.next() - 1));
        if let Err(error) = self.ceilings.lower(given.collect(), self.base) {
            tracing::warn!(%error, "data.ceilings stays as it is");
        }
    }

    /// Forgets a stream of which nothing is left, so that another one can take its place. If its
    /// name comes back, it begins above all that it gave, by the raised `base`.
    fn forget(&mut self, id: u32) {
        let Some(stream) = self.streams.remove(&id) else { return };
        tracing::info!(stream = %stream.name(), "nothing is left of it: forgotten for a new stream");
        self.base = self.base.max(self.queue.time.now_ms()).max(stream.next());
        self.ids.remove(stream.name());
        self.marked.remove(&id);
        self.reductions.remove(&id);
        self.forgotten.insert(id);
        self.gone.insert(stream.name().clone());
    }

    /// Returns the id of a stream. A new stream begins at sequence number `next` and belongs to
    /// `owner`.
    fn id_of(&mut self, name: &StreamName, next: u64, owner: Option<Name>) -> u32 {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let last = self.streams.last_key_value().map(|(id, _)| id);
        let id = last.max(self.forgotten.last()).map_or(0, |id| id + 1);
        self.streams.insert(id, Stream::new(name.clone(), next).made_by(owner));
        self.ids.insert(name.clone(), id);
        self.marked.insert(id);
        id
    }

    fn handle(&mut self, job: Job) {
        match job {
            Job::Read { stream, window, max_bytes, reply } => {
                let _nobody = reply.send(self.page(&stream, window, max_bytes));
            }
            Job::Batch { stream, bytes, reply } => {
                let _nobody = reply.send(self.batch(&stream, bytes));
            }
            Job::Shipped { stream, range, store, conflict, highest } => {
                store.into_iter().for_each(|store| self.set_store(store));
                self.shipped(&stream, conflict.missing(range.from, range.to));
                if !conflict.is_empty() {
                    self.renumber(&stream, &conflict, highest);
                }
            }
            Job::Diverged { given, reply } => {
                if self.diverged(given) {
                    let _nobody = reply.send(());
                }
            }
            Job::Store { store } => self.set_store(store),
            Job::Want { stream, since, until, most, reply } => {
                let _nobody = reply.send(self.want(&stream, (since, until), most));
            }
            Job::Expire { now } => self.expire(now),
            Job::KeepLedger { bytes } => {
                self.ledger = Some(bytes);
                self.marked_at.get_or_insert_with(Instant::now);
            }
            Job::KeptLedger { reply } => {
                // A file that cannot be read gives no reply: the channel closes.
                if let Some(Ok(kept)) = self.open().map(|file| file.meta("ledger")) {
                    let _nobody = reply.send(kept.unwrap_or_default());
                }
            }
            Job::Summary { reply } => {
                let _nobody = reply.send(self.summary());
            }
            Job::Close { .. } => {}
        }
    }

    fn shipped(&mut self, stream: &StreamName, numbers: RangeSet) {
        let Some(id) = self.ids.get(stream).copied() else { return };
        if let Some(stream) = self.streams.get_mut(&id) {
            numbers.iter().for_each(|range| stream.settle(range));
        }
        self.mark(id);
    }

    /// Notes the data store that the control plane ships to. What another store had acknowledged is
    /// no longer known anywhere, and becomes pending again.
    fn set_store(&mut self, store: u64) {
        if self.store == Some(store) || self.open().is_none() {
            return;
        }
        if self.store.is_some() {
            tracing::warn!(
                "the control plane's data store is another: what is still here is shipped again"
            );
            if let Err(error) = self.unsettle(|_| false) {
                return self.read_failed(&error);
            }
        }
        // In one step with its effect on the streams: stored alone, a crash would leave the new
        // store beside acknowledgements of the lost one.
        let mut change = Change::default();
        self.take_marks(&mut change);
        change.meta.insert("store".into(), serde_cbor::to_vec(&store).unwrap_or_default());
        if self.apply(change, 0).is_ok() {
            self.store = Some(store);
        }
        self.queue.changed.notify_one();
    }

    fn unsettle(&mut self, but: impl Fn(u32) -> bool) -> Result<(), FileError> {
        let Some(file) = &self.file else { return Ok(()) };
        for (id, stream) in self.streams.iter_mut().filter(|(id, _)| !but(**id)) {
            let mut there = RangeSet::new();
            for (_, segment) in stream.segments() {
                let (heads, _) = file.heads(*id, segment.first, segment.last)?;
                for head in heads {
                    there.insert(head.block.first, head.block.last);
                }
            }
            stream.unsettle(&there);
            self.marked.insert(*id);
        }
        self.reductions.clear();
        Ok(())
    }

    /// Marks a stream to be stored within [`STORE_MARKS_AFTER`], and wakes the driver.
    fn mark(&mut self, id: u32) {
        self.marked.insert(id);
        self.marked_at.get_or_insert_with(Instant::now);
        self.queue.changed.notify_one();
    }

    /// Moves all marked state into a change that is made anyway.
    fn take_marks(&mut self, change: &mut Change) {
        for id in std::mem::take(&mut self.marked) {
            if let Some(stream) = self.streams.get(&id) {
                change.streams.insert(id, Some(stream.kept().clone()));
            }
        }
        if !self.forgotten.is_empty() {
            let forgotten = std::mem::take(&mut self.forgotten);
            change.streams.extend(forgotten.into_iter().map(|id| (id, None)));
            change.meta.insert("base".into(), serde_cbor::to_vec(&self.base).unwrap_or_default());
        }
        for (id, start) in std::mem::take(&mut self.segments) {
            let segment = self.streams.get(&id).and_then(|stream| stream.segment(start));
            change.segments.insert((id, start), segment.copied());
        }
        if let Some(ledger) = self.ledger.take() {
            change.meta.insert("ledger".into(), ledger);
        }
        self.marked_at = None;
    }

    /// Stores what is marked, if it is due or `now` is set.
    fn keep_marks(&mut self, now: bool) {
        let due = self.marked_at.is_some_and(|at| at.elapsed() >= STORE_MARKS_AFTER);
        if !(due || now) || self.file.is_none() {
            return;
        }
        let mut change = Change::default();
        self.take_marks(&mut change);
        self.store_totals(&mut change);
        if !change.is_empty() {
            let _logged = self.apply(change, 0);
            crash::point("shipped-stored");
        }
    }

    /// Applies a change and counts it by cause; after a failure the file is opened and read anew.
    fn apply(&mut self, change: Change, payload: u64) -> Result<(), FileError> {
        let weight = Weight::of(&change, payload);
        self.with_file(|file| file.apply(change))?;
        self.count(weight);
        self.full = None;
        Ok(())
    }

    fn with_file(
        &mut self,
        write: impl FnOnce(&mut File) -> Result<(), FileError>,
    ) -> Result<(), FileError> {
        let Some(file) = &mut self.file else {
            return Err(FileError::Other("the buffer is not open".into()));
        };
        write(file).inspect_err(|error| self.write_failed(error))
    }

    /// Closes the file after a failed step: memory may be ahead of the file, so both are read anew.
    fn write_failed(&mut self, error: &FileError) {
        tracing::error!("the buffer cannot be written: {}", error.text());
        self.file = None;
        if let FileError::Damaged(why) = error {
            self.damage = Some(set_aside(&self.queue.data, why));
            self.tried = None;
        } else {
            self.full = Some(error.text().to_owned());
        }
    }

    fn summary(&mut self) -> Summary {
        let policies = self.queue.current();
        let streams = self.streams.iter().map(|(id, stream)| {
            let last = stream.next() - 1;
            let policy = policies.of(stream.name()).map(|(_, policy)| &policy.ship);
            let reduces = !matches!(policy, None | Some(Ship::Always | Ship::Never));
            let reduction = self.reductions.get(id).filter(|_| reduces);
            StreamSummary {
                name: stream.name().clone(),
                last,
                waiting: stream.waiting(),
                bytes: stream.bytes(),
                taken: stream.taken(),
                count: stream.count(),
                oldest: stream.oldest(),
                oldest_waiting: stream.oldest_waiting(),
                unreported_gaps: stream.has_unreported_gaps(),
                wanted: !stream.kept().wanted.is_empty(),
                due: reduction.and_then(|it| it.due(last)),
                problem: reduction.map(reduced::Reduction::problem).unwrap_or_default(),
            }
        });
        let used = self.used();
        let (quota, low) = self.room.limit(&self.queue.data);
        Summary {
            streams: streams.collect(),
            used,
            quota,
            low,
            written: self.written,
            damage: self.damage.clone(),
            full: self.full.clone(),
        }
    }
}
