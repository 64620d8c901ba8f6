//! The agent's loop: takes in observations, asks the core for effects, stores the intent, carries
//! the effects out, and waits. It decides nothing about workloads; the core does.
//!
//! See decisions 0006 and 0040.
#![allow(
    clippy::disallowed_methods,
    reason = "the driver spawns what it awaits, and reads the files of its data folder"
)]

mod data;
mod data_report;
mod desired;
mod health;
mod identity;
mod intake;
mod link_use;
mod logs;
mod restarts;
mod sources;
mod start;
mod status;

use std::path::PathBuf;
use std::time::Duration;

use holdfast_base::ids::{Name, StateVersion};
use holdfast_protocol::message::{AgentInfo, Method};
use holdfast_protocol::signing::{self, SigningError};
use holdfast_protocol::topic::Channel;
use holdfast_records::TrafficClass;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::adapters::artifacts::Artifacts;
use crate::adapters::calls::{Calls, FetchCall, LogCall, QueryCall};
use crate::adapters::clock::{Time, uptime_ms};
use crate::adapters::identity::{Identity, IdentityError};
use crate::adapters::link::{LinkEvent, Outlet};
use crate::adapters::notify::Notifier;
use crate::adapters::store::Store;
use crate::adapters::{crash, files, status as status_socket};
use crate::core::agent::{Agent, View};
use crate::core::backoff::Entropy;
use crate::core::effect::{Effect, Observed};
use crate::core::lineage::{self, Lineage};
use crate::core::report::{self, Reporter};
use crate::core::runtime::{Found, Reason};
use crate::runtimes::{Prepare, Probing, Runtimes, Sweep, on_own_thread};

pub use start::StartError;

/// Name of the file with the history numbers of this data folder (see `core/lineage.rs`).
const HISTORY: &str = "history";
/// Interval at which disk, logs, clock and certificate are checked without any event, in
/// milliseconds.
const HOUSEKEEPING: u64 = 5_000;
/// Reason for which the link is down before the first attempt.
const NOT_TRIED: &str = "not tried yet";
/// Maximum number of observations that wait for the loop.
const OBSERVATIONS: usize = 256;
/// Maximum number of observations that are taken in before the core is asked again.
const AT_ONCE: usize = 64;

/// Results of tasks that the driver itself spawned.
enum TaskResult {
    /// Number of a report, and true if the broker took it. The control plane tells on `ack` when it
    /// has stored it.
    ReportTaken(u32, bool),
    /// Result of a renewal: the identity, and true if its certificate was issued.
    Renewed(Box<Result<(Identity, bool), IdentityError>>),
    /// Result of the removal of a workload's folder.
    FolderRemoved(Name, Result<(), Reason>),
    /// Result from the buffer, or of shipping.
    Data(data::BufferResult),
    /// Result of a stream that the agent itself fills.
    Source(sources::SourceResult),
    /// Everything of workloads on the machine.
    Census(std::io::Result<Vec<Found>>),
}

/// State of the link, as the driver sees it.
#[derive(Default)]
struct Link {
    session: u64,
    outlet: Option<Outlet>,
    /// Reason for which the link is down.
    reason: String,
    /// Text with which the control plane refused the connection.
    refusal: Option<String>,
    /// Text about a subscription that the broker refused.
    unsubscribed: Option<String>,
}

/// State of the whole agent, owned by the loop. Each part with a state of its own is a type.
pub struct Driver {
    data: PathBuf,
    runtimes: Runtimes,
    artifacts: Artifacts,
    store: Store,
    /// True if the store lacks something that memory has, because a write failed.
    store_behind: bool,
    agent: Agent,
    desired: desired::DesiredStates,
    reporter: Reporter,
    calls: Calls,
    time: Time,
    floor_stored: u64,
    identity: identity::DeviceIdentity,
    link: Link,
    trouble: health::Trouble,
    restarts: restarts::Restarts,
    entropy: Entropy,
    observed: mpsc::Receiver<Observed>,
    links: mpsc::Receiver<LinkEvent>,
    results: mpsc::Receiver<TaskResult>,
    tell: mpsc::Sender<TaskResult>,
    /// Socket for `holdfast-agent status`; retried where it cannot be opened.
    listener: Option<UnixListener>,
    notifier: Notifier,
    housekeeping_at: u64,
    logs: logs::Logs,
    shipping: data::Shipping,
    /// History of this data folder, compared with the one that the control plane knows.
    lineage: Lineage,
    inlets: intake::Inlets,
    sources: sources::Sources,
    /// Lock of the data folder, held while the agent runs.
    _lock: std::fs::File,
}

