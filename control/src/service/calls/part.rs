//! A call to a device: sent, and its reply waited for.
//!
//! See decisions 0006 and 0127.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdfast_base::ids::DeviceId;
use holdfast_protocol::cost;
use holdfast_protocol::message::{Call, Method, Reply, ReplyCode, ReplyError};
use holdfast_protocol::topic::{Channel, Topic};
use tokio::sync::mpsc;

use super::answers::{NoAnswer, NotCalled, NotNow};
use super::looked_at::Looking;
use super::pending::{Pending, PendingCall, WAITING, has_room};
use super::questions::Questions;
use crate::ports::authority::Authority;
use crate::ports::bus::Bus;
use crate::service::Failure;
use crate::service::data::Data;
use crate::service::documents::Documents;

/// Time without a sign of life after which a device counts as not answering. A device that works on
/// a question sends one every 5 s; calls and short replies are not acknowledged.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Guard of a call that waits for its reply. Dropped before the reply's end, it tells the device to
/// stop.
pub(super) struct Ending {
    pub(super) calls: Arc<Calls>,
    pub(super) device: DeviceId,
    pub(super) id: u64,
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

/// Length of a topic's text, in bytes.
pub(super) fn topic(shard: u8, device: DeviceId, channel: Channel) -> usize {
    Topic { shard, device, channel }.to_string().len()
}

/// Calls to devices, and what waits for their replies: logs, questions, signs of life.
pub struct Calls {
    pub(super) documents: Arc<Documents>,
    pub(super) data: Arc<Data>,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) authority: Arc<dyn Authority>,
    pub(super) pending: Pending,
    pub(super) questions: Questions,
    pub(super) looking: Looking,
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls").field("pending", &self.pending).finish_non_exhaustive()
    }
}

impl Calls {
    pub(in crate::service) fn new(
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
    pub(in crate::service) fn reply(&self, device: &DeviceId, reply: Reply, bytes: usize) {
        self.pending.reply(device, reply, bytes);
    }

    /// Ends every call of a device whose connection began or ended: a call that was sent on a
    /// former connection gets no reply on another one.
    pub(in crate::service) fn device_gone(&self, device: &DeviceId) {
        self.pending.device_gone(device);
        self.looking.gone(device);
    }

    /// Sends a call whose reply nobody waits for. Returns false when the device cannot be called at
    /// the moment.
    pub(in crate::service) fn try_ask(&self, name: &DeviceId, method: Method) -> bool {
        self.try_call(name, self.pending.next_id(), method).is_ok()
    }

    /// Sends a call to a device. Returns the number of bytes that it takes on the link.
    pub(super) fn try_call(
        &self,
        name: &DeviceId,
        id: u64,
        method: Method,
    ) -> Result<u64, NotCalled> {
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
    pub(in crate::service) async fn ask(
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
            if !has_room(&calls, &name.tenant) {
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
