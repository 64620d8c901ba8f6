//! Calls to devices that wait for a reply: logs, questions, and fetches of records.
//!
//! See decisions 0006, 0106 and 0127.

mod looking;
mod query;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use holdfast_base::ids::{DeviceId, Name};
use holdfast_protocol::cost;
use holdfast_protocol::message::{Call, LogPart, MAX_REASON, Method, Reply, ReplyCode, ReplyError};
use holdfast_protocol::topic::{Channel, Topic};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Failure;
use super::data::Data;
use super::documents::Documents;
use crate::api::log::{LogHead, LogPiece};
use crate::core::rights::{Action, Actor};
use crate::ports::authority::Authority;
use crate::ports::bus::Bus;
use crate::service::rights::may;

use looking::Looking;
use query::Questions;

pub use query::Asking;

/// Maximum number of pieces, each of at most 16 KiB, that wait for a reader. A reader that is
/// slower than the device is cut off, so that memory stays bounded.
const WAITING: usize = 128;

/// Maximum number of calls that wait for replies at the same time.
const CALLS: usize = 1024;

/// Maximum number of logs that are read at the same time.
const LOGS: usize = 256;

/// Time without a sign of life after which a device counts as not answering. A device that works on
/// a question sends one every 5 s; calls and short replies are not acknowledged.
const PATIENCE: Duration = Duration::from_secs(20);

/// Time for which a device follows a log without being asked again, in seconds.
const FOLLOW_SECONDS: u32 = 30;

/// Time after which a followed log is asked for again; well below [`FOLLOW_SECONDS`].
const FOLLOW_AGAIN: Duration = Duration::from_secs(10);

/// Maximum number of lines from the end of a log.
const MAX_TAIL: u32 = 100_000;

/// Item of a call's channel: a piece of the reply, or why there are no more.
pub type Piece = Result<Part, Cut>;

/// Reason why no more pieces of a reply come, although it is not whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cut {
    /// A piece has a sequence number beyond the expected one.
    #[error("a part of the answer was lost on the way")]
    Gap,
    /// The reader took the pieces more slowly than they came.
    #[error("it came faster than it was read, so the rest is cut: read it faster, or ask for less")]
    Slow,
    /// The device's connection ended before the reply did.
    #[error("the device's connection ended")]
    Disconnected,
    /// The device ended the call with this error.
    #[error(transparent)]
    Said(ReplyError),
}

/// One piece of a reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// Bytes of the reply.
    pub body: Bytes,
    /// Position and times of a log's bytes, see [`Reply::log`]; empty for any other call.
    log: Vec<u64>,
}

/// Call that waits for its reply.
#[derive(Debug)]
struct PendingCall {
    device: DeviceId,
    next: u32,
    is_log: bool,
    pieces: mpsc::Sender<Piece>,
    /// Length of the reply's topic, in bytes; 0 when the cost is not counted.
    topic: usize,
    /// Bytes that crossed the device's link for this call.
    crossed: Arc<AtomicU64>,
}

