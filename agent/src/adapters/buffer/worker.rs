//! The buffer's thread: stores groups of appends, handles calls, and keeps the buffer within its
//! bounds.
//!
//! See decisions 0045, 0047, 0064 and 0137.

mod group;
mod reading;
mod room;
mod weight;

use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_base::collect;
use holdfast_records::{Given, RangeSet, StreamName};

use super::answers::{Summary, Written};
use super::aside::set_aside;
use super::block::Packed;
use super::ceilings::Ceilings;
use super::change::Change;
use super::contain;
use super::file::{File, FileError, path};
use super::queue::{Job, Next, Queue};
use crate::adapters::crash;
use crate::core::data::step::{self, Contents, Found, Loaded, Moment, Ready, Step};
use weight::Weight;

/// Time without work after which changes that are only marked in memory are stored, and the disk is
/// looked at again.
const IDLE_AFTER: Duration = Duration::from_secs(30);
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

struct Worker {
    queue: Arc<Queue>,
    file: Option<File>,
    tried: Option<Instant>,
    contents: Contents,
    ceilings: Ceilings,
    written: Written,
    /// Part of the file's own byte count that is already in `written`.
    counted: u64,
    /// Part of `written` that is stored.
    stored_total: u64,
    room: room::Measured,
    damage: Option<String>,
    full: Option<String>,
}

