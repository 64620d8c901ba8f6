//! Shipping: carries out the core's decisions about the buffer and the link.
//!
//! See decisions 0047 and 0049.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use holdfast_base::codec;
use holdfast_protocol::message::ReportAck;
use holdfast_protocol::topic::Channel;
use holdfast_records::{
    Acknowledgement, DataPolicies, Given, Range, RangeSet, Ship, StreamName, StreamPolicy,
    TrafficClass,
};

use super::data_report::Rates;
use super::link_use::LinkLedger;
use super::{Driver, TaskResult};
use crate::adapters::buffer::{Buffer, Ready, Summary};
use crate::adapters::clock::uptime_ms;
use crate::adapters::crash;
use crate::core::data::ship::{Next, Now, Offer, Shipper};

/// Shortest interval between two summaries of a buffer that is being filled, in milliseconds.
const LOOK: u64 = 100;
/// Maximum number of batches that an acknowledgement may still come for.
const SENT: usize = 32;
/// Interval at which records whose ttl has passed are dropped, in milliseconds.
const EXPIRE: u64 = 60_000;

/// Name of the damaged buffer file in the data folder, after it was set aside.
pub(super) const ASIDE: &str = "data.damaged";

/// Presence of a damaged file that was set aside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Aside {
    /// No such file was seen since the agent started.
    #[default]
    No,
    /// The file is there.
    Here,
    /// The file was removed by somebody, while this damage was reported.
    Gone(Option<String>),
}

impl Aside {
    /// Next state, by whether the file is `there` now; `said` is the damage reported now.
    pub(super) fn look(self, there: bool, said: Option<&str>) -> Self {
        match (self, there) {
            (_, true) => Self::Here,
            (Self::Here, false) => Self::Gone(said.map(str::to_owned)),
            (before @ (Self::No | Self::Gone(_)), false) => before,
        }
    }
}

/// Problem text of a damaged buffer: repeated after a restart of the agent, until the file set
/// aside is deleted.
fn damage(said: Option<&str>, path: &Path, aside: &Aside) -> Option<String> {
    let heal = format!("delete {} when you have looked at it, and this is over", path.display());
    match (said, aside) {
        (Some(why), Aside::Here) => Some(format!("{why}; {heal}")),
        (None, Aside::Here) => Some(format!(
            "the buffer was damaged before the agent was started, and set aside; what was in it stands in the gap ledger; {heal}"
        )),
        (Some(why), Aside::Gone(then)) if then.as_deref() == Some(why) => None,
        (Some(why), Aside::No | Aside::Gone(_)) => Some(why.to_owned()),
        (None, Aside::No | Aside::Gone(_)) => None,
    }
}

/// Results of tasks for the buffer and shipping.
pub(super) enum BufferResult {
    /// Summary of the buffer. None: it could not be had now.
    Looked(Option<Box<Summary>>),
    /// A batch was made, or there is none of that stream.
    Made(Result<Box<Ready>, StreamName>),
    /// True if the batch of this number has arrived at the broker.
    Sent(u64, bool),
    /// Ledger of the link as it was stored, encoded. None: the buffer could not be read now.
    Ledger(Option<Vec<u8>>),
    /// Records are now numbered above all that the control plane told together with this history
    /// number.
    Above(u32),
}

/// Batch that was sent, until it is acknowledged.
struct Sent {
    stream: StreamName,
    range: Range,
    records: u64,
}

/// State of the buffer and of shipping from it.
pub(super) struct Shipping {
    pub(super) buffer: Buffer,
    pub(super) policies: Arc<DataPolicies>,
    shipper: Shipper,
    pub(super) summary: Summary,
    pub(super) link: LinkLedger,
    pub(super) rates: Rates,
    /// Class of traffic of the batch that is being made.
    class: TrafficClass,
    looking: bool,
    /// True if the buffer changed since the last summary.
    stale: bool,
    look_at: u64,
    wake_at: Option<u64>,
    sent: VecDeque<Sent>,
    /// Id of the control plane's data store, as far as it was told.
    store: Option<u64>,
    /// Problem text of the last batch that the control plane refused.
    refused: Option<String>,
    expire_at: u64,
}

