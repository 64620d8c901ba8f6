//! Answers calls of the control plane: reading or following a workload's log, and queries over the
//! records of a stream.
//!
//! See decisions 0116 and 0127.

mod question;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdfast_base::WIRE_VERSION;
use holdfast_base::codec;
use holdfast_base::ids::Name;
use holdfast_protocol::message::{Fetched, LogPart, MAX_REPLY_BODY, Reply, ReplyCode, ReplyError};
use holdfast_query::Question;
use holdfast_records::StreamName;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::adapters::buffer::Buffer;
use crate::adapters::clock::{Time, uptime_ms};
use crate::adapters::link::Outlet;
use crate::adapters::logs::{self, Histories, NoPart};
use crate::adapters::tasks;
use crate::core::history::History;

/// Most calls at the same time; one more is refused.
const MAX_CALLS: usize = 8;
/// Most queries at the same time; each may take a few megabytes of memory.
const MAX_QUERIES: usize = 2;
/// Text of the refusal of one more call than [`MAX_CALLS`].
const TOO_MANY_CALLS: &str = "too many calls at once; try again";
/// Interval at which a followed log is read.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(300);
/// Longest time that one call is followed without being repeated, in seconds.
const MAX_FOLLOW: u32 = 300;

/// Interval of the signs of life of a call that takes long.
const SIGN_INTERVAL: Duration = Duration::from_secs(5);

/// Sender for the outcome of a call that the driver carries out.
pub type Done = oneshot::Sender<Result<Vec<u8>, ReplyError>>;

/// A call that reads or follows a workload's log.
#[derive(Debug)]
pub struct LogCall {
    /// Id of the call.
    pub id: u64,
    /// Path of the log; `None` when there is no such workload.
    pub log: Option<PathBuf>,
    /// Workload that wrote the log.
    pub workload: Name,
    /// Part of the log that is requested.
    pub part: LogPart,
    /// Histories of all logs.
    pub histories: Histories,
    /// Clock that dates lines which no size poll has dated yet.
    pub time: Time,
    /// Reason why the link's budget forbids a reply; `None` when it allows one.
    pub held: Option<String>,
}

/// A query over the records of a stream.
#[derive(Debug)]
pub struct QueryCall {
    /// Id of the call.
    pub id: u64,
    /// Stream to query.
    pub stream: StreamName,
    /// The query.
    pub question: Box<Question>,
    /// Longest time for the reply, in milliseconds.
    pub within_ms: u32,
    /// Reason why the link's budget for logs, under which replies count, forbids one; `None` when
    /// it allows one.
    pub held: Option<String>,
}

/// A request to ship records in full.
#[derive(Debug)]
pub struct FetchCall {
    /// Id of the call.
    pub id: u64,
    /// Stream of the records.
    pub stream: StreamName,
    /// First and last time, both inclusive, in milliseconds since 1970.
    pub window: (u64, u64),
    /// Most bytes on disk; `None` for no bound.
    pub bytes: Option<u64>,
}

/// A call under way.
#[derive(Debug)]
struct Open {
    /// Time until which a log is followed, by [`uptime_ms`].
    deadline: Arc<AtomicU64>,
    task: JoinHandle<()>,
    is_question: bool,
}

/// Calls under way, by id.
#[derive(Debug, Default)]
pub struct Calls {
    open: BTreeMap<u64, Open>,
}

impl Calls {
    /// Answers a log call; a repeated call prolongs the one under way.
    pub fn log(&mut self, outlet: &Outlet, call: LogCall) {
        self.remove_finished();
        let until = uptime_ms() + u64::from(call.part.follow_seconds.min(MAX_FOLLOW)) * 1000;
        if let Some(open) = self.open.get(&call.id) {
            open.deadline.store(until, Ordering::Relaxed);
            return;
        }
        let mut responder = Responder { outlet: outlet.clone(), id: call.id, sequence: 0 };
        let busy = self.open.len() >= MAX_CALLS;
        let deadline = Arc::new(AtomicU64::new(until));
        let id = call.id;
        let shared = Arc::clone(&deadline);
        let task = tasks::spawn(async move {
            match (&call.log, &call.held) {
                (_, Some(why)) => responder.fail(ReplyCode::OverBudget, why).await,
                _ if busy => responder.fail(ReplyCode::Busy, TOO_MANY_CALLS).await,
                (None, None) => {
                    responder.fail(ReplyCode::NotFound, "this device has no such workload").await;
                }
                (Some(log), None) => responder.stream(log, &call, &shared).await,
            }
        });
        if !busy {
            self.open.insert(id, Open { deadline, task, is_question: false });
        }
    }

