//! Calls to devices that wait for replies: logs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use holdfast_protocol::ids::{DeviceId, Name};
use holdfast_protocol::message::{Call, Method, Reply};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Failure, Service};

/// Pieces that wait for a reader, at most 16 KiB each. One who reads slower than the device
/// sends is ended: nothing piles up.
const WAITING: usize = 128;

/// Calls that wait for replies at the same time.
const CALLS: usize = 256;

/// A device that says nothing for this long does not answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A device follows a log for this long without being asked again.
const FOLLOW_SECONDS: u32 = 30;

/// It is asked again this often.
const FOLLOW_AGAIN: Duration = Duration::from_secs(10);

/// Most lines from the end of a log.
const MAX_TAIL: u32 = 100_000;

/// What a reader gets: bytes, or why there are no more.
pub type Piece = Result<Bytes, String>;

#[derive(Debug)]
struct Waiting {
    device: DeviceId,
    next: u32,
    pieces: mpsc::Sender<Piece>,
}

/// The calls under way.
#[derive(Debug, Default)]
pub(super) struct Calls {
    waiting: Mutex<BTreeMap<u64, Waiting>>,
}

impl Calls {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A piece came. What nobody waits for, or another device's call, is dropped.
    pub(super) fn reply(&self, device: &DeviceId, reply: Reply) {
        let mut all = self.lock();
        let Some(call) = all.get_mut(&reply.id).filter(|call| call.device == *device) else {
            return;
        };
        if reply.sequence < call.next {
            return; // Sent again: its PUBACK was lost.
        }
        let mut over = reply.end;
        if reply.sequence > call.next {
            over = true;
            let gap = "a part of the log was lost on the way".to_owned();
            drop(call.pieces.try_send(Err(gap)));
        } else if let Some(error) = reply.error {
            over = true;
            drop(call.pieces.try_send(Err(error)));
        } else if !reply.body.is_empty() && call.pieces.try_send(Ok(reply.body.into())).is_err() {
            over = true;
        }
        call.next = reply.sequence.saturating_add(1);
        if over {
            all.remove(&reply.id);
        }
    }

    /// The device's connection ended.
    pub(super) fn device_gone(&self, device: &DeviceId) {
        self.lock().retain(|_, call| {
            let stays = call.device != *device;
            if !stays {
                drop(call.pieces.try_send(Err("the device's connection ended".into())));
            }
            stays
        });
    }
}

/// A log on its way. Dropped: the device is told to stop.
#[derive(Debug)]
pub struct LogStream {
    service: Arc<Service>,
    device: Name,
    id: u64,
    method: Method,
    follow: bool,
    pieces: mpsc::Receiver<Piece>,
    ask_again: Instant,
    give_up: Instant,
}

impl LogStream {
    /// The next piece. None: that was all.
    pub async fn next(&mut self) -> Option<Piece> {
        loop {
            let wake = if self.follow { self.ask_again } else { self.give_up };
            tokio::select! {
                piece = self.pieces.recv() => {
                    self.give_up = Instant::now() + PATIENCE;
                    return piece;
                }
                () = tokio::time::sleep_until(wake) => {
                    if !self.follow {
                        let text = "the device does not answer".to_owned();
                        self.pieces.close();
                        return Some(Err(text));
                    }
                    self.ask_again = Instant::now() + FOLLOW_AGAIN;
                    if let Err(failure) = self.service.send_call(&self.device, self.id, self.method.clone()) {
                        self.pieces.close();
                        self.follow = false;
                        return Some(Err(failure.to_string()));
                    }
                }
            }
        }
    }
}

impl Drop for LogStream {
    fn drop(&mut self) {
        let known = self.service.calls.lock().remove(&self.id);
        if known.is_some()
            && let Err(failure) = self.service.send_call(&self.device, self.id, Method::Cancel)
        {
            tracing::debug!(device = %self.device, %failure, "a call could not be cancelled");
        }
    }
}

impl Service {
    /// Asks a device for a workload's log.
    ///
    /// # Errors
    /// [`Failure`]; also when the device is not connected.
    pub fn logs(
        self: &Arc<Self>,
        device: &str,
        workload: &str,
        tail: u32,
        follow: bool,
    ) -> Result<LogStream, Failure> {
        let id = self.authority.random().map(u64::from_le_bytes).map_err(Failure::internal)?;
        let (sender, pieces) = mpsc::channel(WAITING);
        let (name, workload) = {
            let model = self.model();
            let known = model.devices.get(device).ok_or_else(|| Failure::no("device", device))?;
            let workload: Name = workload.parse().map_err(|_| Failure::no("workload", workload))?;
            let there = known.report.workload(&workload).is_some()
                || known.desired.workloads.iter().any(|(name, _)| *name == workload);
            if !there {
                return Err(Failure::NotFound(format!(
                    "device {device} has no workload {workload}"
                )));
            }
            let mut calls = self.calls.lock();
            if calls.len() >= CALLS {
                return Err(Failure::Unavailable("too many logs are being read already".into()));
            }
            let name = known.record.name.clone();
            let waiting = Waiting { device: model.id(&name), next: 0, pieces: sender };
            calls.insert(id, waiting);
            (name, workload)
        };
        let follow_seconds = if follow { FOLLOW_SECONDS } else { 0 };
        let method = Method::Logs { workload, tail: tail.min(MAX_TAIL), follow_seconds };
        if let Err(failure) = self.send_call(&name, id, method.clone()) {
            self.calls.lock().remove(&id);
            return Err(failure);
        }
        let now = Instant::now();
        Ok(LogStream {
            service: Arc::clone(self),
            device: name,
            id,
            // Asked again, the device must not begin anew.
            method,
            follow,
            pieces,
            ask_again: now + FOLLOW_AGAIN,
            give_up: now + PATIENCE,
        })
    }

    fn send_call(&self, name: &Name, id: u64, method: Method) -> Result<(), Failure> {
        let away = |text: &str| {
            Failure::Unavailable(format!(
                "device {name} {text}: its log can be read when it is back, or on the device itself"
            ))
        };
        let (device, session) = {
            let model = self.model();
            let known =
                model.devices.get(name).ok_or_else(|| Failure::no("device", name.as_str()))?;
            if known.live.connection == 0 {
                return Err(away("is offline"));
            }
            (model.id(name), known.live.session)
        };
        if session == 0 {
            return Err(away("has only just connected"));
        }
        let v = holdfast_protocol::WIRE_VERSION;
        let call = Call { v, device, session, id, method };
        let bytes = self.authority.signer.sign(&call).map_err(Failure::internal)?;
        if self.bus.call(&call.device, bytes.into()) {
            Ok(())
        } else {
            Err(away("takes no calls now"))
        }
    }
}