/// Calls that wait for replies.
#[derive(Debug, Default)]
struct Pending {
    calls: Mutex<BTreeMap<u64, PendingCall>>,
    /// Id of the last call. Ids are unique within this process, which is enough: a device's MQTT
    /// session ends with the process. They begin at 1, because small numbers are short on the wire.
    last: AtomicU64,
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, PendingCall>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_id(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Hands a piece of a reply, `bytes` long on the wire, to whoever waits for it. A reply to no
    /// known call, or from another device than the called one, is dropped.
    fn reply(&self, device: &DeviceId, reply: Reply, bytes: usize) {
        let mut all = self.lock();
        let Some(call) = all.get_mut(&reply.id).filter(|call| call.device == *device) else {
            return;
        };
        let cost = cost::publish(call.topic, bytes, !reply.is_single());
        call.crossed.fetch_add(cost, Ordering::Relaxed);
        if reply.sequence < call.next {
            return; // Sent again: its PUBACK was lost.
        }
        // `pieces` always keeps one free place for the reason why there are no more.
        let mut over = reply.end;
        if reply.sequence > call.next {
            over = true;
            drop(call.pieces.try_send(Err(Cut::Gap)));
        } else if let Some(error) = reply.error {
            over = true;
            let text: String = error.text.chars().take(MAX_REASON).collect();
            drop(call.pieces.try_send(Err(Cut::Said(ReplyError { text, ..error }))));
        } else if !reply.body.is_empty() || !reply.end {
            // A piece without a body that does not end the reply is a sign of life: it is passed
            // on, so that the reader's patience begins anew.
            if call.pieces.capacity() <= 1 {
                drop(call.pieces.try_send(Err(Cut::Slow)));
                // The device is told to stop once the reader has gone. `u32::MAX` makes pieces that
                // come until then look repeated, so that they are dropped.
                call.next = u32::MAX;
                return;
            }
            let part = Part { body: reply.body.into(), log: reply.log };
            over |= call.pieces.try_send(Ok(part)).is_err();
        }
        call.next = reply.sequence.saturating_add(1);
        if over {
            all.remove(&reply.id);
        }
    }

    /// Ends every call of a device whose connection ended.
    fn device_gone(&self, device: &DeviceId) {
        self.lock().retain(|_, call| {
            let stays = call.device != *device;
            if !stays {
                drop(call.pieces.try_send(Err(Cut::Disconnected)));
            }
            stays
        });
    }
}

/// Reason why a device was not called.
enum NotCalled {
    /// The device cannot be called at the moment.
    Now(NotNow),
    /// The call fails however often it is tried.
    Never(Failure),
}

impl From<Failure> for NotCalled {
    fn from(failure: Failure) -> Self {
        Self::Never(failure)
    }
}

/// Reason why a device cannot be asked at the moment. The text follows the device's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotNow {
    /// Device without a connection.
    #[error("is offline")]
    Offline,
    /// Device that is connected and not ready for calls yet.
    #[error("has only just connected")]
    JustConnected,
    /// Connection that takes no more calls.
    #[error("takes no calls now")]
    NoCalls,
    /// Limit of devices that are asked at a time.
    #[error("too many devices are being asked already")]
    TooMany,
    /// Control plane that does not know whether another process has taken its place.
    #[error("is not called before the control plane's lease is renewed")]
    NoLease,
    /// The control plane is about to end.
    #[error("cannot be asked now")]
    Stopping,
}

/// Reason why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    /// The device cannot be asked at the moment and may be asked again.
    #[error(transparent)]
    Now(NotNow),
    /// No reply came in time, or a part of it was lost.
    #[error("does not answer")]
    Silent,
    /// The device gave this reason; an error without a code of the device has
    /// [`ReplyCode::Failed`].
    #[error(transparent)]
    Said(ReplyError),
    /// The question fails however often it is asked.
    #[error(transparent)]
    Never(Failure),
}

impl From<Failure> for NoAnswer {
    fn from(failure: Failure) -> Self {
        Self::Never(failure)
    }
}

impl From<Cut> for NoAnswer {
    fn from(cut: Cut) -> Self {
        match cut {
            Cut::Gap => Self::Silent,
            Cut::Said(error) => Self::Said(error),
            Cut::Slow | Cut::Disconnected => {
                Self::Said(ReplyError::new(ReplyCode::Failed, cut.to_string()))
            }
        }
    }
}

impl From<NotCalled> for NoAnswer {
    fn from(why: NotCalled) -> Self {
        match why {
            NotCalled::Now(why) => Self::Now(why),
            NotCalled::Never(failure) => Self::Never(failure),
        }
    }
}

/// Guard of a call that waits for its reply. Dropped before the reply's end, it tells the device to
/// stop.
struct Ending {
    calls: Arc<Calls>,
    device: DeviceId,
    id: u64,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let known = self.calls.pending.lock().remove(&self.id);
        if let Some(call) = known
            && let Ok(cost) = self.calls.try_call(&self.device, self.id, Method::Cancel)
        {
            call.crossed.fetch_add(cost, Ordering::Relaxed);
        }
    }
}