    fn remove_finished(&mut self) {
        self.open.retain(|_, open| !open.task.is_finished());
    }

    /// Answers a query; a repeated call is ignored while the first is under way.
    pub fn query(&mut self, outlet: &Outlet, buffer: Buffer, call: QueryCall) {
        self.remove_finished();
        if self.open.contains_key(&call.id) {
            return;
        }
        let id = call.id;
        let mut responder = Responder { outlet: outlet.clone(), id, sequence: 0 };
        let questions = self.open.values().filter(|open| open.is_question).count();
        let busy = questions >= MAX_QUERIES || self.open.len() >= MAX_CALLS;
        let begins = !busy && call.held.is_none();
        let task = tasks::spawn(async move {
            if let Some(why) = &call.held {
                // A reply may be as large as the records that the budget keeps off the link.
                responder.fail(ReplyCode::OverBudget, why).await;
            } else if busy {
                let why = "busy: it is answering other questions; try again";
                responder.fail(ReplyCode::Busy, why).await;
            } else {
                responder.question(&buffer, &call).await;
            }
        });
        if begins {
            self.open.insert(id, Open { deadline: Arc::default(), task, is_question: true });
        }
    }

    /// Requests records in full, and replies how many there are.
    pub fn fetch(&mut self, outlet: &Outlet, buffer: Buffer, call: FetchCall) {
        self.remove_finished();
        let mut responder = Responder { outlet: outlet.clone(), id: call.id, sequence: 0 };
        let busy = self.open.len() >= MAX_CALLS;
        let id = call.id;
        let task = tasks::spawn(async move {
            if busy {
                return responder.fail(ReplyCode::Busy, TOO_MANY_CALLS).await;
            }
            let most = call.bytes.unwrap_or(u64::MAX);
            let (records, bytes) = buffer.request(&call.stream, call.window, most).await;
            match serde_cbor::to_vec(&Fetched { records, bytes }) {
                Ok(body) => {
                    responder.send(body, true, None).await;
                }
                Err(error) => responder.fail(ReplyCode::Failed, error.to_string()).await,
            }
        });
        if !busy {
            self.open.insert(id, Open { deadline: Arc::default(), task, is_question: false });
        }
    }

    /// Replies with this body at once.
    pub fn tell(&mut self, outlet: &Outlet, id: u64, body: Vec<u8>) {
        self.remove_finished();
        if self.open.contains_key(&id) {
            return;
        }
        let busy = self.open.len() >= MAX_CALLS;
        let mut responder = Responder { outlet: outlet.clone(), id, sequence: 0 };
        let task = tasks::spawn(async move {
            if busy {
                return responder.fail(ReplyCode::Busy, TOO_MANY_CALLS).await;
            }
            responder.send(body, true, None).await;
        });
        if !busy {
            self.open.insert(id, Open { deadline: Arc::default(), task, is_question: false });
        }
    }

