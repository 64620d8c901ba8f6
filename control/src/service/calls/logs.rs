//! Logs of workloads, read from their devices or followed.
//!
//! See decisions 0106 and 0127.

use std::sync::Arc;
use std::time::Duration;

use holdfast_base::ids::{DeviceId, Name};
use holdfast_protocol::message::{LogPart, Method};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::answers::NotCalled;
use super::part::{Calls, PATIENCE};
use super::pending::{Cut, Part, PendingCall, Piece, WAITING, has_room};
use crate::api::log::{LogHead, LogPiece};
use crate::core::rights::{Action, Actor};
use crate::service::Failure;
use crate::service::rights::may_device;

/// Maximum number of logs of one tenant that are read at the same time.
const LOGS: usize = 256;

/// Time for which a device follows a log without being asked again, in seconds.
const FOLLOW_SECONDS: u32 = 30;

/// Time after which a followed log is asked for again; well below [`FOLLOW_SECONDS`].
const FOLLOW_AGAIN: Duration = Duration::from_secs(10);

/// Maximum number of lines from the end of a log.
const MAX_TAIL: u32 = 100_000;

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

impl Calls {
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
        may_device(actor, Action::ReadLog, &self.documents.model(&actor.tenant), device)?;
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
            let own = |call: &&PendingCall| call.is_log && call.device.tenant == actor.tenant;
            let logs = calls.values().filter(own).count();
            if !has_room(&calls, &actor.tenant) || logs >= LOGS {
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

    fn send_call(&self, name: &DeviceId, id: u64, method: Method) -> Result<(), Failure> {
        self.try_call(name, id, method).map(|_bytes| ()).map_err(|why| match why {
            NotCalled::Never(failure) => failure,
            NotCalled::Now(text) => Failure::Unavailable(format!(
                "device {} {text}: its log can be read when it is back, or on the device itself",
                name.device
            )),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