/// Reason why a log that is being read ends before it is whole.
#[derive(Debug, thiserror::Error)]
pub enum LogEnd {
    /// End of the device's reply.
    #[error(transparent)]
    Cut(Cut),
    /// No answer in time.
    #[error("the device does not answer")]
    Silent,
    /// Device that cannot be asked for more.
    #[error(transparent)]
    NotAsked(Failure),
    /// Control plane that is about to end.
    #[error("the control plane stops")]
    Stopping,
}

/// Log that is being read from a device. Dropped before its end, it tells the device to stop.
#[derive(Debug)]
pub struct LogStream {
    calls: Arc<Calls>,
    device: DeviceId,
    id: u64,
    method: Method,
    follow: bool,
    pieces: mpsc::Receiver<Piece>,
    ask_again: Instant,
    give_up: Instant,
    /// Time of the device's last piece, or of the call when none has come yet.
    heard: Instant,
    /// Expected position of the next piece: the log's number, and the byte offset in it.
    expected: (u32, u64),
}

impl LogStream {
    /// Waits for the next piece; `None` after the last one. While a log is followed and the device
    /// does not answer, a piece without bytes says so every 10 s.
    pub async fn next(&mut self) -> Option<Result<LogPiece, LogEnd>> {
        let received = self.receive().await?;
        Some(received.map(|part| match part {
            Some(part) => placed(&mut self.expected, part),
            None => LogPiece::silence(self.heard.elapsed().as_secs()),
        }))
    }

    /// Waits for the next piece as the device sent it; `Some(Ok(None))` when the device did not
    /// answer although it was asked again.
    async fn receive(&mut self) -> Option<Result<Option<Part>, LogEnd>> {
        loop {
            let wake = if self.follow { self.ask_again } else { self.give_up };
            tokio::select! {
                piece = self.pieces.recv() => {
                    self.heard = Instant::now();
                    self.give_up = self.heard + PATIENCE;
                    return piece.map(|piece| piece.map(Some).map_err(LogEnd::Cut));
                }
                () = tokio::time::sleep_until(wake) => {
                    if !self.follow {
                        self.pieces.close();
                        return Some(Err(LogEnd::Silent));
                    }
                    self.ask_again = Instant::now() + FOLLOW_AGAIN;
                    // A quiet log and a device that hangs look the same from here: the connection
                    // is checked.
                    self.calls.look(&self.device);
                    if let Err(failure) = self.calls.send_call(&self.device, self.id, self.method.clone()) {
                        self.pieces.close();
                        self.follow = false;
                        return Some(Err(LogEnd::NotAsked(failure)));
                    }
                    // A device answers every repeated call, so silence for this long means that it
                    // does not answer.
                    if self.heard.elapsed() >= FOLLOW_AGAIN {
                        return Some(Ok(None));
                    }
                }
            }
        }
    }
}

/// Computes a piece's position from what it states itself, or else from where the last piece ended;
/// `expected` moves to its end. Bytes between the two are counted as lost.
fn placed(expected: &mut (u32, u64), part: Part) -> LogPiece {
    let (mut log, mut offset) = *expected;
    let (mut lost, mut anew) = (0, false);
    let mut numbers = part.log.iter().copied();
    if let (Some(id), Some(at)) = (numbers.next(), numbers.next()) {
        let id = u32::try_from(id).unwrap_or(0);
        // Example: bytes up to offset 500 of log 7 came, and this piece is at offset 620 of log 7. The
        // 120 bytes between were overwritten before the device could send them. A piece of log 8
        // instead says that the log was begun anew, and nothing can be said of lost bytes.
        anew = log != 0 && log != id;
        lost = if log == id { at.saturating_sub(offset) } else { 0 };
        (log, offset) = (id, at);
    }
    let mut times = Vec::new();
    while let (Some(length), Some(time)) = (numbers.next(), numbers.next()) {
        times.push((length, time));
    }
    let length = u64::try_from(part.body.len()).unwrap_or(0);
    *expected = (log, offset.saturating_add(length));
    let head = LogHead { log, offset, length, lost, anew, times, ..LogHead::default() };
    LogPiece { body: part.body, head }
}

