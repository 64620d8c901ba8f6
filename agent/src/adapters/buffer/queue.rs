//! Queue of the buffer's thread, bounded by bytes, so that a flood of records takes a bounded
//! amount of memory.
//!
//! See decisions 0046 and 0066.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use holdfast_base::ids::Name;
use holdfast_records::block::MAX_RECORD;
use holdfast_records::{DataPolicies, Format, Given, Range, RangeSet, StreamName};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use super::answers::{Page, Summary, Window};
use crate::adapters::clock::Time;
use crate::core::data::Limits;
use crate::core::data::places::{MAX_OF_ONE, MAX_STREAMS};
use crate::core::data::step::{Gather, Publish, Ready};

/// Memory that queued records may take, in units of [`UNIT`]: 4 MiB.
const MAX_ROOM: u32 = 4_096;
/// Unit of the room in the queue, in bytes.
const UNIT: usize = 1_024;
/// Memory that a record takes beside its value, in bytes.
const OVERHEAD: usize = 64;
/// Bytes that one step stores: some thousand records. The thread needs a few times that in memory.
pub(super) const GROUP_BYTES: usize = 1024 * 1024;
/// Longest queue of calls that may be dropped; the driver and a few queries make one at a time.
const MAX_CALLS: usize = 256;
/// Most threads that may be lost to a panic; each leaves its stack and an open file behind.
pub(super) const MAX_LOST: u32 = 3;

/// Reasons why records were not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The queue is full: try again.
    #[error("the buffer is busy; try again")]
    Busy,
    /// The disk takes no more.
    #[error("the disk takes no more: {0}")]
    DiskFull(String),
    /// The records were numbered and dropped, as the stream's policy says: their sequence numbers
    /// are in the gap ledger.
    #[error(
        "0 records are stored, {} are dropped: the stream has used up its quota, or the buffer is full of what goes before it, and what comes is dropped. Publish less, raise spec.quota or spec.priority, set spec.overflow to drop-oldest or thin, or have more of it shipped",
        .0.len()
    )]
    Dropped(Range),
    /// The device has [`MAX_STREAMS`] streams already.
    #[error(
        "this device has {MAX_STREAMS} streams already, the most that it may have, and there is something left of each"
    )]
    TooManyStreams,
    /// The publisher has made [`MAX_OF_ONE`] streams already.
    #[error(
        "you have made {MAX_OF_ONE} streams already, the most that one workload or local access may make, and there is something left of each: publish to fewer names"
    )]
    TooManyOfOne,
    /// A record is larger than [`MAX_RECORD`] bytes.
    #[error("a record is larger than {MAX_RECORD} bytes")]
    TooLarge,
    /// The buffer is closed.
    #[error("the buffer is closed")]
    Closed,
}

/// Sends the outcome of an append: the sequence numbers given, or the reason for refusal.
pub(super) type Reply = oneshot::Sender<Result<Range, Refused>>;

/// Records of one stream that are to be stored.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) publish: Publish,
    /// Bytes that the records take in memory.
    pub(super) size: usize,
    pub(super) reply: Reply,
    /// Room in the queue, given back when this is dropped.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

impl Append {
    /// Checks the records' sizes; returns the append and the receiver of its outcome.
    pub(super) fn new(
        owner: Option<Name>,
        stream: StreamName,
        (time, doubted): (u64, bool),
        records: Vec<(Format, Vec<u8>)>,
    ) -> Result<(Self, oneshot::Receiver<Result<Range, Refused>>), Refused> {
        if records.iter().any(|(_, value)| value.len() > MAX_RECORD) {
            return Err(Refused::TooLarge);
        }
        let (reply, answer) = oneshot::channel();
        let size = records.iter().map(|(_, value)| value.len() + OVERHEAD).sum();
        let publish = Publish { owner, stream, time, doubted, records };
        Ok((Self { publish, size, reply, room: None }, answer))
    }