impl Shipping {
    pub(super) fn new(buffer: Buffer, policies: Option<&DataPolicies>, seed: u64) -> Self {
        let mut shipping = Self {
            buffer,
            policies: Arc::default(),
            shipper: Shipper::new(seed),
            summary: Summary::default(),
            link: LinkLedger::default(),
            rates: Rates::default(),
            class: TrafficClass::Data,
            looking: false,
            stale: true,
            look_at: 0,
            wake_at: None,
            sent: VecDeque::new(),
            store: None,
            refused: None,
            expire_at: 0,
        };
        shipping.follow(policies);
        shipping
    }

    /// Handle of the buffer.
    pub(super) fn buffer(&self) -> Buffer {
        self.buffer.clone()
    }

    /// Takes over the policies of a desired state.
    pub(super) fn follow(&mut self, policies: Option<&DataPolicies>) {
        self.policies = Arc::new(policies.cloned().unwrap_or_default());
        self.buffer.set_policies(Arc::clone(&self.policies));
        self.stale = true;
    }

    pub(super) fn connected(&mut self) {
        self.shipper.connected(uptime_ms());
        self.stale = true;
    }

    pub(super) fn disconnected(&mut self) {
        self.shipper.disconnected();
        self.wake_at = None;
    }

    /// Resolves when the buffer has changed, every [`LOOK`] milliseconds at most.
    pub(super) async fn changed(&self) {
        let wait = self.look_at.saturating_sub(uptime_ms());
        tokio::time::sleep(Duration::from_millis(wait)).await;
        self.buffer.changed().await;
    }

    pub(super) fn next_wake(&self) -> Option<u64> {
        let look = (self.stale && !self.looking && self.buffer.is_in_use()).then_some(self.look_at);
        look.into_iter().chain(self.wake_at).min()
    }

    /// Stores everything that waits and closes the buffer, within ten seconds.
    pub(super) async fn close(&mut self) {
        self.keep_ledger(true);
        let closed = tokio::time::timeout(Duration::from_secs(10), self.buffer.close()).await;
        if closed.is_err() {
            tracing::warn!("the buffer did not close in time");
        }
    }

    /// Subtracts shipped records from the known summary; the next summary has the exact number.
    fn subtract(&mut self, stream: &StreamName, records: u64) {
        let known = self.summary.streams.iter_mut().find(|it| it.name == *stream);
        if let Some(known) = known {
            known.waiting = known.waiting.saturating_sub(records);
            known.unreported_gaps = false;
            known.wanted = false;
        }
    }

    fn policy(&self, stream: &StreamName) -> StreamPolicy {
        self.policies.of(stream).map(|(_, policy)| policy.clone()).unwrap_or_default()
    }

    fn offers(&self) -> Vec<Offer> {
        let offer = |it: &crate::adapters::buffer::StreamSummary| {
            let policy = self.policy(&it.name);
            Offer {
                stream: it.name.clone(),
                priority: policy.priority,
                order: policy.order,
                withheld: policy.ship == Ship::Never,
                windows: policy.windows,
                waiting: it.waiting,
                bytes: it.waiting_bytes(),
                unreported_gaps: it.unreported_gaps,
                wanted: it.wanted,
                oldest: it.oldest_waiting,
                due: it.due,
            }
        };
        self.summary.streams.iter().map(offer).collect()
    }
}

impl Driver {
    /// Notes that the buffer changed.
    pub(super) fn look_at_data(&mut self) {
        self.shipping.stale = true;
    }

