//! Shipping: carries out the core's decisions about the buffer and the link.
//!
//! See decisions 0047, 0049 and 0145.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_base::codec::{self, CodecError};
use holdfast_protocol::problem::ProblemCode;
use holdfast_protocol::topic::Channel;
use holdfast_records::{Acked, Acknowledgement, DataPolicies, Given, StreamPolicy, TrafficClass};

use super::inputs::{BufferResult, TaskResult, Tell};
use super::link_use::LinkLedger;
use super::problems::Problems;
use super::rates::Rates;
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
const ASIDE: &str = "data.damaged";

/// Text about a buffer whose thread is gone.
const STOPPED: &str = "data streams are not taken in until the agent is started again: the buffer's thread was lost too often, or cannot be had; workloads go on";

/// Text about a disk that has less room than the quota of the buffer.
const LOW: &str = "the disk has less room than data streams may use: older records go sooner";

/// State of the buffer and of shipping from it.
pub(super) struct Shipping {
    buffer: Buffer,
    pub(super) time: Time,
    meter: Meter,
    tell: Tell,
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
    /// Path of the damaged buffer that was set aside, where there is one.
    aside_path: PathBuf,
    aside: Aside,
    expire_at: u64,
}

impl Shipping {
    /// Begins with an unknown state of the buffer, without policies and without a link.
    pub(super) fn new(
        data: &Path,
        (buffer, limits): (Buffer, Limits),
        time: Time,
        tell: Tell,
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
            aside_path: data.join(ASIDE),
            aside: Aside::default(),
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
    fn spawn(&self, work: impl Future<Output = Option<TaskResult>> + Send + 'static) {
        let tell = self.tell.clone();
        tasks::spawn(async move {
            if let Some(result) = work.await {
                let _agent_ends = tell.send(result).await;
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
            self.spawn(async move {
                let summary = buffer.summary().await.map(Box::new);
                Some(TaskResult::Data(BufferResult::Looked(summary)))
            });
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
                Some(TaskResult::Data(BufferResult::Made(made)))
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
            Some(TaskResult::Data(BufferResult::Sent(number, arrived)))
        });
    }

    /// Takes in what became of work for the buffer. `outlet`: the way to the control plane, if the
    /// link is up.
    pub(super) fn task_ended(&mut self, result: BufferResult, outlet: Option<&Outlet>) {
        let now = uptime_ms();
        match result {
            BufferResult::Looked(summary) => self.looked(summary),
            BufferResult::Made(Err(stream)) => self.outbound.nothing(stream, now),
            BufferResult::Made(Ok(ready)) => self.send(*ready, outlet.cloned()),
            BufferResult::Ledger(kept) => self.link.restore(kept.as_deref()),
            BufferResult::Sent(number, arrived) => self.outbound.arrived(number, arrived, now),
        }
    }

    /// Takes in an acknowledgement from the control plane. Returns true if it knows another history
    /// of this device, above whose numbers the records are then numbered.
    ///
    /// # Errors
    /// Returns the reason if it cannot be read.
    pub(super) fn acknowledged(&mut self, bytes: &[u8]) -> Result<bool, CodecError> {
        let ack: Acknowledgement = codec::decode(bytes)?;
        let mut diverged = false;
        if let Some(history) = ack.diverged {
            if !ack.more {
                tracing::warn!(
                    "this data folder is an earlier state of the device, or a copy: records are numbered above all that the control plane knows"
                );
                diverged = true;
            }
            self.renumber(history, ack.more, ack.given);
        }
        self.settle(ack.acked, ack.store, ack.hold_ms);
        Ok(diverged)
    }

    /// Takes in what became of batches. `hold_ms`: time for which nothing is to be shipped.
    fn settle(&mut self, acked: Vec<Acked>, store: Option<u64>, hold_ms: u32) {
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
            above.then_some(TaskResult::Renumbered(history))
        });
    }

    /// Looks whether a damaged buffer that was set aside is still there.
    fn look_aside(&mut self) {
        let (there, said) = (self.aside_path.exists(), self.summary.damage.as_deref());
        self.aside = std::mem::take(&mut self.aside).look(there, said);
    }

    /// Does everything that is due at intervals. `free`: free bytes of the disk, if they are known.
    pub(super) fn keep_house(&mut self, free: Option<u64>) {
        self.look_aside();
        self.expire();
        self.count_link();
        self.rates.note(&self.summary.streams, free, uptime_ms());
    }

    /// Reason for which no transfer of this class may begin. None: it may.
    pub(super) fn held(&self, class: TrafficClass) -> Option<String> {
        self.link.held(class, &self.policies)
    }

    /// Adds the counts since the last call to the link's ledger, and decides which classes have to
    /// wait. Called before each batch too, because the budget or the interface may have changed.
    fn take_counts(&mut self) {
        let now = self.time.is_plausible().then(|| self.time.now());
        self.link.take(&self.meter, &self.policies, now);
    }

    /// Adds the meter's counts, and stores the ledger if it is due.
    fn count_link(&mut self) {
        self.take_counts();
        let is_in_use = self.buffer.is_in_use();
        if self.link.is_asked_for(is_in_use, self.policies.link.is_some()) {
            let buffer = self.buffer.clone();
            self.spawn(async move {
                Some(TaskResult::Data(BufferResult::Ledger(buffer.kept_ledger().await)))
            });
        }
        self.keep_ledger(false);
    }

    /// Stores the ledger in the buffer's file if it is due, or always with `now`.
    fn keep_ledger(&mut self, now: bool) {
        if !self.buffer.is_in_use() && self.policies.link.is_none() {
            return;
        }
        if let Some(bytes) = self.link.take_if_due(now, uptime_ms()) {
            self.buffer.keep_ledger(bytes);
        }
    }

    /// Adds the problems of the buffer, of shipping and of the link's budget.
    pub(super) fn problems(&self, list: &mut Problems) {
        let said = self.summary.damage.as_deref();
        let aside = self.aside.problem(said, &self.aside_path.display().to_string());
        list.say(ProblemCode::DataDamaged, aside);
        let full = self.summary.full.as_ref().map(|why| {
            format!(
                "data streams are not taken in ({why}): who publishes is told so, workloads go on"
            )
        });
        list.say(ProblemCode::DataNotStored, full);
        let stopped = self.buffer.has_failed().then_some(STOPPED);
        list.say(ProblemCode::DataStopped, stopped.map(str::to_owned));
        list.say(ProblemCode::DataRejected, self.refused.clone());
        let low = self.summary.low.then_some(LOW);
        list.say(ProblemCode::DataSpace, low.map(str::to_owned));
        list.say(ProblemCode::LinkBudget, self.link.problem(&self.policies));
    }

    /// Drops records whose ttl has passed, while the clock is reliable.
    fn expire(&mut self) {
        let now = uptime_ms();
        if now >= self.expire_at && self.buffer.is_in_use() && self.time.is_relied_on() {
            self.expire_at = now + EXPIRE;
            self.buffer.expire(self.time.now_ms());
        }
    }
}