    fn units(&self) -> u32 {
        // A single append larger than the whole room waits until it has all of it to itself.
        u32::try_from(self.size.div_ceil(UNIT)).unwrap_or(MAX_ROOM).min(MAX_ROOM)
    }
}

/// Calls that the thread handles besides appends.
#[derive(Debug)]
pub(super) enum Job {
    Read {
        stream: StreamName,
        window: Window,
        max_bytes: usize,
        reply: oneshot::Sender<Page>,
    },
    Batch {
        stream: StreamName,
        bytes: usize,
        reply: oneshot::Sender<Option<Ready>>,
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
        reply: oneshot::Sender<()>,
    },
    Store {
        store: u64,
    },
    Want {
        stream: StreamName,
        since: u64,
        until: u64,
        most: u64,
        reply: oneshot::Sender<(u64, u64)>,
    },
    Expire {
        now: u64,
    },
    KeepLedger {
        bytes: Vec<u8>,
    },
    KeptLedger {
        reply: oneshot::Sender<Vec<u8>>,
    },
    Summary {
        reply: oneshot::Sender<Summary>,
    },
    Close {
        reply: oneshot::Sender<()>,
    },
}

/// Next thing for the thread to do.
#[derive(Debug)]
pub(super) enum Next {
    /// Store this group of appends.
    Store(Vec<Append>),
    /// Handle this call.
    Call(Job),
    /// Nothing came within the idle time.
    Idle,
}

#[derive(Debug, Default)]
struct Waiting {
    appends: VecDeque<Append>,
    size: usize,
    /// Time at which the first of `appends` has to be stored.
    due: Option<Instant>,
    step: Gather,
    jobs: VecDeque<Job>,
    policies: Arc<DataPolicies>,
    started: bool,
    closed: bool,
    /// True when it was closed because no thread could be kept.
    failed: bool,
    /// Number of threads lost to a panic.
    lost: u32,
    /// Replies due for the group that the thread is storing.
    in_hand: Vec<Reply>,
}

/// Queue that the handles and the thread share.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) data: PathBuf,
    pub(super) limits: Limits,
    pub(super) time: Time,
    pub(super) changed: Notify,
    /// Starts a thread for the queue. False when the system gives none.
    spawn: fn(Arc<Queue>) -> bool,
    waiting: Mutex<Waiting>,
    wake: Condvar,
    room: Arc<Semaphore>,
}

