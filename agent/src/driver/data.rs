//! Shipping: carries out the core's decisions about the buffer and the link.
//!
//! See decisions 0047, 0049 and 0145.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use holdfast_base::codec;
use holdfast_protocol::message::ReportAck;
use holdfast_protocol::problem::ProblemCode;
use holdfast_protocol::topic::Channel;
use holdfast_records::{Acked, Acknowledgement, DataPolicies, Given, StreamName, StreamPolicy};
use tokio::sync::mpsc;

use super::data_report::Rates;
use super::link_use::LinkLedger;
use super::{Driver, TaskResult};
use crate::adapters::buffer::{Buffer, Ready, Summary};
use crate::adapters::clock::{Time, uptime_ms};
use crate::adapters::crash;
use crate::adapters::link::Outlet;
use crate::adapters::meter::Meter;
use crate::adapters::tasks;
use crate::core::data::Limits;
use crate::core::data::damage::Aside;
use crate::core::data::outbound::{Outbound, Outcome, Sent};
use crate::core::data::ship::{Now, Offer};

/// Interval at which records whose ttl has passed are dropped, in milliseconds.
const EXPIRE: u64 = 60_000;

/// Name of the damaged buffer file in the data folder, after it was set aside.
pub(super) const ASIDE: &str = "data.damaged";

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

/// State of the buffer and of shipping from it.
pub(super) struct Shipping {
    pub(super) buffer: Buffer,
    pub(super) time: Time,
    pub(super) meter: Meter,
    pub(super) tell: mpsc::Sender<TaskResult>,
    /// Configured bounds of the buffer.
    pub(super) limits: Limits,
    pub(super) policies: Arc<DataPolicies>,
    outbound: Outbound,
    pub(super) summary: Summary,
    pub(super) link: LinkLedger,
    pub(super) rates: Rates,
    /// Id of the control plane's data store, as far as it was told.
    store: Option<u64>,
    /// Problem text of the last batch that the control plane refused.
    refused: Option<String>,
    expire_at: u64,
}

impl Shipping {
    pub(super) fn new(
        buffer: Buffer,
        limits: Limits,
        (time, tell): (Time, mpsc::Sender<TaskResult>),
        seed: u64,
    ) -> Self {
        Self {
            buffer,
            time,
            meter: Meter::default(),
            tell,
            limits,
            policies: Arc::default(),
            outbound: Outbound::new(seed),
            summary: Summary::default(),
            link: LinkLedger::default(),
            rates: Rates::default(),
            store: None,
            refused: None,
            expire_at: 0,
        }
    }

    /// Handle of the buffer.
    pub(super) fn buffer(&self) -> Buffer {
        self.buffer.clone()
    }

    /// Meter of the link's traffic.
    pub(super) fn meter(&self) -> Meter {
        self.meter.clone()
    }

    /// Takes over the policies of a desired state.
    pub(super) fn follow(&mut self, policies: Option<&DataPolicies>) {
        self.policies = Arc::new(policies.cloned().unwrap_or_default());
        self.buffer.set_policies(Arc::clone(&self.policies));
        self.outbound.changed();
    }

    pub(super) fn connected(&mut self) {
        self.outbound.connected(uptime_ms());
    }

    pub(super) fn disconnected(&mut self) {
        self.outbound.disconnected();
    }

    /// Notes that the buffer changed.
    pub(super) fn look(&mut self) {
        self.outbound.changed();
    }

    /// Resolves when the buffer has changed, not too often.
    pub(super) async fn changed(&self) {
        let wait = self.outbound.look_at().saturating_sub(uptime_ms());
        tokio::time::sleep(Duration::from_millis(wait)).await;
        self.buffer.changed().await;
    }

    pub(super) fn next_wake(&self) -> Option<u64> {
        self.outbound.next_wake(self.buffer.is_in_use())
    }

    /// Stores everything that waits and closes the buffer, within ten seconds.
    pub(super) async fn close(&mut self) {
        self.keep_ledger(true);
        let closed = tokio::time::timeout(Duration::from_secs(10), self.buffer.close()).await;
        if closed.is_err() {
            tracing::warn!("the buffer did not close in time");
        }
    }

    fn offers(&self) -> Vec<Offer> {
        let none = StreamPolicy::default();
        let streams = self.summary.streams.iter();
        let offers = streams.map(|it| {
            let policy = self.policies.of(&it.name).map_or(&none, |(_, policy)| policy);
            Offer::new(it, policy)
        });
        offers.collect()
    }

    /// Carries out work in a task of its own, whose result comes back to the loop.
    pub(super) fn spawn(&self, work: impl Future<Output = Option<BufferResult>> + Send + 'static) {
        let tell = self.tell.clone();
        tasks::spawn(async move {
            if let Some(result) = work.await {
                let _agent_ends = tell.send(TaskResult::Data(result)).await;
            }
        });
    }

    /// Asks for a summary of the buffer if it is due, and makes the next batch if the link is up.
    pub(super) fn ship(&mut self, is_up: bool) {
        let now = uptime_ms();
        if !self.buffer.is_in_use() {
            return;
        }
        if self.outbound.look(now) {
            let buffer = self.buffer.clone();
            self.spawn(
                async move { Some(BufferResult::Looked(buffer.summary().await.map(Box::new))) },
            );
        }
        if !is_up || !self.outbound.is_due(now) {
            return;
        }
        if self.policies.link.is_some() {
            // Bytes that were sent a moment ago count already.
            self.take_counts();
        }
        let wall = self.time.now_ms();
        let offers = self.offers();
        let (link, policies) = (&self.link, &self.policies);
        let allowed = |class| link.allowed(class, policies);
        let next = self.outbound.next(&offers, allowed, Now { uptime: now, wall });
        if let Some((stream, bytes)) = next {
            let buffer = self.buffer.clone();
            self.spawn(async move {
                let made = buffer.batch(&stream, bytes).await.map(Box::new).ok_or(stream);
                Some(BufferResult::Made(made))
            });
        }
    }

