//! What waits for the buffer's thread: bounded by bytes, so that a flood costs a bounded memory.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use holdfast_base::ids::Name;
use holdfast_records::block::MAX_RECORD;
use holdfast_records::{DataPolicies, Format, Given, Range, RangeSet, StreamName};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use super::{Limits, Page, Ready, Summary, Window, contain, worker};
use crate::adapters::clock::Time;
use crate::core::data::places::{MAX_OF_ONE, MAX_STREAMS};

/// Memory that records may take while they wait, in units of [`UNIT`]: 4 MiB.
const ROOM: u32 = 4_096;
/// What room is counted in, in bytes.
const UNIT: usize = 1_024;
/// What a record takes in memory beside its value, in bytes.
const OVERHEAD: usize = 64;
/// What is stored in one step, in bytes: some thousand records. The thread needs a few times that.
pub(super) const GROUP: usize = 1024 * 1024;
/// Whoever was just answered is waited for at most so long.
const PATIENCE: Duration = Duration::from_millis(2);
/// Questions that wait; the driver and a few queries ask one at a time.
const QUESTIONS: usize = 256;

/// Why records were not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too much waits already: try again.
    #[error("the buffer is busy; try again")]
    Busy,
    /// The disk takes nothing.
    #[error("the disk takes no more: {0}")]
    DiskFull(String),
    /// They were numbered and dropped, as the stream's policy says: these numbers stand in the gap
    /// ledger.
    #[error(
        "0 records are stored, {} are dropped: the stream has used up its quota, or the buffer is full of what goes before it, and what comes is dropped. Publish less, raise spec.quota or spec.priority, set spec.overflow to drop-oldest or thin, or have more of it shipped",
        .0.len()
    )]
    Dropped(Range),
    /// There are too many streams already.
    #[error(
        "this device has {MAX_STREAMS} streams already, the most that it may have, and there is something left of each"
    )]
    TooManyStreams,
    /// Whoever publishes has made too many.
    #[error(
        "you have made {MAX_OF_ONE} streams already, the most that one workload or local access may make, and there is something left of each: publish to fewer names"
    )]
    TooManyOfOne,
    /// A record is too large.
    #[error("a record is larger than {MAX_RECORD} bytes")]
    TooLarge,
    /// The buffer cannot be used any more.
    #[error("the buffer is closed")]
    Closed,
}

/// How an append is answered.
pub(super) type Answer = oneshot::Sender<Result<Range, Refused>>;

/// Records of one stream that are to be stored.
#[derive(Debug)]
pub(super) struct Append {
    /// Who publishes; None: the agent.
    pub(super) owner: Option<Name>,
    pub(super) stream: StreamName,
    pub(super) time: u64,
    /// That time is of a clock that cannot be relied on.
    pub(super) doubted: bool,
    pub(super) records: Vec<(Format, Vec<u8>)>,
    /// Bytes in memory.
    pub(super) size: usize,
    pub(super) tell: Answer,
    /// Room in the queue, given back when it is dropped.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

impl Append {
    /// Checked.
    pub(super) fn new(
        owner: Option<Name>,
        stream: StreamName,
        (time, doubted): (u64, bool),
        records: Vec<(Format, Vec<u8>)>,
    ) -> Result<(Self, oneshot::Receiver<Result<Range, Refused>>), Refused> {
        if records.iter().any(|(_, value)| value.len() > MAX_RECORD) {
            return Err(Refused::TooLarge);
        }
        let (tell, answer) = oneshot::channel();
        let size = records.iter().map(|(_, value)| value.len() + OVERHEAD).sum();
        Ok((Self { owner, stream, time, doubted, records, size, tell, room: None }, answer))
    }