    /// Asks for a summary of the buffer if it is due, and ships the next batch.
    pub(super) fn ship(&mut self) {
        let now = uptime_ms();
        let shipping = &mut self.shipping;
        if !shipping.buffer.is_in_use() {
            return;
        }
        if shipping.stale && !shipping.looking && now >= shipping.look_at {
            shipping.looking = true;
            shipping.stale = false;
            shipping.look_at = now + LOOK;
            let (buffer, tell) = (shipping.buffer.clone(), self.tell.clone());
            tokio::spawn(async move {
                let result = BufferResult::Looked(buffer.summary().await.map(Box::new));
                let _agent_ends = tell.send(TaskResult::Data(result)).await;
            });
        }
        if self.link.outlet.is_none() || shipping.wake_at.is_some_and(|at| now < at) {
            return;
        }
        if self.shipping.policies.link.is_some() {
            // Bytes that were sent a moment ago count already.
            self.take_counts();
        }
        let shipping = &mut self.shipping;
        let wall = self.time.now_ms();
        let offers = shipping.offers();
        let allowed = |class| shipping.link.allowed(class, &shipping.policies);
        let next = shipping.shipper.next(&offers, allowed, Now { uptime: now, wall });
        shipping.wake_at = None;
        match next {
            Next::Nothing => shipping.wake_at = Some(u64::MAX),
            Next::Wait(until) => shipping.wake_at = Some(until.max(now + 1)),
            Next::Ship { stream, bytes, class } => {
                shipping.class = class;
                let (buffer, tell) = (shipping.buffer.clone(), self.tell.clone());
                tokio::spawn(async move {
                    let made = buffer.batch(&stream, bytes).await.map(Box::new).ok_or(stream);
                    let _agent_ends = tell.send(TaskResult::Data(BufferResult::Made(made))).await;
                });
            }
        }
    }

    pub(super) fn buffer_task_ended(&mut self, result: BufferResult) {
        let now = uptime_ms();
        match result {
            BufferResult::Looked(None) => {
                // The last summary stays valid until there is another one.
                self.shipping.looking = false;
                self.shipping.stale = true;
            }
            BufferResult::Looked(Some(summary)) => {
                self.shipping.looking = false;
                self.shipping.summary = *summary;
                self.shipping.wake_at = None;
            }
            BufferResult::Made(Err(stream)) => {
                self.shipping.shipper.nothing(stream, now);
                self.shipping.stale = true;
                self.shipping.wake_at = Some(now + LOOK);
            }
            BufferResult::Made(Ok(ready)) => self.send_batch(*ready),
            BufferResult::Above(history) => self.confirm_history(history),
            BufferResult::Ledger(kept) => self.shipping.link.restore(kept.as_deref()),
            BufferResult::Sent(number, arrived) => {
                self.shipping.shipper.arrived(number, arrived, now);
                self.shipping.wake_at = None;
            }
        }
    }

    fn send_batch(&mut self, ready: Ready) {
        let now = uptime_ms();
        let Some(outlet) = self.link.outlet.clone() else {
            return self.shipping.shipper.not_sent();
        };
        let Ready { stream, range, records, payload } = ready;
        tracing::debug!(%stream, from = range.from, to = range.to, records, bytes = payload.len(), "shipping");
        let size = payload.len();
        let (from, to) = (range.from, range.to);
        let number = self.shipping.shipper.sent(stream.clone(), from, to, size, now);
        self.shipping.wake_at = None;
        if self.shipping.sent.len() >= SENT {
            self.shipping.sent.pop_front();
        }
        self.shipping.sent.push_back(Sent { stream, range, records });
        let (tell, class) = (self.tell.clone(), self.shipping.class);
        tokio::spawn(async move {
            let arrived = outlet.publish_as(class, Channel::Data, payload).await;
            crash::point("batch-sent");
            let _agent_ends =
                tell.send(TaskResult::Data(BufferResult::Sent(number, arrived))).await;
        });
    }

    /// Takes in an acknowledgement of a report from the control plane.
    fn report_acknowledged(&mut self, bytes: &[u8]) {
        match codec::decode::<ReportAck>(bytes) {
            Ok(ack) => {
                if self.reporter.acknowledged(ack.id) {
                    self.lineage.reported();
                }
            }
            Err(error) => self.refuse("an acknowledgement", &error.to_string()),
        }
    }