    /// Notes a summary that was asked for.
    fn looked(&mut self, summary: Option<Box<Summary>>) {
        self.outbound.looked(summary.is_some());
        // The last summary stays valid until there is another one.
        if let Some(summary) = summary {
            self.summary = *summary;
        }
    }

    fn send(&mut self, ready: Ready, outlet: Option<Outlet>) {
        let Some(outlet) = outlet else { return self.outbound.not_sent() };
        let Ready { stream, range, records, payload } = ready;
        tracing::debug!(%stream, from = range.from, to = range.to, records, bytes = payload.len(), "shipping");
        let sent = Sent { stream, range, records };
        let (number, class) = self.outbound.sent(sent, payload.len(), uptime_ms());
        self.spawn(async move {
            let arrived = outlet.publish_as(class, Channel::Data, payload).await;
            crash::point("batch-sent");
            Some(BufferResult::Sent(number, arrived))
        });
    }

    /// Takes in what became of batches. `hold_ms`: time for which nothing is to be shipped.
    fn acknowledged(&mut self, acked: Vec<Acked>, store: Option<u64>, hold_ms: u32) {
        let now = uptime_ms();
        if let Some(store) = store {
            self.store = Some(store);
            self.buffer.set_store(store);
        }
        for acked in acked {
            match self.outbound.acknowledged(acked, now) {
                None => {}
                Some(Outcome::Stored { sent, conflict, highest }) => {
                    let mut streams = self.summary.streams.iter_mut();
                    if let Some(known) = streams.find(|it| it.name == sent.stream) {
                        known.subtract(sent.records);
                    }
                    let conflict = (conflict, highest);
                    self.buffer.shipped(&sent.stream, sent.range, self.store, conflict);
                    self.refused = None;
                }
                Some(Outcome::Refused(why)) => {
                    tracing::error!("a batch was refused: {why}");
                    self.refused = Some(why);
                }
            }
        }
        self.outbound.hold(hold_ms, now);
    }

    /// Renumbers above the numbers that the control plane gave for this history. `more`: further
    /// such messages follow.
    fn renumber(&self, history: u32, more: bool, given: Vec<Given>) {
        let buffer = self.buffer.clone();
        self.spawn(async move {
            let above = buffer.diverged(given).await && !more;
            above.then_some(BufferResult::Above(history))
        });
    }

    /// Adds the problems of the buffer and of shipping.
    pub(super) fn problems(
        &self,
        data: &Path,
        aside: &Aside,
        say: &mut impl FnMut(ProblemCode, Option<String>),
    ) {
        let path = data.join(ASIDE);
        let said = self.summary.damage.as_deref();
        say(ProblemCode::DataDamaged, aside.problem(said, &path.display().to_string()));
        let full = self.summary.full.as_ref();
        say(ProblemCode::DataNotStored, full.map(|why| {
            format!("data streams are not taken in ({why}): who publishes is told so, workloads go on")
        }));
        say(ProblemCode::DataStopped,
            self.buffer.has_failed().then(|| {
                "data streams are not taken in until the agent is started again: the buffer's thread was lost too often, or cannot be had; workloads go on"
                    .to_owned()
            }),
        );
        say(ProblemCode::DataRejected, self.refused.clone());
        say(
            ProblemCode::DataSpace,
            self.summary.low.then(|| {
                "the disk has less room than data streams may use: older records go sooner"
                    .to_owned()
            }),
        );
    }

    /// Drops records whose ttl has passed, while the clock is reliable.
    pub(super) fn expire(&mut self) {
        let now = uptime_ms();
        if now >= self.expire_at && self.buffer.is_in_use() && self.time.is_relied_on() {
            self.expire_at = now + EXPIRE;
            self.buffer.expire(self.time.now_ms());
        }
    }
}

impl Driver {
    /// Takes over the policies of a desired state.
    pub(super) fn follow_policies(&mut self, policies: Option<&DataPolicies>) {
        self.shipping.follow(policies);
        let streams = self.sources.follow(policies);
        self.inlets.keep_for_sources(streams);
    }

    pub(super) fn buffer_task_ended(&mut self, result: BufferResult) {
        let now = uptime_ms();
        match result {
            BufferResult::Looked(summary) => self.shipping.looked(summary),
            BufferResult::Made(Err(stream)) => self.shipping.outbound.nothing(stream, now),
            BufferResult::Made(Ok(ready)) => self.shipping.send(*ready, self.link.outlet.clone()),
            BufferResult::Above(history) => self.confirm_history(history),
            BufferResult::Ledger(kept) => self.shipping.link.restore(kept.as_deref()),
            BufferResult::Sent(number, arrived) => {
                self.shipping.outbound.arrived(number, arrived, now);
            }
        }
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
        let ack: Acknowledgement = match codec::decode(bytes) {
            Ok(ack) => ack,
            Err(error) => return self.refuse("an acknowledgement", &error.to_string()),
        };
        if let Some(history) = ack.diverged {
            if !ack.more {
                tracing::warn!(
                    "this data folder is an earlier state of the device, or a copy: records are numbered above all that the control plane knows"
                );
                self.lineage.diverged(uptime_ms());
            }
            self.shipping.renumber(history, ack.more, ack.given);
        }
        self.shipping.acknowledged(ack.acked, ack.store, ack.hold_ms);
    }
}