impl Worker {
    fn new(queue: Arc<Queue>) -> Self {
        let ceilings = Ceilings::open(&queue.data);
        let room = room::Measured::new(queue.limits);
        Self {
            queue,
            file: None,
            tried: None,
            contents: Contents::default(),
            ceilings,
            written: Written::default(),
            counted: 0,
            stored_total: 0,
            room,
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
            self.report_damage();
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

    /// Takes over the state of a file that was opened, stores what was lost, and writes a ceiling
    /// for every stream.
    fn loaded(&mut self, file: File, found: Found) {
        self.counted = 0;
        self.full = None;
        if found.rolled_back {
            tracing::warn!("the buffer's last step was taken back: it was not whole");
        }
        if found.older {
            let why = "the buffer's file (data.redb) is an older copy of itself; what was stored since stands in the gap ledger";
            tracing::error!("{why}");
            self.damage = Some(why.to_owned());
        }
        let now = self.queue.time.now_ms();
        let Loaded { change, is_gone } = self.contents.load(found, &mut self.ceilings.known, now);
        self.file = Some(file);
        self.load_written();
        if is_gone && self.damage.is_none() {
            let why = "the buffer's file is gone (data.redb): begun anew; what was in it stands in the gap ledger";
            tracing::error!("{why}");
            self.damage = Some(why.to_owned());
        }
        if let Some(change) = change {
            let _logged = self.apply(change.into(), 0);
        }
        let _tried_with_the_next_records = self.cover_all();
        self.queue.changed.notify_one();
    }

    /// Writes a ceiling for every stream, whatever happened to the file of ceilings: a number that
    /// is only in the database would be given again if that were lost.
    fn cover_all(&mut self) -> Result<(), FileError> {
        self.raise(&self.contents.given())?;
        self.ceilings.known.damaged = false;
        Ok(())
    }

    /// Raises ceilings to at least the numbers in `needed`, before these are given.
    fn raise(&mut self, needed: &[(StreamName, u64)]) -> Result<(), FileError> {
        match self.ceilings.cover(needed, self.contents.gone(), self.contents.base()) {
            Ok(written) => {
                self.contents.covered();
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
        let given = collect::map(self.contents.given());
        if let Err(error) = self.ceilings.lower(given, self.contents.base()) {
            tracing::warn!(%error, "data.ceilings stays as it is");
        }
    }

    /// Raises the ceilings of a step, then applies its change.
    fn carry_out(&mut self, step: Step<Packed>) -> Result<(), FileError> {
        self.raise(&step.ceilings)?;
        self.apply(step.change.into(), 0)
    }

    /// Logs damaged blocks that were met, and notes the last one for a person.
    fn report_damage(&mut self) {
        for (stream, range) in self.contents.take_damaged() {
            tracing::error!(%stream, from = range.from, to = range.to, "records cannot be read any more: damaged");
            self.damage = Some(format!(
                "records of {stream} cannot be read any more ({} to {}): the disk has changed them; they stand in the gap ledger",
                range.from, range.to
            ));
            self.queue.changed.notify_one();
        }
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
                self.shipped(&stream, &conflict.missing(range.from, range.to));
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
                self.contents.keep_ledger(bytes, Instant::now());
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

    fn shipped(&mut self, stream: &StreamName, numbers: &RangeSet) {
        if let Some(id) = self.contents.id(stream) {
            self.contents.settle(id, numbers, Instant::now());
            self.queue.changed.notify_one();
        }
    }

    /// Renumbers the records under the numbers in `conflict`, which stand for other records at the
    /// control plane; it knows numbers up to `highest`.
    fn renumber(&mut self, name: &StreamName, conflict: &RangeSet, highest: u64) {
        let Some(id) = self.contents.id(name) else { return };
        if let Err(error) = self.renumbered(id, conflict, highest) {
            tracing::error!(stream = %name, "records keep numbers that stand for others, for now");
            self.read_failed(&error);
        }
        self.queue.changed.notify_one();
    }

    fn renumbered(&mut self, id: u32, conflict: &RangeSet, highest: u64) -> Result<(), FileError> {
        let Some(mut renumbering) = self.contents.renumber(id, conflict, highest) else {
            return Ok(());
        };
        let name = self.contents.stream(id).map(|it| it.name().to_string());
        tracing::warn!(
            stream = name,
            records = renumbering.count(),
            above = highest,
            "these numbers stand for other records at the control plane: given anew"
        );
        let policies = self.queue.current();
        loop {
            let Some(file) = &self.file else {
                return Err(FileError::Other("the buffer is not open".into()));
            };
            match renumbering.next(&mut self.contents, file, &policies)? {
                Some(step) => self.carry_out(step)?,
                None => return Ok(()),
            }
        }
    }

    /// Takes over the numbers that the control plane knows of a device that was restored or copied.
    /// False when this could not be stored.
    fn diverged(&mut self, given: Vec<Given>) -> bool {
        self.open();
        let Some(file) = &self.file else { return false };
        let step = self.contents.diverged(file, given);
        let kept = step.and_then(|(step, again)| {
            if again {
                tracing::warn!(
                    "the control plane does not know any more what it has acknowledged: what is still here is shipped again"
                );
            }
            self.carry_out(step)?;
            self.ceilings.known.damaged = false;
            Ok(())
        });
        self.queue.changed.notify_one();
        kept.is_ok()
    }

    /// Notes the data store that the control plane ships to. What another store had acknowledged is
    /// no longer known anywhere, and becomes pending again.
    fn set_store(&mut self, store: u64) {
        if self.contents.has_store(store) {
            return;
        }
        self.open();
        let Some(file) = &self.file else { return };
        if self.contents.has_other_store(store) {
            tracing::warn!(
                "the control plane's data store is another: what is still here is shipped again"
            );
        }
        match self.contents.set_store(file, store) {
            Err(error) => return self.read_failed(&error),
            Ok(change) => {
                if self.apply(change.into(), 0).is_ok() {
                    self.contents.confirm_store(store);
                }
            }
        }
        self.queue.changed.notify_one();
    }

    /// Builds the next batch of a stream, of about `bytes` bytes.
    fn batch(&mut self, name: &StreamName, bytes: usize) -> Option<Ready> {
        self.open();
        let file = self.file.as_ref()?;
        let at = Moment { wall: self.queue.time.now_ms(), now: Instant::now() };
        let built = self.contents.batch(file, &self.queue.current(), name, bytes, at);
        built.inspect_err(|error| self.read_failed(error)).unwrap_or_default()
    }

    /// Drops records that are older than their ttl. `now` is of a clock that can be relied on.
    fn expire(&mut self, now: u64) {
        let Some(file) = &self.file else { return };
        match self.contents.expire(now, file, &self.queue.current(), Instant::now()) {
            Err(error) => self.read_failed(&error),
            Ok(None) => {}
            Ok(Some(change)) => {
                let mut change = change.into();
                self.store_totals(&mut change);
                let _logged = self.apply(change, 0);
                self.queue.changed.notify_one();
            }
        }
    }

    /// Stores what is marked, if it is due or `now` is set.
    fn keep_marks(&mut self, now: bool) {
        if !(now || self.contents.is_due(Instant::now())) || self.file.is_none() {
            return;
        }
        let mut change = Change::from(self.contents.marks());
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
        let used = self.contents.used();
        let step::Room { limit: quota, low } = self.room.now(&self.queue.data);
        Summary {
            streams: self.contents.summary(&self.queue.current()),
            used,
            quota,
            low,
            written: self.written,
            damage: self.damage.clone(),
            full: self.full.clone(),
        }
    }
}