    /// Takes in an acknowledgement from the control plane.
    pub(super) fn acknowledged(&mut self, bytes: &[u8]) {
        if ReportAck::is_of(bytes) {
            return self.report_acknowledged(bytes);
        }
        let now = uptime_ms();
        let ack: Acknowledgement = match codec::decode(bytes) {
            Ok(ack) => ack,
            Err(error) => return self.refuse("an acknowledgement", &error.to_string()),
        };
        if let Some(history) = ack.diverged {
            self.diverged(history, ack.more, ack.given);
        }
        let shipping = &mut self.shipping;
        if let Some(store) = ack.store {
            shipping.store = Some(store);
            shipping.buffer.set_store(store);
        }
        for acked in ack.acked {
            let (from, to) = (acked.from, acked.to);
            let mine = |it: &Sent| it.stream == acked.stream && it.range == Range { from, to };
            // A batch that was never sent cannot have been stored.
            let Some(at) = shipping.sent.iter().position(mine) else { continue };
            let Some(sent) = shipping.sent.remove(at) else { continue };
            let refused = acked.refused.is_some();
            shipping.shipper.acknowledged(&acked.stream, from, to, refused, now);
            match acked.refused {
                None => {
                    shipping.subtract(&acked.stream, sent.records);
                    let conflict = (RangeSet::from_ranges(acked.conflict), acked.highest);
                    shipping.buffer.shipped(&acked.stream, sent.range, shipping.store, conflict);
                    shipping.refused = None;
                }
                Some(why) => {
                    tracing::error!(stream = %acked.stream, from, to, "a batch was refused: {why}");
                    shipping.refused = Some(format!(
                        "the control plane does not take records {from} to {to} of {}: {why}; they stay here and are tried again",
                        acked.stream
                    ));
                }
            }
        }
        shipping.shipper.hold(ack.hold_ms, now);
        shipping.stale = true;
        shipping.wake_at = None;
    }

    /// Notes that the control plane knows another history of this device, and renumbers above the
    /// numbers that it gave. `more`: further such messages follow.
    fn diverged(&mut self, history: u32, more: bool, given: Vec<Given>) {
        if !more {
            tracing::warn!(
                "this data folder is an earlier state of the device, or a copy: records are numbered above all that the control plane knows"
            );
            self.lineage.diverged(uptime_ms());
        }
        let (buffer, tell) = (self.shipping.buffer.clone(), self.tell.clone());
        tokio::spawn(async move {
            if buffer.diverged(given).await && !more {
                let _agent_ends = tell.send(TaskResult::Data(BufferResult::Above(history))).await;
            }
        });
    }

    /// Adds the problems of the buffer and of shipping.
    pub(super) fn data_problems(&self, say: &mut impl FnMut(&str, Option<String>)) {
        let shipping = &self.shipping;
        let said = shipping.summary.damage.as_deref();
        say("data-damaged", damage(said, &self.data.join(ASIDE), &self.trouble.aside));
        let full = shipping.summary.full.as_ref();
        say("data-not-stored", full.map(|why| {
            format!("data streams are not taken in ({why}): who publishes is told so, workloads go on")
        }));
        say(
            "data-stopped",
            shipping.buffer.has_failed().then(|| {
                "data streams are not taken in until the agent is started again: the buffer's thread was lost too often, or cannot be had; workloads go on"
                    .to_owned()
            }),
        );
        say("data-rejected", shipping.refused.clone());
        say(
            "data-space",
            shipping.summary.low.then(|| {
                "the disk has less room than data streams may use: older records go sooner"
                    .to_owned()
            }),
        );
    }

    /// Drops records whose ttl has passed, while the clock is reliable.
    pub(super) fn expire_data(&mut self) {
        let now = uptime_ms();
        let shipping = &mut self.shipping;
        if now >= shipping.expire_at && shipping.buffer.is_in_use() && self.time.is_relied_on() {
            shipping.expire_at = now + EXPIRE;
            shipping.buffer.expire(self.time.now_ms());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_said_over_restarts_until_what_was_set_aside_is_deleted() {
        let path = Path::new("/data/data.damaged");
        let mut aside = Aside::default();
        assert_eq!(damage(None, path, &aside), None);
        assert_eq!(damage(Some("it is gone"), path, &aside).unwrap(), "it is gone");
        aside = aside.look(false, None).look(true, Some("damaged"));
        let said = damage(Some("damaged"), path, &aside).unwrap();
        assert!(said.starts_with("damaged; delete /data/data.damaged"), "{said}");
        let later = damage(None, path, &Aside::default().look(true, None)).unwrap();
        assert!(later.contains("delete /data/data.damaged"), "{later}");
        aside = aside.look(false, Some("damaged"));
        assert_eq!(damage(Some("damaged"), path, &aside), None, "somebody has looked at it");
        aside = aside.look(false, Some("damaged again"));
        assert_eq!(damage(Some("damaged again"), path, &aside).unwrap(), "damaged again");
    }
}
