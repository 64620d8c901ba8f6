//! The agent's loop: takes in observations, asks the core for effects, stores the intent, carries
//! the effects out, and waits. It gives each input to the part that it is for, and decides nothing.
//!
//! See decisions 0040, 0145 and 0156.

use std::time::Duration;

use holdfast_protocol::message::{Method, Problem, ReportAck};
use holdfast_records::{DataPolicies, TrafficClass};
use rumqttc::mqttbytes::v5::Publish;
use tokio::signal::unix::{SignalKind, signal};

use super::data::Shipping;
use super::desired::{Answer, DesiredStates};
use super::folder::DataFolder;
use super::host::Host;
use super::identity::{DeviceIdentity, Used};
use super::inputs::{Inputs, TaskResult};
use super::intake::Inlets;
use super::link::Link;
use super::logs::Logs;
use super::problems::Problems;
use super::reports::Reports;
use super::sources::Sources;
use super::status;
use super::workloads::Workloads;
use crate::adapters::calls::{FetchCall, LogCall, QueryCall};
use crate::adapters::clock::uptime_ms;
use crate::adapters::identity::Identity;
use crate::adapters::link::LinkEvent;
use crate::adapters::status as status_socket;

/// State of the whole agent, owned by the loop. Each field is a part with a state of its own, which
/// sees another part only as an argument.
pub struct Driver {
    pub(super) inputs: Inputs,
    pub(super) workloads: Workloads,
    pub(super) desired: DesiredStates,
    pub(super) identity: DeviceIdentity,
    pub(super) link: Link,
    pub(super) reports: Reports,
    pub(super) logs: Logs,
    pub(super) shipping: Shipping,
    pub(super) inlets: Inlets,
    pub(super) sources: Sources,
    pub(super) host: Host,
    /// Dropped last, because it holds the lock.
    pub(super) folder: DataFolder,
}