impl Drop for LogStream {
    fn drop(&mut self) {
        let known = self.calls.pending.lock().remove(&self.id);
        if known.is_some()
            && let Err(failure) = self.calls.send_call(&self.device, self.id, Method::Cancel)
        {
            tracing::debug!(device = %self.device, %failure, "a call could not be cancelled");
        }
    }
}

/// Length of a topic's text, in bytes.
fn topic(shard: u8, device: DeviceId, channel: Channel) -> usize {
    Topic { shard, device, channel }.to_string().len()
}

/// Calls to devices, and what waits for their replies: logs, questions, signs of life.
pub struct Calls {
    documents: Arc<Documents>,
    data: Arc<Data>,
    bus: Arc<dyn Bus>,
    authority: Arc<dyn Authority>,
    pending: Pending,
    questions: Questions,
    looking: Looking,
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls").field("pending", &self.pending).finish_non_exhaustive()
    }
}

impl Calls {
    pub(super) fn new(
        documents: Arc<Documents>,
        data: Arc<Data>,
        bus: Arc<dyn Bus>,
        authority: Arc<dyn Authority>,
    ) -> Self {
        Self {
            documents,
            data,
            bus,
            authority,
            pending: Pending::default(),
            questions: Questions::default(),
            looking: Looking::default(),
        }
    }

    /// Hands a piece of a reply, `bytes` long on the wire, to whoever waits for it.
    pub(super) fn reply(&self, device: &DeviceId, reply: Reply, bytes: usize) {
        self.pending.reply(device, reply, bytes);
    }

    /// Ends every call of a device whose connection began or ended: a call that was sent on a
    /// former connection gets no reply on another one.
    pub(super) fn device_gone(&self, device: &DeviceId) {
        self.pending.device_gone(device);
        self.looking.gone(device);
    }

    /// Asks a device for a part of a workload's log. The log is followed when `follow_seconds` is
    /// not 0.
    ///
    /// # Errors
    /// Returns a [`Failure`] when device or workload is unknown, the device is not connected, or
    /// too many logs are being read.
    pub fn logs(
        self: &Arc<Self>,
        actor: &Actor,
        device: &str,
        workload: &str,
        part: LogPart,
    ) -> Result<LogStream, Failure> {
        may(actor, Action::ReadLog, device)?;
        let id = self.pending.next_id();
        let (sender, pieces) = mpsc::channel(WAITING);
        let (name, workload) = {
            let model = self.documents.model(&actor.tenant);
            let known = model.devices.get(device).ok_or_else(|| Failure::no("device", device))?;
            let workload: Name = workload.parse().map_err(|_| Failure::no("workload", workload))?;
            let there = known.report.workload(&workload).is_some()
                || known.desired.workloads.iter().any(|(name, _)| *name == workload);
            if !there {
                return Err(Failure::NotFound(format!(
                    "device {device} has no workload {workload}"
                )));
            }
            let mut calls = self.pending.lock();
            let logs = calls.values().filter(|call| call.is_log).count();
            if calls.len() >= CALLS || logs >= LOGS {
                return Err(Failure::Unavailable("too many logs are being read already".into()));
            }
            let name = model.id(&known.record.name);
            let call = PendingCall {
                device: name.clone(),
                next: 0,
                is_log: true,
                pieces: sender,
                topic: 0,
                crossed: Arc::default(),
            };
            calls.insert(id, call);
            (name, workload)
        };
        let follow = part.follow_seconds > 0;
        let follow_seconds = if follow { FOLLOW_SECONDS } else { 0 };
        let part = LogPart { tail: part.tail.min(MAX_TAIL), follow_seconds, ..part };
        let method = Method::Logs { workload, part };
        if let Err(failure) = self.send_call(&name, id, method.clone()) {
            self.pending.lock().remove(&id);
            return Err(failure);
        }
        if follow {
            self.look(&name);
        }
        let now = Instant::now();
        Ok(LogStream {
            calls: Arc::clone(self),
            device: name,
            id,
            // The same call is sent again with the same id: the device then follows on and does not
            // begin anew.
            method,
            follow,
            pieces,
            ask_again: now + FOLLOW_AGAIN,
            give_up: now + PATIENCE,
            heard: now,
            expected: (part.log, part.from),
        })
    }

