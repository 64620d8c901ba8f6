//! Answers calls of the control plane: the log of a workload, once or as it grows; questions about
//! the records of a stream.

mod question;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdfast_base::WIRE_VERSION;
use holdfast_base::codec;
use holdfast_base::ids::Name;
use holdfast_protocol::message::{Fetched, LogPart, MAX_REPLY_BODY, Reply};
use holdfast_query::Question;
use holdfast_records::StreamName;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::adapters::buffer::Buffer;
use crate::adapters::clock::{Time, uptime_ms};
use crate::adapters::link::Outlet;
use crate::adapters::logs::{self, Histories};
use crate::core::history::History;

/// Calls answered at the same time; one more is refused.
const AT_ONCE: usize = 8;
/// Questions answered at the same time: each may take a few megabytes of memory.
const QUESTIONS: usize = 2;
/// How often a log that is followed is looked at.
const LOOK: Duration = Duration::from_millis(300);
/// Longest that one call may be followed without being repeated, in seconds.
const MAX_FOLLOW: u32 = 300;

/// How often a call that takes long says that it is at work.
const SIGN: Duration = Duration::from_secs(5);

/// Told what came of a call whose answer waits for the loop.
pub type Done = oneshot::Sender<Result<(), String>>;

/// A log that is asked for.
#[derive(Debug)]
pub struct LogCall {
    /// The call's number.
    pub id: u64,
    /// The log; None: there is no such workload here.
    pub log: Option<PathBuf>,
    /// The workload that wrote it.
    pub workload: Name,
    /// The part that is asked for.
    pub part: LogPart,
    /// What is known of the logs.
    pub histories: Histories,
    /// What tells the time of what nobody has looked at yet.
    pub time: Time,
    /// Why the link's budget allows none; None: it does.
    pub held: Option<String>,
}

/// A question about the records of a stream.
#[derive(Debug)]
pub struct QueryCall {
    /// The call's number.
    pub id: u64,
    /// Which stream.
    pub stream: StreamName,
    /// What is asked.
    pub question: Box<Question>,
    /// How long it may take, in milliseconds.
    pub within_ms: u32,
    /// Why the link's budget for logs, which answers count as, allows none; None: it does.
    pub held: Option<String>,
}

/// Records that are to be shipped as they are.
#[derive(Debug)]
pub struct FetchCall {
    /// The call's number.
    pub id: u64,
    /// Which stream.
    pub stream: StreamName,
    /// From when to when, both within, in milliseconds since 1970.
    pub window: (u64, u64),
    /// At most so many bytes.
    pub bytes: Option<u64>,
}

/// A call under way.
#[derive(Debug)]
struct Open {
    /// When a log is no longer followed, in milliseconds since the boot.
    deadline: Arc<AtomicU64>,
    task: JoinHandle<()>,
    is_question: bool,
}

/// The calls under way.
#[derive(Debug, Default)]
pub struct Calls {
    open: BTreeMap<u64, Open>,
}

impl Calls {
    /// Answers, or prolongs an answer under way.
    pub fn log(&mut self, outlet: &Outlet, call: LogCall) {
        self.tidy();
        let until = uptime_ms() + u64::from(call.part.follow_seconds.min(MAX_FOLLOW)) * 1000;
        if let Some(open) = self.open.get(&call.id) {
            open.deadline.store(until, Ordering::Relaxed);
            return;
        }
        let mut answer = Answer { outlet: outlet.clone(), id: call.id, sequence: 0 };
        let busy = self.open.len() >= AT_ONCE;
        let deadline = Arc::new(AtomicU64::new(until));
        let id = call.id;
        let shared = Arc::clone(&deadline);
        let task = tokio::spawn(async move {
            match (&call.log, &call.held) {
                (_, Some(why)) => answer.fail(why).await,
                _ if busy => answer.fail("too many calls at once; try again").await,
                (None, None) => answer.fail("this device has no such workload").await,
                (Some(log), None) => answer.stream(log, &call, &shared).await,
            }
        });
        if !busy {
            self.open.insert(id, Open { deadline, task, is_question: false });
        }
    }