impl Driver {
    /// Runs until SIGTERM or SIGINT. Workloads go on running afterwards.
    ///
    /// # Errors
    /// Fails if signals cannot be received.
    pub async fn run(mut self) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let watchdog = self.host.notifier.watchdog();
        let mut watchdog = tokio::time::interval(watchdog.unwrap_or(Duration::from_secs(86_400)));
        self.turn();
        self.host.notifier.ready();
        loop {
            let wait = self.next_wake().saturating_sub(uptime_ms());
            tokio::select! {
                Some(observed) = self.inputs.observed.recv() => {
                    self.workloads.take_in(observed, &mut self.inputs.observed);
                }
                Some(event) = self.inputs.links.recv() => self.linked(event),
                Some(result) = self.inputs.results.recv() => self.task_ended(result),
                Some(reader) = self.host.asked() => {
                    // A command that changed the local accesses asks for the status next.
                    self.inlets.look();
                    status_socket::answer(reader, self.status());
                }
                written = self.logs.written() => self.logs.note(written),
                () = self.shipping.changed() => self.shipping.look(),
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = watchdog.tick() => self.host.notifier.alive(),
                () = tokio::time::sleep(Duration::from_millis(wait)) => {}
            }
            self.turn();
        }
        self.stop().await;
        Ok(())
    }

    async fn stop(&mut self) {
        tracing::info!("the agent ends; workloads go on");
        self.host.notifier.stopping();
        self.folder.keep_floor(self.identity.life());
        self.sources.keep_places();
        self.inlets.stop().await;
        self.logs.keep_histories();
        self.shipping.close().await;
        if self.link.close() {
            let links = &mut self.inputs.links;
            let down = async {
                while !matches!(links.recv().await, Some(LinkEvent::Down { .. }) | None) {}
            };
            if tokio::time::timeout(Duration::from_secs(1), down).await.is_err() {
                tracing::debug!("the link did not end in time");
            }
        }
        self.host.leave();
    }

    fn next_wake(&self) -> u64 {
        let wakes = [
            self.workloads.agent.next_wake(),
            self.reports.next_wake(),
            Some(self.logs.next_wake()),
            self.shipping.next_wake(),
            self.sources.next_wake(),
        ];
        wakes.into_iter().flatten().fold(self.inputs.check_at, u64::min)
    }

    /// Takes one turn of the loop: everything that can be done now.
    fn turn(&mut self) {
        if self.inputs.is_check_due() {
            self.keep_house();
        }
        if uptime_ms() >= self.logs.next_wake() {
            self.logs.bound(&self.workloads.names(), &mut self.sources);
        }
        self.sources.feed();
        self.workloads.advance(&mut self.folder, &mut self.inlets, &mut self.logs);
        self.report();
        self.shipping.ship(self.link.outlet().is_some());
    }

    /// Does everything that is due at intervals.
    fn keep_house(&mut self) {
        self.folder.look(self.workloads.runtimes.workloads());
        self.folder.catch_up(&self.workloads.agent);
        self.host.listen();
        if self.identity.neighbours().look() {
            // A full report has the addresses at which neighbours are served.
            self.reports.forget_reported();
        }
        self.inlets.look();
        self.store_desired();
        self.desired.hold_room(self.folder.free().unwrap_or(0));
        let used = self.identity.look();
        self.identity_used(used);
        let used = self.identity.retry_certificate();
        self.identity_used(used);
        self.identity.keep();
        self.identity.renew_if_due();
        self.shipping.keep_house(self.folder.free());
        self.folder.keep_floor_if_due(self.identity.life());
    }

    fn report(&mut self) {
        let Some(outlet) = self.link.outlet().cloned() else { return };
        let (view, problems) = (self.workloads.view(), self.problems());
        let life = self.identity.life();
        let data = self.shipping.report(life);
        if self.workloads.engine_changed() {
            self.reports.forget_reported();
        }
        let others = (self.link.refused(), self.workloads.engine());
        self.reports.send(outlet, (&view, &problems), data, life, others);
    }

    /// Problems for reports and status, sorted by code.
    fn problems(&self) -> Vec<Problem> {
        let mut list = Problems::default();
        self.folder.problems(&mut list);
        self.workloads.problems(&mut list);
        self.desired.problems(&mut list);
        self.identity.problems(&mut list);
        self.link.problems(&self.identity, &mut list);
        self.reports.problems(&mut list);
        self.shipping.problems(&mut list);
        self.inlets.problems(self.folder.time().now(), &mut list);
        self.sources.problems(&mut list);
        self.host.problems(&mut list);
        list.sorted()
    }

    /// Status document, as text.
    fn status(&self) -> String {
        let told = (&self.workloads.view(), self.problems());
        let data = self.shipping.status(self.identity.life());
        let now = self.folder.time().now();
        let parts = (self.inlets.status(), data, self.workloads.engine());
        status::document(told, &self.identity, &self.link, now, parts).to_string()
    }

    fn task_ended(&mut self, result: TaskResult) {
        match result {
            TaskResult::Census(seen) => self.workloads.counted(seen),
            TaskResult::ImageFiles(files) => self.workloads.fetch_files(files),
            TaskResult::ReportTaken(id, taken) => self.reports.taken(id, taken),
            TaskResult::Renewed(result) => {
                let used = self.identity.renewed(*result);
                self.identity_used(used);
            }
            TaskResult::FolderRemoved(name, result) => {
                self.workloads.removed(name, result, &mut self.folder);
            }
            TaskResult::Data(result) => self.shipping.task_ended(result, self.link.outlet()),
            TaskResult::Renumbered(history) => {
                let applied = self.workloads.agent.view().applied;
                self.reports.confirm(self.link.outlet(), applied, history);
            }
            TaskResult::Source(result) => self.sources.task_ended(result),
        }
    }

    fn linked(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up { session, outlet } => {
                tracing::info!("link up");
                self.link.up(session, outlet);
                self.reports.connected();
                self.shipping.connected();
                self.host.notifier.status("connected");
            }
            LinkEvent::Down { reason, refused, unsubscribed } => {
                self.workloads.forget_calls();
                self.reports.disconnected();
                self.shipping.disconnected();
                self.host.notifier.status(&format!("not connected: {reason}"));
                if refused {
                    // The reply over HTTPS says why, and a renewal may cure it.
                    self.identity.ask_soon();
                }
                self.link.down(reason, refused, unsubscribed);
                self.inputs.check_now();
            }
            LinkEvent::Desired(publish) => self.offered(*publish),
            LinkEvent::Call(bytes) => self.called(&bytes),
            LinkEvent::Ack(bytes) => self.acknowledged(&bytes),
        }
    }

    /// Handles a desired state that came down the link.
    fn offered(&mut self, publish: Publish) {
        let Some((key, device)) = self.identity.key() else { return };
        let followed = self.workloads.agent.version();
        match self.desired.offer(publish, (&key, &device), followed) {
            Answer::Known(publish) => {
                self.link.forget_refused();
                self.link.acknowledge(publish.as_ref());
            }
            Answer::Refused(why, publish) => {
                self.link.refuse("a desired state", &why);
                self.link.acknowledge(Some(&publish));
            }
            Answer::Store => {
                self.link.forget_refused();
                self.store_desired();
            }
        }
    }

    /// Stores the desired state that waits. Once it is stored, gives it to everything that follows
    /// it, and acknowledges its delivery.
    fn store_desired(&mut self) {
        let stored = self.desired.store(&mut self.workloads.agent, &mut self.folder);
        let Some(stored) = stored else { return };
        self.workloads.agent.follow(&stored.state);
        self.follow_policies(stored.state.data.as_deref());
        self.link.acknowledge(stored.receipt.as_ref());
    }

    /// Gives the policies of a desired state to everything that follows them.
    pub(super) fn follow_policies(&mut self, policies: Option<&DataPolicies>) {
        self.shipping.follow(policies);
        let streams = self.sources.follow(policies);
        self.inlets.keep_for_sources(streams);
        let link = policies.and_then(|policies| policies.link.as_ref());
        self.identity.neighbours().follow(link.is_some_and(|link| link.neighbours));
        self.inputs.check_now();
    }

    fn called(&mut self, bytes: &[u8]) {
        let Some((call, outlet)) = self.link.open_call(bytes, &self.identity) else { return };
        let (id, calls) = (call.id, &mut self.link.calls);
        match call.method {
            Method::Logs { workload, part } => {
                let here = self.workloads.agent.view().workloads.contains_key(&workload);
                let log = here.then(|| self.workloads.runtimes.log(&workload));
                if here {
                    self.logs.know(&workload);
                }
                let held = self.shipping.held(TrafficClass::Logs);
                let (histories, time) = (self.logs.histories(), self.folder.time().clone());
                calls.log(&outlet, LogCall { id, log, workload, part, histories, time, held });
            }
            Method::Query { stream, question, within_ms } => {
                let held = self.shipping.held(TrafficClass::Logs);
                let call = QueryCall { id, stream, question, within_ms, held };
                calls.query(&outlet, self.shipping.buffer(), call);
            }
            Method::Fetch { stream, since, until, bytes } => {
                let window = (since, until.saturating_sub(1));
                let call = FetchCall { id, stream, window, bytes };
                calls.fetch(&outlet, self.shipping.buffer(), call);
                self.shipping.look();
            }
            Method::Restart { workload } => {
                let Some(tell) = calls.defer(&outlet, id) else { return };
                self.workloads.restart(workload, tell);
            }
            Method::Volume(order) => {
                let Some(tell) = calls.defer(&outlet, id) else { return };
                self.workloads.volume(order, tell);
            }
            Method::AuditCheckpoint => calls.tell(&outlet, id, self.desired.testimony()),
            Method::Cancel => calls.cancel(id),
        }
    }

    /// Takes in an acknowledgement from the control plane: of a report, or of data.
    fn acknowledged(&mut self, bytes: &[u8]) {
        let read = if ReportAck::is_of(bytes) {
            self.reports.acknowledged(bytes).map(|()| false)
        } else {
            self.shipping.acknowledged(bytes)
        };
        match read {
            Ok(true) => self.reports.diverged(),
            Ok(false) => {}
            Err(error) => self.link.refuse("an acknowledgement", &error.to_string()),
        }
    }

    /// Takes over an identity.
    pub(super) fn use_identity(&mut self, identity: Identity) {
        let used = self.identity.adopt(identity);
        self.identity_used(used);
    }

    /// Adapts the rest of the agent to an identity that was taken over.
    fn identity_used(&mut self, used: Option<Used>) {
        let Some(Used { is_over, is_another }) = used else { return };
        self.link.untried(is_over);
        if is_another {
            // Versions of the former identity's desired states say nothing about this one's.
            self.desired.forget_versions();
            self.link.forget_refused();
            // The former identity's link ends. After a mere renewal the present link stays, and the
            // next one uses the new certificate.
            self.link.close();
        }
        self.reports.forget_reported();
    }
}
