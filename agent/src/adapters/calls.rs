//! Answers calls of the control plane: the log of a workload, once or as it grows.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdfast_protocol::WIRE_VERSION;
use holdfast_protocol::codec;
use holdfast_protocol::message::{MAX_REPLY_BODY, Reply};
use holdfast_protocol::topic::Channel;
use tokio::task::JoinHandle;

use crate::adapters::clock::uptime_ms;
use crate::adapters::link::Outlet;
use crate::adapters::logs;

/// Calls answered at the same time; one more is refused.
const AT_ONCE: usize = 8;
/// How often a log that is followed is looked at.
const LOOK: Duration = Duration::from_millis(300);
/// Longest that one call may be followed without being repeated, in seconds.
const MAX_FOLLOW: u32 = 300;

/// A log that is asked for.
#[derive(Debug)]
pub struct LogCall {
    /// The call's number.
    pub id: u64,
    /// The log; None: there is no such workload here.
    pub log: Option<PathBuf>,
    /// Lines from the end.
    pub tail: u32,
    /// Seconds to go on.
    pub follow_seconds: u32,
    /// The link's budget for logs is used up.
    pub held: bool,
}

/// The calls under way.
#[derive(Debug, Default)]
pub struct Calls {
    open: BTreeMap<u64, (Arc<AtomicU64>, JoinHandle<()>)>,
}

impl Calls {
    /// Answers, or prolongs an answer under way.
    pub fn log(&mut self, outlet: &Outlet, call: LogCall) {
        self.open.retain(|_, (_, task)| !task.is_finished());
        let until = uptime_ms() + u64::from(call.follow_seconds.min(MAX_FOLLOW)) * 1000;
        if let Some((deadline, _)) = self.open.get(&call.id) {
            deadline.store(until, Ordering::Relaxed);
            return;
        }
        let mut answer = Answer { outlet: outlet.clone(), id: call.id, sequence: 0 };
        let busy = self.open.len() >= AT_ONCE;
        let deadline = Arc::new(AtomicU64::new(until));
        let id = call.id;
        let shared = Arc::clone(&deadline);
        let task = tokio::spawn(async move {
            match call.log {
                _ if call.held => answer.fail("the device's link budget for logs is used up").await,
                _ if busy => answer.fail("too many calls at once; try again").await,
                None => answer.fail("this device has no such workload").await,
                Some(log) => answer.stream(&log, call.tail, &shared).await,
            }
        });
        if !busy {
            self.open.insert(id, (deadline, task));
        }
    }

    /// Ends an answer early.
    pub fn cancel(&mut self, id: u64) {
        if let Some((_, task)) = self.open.remove(&id) {
            task.abort();
        }
    }

    /// The connection is gone: nobody reads.
    pub fn end(&mut self) {
        while let Some((_, (_, task))) = self.open.pop_first() {
            task.abort();
        }
    }
}

struct Answer {
    outlet: Outlet,
    id: u64,
    sequence: u32,
}

impl Answer {
    async fn stream(&mut self, log: &std::path::Path, tail: u32, deadline: &AtomicU64) {
        let (bytes, mut at) = match logs::tail(log, tail) {
            Ok(found) => found,
            Err(error) => return self.fail(&format!("the log cannot be read: {error}")).await,
        };
        for piece in bytes.chunks(MAX_REPLY_BODY) {
            if !self.send(piece.to_vec(), false, None).await {
                return;
            }
        }
        while uptime_ms() < deadline.load(Ordering::Relaxed) {
            let (bytes, end) = match logs::since(log, at, MAX_REPLY_BODY) {
                Ok(found) => found,
                Err(error) => return self.fail(&format!("the log cannot be read: {error}")).await,
            };
            at = end;
            if bytes.is_empty() {
                tokio::time::sleep(LOOK).await;
            } else if !self.send(bytes, false, None).await {
                return;
            }
        }
        self.send(Vec::new(), true, None).await;
    }

    async fn fail(&mut self, why: &str) {
        self.send(Vec::new(), true, Some(why.to_owned())).await;
    }

    async fn send(&mut self, body: Vec<u8>, end: bool, error: Option<String>) -> bool {
        let reply =
            Reply { v: WIRE_VERSION, id: self.id, sequence: self.sequence, body, end, error };
        self.sequence += 1;
        match codec::encode(&reply) {
            Ok(payload) => self.outlet.publish(Channel::Reply, payload).await,
            Err(_) => false,
        }
    }
}