impl Driver {
    /// Runs until SIGTERM or SIGINT. Workloads go on running afterwards.
    ///
    /// # Errors
    /// Fails if signals cannot be received.
    pub async fn run(mut self) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut watchdog =
            tokio::time::interval(self.notifier.watchdog().unwrap_or(Duration::from_secs(86_400)));
        self.turn();
        self.notifier.ready();
        loop {
            let wait = self.next_wake().saturating_sub(uptime_ms());
            tokio::select! {
                Some(observed) = self.observed.recv() => self.take_in(observed),
                Some(event) = self.links.recv() => self.linked(event),
                Some(result) = self.results.recv() => self.task_ended(result),
                Some(reader) = status_socket::accept(self.listener.as_ref()) => {
                    // A command that changed the local accesses asks for the status next.
                    self.inlets.look();
                    status_socket::answer(reader, self.status().to_string());
                }
                written = self.logs.written() => self.logs.note(written),
                () = self.shipping.changed() => self.shipping.look(),
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = watchdog.tick() => self.notifier.alive(),
                () = tokio::time::sleep(Duration::from_millis(wait)) => {}
            }
            self.turn();
        }
        self.stop().await;
        Ok(())
    }

    async fn stop(&mut self) {
        tracing::info!("the agent ends; workloads go on");
        self.notifier.stopping();
        self.keep_floor();
        self.sources.keep_places();
        self.inlets.stop().await;
        self.logs.keep_histories();
        self.shipping.close().await;
        if let Some(outlet) = self.link.outlet.take() {
            outlet.close();
            let down = async {
                while !matches!(self.links.recv().await, Some(LinkEvent::Down { .. }) | None) {}
            };
            if tokio::time::timeout(Duration::from_secs(1), down).await.is_err() {
                tracing::debug!("the link did not end in time");
            }
        }
        let _left_for_the_next_start = std::fs::remove_file(status_socket::path(&self.data));
    }

    fn next_wake(&self) -> u64 {
        let wakes = [
            self.agent.next_wake(),
            self.reporter.next_wake(),
            Some(self.logs.next_wake()),
            self.shipping.next_wake(),
            self.sources.next_wake(),
        ];
        wakes.into_iter().flatten().fold(self.housekeeping_at, u64::min)
    }

    fn take_in(&mut self, first: Observed) {
        let now = uptime_ms();
        self.agent.observe(first, now);
        for _ in 0..AT_ONCE {
            let Ok(observed) = self.observed.try_recv() else { return };
            self.agent.observe(observed, now);
        }
    }

    /// Takes one turn of the loop: everything that can be done now.
    fn turn(&mut self) {
        if uptime_ms() >= self.housekeeping_at {
            self.housekeeping_at = uptime_ms() + HOUSEKEEPING;
            self.keep_house();
        }
        if uptime_ms() >= self.logs.next_wake() {
            let names: Vec<Name> = self.agent.saved().map(|(name, _)| name.clone()).collect();
            self.logs.bound(&names, &mut self.sources, &mut self.entropy);
        }
        self.sources.feed();
        // Each round reacts to the one before. A few rounds are usual; the bound keeps a fault in
        // the core from blocking the loop.
        for _ in 0..32 {
            let effects = self.agent.advance(uptime_ms());
            if effects.is_empty() {
                break;
            }
            self.carry_out(effects);
        }
        self.restarts.answer(&self.agent);
        self.report();
        self.shipping.ship(self.link.outlet.is_some());
    }

    /// Snapshot of all workloads, with what their runtimes know of them.
    fn view(&self) -> View {
        self.agent.view().detailed(|instance| self.runtimes.detail(instance))
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        let (mut states, mut sweeps) = (Vec::new(), Vec::new());
        for effect in effects {
            match effect {
                Effect::Save { name, saved } => states.push((name, Some(*saved))),
                Effect::Fetch(artifact) => self.artifacts.fetch(artifact),
                Effect::Collect { keep } => self.artifacts.collect(&keep),
                Effect::Prepare { name, revision, nonce, stale_config } => {
                    tracing::info!(workload = %name, revision = revision.number, "starting");
                    self.inlets.admit(&name, &revision.spec.bus, Some(nonce));
                    self.runtimes.prepare(Prepare { name, revision, nonce, stale_config });
                }
                Effect::Start { name, instance } => {
                    self.logs.begin(&name, &self.runtimes.log(&name), &mut self.entropy);
                    self.runtimes.start(name, instance);
                }
                Effect::Watch { name, instance } => {
                    tracing::info!(workload = %name, instance = %instance.id, "watching");
                    self.inlets.adopted(&name, instance.nonce);
                    self.runtimes.watch(name, instance);
                }
                Effect::Stop { name, instance, how } => {
                    tracing::info!(workload = %name, instance = %instance.id, ?how, "stopping");
                    self.runtimes.stop(name, instance, how);
                }
                Effect::Sweep { name, runtimes, last, spare, kill } => {
                    sweeps.push(Sweep { name, runtimes, last, spare, kill });
                }
                Effect::Probe { name, instance, probe, spec, timeout_ms } => {
                    self.runtimes.probe(Probing { name, instance, probe, spec, timeout_ms });
                }
                Effect::Remove { name } => self.remove(name),
                Effect::Census => self.take_census(),
            }
        }
        if !sweeps.is_empty() {
            self.runtimes.sweep(sweeps);
        }
        if !states.is_empty() {
            self.save(states);
        }
    }

    fn save(&mut self, states: Vec<(Name, Option<crate::core::saved::SavedWorkload>)>) {
        let stored = self.store.put(&states);
        crash::point("workload-saved");
        let ok = self.note_store(stored);
        for (name, _) in states {
            self.agent.observe(Observed::Saved(name, ok), uptime_ms());
        }
    }

    fn remove(&mut self, name: Name) {
        tracing::info!(workload = %name, "removing its folder");
        self.inlets.dismiss(&name);
        let (runtimes, tell) = (self.runtimes.clone(), self.tell.clone());
        // A folder may hold millions of files: not removed in the loop's own thread.
        tokio::task::spawn_blocking(move || {
            let removed = runtimes.remove(&name).map_err(|error| Reason::of(&error));
            crash::point("folder-removed");
            let _agent_ends = tell.blocking_send(TaskResult::FolderRemoved(name, removed));
        });
    }

    fn take_census(&self) {
        let (runtimes, tell) = (self.runtimes.clone(), self.tell.clone());
        let known = self.agent.known();
        tokio::spawn(async move {
            let seen = on_own_thread(move || runtimes.census(&known)).await;
            let _agent_ends = tell.send(TaskResult::Census(seen)).await;
        });
    }

    fn task_ended(&mut self, result: TaskResult) {
        match result {
            TaskResult::Census(seen) => {
                let seen = match seen {
                    Ok(found) => Observed::Census(found),
                    Err(error) => {
                        tracing::warn!(%error, "the processes cannot be looked at now");
                        Observed::Blind
                    }
                };
                self.agent.observe(seen, uptime_ms());
            }
            TaskResult::ReportTaken(id, true) => self.reporter.taken(id, uptime_ms()),
            TaskResult::ReportTaken(id, false) => self.reporter.refused(id, uptime_ms()),
            TaskResult::Renewed(result) => {
                let used = self.identity.renewed(*result, &mut self.entropy);
                self.identity_used(used);
            }
            TaskResult::FolderRemoved(name, result) => {
                if result.is_ok() {
                    let stored = self.store.put(&[(name.clone(), None)]);
                    self.note_store(stored);
                    crash::point("workload-removed");
                }
                self.agent.observe(Observed::Removed(name, result), uptime_ms());
            }
            TaskResult::Data(result) => self.buffer_task_ended(result),
            TaskResult::Source(result) => self.sources.task_ended(result),
        }
    }

    fn linked(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up { session, outlet } => {
                tracing::info!("link up");
                self.link = Link { session, outlet: Some(outlet), ..Link::default() };
                self.begin_history();
                self.reporter.connected();
                self.shipping.connected();
                self.notifier.status("connected");
            }
            LinkEvent::Down { reason, refused, unsubscribed } => {
                self.calls.end();
                self.restarts.forget_calls();
                self.reporter.disconnected();
                self.shipping.disconnected();
                self.notifier.status(&format!("not connected: {reason}"));
                let refusal = refused.then(|| reason.clone());
                if refused {
                    // The reply over HTTPS says why, and a renewal may cure it.
                    self.identity.ask_soon();
                }
                self.link = Link { refusal, reason, unsubscribed, ..Link::default() };
                self.housekeeping_at = uptime_ms();
            }
            LinkEvent::Desired(publish) => self.offered(*publish),
            LinkEvent::Call(bytes) => self.called(&bytes),
            LinkEvent::Ack(bytes) => self.acknowledged(&bytes),
        }
    }

    /// Begins a history number for a new connection: a copy of this data folder would send another
    /// one.
    fn begin_history(&mut self) {
        let drawn = u32::try_from(self.entropy.draw() >> 32).unwrap_or(1);
        let Some(numbers) = self.lineage.begin(drawn) else { return };
        let text = lineage::text(&numbers);
        match files::replace(&self.data.join(HISTORY), text.as_bytes(), 0o600) {
            Ok(()) => self.lineage.begun(numbers),
            // The former numbers are sent.
            Err(error) => tracing::warn!(%error, "{HISTORY} cannot be stored now"),
        }
    }

    /// Confirms to the control plane that this device's records are numbered above all that it
    /// knows.
    fn confirm_history(&mut self, number: u32) {
        let Some(outlet) = self.link.outlet.clone() else { return };
        let StateVersion { epoch, generation } = self.agent.view().applied;
        let report = report::confirmation(epoch, generation, number);
        if let Ok(payload) = report::encode(report) {
            // If it is lost, the control plane asks again after the next connect.
            tokio::spawn(async move { outlet.publish(Channel::State, payload).await });
        }
    }

    fn called(&mut self, bytes: &[u8]) {
        let Some((key, device)) = self.identity.key() else { return };
        let call = match signing::open_call(bytes, &key, &device, self.link.session) {
            Ok(call) => call,
            Err(SigningError::Signature) => {
                let why = "its signature is not the control plane's for this device and this \
                           connection: forged, damaged, another device's, or a replay";
                return self.refuse("a call", why);
            }
            Err(error) => return self.refuse("a call", &error.to_string()),
        };
        let Some(outlet) = &self.link.outlet else { return };
        match call.method {
            Method::Logs { workload, part } => {
                let here = self.agent.view().workloads.contains_key(&workload);
                let log = here.then(|| self.runtimes.log(&workload));
                if here {
                    self.logs.know(&workload, &mut self.entropy);
                }
                let held = self.shipping.held(TrafficClass::Logs);
                let (histories, time) = (self.logs.histories(), self.time.clone());
                let call = LogCall { id: call.id, log, workload, part, histories, time, held };
                self.calls.log(outlet, call);
            }
            Method::Query { stream, question, within_ms } => {
                let buffer = self.shipping.buffer();
                let held = self.shipping.held(TrafficClass::Logs);
                let call = QueryCall { id: call.id, stream, question, within_ms, held };
                self.calls.query(outlet, buffer, call);
            }
            Method::Fetch { stream, since, until, bytes } => {
                let buffer = self.shipping.buffer();
                let window = (since, until.saturating_sub(1));
                let call = FetchCall { id: call.id, stream, window, bytes };
                self.calls.fetch(outlet, buffer, call);
                self.shipping.look();
            }
            Method::Restart { workload } => {
                let Some(tell) = self.calls.defer(outlet, call.id) else { return };
                self.restarts.begin(&mut self.agent, workload, tell);
            }
            Method::Cancel => self.calls.cancel(call.id),
        }
    }

    /// Logs and counts an input from the link that cannot be trusted; nothing stops.
    fn refuse(&mut self, what: &str, why: &str) {
        tracing::warn!("refused {what}: {why}");
        self.trouble.refused += 1;
        self.trouble.refusal = Some(format!("refused {what}: {why}"));
    }

    fn report(&mut self) {
        let Some(outlet) = self.link.outlet.clone() else { return };
        let problems = self.problems();
        let life = self.identity.life();
        let data = Some(self.shipping.report(life));
        let info = || AgentInfo {
            version: env!("CARGO_PKG_VERSION").into(),
            arch: std::env::consts::ARCH.into(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            certificate_not_after: life.map(|it| it.not_after),
            refused: self.trouble.refused,
        };
        let now = uptime_ms();
        let Some(mut report) = self.reporter.next(&self.view(), &problems, data, info, now) else {
            return;
        };
        if report.full {
            report.history = self.lineage.numbers();
        }
        let (tell, id) = (self.tell.clone(), report.id.unwrap_or_default());
        match report::encode(report) {
            Ok(payload) => {
                tokio::spawn(async move {
                    let taken = outlet.publish(Channel::State, payload).await;
                    let _agent_ends = tell.send(TaskResult::ReportTaken(id, taken)).await;
                });
            }
            Err(error) => {
                tracing::error!(%error, "the state cannot be reported");
                self.reporter.refused(id, now);
            }
        }
    }
}