    fn units(&self) -> u32 {
        // One that is larger than all the room has it to itself.
        u32::try_from(self.size.div_ceil(UNIT)).unwrap_or(ROOM).min(ROOM)
    }
}

/// What else the thread is asked.
#[derive(Debug)]
pub(super) enum Job {
    Read {
        stream: StreamName,
        window: Window,
        max_bytes: usize,
        tell: oneshot::Sender<Page>,
    },
    Batch {
        stream: StreamName,
        bytes: usize,
        tell: oneshot::Sender<Option<Ready>>,
    },
    Shipped {
        stream: StreamName,
        range: Range,
        store: Option<u64>,
        conflict: RangeSet,
        highest: u64,
    },
    Diverged {
        given: Vec<Given>,
        tell: oneshot::Sender<()>,
    },
    Store {
        store: u64,
    },
    Want {
        stream: StreamName,
        since: u64,
        until: u64,
        most: u64,
        tell: oneshot::Sender<(u64, u64)>,
    },
    Expire {
        now: u64,
    },
    KeepLedger {
        bytes: Vec<u8>,
    },
    KeptLedger {
        tell: oneshot::Sender<Vec<u8>>,
    },
    Summary {
        tell: oneshot::Sender<Summary>,
    },
    Close {
        tell: oneshot::Sender<()>,
    },
}

/// What the thread does next.
#[derive(Debug)]
pub(super) enum Next {
    /// Store these.
    Store(Vec<Append>),
    /// Answer this.
    Answer(Job),
    /// Nothing came for so long.
    Idle,
}

/// The step before. Publishers that keep so many records in flight send the next ones when they are
/// answered: stored as the first of them come, they would be halved into two steps that take turns,
/// each of which writes the same pages above its records.
#[derive(Debug, Default)]
struct Step {
    began: Option<Instant>,
    /// About what its publishers send again, in bytes.
    wanted: usize,
    /// They are waited for until then.
    until: Option<Instant>,
}

impl Step {
    fn began(&mut self, size: usize, now: Instant) {
        *self = Self { began: Some(now), wanted: size - size / 8, until: None };
    }

    /// Everybody is answered: to wait for them takes at most half of what they waited.
    fn ended(&mut self, now: Instant) {
        if let Some(began) = self.began.take() {
            self.until = Some(now + (now.saturating_duration_since(began) / 2).min(PATIENCE));
        }
    }

    /// When so many bytes that are due then are stored.
    fn due(&self, due: Instant, size: usize) -> Instant {
        self.until.filter(|_| size < self.wanted).map_or(due, |until| due.max(until))
    }
}

#[derive(Debug, Default)]
struct Waiting {
    appends: VecDeque<Append>,
    size: usize,
    /// When the first of them has to be stored.
    due: Option<Instant>,
    step: Step,
    jobs: VecDeque<Job>,
    policies: Arc<DataPolicies>,
    started: bool,
    closed: bool,
    /// It was closed because there is no thread any more.
    failed: bool,
    /// How often the thread was lost to a panic.
    lost: u32,
    /// Answers to what the thread has in hand.
    in_hand: Vec<Answer>,
}

/// Shared by the handles and the thread.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) data: PathBuf,
    pub(super) limits: Limits,
    pub(super) time: Time,
    pub(super) changed: Notify,
    waiting: Mutex<Waiting>,
    wake: Condvar,
    room: Arc<Semaphore>,
}