impl Queue {
    pub(super) fn new(
        data: PathBuf,
        limits: Limits,
        time: Time,
        spawn: fn(Arc<Queue>) -> bool,
    ) -> Self {
        let room = usize::try_from(MAX_ROOM).unwrap_or(usize::MAX);
        Self {
            data,
            limits,
            time,
            changed: Notify::new(),
            spawn,
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

    /// True when the queue closed by itself and takes nothing any more.
    pub(super) fn has_failed(&self) -> bool {
        self.lock().failed
    }

    /// Starts the thread unless it runs.
    pub(super) fn start(self: &Arc<Self>) {
        let mut waiting = self.lock();
        if !waiting.started && !waiting.closed {
            waiting.started = (self.spawn)(Arc::clone(self));
            waiting.failed = !waiting.started;
            waiting.closed = waiting.failed;
        }
    }

    /// Queues records as soon as there is room.
    pub(super) async fn put_waiting(self: &Arc<Self>, mut append: Append) -> Result<(), Refused> {
        let room = Arc::clone(&self.room).acquire_many_owned(append.units()).await;
        append.room = Some(room.map_err(|_| Refused::Closed)?);
        self.put(append)
    }

    /// Queues records if there is room now.
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
        let policy = waiting.policies.of(&append.publish.stream);
        let gather = policy.map_or(0, |(_, policy)| policy.durability_ms);
        let due = Instant::now() + Duration::from_millis(gather.into());
        let sooner = waiting.due.is_none_or(|known| due < known);
        if sooner {
            waiting.due = Some(due);
        }
        let before = waiting.size;
        let wanted = waiting.step.wanted();
        waiting.size += append.size;
        waiting.appends.push_back(append);
        // A thread that is gathering is woken when the new append is due sooner than all others, or
        // fills the group, or completes what is expected of the publishers answered last.
        let is_enough = |enough| before < enough && waiting.size >= enough;
        if sooner || is_enough(GROUP_BYTES) || is_enough(wanted) {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Queues a call for the thread. A read, batch or summary beyond [`MAX_CALLS`] is dropped, and
    /// its caller sees the channel close.
    pub(super) fn ask(&self, job: Job) {
        let mut waiting = self.lock();
        if waiting.closed || !waiting.started {
            return;
        }
        let must = !matches!(job, Job::Read { .. } | Job::Batch { .. } | Job::Summary { .. });
        if must || waiting.jobs.len() < MAX_CALLS {
            waiting.jobs.push_back(job);
            self.wake.notify_one();
        }
    }

    /// Replaces the policies of all streams.
    pub(super) fn follow(&self, policies: Arc<DataPolicies>) {
        self.lock().policies = policies;
        self.wake.notify_one();
    }

    pub(super) fn current(&self) -> Arc<DataPolicies> {
        Arc::clone(&self.lock().policies)
    }

    /// Waits for the next thing to do. Appends go first, but one call goes between two groups
    /// (`call_first`), so that neither starves.
    pub(super) fn next(&self, idle: Duration, call_first: bool) -> Next {
        let mut waiting = self.lock();
        waiting.step.ended(Instant::now());
        loop {
            if (call_first || waiting.appends.is_empty())
                && let Some(job) = waiting.jobs.pop_front()
            {
                return Next::Call(job);
            }
            let now = Instant::now();
            let due = waiting.due.unwrap_or(now + idle);
            let due = waiting.step.due(due, waiting.size);
            if !waiting.appends.is_empty() && (waiting.size >= GROUP_BYTES || now >= due) {
                return Next::Store(waiting.take());
            }
            if let Some(job) = waiting.jobs.pop_front() {
                return Next::Call(job);
            }
            let wait = self.wake.wait_timeout(waiting, due.saturating_duration_since(now));
            let (back, late) = wait.unwrap_or_else(PoisonError::into_inner);
            waiting = back;
            if late.timed_out() && waiting.appends.is_empty() && waiting.jobs.is_empty() {
                return Next::Idle;
            }
        }
    }

    /// Keeps the replies of the group in hand, so that they are sent even if the thread panics.
    pub(super) fn hold(&self, answers: Vec<Reply>) {
        self.lock().in_hand = answers;
    }

    /// Takes back the replies given to [`Queue::hold`].
    pub(super) fn release(&self) -> Vec<Reply> {
        std::mem::take(&mut self.lock().in_hand)
    }

    /// Ends the account of a thread that panicked: answers its group, and starts another thread
    /// unless [`MAX_LOST`] were lost.
    pub(super) fn lost(self: &Arc<Self>) {
        for answer in self.release() {
            let _nobody = answer.send(Err(Refused::Busy));
        }
        let mut waiting = self.lock();
        waiting.lost += 1;
        waiting.started = waiting.lost <= MAX_LOST && (self.spawn)(Arc::clone(self));
        if !waiting.started {
            waiting.failed = true;
            waiting.close();
        }
    }

    /// Closes the queue for good.
    pub(super) fn close(&self) {
        self.lock().close();
        self.room.close();
    }
}

impl Waiting {
    /// Takes a group: queued appends in order, up to about [`GROUP_BYTES`] bytes.
    fn take(&mut self) -> Vec<Append> {
        let mut group = Vec::new();
        let mut size = 0;
        while let Some(append) = self.appends.pop_front() {
            size += append.size;
            group.push(append);
            if size >= GROUP_BYTES {
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
            let _nobody = append.reply.send(Err(Refused::Closed));
        }
        self.jobs.clear();
        self.size = 0;
    }
}