    /// Registers a call that the driver carries out, and replies once the outcome is sent. `None`
    /// when it is under way already, or was refused because there are too many.
    pub fn defer(&mut self, outlet: &Outlet, id: u64) -> Option<Done> {
        self.remove_finished();
        if self.open.contains_key(&id) {
            return None;
        }
        let (tell, mut outcome): (Done, _) = oneshot::channel();
        let busy = self.open.len() >= MAX_CALLS;
        let mut responder = Responder { outlet: outlet.clone(), id, sequence: 0 };
        let task = tasks::spawn(async move {
            if busy {
                return responder.fail(ReplyCode::Busy, TOO_MANY_CALLS).await;
            }
            loop {
                tokio::select! {
                    result = &mut outcome => {
                        if let Ok(result) = result {
                            responder.finish(result).await;
                        }
                        return;
                    }
                    () = tokio::time::sleep(SIGN_INTERVAL) => {
                        responder.send(Vec::new(), false, None).await;
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

    /// Stops a call early.
    pub fn cancel(&mut self, id: u64) {
        if let Some(open) = self.open.remove(&id) {
            open.task.abort();
        }
    }

    /// Stops all calls after the connection was lost: nobody would read the replies.
    pub fn end(&mut self) {
        while let Some((_, open)) = self.open.pop_first() {
            open.task.abort();
        }
    }
}

impl LogCall {
    /// Runs `look` on the history of the log. `None` when the workload was removed.
    fn with_history<T>(&self, look: impl FnOnce(&mut History) -> T) -> Option<T> {
        self.histories.lock().get_mut(&self.workload).map(look)
    }
}

/// A piece of a log, ready to be sent.
struct Piece {
    /// Number of the log.
    log: u32,
    /// Offset of the first byte.
    at: u64,
    bytes: Vec<u8>,
    /// Values for the reply's `log` field: number, offset and times.
    position: Vec<u64>,
}

impl Piece {
    fn read(
        path: &Path,
        history: &mut History,
        call: &LogCall,
        (at, end): (u64, u64),
        expected: (u32, u64),
    ) -> std::io::Result<Self> {
        // The log was replaced since the caller last read: begin with the new one's start.
        let at = if expected.0 == 0 || expected.0 == history.id { at } else { history.base };
        let (at, bytes) = logs::read(path, history, at, end, MAX_REPLY_BODY)?;
        let log = history.id;
        let mut position = Vec::new();
        let times = call.part.times && !bytes.is_empty();
        if times || expected != (log, at) {
            position.extend([u64::from(log), at]);
        }
        if times {
            let to = at.saturating_add(u64::try_from(bytes.len()).unwrap_or(0));
            position.extend(history.times(at, to, known_seconds(&call.time)));
        }
        Ok(Self { log, at, bytes, position })
    }
}

/// Seconds since 1970; 0 when the clock cannot be relied on.
pub fn known_seconds(time: &Time) -> u64 {
    if time.is_relied_on() { time.now() } else { 0 }
}

struct Responder {
    outlet: Outlet,
    id: u64,
    sequence: u32,
}

impl Responder {
    async fn stream(&mut self, log: &Path, call: &LogCall, deadline: &AtomicU64) {
        let Some(begun) = call.with_history(|history| logs::span(log, history, &call.part)) else {
            let why = "its log is gone: the workload was removed";
            return self.fail(ReplyCode::NotFound, why).await;
        };
        let (mut at, end) = match begun {
            Ok(span) => span,
            Err(why) => return self.refuse(why.into()).await,
        };
        let follows = end == u64::MAX && call.part.follow_seconds > 0;
        // The log number and offset at which the caller expects the next bytes; only where they
        // differ, the reply names them.
        let mut expected = (call.part.log, call.part.from);
        // A caller that follows a silent log learns that this device is there: at the beginning,
        // and each time it repeats the call.
        let mut answered = 0;
        while at < end {
            let asked = deadline.load(Ordering::Relaxed);
            if follows && uptime_ms() >= asked {
                break;
            }
            let Some(piece) =
                call.with_history(|history| Piece::read(log, history, call, (at, end), expected))
            else {
                break;
            };
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => return self.refuse(NoPart::Unreadable(error).into()).await,
            };
            let nothing = piece.bytes.is_empty();
            let after = piece.at.saturating_add(u64::try_from(piece.bytes.len()).unwrap_or(0));
            if (!nothing || piece.position.len() == 2 || (follows && asked != answered))
                && !self.send_log(piece.bytes, piece.position).await
            {
                return;
            }
            answered = asked;
            (at, expected) = (after, (piece.log, after));
            if nothing {
                if !follows {
                    break;
                }
                tokio::time::sleep(FOLLOW_INTERVAL).await;
            }
        }
        self.send(Vec::new(), true, None).await;
    }

    async fn fail(&mut self, code: ReplyCode, why: impl Into<String>) {
        self.refuse(ReplyError::new(code, why)).await;
    }

    async fn refuse(&mut self, error: ReplyError) {
        self.send(Vec::new(), true, Some(error)).await;
    }

    async fn send(&mut self, body: Vec<u8>, end: bool, error: Option<ReplyError>) -> bool {
        self.reply(body, end, error, Vec::new()).await
    }

    /// Sends the whole outcome of a call, in as many pieces as it takes.
    async fn finish(&mut self, outcome: Result<Vec<u8>, ReplyError>) {
        let body = match outcome {
            Ok(body) => body,
            Err(why) => {
                self.send(Vec::new(), true, Some(why)).await;
                return;
            }
        };
        let mut pieces = body.chunks(MAX_REPLY_BODY).peekable();
        loop {
            let piece = pieces.next().unwrap_or_default();
            let last = pieces.peek().is_none();
            if !self.send(piece.to_vec(), last, None).await || last {
                return;
            }
        }
    }

    async fn send_log(&mut self, body: Vec<u8>, log: Vec<u64>) -> bool {
        self.reply(body, false, None, log).await
    }

    async fn reply(
        &mut self,
        body: Vec<u8>,
        end: bool,
        error: Option<ReplyError>,
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