impl Queue {
    pub(super) fn new(data: PathBuf, limits: Limits, time: Time) -> Self {
        let room = usize::try_from(ROOM).unwrap_or(usize::MAX);
        Self {
            data,
            limits,
            time,
            changed: Notify::new(),
            waiting: Mutex::default(),
            wake: Condvar::new(),
            room: Arc::new(Semaphore::new(room)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_started(&self) -> bool {
        self.lock().started
    }

    /// Nothing is taken in any more, though nobody has closed it.
    pub(super) fn has_failed(&self) -> bool {
        self.lock().failed
    }

    /// Starts the thread, if it is not there.
    pub(super) fn start(self: &Arc<Self>) {
        let mut waiting = self.lock();
        if !waiting.started && !waiting.closed {
            waiting.started = worker::spawn(Arc::clone(self));
            waiting.failed = !waiting.started;
            waiting.closed = waiting.failed;
        }
    }

    /// Puts records in when there is room.
    pub(super) async fn put_waiting(self: &Arc<Self>, mut append: Append) -> Result<(), Refused> {
        let room = Arc::clone(&self.room).acquire_many_owned(append.units()).await;
        append.room = Some(room.map_err(|_| Refused::Closed)?);
        self.put(append)
    }

    /// Puts records in if there is room.
    pub(super) fn try_put(self: &Arc<Self>, mut append: Append) -> Result<(), Refused> {
        let room = Arc::clone(&self.room).try_acquire_many_owned(append.units());
        append.room = Some(room.map_err(|_| Refused::Busy)?);
        self.put(append)
    }

    fn put(self: &Arc<Self>, append: Append) -> Result<(), Refused> {
        self.start();
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(Refused::Closed);
        }
        let policy = waiting.policies.of(&append.stream);
        let gather = policy.map_or(0, |(_, policy)| policy.durability_ms);
        let due = Instant::now() + Duration::from_millis(gather.into());
        let sooner = waiting.due.is_none_or(|known| due < known);
        if sooner {
            waiting.due = Some(due);
        }
        let before = waiting.size;
        let wanted = waiting.step.wanted;
        waiting.size += append.size;
        waiting.appends.push_back(append);
        // Whoever gathers is woken when it is time, or enough.
        let is_enough = |enough| before < enough && waiting.size >= enough;
        if sooner || is_enough(GROUP) || is_enough(wanted) {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Asks the thread. Too many questions are answered by silence.
    pub(super) fn ask(&self, job: Job) {
        let mut waiting = self.lock();
        if waiting.closed || !waiting.started {
            return;
        }
        let must = !matches!(job, Job::Read { .. } | Job::Batch { .. } | Job::Summary { .. });
        if must || waiting.jobs.len() < QUESTIONS {
            waiting.jobs.push_back(job);
            self.wake.notify_one();
        }
    }

    /// These policies hold from now on.
    pub(super) fn follow(&self, policies: Arc<DataPolicies>) {
        self.lock().policies = policies;
        self.wake.notify_one();
    }

    pub(super) fn current(&self) -> Arc<DataPolicies> {
        Arc::clone(&self.lock().policies)
    }

    /// What to do next. Appends go first, but for one question after each group (`asked`).
    pub(super) fn next(&self, idle: Duration, asked: bool) -> Next {
        let mut waiting = self.lock();
        waiting.step.ended(Instant::now());
        loop {
            if (asked || waiting.appends.is_empty())
                && let Some(job) = waiting.jobs.pop_front()
            {
                return Next::Answer(job);
            }
            let now = Instant::now();
            let due = waiting.due.unwrap_or(now + idle);
            let due = waiting.step.due(due, waiting.size);
            if !waiting.appends.is_empty() && (waiting.size >= GROUP || now >= due) {
                return Next::Store(waiting.take());
            }
            if let Some(job) = waiting.jobs.pop_front() {
                return Next::Answer(job);
            }
            let wait = self.wake.wait_timeout(waiting, due.saturating_duration_since(now));
            let (back, late) = wait.unwrap_or_else(PoisonError::into_inner);
            waiting = back;
            if late.timed_out() && waiting.appends.is_empty() && waiting.jobs.is_empty() {
                return Next::Idle;
            }
        }
    }

    /// The thread has these in hand: they are answered even if it does not come back.
    pub(super) fn hold(&self, answers: Vec<Answer>) {
        self.lock().in_hand = answers;
    }

    /// What the thread had in hand.
    pub(super) fn release(&self) -> Vec<Answer> {
        std::mem::take(&mut self.lock().in_hand)
    }

    /// The thread does not come back. Another one takes over, unless that happened too often.
    pub(super) fn lost(self: &Arc<Self>) {
        for answer in self.release() {
            let _nobody = answer.send(Err(Refused::Busy));
        }
        let mut waiting = self.lock();
        waiting.lost += 1;
        waiting.started = waiting.lost <= contain::MOST && worker::spawn(Arc::clone(self));
        if !waiting.started {
            waiting.failed = true;
            waiting.close();
        }
    }

    /// Nothing is taken in any more.
    pub(super) fn close(&self) {
        self.lock().close();
        self.room.close();
    }
}

impl Waiting {
    /// A group: what waits, up to about so many bytes.
    fn take(&mut self) -> Vec<Append> {
        let mut group = Vec::new();
        let mut size = 0;
        while let Some(append) = self.appends.pop_front() {
            size += append.size;
            group.push(append);
            if size >= GROUP {
                break;
            }
        }
        self.size = self.size.saturating_sub(size);
        self.step.began(size, Instant::now());
        self.due = (!self.appends.is_empty()).then(Instant::now);
        group
    }

    fn close(&mut self) {
        self.closed = true;
        self.started = false;
        for append in self.appends.drain(..) {
            let _nobody = append.tell.send(Err(Refused::Closed));
        }
        self.jobs.clear();
        self.size = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_just_answered_is_waited_for_but_not_for_long() {
        let start = Instant::now();
        let after = |micros| start + Duration::from_micros(micros);
        let mut step = Step::default();
        assert_eq!(step.due(start, 1), start, "nobody was answered yet");
        step.began(8_000, start);
        step.ended(after(1_000));
        assert_eq!(step.due(after(1_100), 6_999), after(1_500), "half of a step of a millisecond");
        assert_eq!(step.due(after(1_100), 7_000), after(1_100), "they are all here");
        assert_eq!(step.due(after(9_000), 10), after(9_000), "those who gather wait longer anyway");
        step.ended(after(5_000));
        assert_eq!(step.due(after(1_100), 1), after(1_500), "ended once");
        step.began(8_000, after(10_000));
        step.ended(after(110_000));
        assert_eq!(step.due(after(110_000), 1), after(110_000) + PATIENCE);
    }
}