    /// Sends a call whose reply nobody waits for. Returns false when the device cannot be called at
    /// the moment.
    pub(super) fn try_ask(&self, name: &DeviceId, method: Method) -> bool {
        self.try_call(name, self.pending.next_id(), method).is_ok()
    }

    fn send_call(&self, name: &DeviceId, id: u64, method: Method) -> Result<(), Failure> {
        self.try_call(name, id, method).map(|_bytes| ()).map_err(|why| match why {
            NotCalled::Never(failure) => failure,
            NotCalled::Now(text) => Failure::Unavailable(format!(
                "device {} {text}: its log can be read when it is back, or on the device itself",
                name.device
            )),
        })
    }

    /// Sends a call to a device. Returns the number of bytes that it takes on the link.
    fn try_call(&self, name: &DeviceId, id: u64, method: Method) -> Result<u64, NotCalled> {
        let (device, shard, session, line) = {
            let model = self.documents.model(&name.tenant);
            let known = model.devices.get(&name.device);
            let known = known.ok_or_else(|| Failure::no("device", name.device.as_str()))?;
            if known.live.connection == 0 {
                return Err(NotCalled::Now(NotNow::Offline));
            }
            let live = &known.live;
            (name.clone(), known.record.shard, live.session, live.line.clone())
        };
        if session == 0 {
            return Err(NotCalled::Now(NotNow::JustConnected));
        }
        if !self.documents.lease().acts() {
            return Err(NotCalled::Now(NotNow::NoLease));
        }
        let v = holdfast_base::WIRE_VERSION;
        let call = Call { v, id, method };
        let signer = self.authority.signer();
        let bytes = signer.sign_call(&call, &device, session).map_err(Failure::internal)?;
        let length = bytes.len();
        if self.bus.call(&device, bytes.into()) {
            let short = line.is_some_and(|line| line.calls_by_alias());
            let named = || topic(shard, device, Channel::Call);
            Ok(cost::publish(if short { cost::TOPIC_ALIAS } else { named() }, length, false))
        } else {
            Err(NotCalled::Now(NotNow::NoCalls))
        }
    }