    fn tidy(&mut self) {
        self.open.retain(|_, open| !open.task.is_finished());
    }

    /// Answers a question; one that is being answered is not begun again.
    pub fn query(&mut self, outlet: &Outlet, buffer: Buffer, call: QueryCall) {
        self.tidy();
        if self.open.contains_key(&call.id) {
            return;
        }
        let id = call.id;
        let mut answer = Answer { outlet: outlet.clone(), id, sequence: 0 };
        let questions = self.open.values().filter(|open| open.is_question).count();
        let busy = questions >= QUESTIONS || self.open.len() >= AT_ONCE;
        let begins = !busy && call.held.is_none();
        let task = tokio::spawn(async move {
            if let Some(why) = &call.held {
                // An answer may be as large as what it saves the link from.
                answer.fail(why).await;
            } else if busy {
                answer.fail("busy: it is answering other questions; try again").await;
            } else {
                answer.question(&buffer, &call).await;
            }
        });
        if begins {
            self.open.insert(id, Open { deadline: Arc::default(), task, is_question: true });
        }
    }

    /// Marks records for being shipped, and says how many.
    pub fn fetch(&mut self, outlet: &Outlet, buffer: Buffer, call: FetchCall) {
        self.tidy();
        let mut answer = Answer { outlet: outlet.clone(), id: call.id, sequence: 0 };
        let busy = self.open.len() >= AT_ONCE;
        let id = call.id;
        let task = tokio::spawn(async move {
            if busy {
                return answer.fail("too many calls at once; try again").await;
            }
            let most = call.bytes.unwrap_or(u64::MAX);
            let (records, bytes) = buffer.want(&call.stream, call.window, most).await;
            match serde_cbor::to_vec(&Fetched { records, bytes }) {
                Ok(body) => {
                    answer.send(body, true, None).await;
                }
                Err(error) => answer.fail(&error.to_string()).await,
            }
        });
        if !busy {
            self.open.insert(id, Open { deadline: Arc::default(), task, is_question: false });
        }
    }

    /// Answers once it is told what came of the call. None: it is under way, or one too many, which
    /// is said.
    pub fn later(&mut self, outlet: &Outlet, id: u64) -> Option<Done> {
        self.tidy();
        if self.open.contains_key(&id) {
            return None;
        }
        let (tell, mut told): (Done, _) = oneshot::channel();
        let busy = self.open.len() >= AT_ONCE;
        let mut answer = Answer { outlet: outlet.clone(), id, sequence: 0 };
        let task = tokio::spawn(async move {
            if busy {
                return answer.fail("too many calls at once; try again").await;
            }
            loop {
                tokio::select! {
                    result = &mut told => {
                        if let Ok(result) = result {
                            answer.send(Vec::new(), true, result.err()).await;
                        }
                        return;
                    }
                    () = tokio::time::sleep(SIGN) => {
                        answer.send(Vec::new(), false, None).await;
                    }
                }
            }
        });
        if busy {
            return None;
        }
        self.open.insert(id, Open { deadline: Arc::default(), task, is_question: false });
        Some(tell)
    }

    /// Ends an answer early.
    pub fn cancel(&mut self, id: u64) {
        if let Some(open) = self.open.remove(&id) {
            open.task.abort();
        }
    }

    /// The connection is gone: nobody reads.
    pub fn end(&mut self) {
        while let Some((_, open)) = self.open.pop_first() {
            open.task.abort();
        }
    }
}

impl LogCall {
    /// Looks at what is known of the log. None: the workload was removed.
    fn look<T>(&self, look: impl FnOnce(&mut History) -> T) -> Option<T> {
        self.histories.lock().get_mut(&self.workload).map(look)
    }
}

