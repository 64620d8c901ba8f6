//! Calls that wait for a reply, and the pieces of replies on their way to whoever waits.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use holdfast_base::ids::{DeviceId, Name};
use holdfast_protocol::cost;
use holdfast_protocol::message::{MAX_REASON, Reply, ReplyError};
use tokio::sync::mpsc;

/// Maximum number of pieces, each of at most 16 KiB, that wait for a reader. A reader that is
/// slower than the device is cut off, so that memory stays bounded.
pub(super) const WAITING: usize = 128;

/// Maximum number of calls of one tenant that wait for replies at the same time.
const CALLS: usize = 1_024;

/// Number of calls of all tenants beyond which each has its own share alone.
const ALL_CALLS: usize = 4_096;

/// Number of calls that a tenant may make however many others make.
const SHARE: usize = 64;

/// True if a tenant may make another call.
pub(super) fn has_room(calls: &BTreeMap<u64, PendingCall>, tenant: &Name) -> bool {
    if calls.len() < CALLS {
        return true;
    }
    let own = calls.values().filter(|call| call.device.tenant == *tenant).count();
    own < SHARE || (own < CALLS && calls.len() < ALL_CALLS)
}

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
    pub(super) log: Vec<u64>,
}

/// Call that waits for its reply.
#[derive(Debug)]
pub(super) struct PendingCall {
    pub(super) device: DeviceId,
    pub(super) next: u32,
    pub(super) is_log: bool,
    pub(super) pieces: mpsc::Sender<Piece>,
    /// Length of the reply's topic, in bytes; 0 when the cost is not counted.
    pub(super) topic: usize,
    /// Bytes that crossed the device's link for this call.
    pub(super) crossed: Arc<AtomicU64>,
}

/// Calls that wait for replies.
#[derive(Debug, Default)]
pub(super) struct Pending {
    calls: Mutex<BTreeMap<u64, PendingCall>>,
    /// Id of the last call. Ids are unique within this process, which is enough: a device's MQTT
    /// session ends with the process. They begin at 1, because small numbers are short on the wire.
    last: AtomicU64,
}

impl Pending {
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, PendingCall>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn next_id(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Hands a piece of a reply, `bytes` long on the wire, to whoever waits for it. A reply to no
    /// known call, or from another device than the called one, is dropped.
    pub(super) fn reply(&self, device: &DeviceId, reply: Reply, bytes: usize) {
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
    pub(super) fn device_gone(&self, device: &DeviceId) {
        self.lock().retain(|_, call| {
            let stays = call.device != *device;
            if !stays {
                drop(call.pieces.try_send(Err(Cut::Disconnected)));
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use holdfast_protocol::message::ReplyCode;

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
    fn a_tenant_with_many_calls_keeps_nobody_else_from_calling() {
        let mut calls = BTreeMap::new();
        for (tenant, count) in [("a", CALLS), ("b", CALLS), ("c", CALLS), ("d", CALLS)] {
            let name: Name = tenant.parse().unwrap();
            let (pending, _, _) = call(4);
            let one = pending.lock().remove(&1).unwrap();
            for _ in 0..count {
                assert!(has_room(&calls, &name));
                let device = format!("{tenant}_d-1").parse().unwrap();
                let (pieces, crossed) = (one.pieces.clone(), Arc::default());
                let call = PendingCall { device, pieces, crossed, ..one };
                calls.insert(calls.len() as u64, call);
            }
            assert!(!has_room(&calls, &name), "{tenant} has as many as it may have");
        }
        let late: Name = "late".parse().unwrap();
        assert!(calls.len() == ALL_CALLS && has_room(&calls, &late));
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