    /// Calls a device and waits for the whole reply, of at most `most` bytes. Adds to `crossed`
    /// what the call takes on the link, in bytes, whether a reply comes or not. Dropped before its
    /// end, it tells the device to stop.
    pub(super) async fn ask(
        self: &Arc<Self>,
        name: &DeviceId,
        method: Method,
        most: usize,
        crossed: &Arc<AtomicU64>,
    ) -> Result<(u64, Vec<u8>), NoAnswer> {
        let id = self.pending.next_id();
        let (sender, mut pieces) = mpsc::channel(WAITING);
        {
            let (device, shard) = {
                let model = self.documents.model(&name.tenant);
                let known = model.devices.get(&name.device);
                let known = known.ok_or_else(|| Failure::no("device", name.device.as_str()))?;
                (name.clone(), known.record.shard)
            };
            let mut calls = self.pending.lock();
            if calls.len() >= CALLS {
                return Err(NoAnswer::Now(NotNow::TooMany));
            }
            let call = PendingCall {
                device: device.clone(),
                next: 0,
                is_log: false,
                pieces: sender,
                topic: topic(shard, device, Channel::Reply),
                crossed: Arc::clone(crossed),
            };
            calls.insert(id, call);
        }
        let _ends = Ending { calls: Arc::clone(self), device: name.clone(), id };
        crossed.fetch_add(self.try_call(name, id, method)?, Ordering::Relaxed);
        let mut whole = Vec::new();
        loop {
            match tokio::time::timeout(PATIENCE, pieces.recv()).await {
                Err(_) => return Err(NoAnswer::Silent),
                Ok(None) => return Ok((id, whole)),
                Ok(Some(Err(cut))) => return Err(cut.into()),
                Ok(Some(Ok(piece))) => {
                    whole.extend_from_slice(&piece.body);
                    if whole.len() > most {
                        let why = "its answer is too large";
                        return Err(NoAnswer::Said(ReplyError::new(ReplyCode::Failed, why)));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a call whose channel has this many places.
    fn call(room: usize) -> (Pending, DeviceId, mpsc::Receiver<Piece>) {
        let (sender, pieces) = mpsc::channel(room);
        let device: DeviceId = "default_d-1".parse().unwrap();
        let calls = Pending::default();
        let call = PendingCall {
            device: device.clone(),
            next: 0,
            is_log: true,
            pieces: sender,
            topic: 0,
            crossed: Arc::default(),
        };
        calls.lock().insert(1, call);
        (calls, device, pieces)
    }

    fn piece(sequence: u32, body: &[u8], end: bool, error: Option<&str>) -> Reply {
        let v = holdfast_base::WIRE_VERSION;
        let error = error.map(|text| ReplyError::new(ReplyCode::Busy, text));
        Reply { v, id: 1, sequence, end, body: body.to_vec(), error, log: Vec::new() }
    }

    #[test]
    fn what_nobody_takes_is_said_to_be_cut() {
        let (calls, device, mut pieces) = call(4);
        for sequence in 0..10 {
            calls.reply(&device, piece(sequence, b"line", sequence == 9, None), 10);
        }
        for _ in 0..3 {
            assert_eq!(pieces.try_recv().unwrap().unwrap().body, "line");
        }
        assert_eq!(pieces.try_recv().unwrap().unwrap_err(), Cut::Slow);
        assert_eq!(
            pieces.try_recv(),
            Err(mpsc::error::TryRecvError::Empty),
            "and nothing after it"
        );
        assert!(calls.lock().contains_key(&1), "so that the device is told to stop");
    }

    #[test]
    fn a_piece_of_a_log_stands_where_it_says_and_else_behind_the_last_one() {
        let mut expected = (0, 0);
        let mut place = |body: &'static str, log: &[u64]| {
            let part = Part { body: body.into(), log: log.to_vec() };
            let it = placed(&mut expected, part).head;
            (it.log, it.offset, it.lost, it.anew, it.times)
        };
        assert_eq!(place("old", &[]), (0, 0, 0, false, vec![]), "a device that does not say");
        assert_eq!(place("one\n", &[7, 1_000]), (7, 1_000, 0, false, vec![]));
        assert_eq!(place("two\n", &[]), (7, 1_004, 0, false, vec![]));
        let times = vec![(1, 77), (2, 0)];
        assert_eq!(place("six", &[7, 1_020, 1, 77, 2, 0, 9]), (7, 1_020, 12, false, times));
        assert_eq!(place("x", &[7, 1_000]), (7, 1_000, 0, false, vec![]), "sent again");
        assert_eq!(place("new", &[8, 50]), (8, 50, 0, true, vec![]));
    }

    #[test]
    fn why_it_ended_is_said_however_much_waits() {
        let said = |text| Cut::Said(ReplyError::new(ReplyCode::Busy, text));
        for (last, why) in [
            (piece(3, b"", true, Some(&"x".repeat(1_000))), said("x".repeat(MAX_REASON))),
            (piece(5, b"line", true, None), Cut::Gap),
        ] {
            let (calls, device, mut pieces) = call(4);
            for sequence in 0..3 {
                calls.reply(&device, piece(sequence, b"line", false, None), 10);
            }
            calls.reply(&device, last, 10);
            for _ in 0..3 {
                pieces.try_recv().unwrap().unwrap();
            }
            assert_eq!(pieces.try_recv().unwrap().unwrap_err(), why);
            assert_eq!(pieces.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
        }
    }
}
