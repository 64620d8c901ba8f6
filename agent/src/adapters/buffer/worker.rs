//! The buffer's thread: stores groups, answers questions, keeps within its bounds.

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
use super::file::{File, Found, Trouble};
use super::queue::{Job, Next, Queue};
use super::{StreamSummary, Summary, Written, path};
use crate::adapters::crash;
use crate::core::data::stream::Stream;
use group::Weight;

/// Nothing happens for so long: what is only marked in memory is stored, and the disk looked at.
const IDLE: Duration = Duration::from_secs(30);
/// What the control plane acknowledged is stored at the latest after so long. If it is lost
/// meanwhile, a batch is sent twice, which the control plane notices.
const MARKS: Duration = Duration::from_secs(30);
/// A file that could not be opened or written is tried again after so long.
const RETRY: Duration = Duration::from_secs(2);
/// Stack of the thread, in bytes: redb's trees are a few levels deep.
const STACK: usize = 512 * 1024;

/// Starts the thread. False: the system gives none.
pub(super) fn spawn(queue: Arc<Queue>) -> bool {
    let thread = std::thread::Builder::new().name("buffer".into()).stack_size(STACK);
    let spawned = thread.spawn(move || {
        contain::this_thread(&queue);
        Worker::new(queue).run();
    });
    spawned.inspect_err(|error| tracing::error!(%error, "no thread for the buffer")).is_ok()
}

/// The thread was lost to what the file holds: it is not opened again.
pub(super) fn suspect(data: &Path, why: &str) {
    tracing::error!("the buffer's thread failed: {why}");
    let _what_is_left = set_aside(data, why);
}

/// Sets the file aside, in the place of a former one. Gives what to tell a person.
fn set_aside(data: &Path, why: &str) -> String {
    let (file, aside) = (path(data), data.join("data.damaged"));
    let moved = std::fs::rename(&file, &aside);
    let told = format!(
        "the buffer was damaged ({why}) and set aside as {}: {}; what was in it stands in the gap ledger",
        aside.display(),
        if moved.is_ok() { "begun anew" } else { "it could not even be moved" }
    );
    tracing::error!("{told}");
    told
}