/// A piece of a log on its way.
struct Piece {
    /// Number of the log.
    log: u32,
    /// Offset of the first byte.
    at: u64,
    bytes: Vec<u8>,
    /// What the reply says about them.
    place: Vec<u64>,
}

impl Piece {
    fn read(
        path: &Path,
        history: &mut History,
        call: &LogCall,
        (at, end): (u64, u64),
        expected: (u32, u64),
    ) -> std::io::Result<Self> {
        // Another log than before: from its beginning.
        let at = if expected.0 == 0 || expected.0 == history.id { at } else { history.base };
        let (at, bytes) = logs::read(path, history, at, end, MAX_REPLY_BODY)?;
        let log = history.id;
        let mut place = Vec::new();
        let times = call.part.times && !bytes.is_empty();
        if times || expected != (log, at) {
            place.extend([u64::from(log), at]);
        }
        if times {
            let to = at.saturating_add(u64::try_from(bytes.len()).unwrap_or(0));
            place.extend(history.times(at, to, known_seconds(&call.time)));
        }
        Ok(Self { log, at, bytes, place })
    }
}

/// Seconds since 1970. 0: the clock is wrong.
pub fn known_seconds(time: &Time) -> u64 {
    if time.is_relied_on() { time.now() } else { 0 }
}

struct Answer {
    outlet: Outlet,
    id: u64,
    sequence: u32,
}

impl Answer {
    async fn stream(&mut self, log: &Path, call: &LogCall, deadline: &AtomicU64) {
        let Some(begun) = call.look(|history| logs::span(log, history, &call.part)) else {
            return self.fail("its log is gone: the workload was removed").await;
        };
        let (mut at, end) = match begun {
            Ok(span) => span,
            Err(why) => return self.fail(&why).await,
        };
        let follows = end == u64::MAX && call.part.follow_seconds > 0;
        // Which log, and from where on, the caller expects what comes next.
        let mut expected = (call.part.log, call.part.from);
        // Whoever follows a log that is silent is told that this device is there: at the beginning,
        // and whenever it is asked again.
        let mut answered = 0;
        while at < end {
            let asked = deadline.load(Ordering::Relaxed);
            if follows && uptime_ms() >= asked {
                break;
            }
            let Some(piece) =
                call.look(|history| Piece::read(log, history, call, (at, end), expected))
            else {
                break;
            };
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => return self.fail(&format!("the log cannot be read: {error}")).await,
            };
            let nothing = piece.bytes.is_empty();
            let after = piece.at.saturating_add(u64::try_from(piece.bytes.len()).unwrap_or(0));
            if (!nothing || piece.place.len() == 2 || (follows && asked != answered))
                && !self.send_log(piece.bytes, piece.place).await
            {
                return;
            }
            answered = asked;
            (at, expected) = (after, (piece.log, after));
            if nothing {
                if !follows {
                    break;
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        self.send(Vec::new(), true, None).await;
    }

    async fn fail(&mut self, why: &str) {
        self.send(Vec::new(), true, Some(why.to_owned())).await;
    }

    async fn send(&mut self, body: Vec<u8>, end: bool, error: Option<String>) -> bool {
        self.reply(body, end, error, Vec::new()).await
    }

    async fn send_log(&mut self, body: Vec<u8>, log: Vec<u64>) -> bool {
        self.reply(body, false, None, log).await
    }

    async fn reply(
        &mut self,
        body: Vec<u8>,
        end: bool,
        error: Option<String>,
        log: Vec<u64>,
    ) -> bool {
        let (v, id, sequence) = (WIRE_VERSION, self.id, self.sequence);
        let reply = Reply { v, id, sequence, body, end, error, log };
        self.sequence += 1;
        match codec::encode(&reply) {
            Ok(payload) => self.outlet.reply(payload, !reply.is_single()).await,
            Err(_) => false,
        }
    }
}