struct Worker {
    queue: Arc<Queue>,
    file: Option<File>,
    tried: Option<Instant>,
    streams: BTreeMap<u32, Stream>,
    ids: BTreeMap<StreamName, u32>,
    ceilings: Ceilings,
    /// The first number of streams that are new: 1, unless what was known of former ones is lost
    /// or forgotten.
    base: u64,
    /// The control plane's store that has what is settled, as far as it ever said.
    store: Option<u64>,
    /// Streams that are forgotten, and stand in the file still.
    forgotten: BTreeSet<u32>,
    /// And those that have a ceiling still.
    gone: BTreeSet<StreamName>,
    /// Of streams that are reduced.
    reductions: BTreeMap<u32, reduced::Reduction>,
    /// Streams of which something is to be stored beside their blocks.
    marked: BTreeSet<u32>,
    /// Segments that are to be stored.
    segments: BTreeSet<(u32, u64)>,
    marked_at: Option<Instant>,
    written: Written,
    /// What of the file's own count is in `written`.
    counted: u64,
    /// How much of `written` is stored.
    noted: u64,
    room: room::Room,
    /// The link's ledger, when it is to be stored.
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
            noted: 0,
            room,
            ledger: None,
            damage: None,
            full: None,
        }
    }

    fn run(mut self) {
        self.open();
        let mut asked = false;
        loop {
            match self.queue.next(IDLE, asked) {
                Next::Store(group) => {
                    self.store(group);
                    asked = true;
                }
                Next::Answer(Job::Close { tell }) => {
                    self.keep_marks(true);
                    // Whoever copies the file then has all of it.
                    if self.with_file(File::settle).is_ok() {
                        self.lower();
                    }
                    self.file = None;
                    self.queue.close();
                    let _nobody = tell.send(());
                    return;
                }
                Next::Answer(job) => {
                    self.answer(job);
                    asked = false;
                }
                Next::Idle => {
                    self.open();
                    let _said = self.with_file(File::settle_much);
                    asked = false;
                }
            }
            self.keep_marks(false);
        }
    }

    /// Opens the file where it is not open. What is damaged is set aside.
    fn open(&mut self) -> Option<&File> {
        let waits = self.tried.is_some_and(|tried| tried.elapsed() < RETRY);
        if self.file.is_none() && !waits {
            self.tried = Some(Instant::now());
            let path = path(&self.queue.data);
            match File::open(&path) {
                Ok((file, found)) => self.loaded(file, found),
                Err(Trouble::Damaged(why)) => {
                    self.damage = Some(set_aside(&self.queue.data, &why));
                    match File::open(&path) {
                        Ok((file, found)) => self.loaded(file, found),
                        Err(trouble) => self.failed(&trouble),
                    }
                }
                Err(trouble) => self.failed(&trouble),
            }
        }
        self.file.as_ref()
    }

    fn failed(&mut self, trouble: &Trouble) {
        tracing::error!("the buffer cannot be used: {}", trouble.words());
        self.file = None;
        self.full = Some(trouble.words().to_owned());
    }

    /// The file serves. One that is new, or empty, goes on from what the ceilings say; it says of
    /// itself that it is whole in the step in which what was lost is stored.
    fn loaded(&mut self, file: File, found: Found) {
        self.counted = 0;
        self.full = None;
        // What this thread has given itself it knows better than the ceilings.
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
        self.store = self.figure("store");
        let new = self.figure::<bool>("whole").is_none();
        // The last block of a stream may be what is damaged: what it gave is not known.
        let lost = new || found.rolled_back || damaged;
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
        self.base = self.figure("base").unwrap_or(1).max(self.ceilings.base());
        if lost {
            self.go_above(&given);
        }
        let _tried_with_the_next_records = self.cover_all();
        self.queue.changed.notify_one();
    }

    /// What the file knows is not all that there was: every stream goes on above what it can have
    /// given. Of some it is known what comes next.
    fn go_above(&mut self, known: &BTreeMap<StreamName, u64>) {
        if self.ceilings.damaged {
            // No device gives more than a thousand numbers a second for decades.
            self.base = self.base.max(self.queue.time.now_ms());
            for (id, stream) in &mut self.streams {
                stream.skip_to(self.base);
                self.marked.insert(*id);
            }
        }
        let above: Vec<_> =
            self.ceilings.iter().map(|(name, ceiling)| (name.clone(), ceiling)).collect();
        for (name, ceiling) in above {
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
        let _said = self.apply(change, 0);
    }

    /// Sees to it that every stream has a ceiling, whatever happened to them: what stands only in
    /// the file would be forgotten with it.
    fn cover_all(&mut self) -> Result<(), Trouble> {
        let given = |stream: &Stream| (stream.name().clone(), stream.next() - 1);
        let all: Vec<_> = self.streams.values().map(given).collect();
        self.raise(&all)?;
        self.ceilings.damaged = false;
        Ok(())
    }

    /// Raises the ceilings above what is given, or is about to be.
    fn raise(&mut self, needed: &[(StreamName, u64)]) -> Result<(), Trouble> {
        match self.ceilings.cover(needed, &self.gone, self.base) {
            Ok(written) => {
                self.gone.clear();
                self.written.bookkeeping += written.next_multiple_of(4_096);
                Ok(())
            }
            Err(error) => {
                let trouble = Trouble::Full(format!("data.ceilings: {error}"));
                self.full = Some(trouble.words().to_owned());
                Err(trouble)
            }
        }
    }

    /// No number is given any more: the ceilings are what was given.
    fn lower(&mut self) {
        let given = self.streams.values().map(|stream| (stream.name().clone(), stream.next() - 1));
        if let Err(error) = self.ceilings.lower(given.collect(), self.base) {
            tracing::warn!(%error, "data.ceilings stays as it is");
        }
    }

    /// Nothing is left of a stream, and another one takes its place. Should it begin anew, it does
    /// so above all that it gave.
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

    /// The number of a stream; a new one begins at `next`, and is its owner's.
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

    fn answer(&mut self, job: Job) {
        match job {
            Job::Read { stream, window, max_bytes, tell } => {
                let _nobody = tell.send(self.page(&stream, window, max_bytes));
            }
            Job::Batch { stream, bytes, tell } => {
                let _nobody = tell.send(self.batch(&stream, bytes));
            }
            Job::Shipped { stream, range, store, conflict, highest } => {
                store.into_iter().for_each(|store| self.stored_in(store));
                self.shipped(&stream, conflict.missing(range.from, range.to));
                if !conflict.is_empty() {
                    self.renumber(&stream, &conflict, highest);
                }
            }
            Job::Diverged { given, tell } => {
                if self.diverged(given) {
                    let _nobody = tell.send(());
                }
            }
            Job::Store { store } => self.stored_in(store),
            Job::Want { stream, since, until, most, tell } => {
                let _nobody = tell.send(self.want(&stream, (since, until), most));
            }
            Job::Expire { now } => self.expire(now),
            Job::KeepLedger { bytes } => {
                self.ledger = Some(bytes);
                self.marked_at.get_or_insert_with(Instant::now);
            }
            Job::KeptLedger { tell } => {
                // A file that cannot be read says nothing: silence.
                if let Some(Ok(kept)) = self.open().map(|file| file.meta("ledger")) {
                    let _nobody = tell.send(kept.unwrap_or_default());
                }
            }
            Job::Summary { tell } => {
                let _nobody = tell.send(self.summary());
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

    /// What is shipped goes to this store. What was settled by another is known nowhere any more.
    fn stored_in(&mut self, store: u64) {
        if self.store == Some(store) || self.open().is_none() {
            return;
        }
        if self.store.is_some() {
            tracing::warn!(
                "the control plane's data store is another: what is still here is shipped again"
            );
            if let Err(trouble) = self.unsettle(|_| false) {
                return self.read_failed(&trouble);
            }
        }
        // Stored with what it means for the streams: not one without the other.
        let mut change = Change::default();
        self.take_marks(&mut change);
        change.meta.insert("store".into(), serde_cbor::to_vec(&store).unwrap_or_default());
        if self.apply(change, 0).is_ok() {
            self.store = Some(store);
        }
        self.queue.changed.notify_one();
    }

    fn unsettle(&mut self, but: impl Fn(u32) -> bool) -> Result<(), Trouble> {
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

    /// Something of a stream is to be stored before long.
    fn mark(&mut self, id: u32) {
        self.marked.insert(id);
        self.marked_at.get_or_insert_with(Instant::now);
        self.queue.changed.notify_one();
    }

    /// Puts what is marked into a change that is made anyway.
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

    /// Stores what is marked when it is time for it.
    fn keep_marks(&mut self, now: bool) {
        let due = self.marked_at.is_some_and(|at| at.elapsed() >= MARKS);
        if !(due || now) || self.file.is_none() {
            return;
        }
        let mut change = Change::default();
        self.take_marks(&mut change);
        self.note_written(&mut change);
        if !change.is_empty() {
            let _said = self.apply(change, 0);
            crash::point("shipped-stored");
        }
    }

    /// Makes a change; after a failure the file is opened anew, and read anew.
    fn apply(&mut self, change: Change, payload: u64) -> Result<(), Trouble> {
        let weight = Weight::of(&change, payload);
        self.with_file(|file| file.apply(change))?;
        self.count(weight);
        self.full = None;
        Ok(())
    }

    fn with_file(
        &mut self,
        write: impl FnOnce(&mut File) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let Some(file) = &mut self.file else {
            return Err(Trouble::Other("the buffer is not open".into()));
        };
        write(file).inspect_err(|trouble| self.not_written(trouble))
    }

    /// A step failed: memory may be ahead of the file, so both are opened anew.
    fn not_written(&mut self, trouble: &Trouble) {
        tracing::error!("the buffer cannot be written: {}", trouble.words());
        self.file = None;
        if let Trouble::Damaged(why) = trouble {
            self.damage = Some(set_aside(&self.queue.data, why));
            self.tried = None;
        } else {
            self.full = Some(trouble.words().to_owned());
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
                untold: stream.has_untold_gaps(),
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
