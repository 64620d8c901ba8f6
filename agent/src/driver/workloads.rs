//! Workloads: asks the core what is to be done with them, stores the intent, and has the runtimes
//! carry it out. It decides nothing about a workload; the core does.
//!
//! See decisions 0002 and 0037.

use holdfast_base::collect;
use holdfast_base::ids::Name;
use holdfast_protocol::message::EngineInfo;
use holdfast_protocol::problem::ProblemCode;
use holdfast_protocol::volume::VolumeOrder;
use holdfast_protocol::workload::{Artifact, Run};
use tokio::sync::mpsc;

use super::folder::DataFolder;
use super::inputs::{TaskResult, Tell};
use super::intake::Inlets;
use super::logs::Logs;
use super::problems::Problems;
use super::restarts::Restarts;
use crate::adapters::artifacts::Artifacts;
use crate::adapters::calls::Done;
use crate::adapters::clock::uptime_ms;
use crate::adapters::crash;
use crate::core::agent::{Agent, View};
use crate::core::effect::{Effect, Observed};
use crate::core::need::Need;
use crate::core::runtime::{Found, Reason};
use crate::core::saved::SavedWorkload;
use crate::runtimes::container::engine::Engine;
use crate::runtimes::container::images::Images;
use crate::runtimes::container::volumes::Volumes;
use crate::runtimes::{Prepare, Probing, Runtimes, Sweep, on_own_thread};

/// Maximum number of observations that are taken in before the core is asked again.
const AT_ONCE: usize = 64;

/// Most workloads that are named in the problem of secrets.
const MAX_UNOPENED: usize = 10;

/// The core's picture of all workloads, and what runs them.
pub(super) struct Workloads {
    pub(super) agent: Agent,
    pub(super) runtimes: Runtimes,
    artifacts: Artifacts,
    images: Images,
    volumes: Volumes,
    restarts: Restarts,
    engine: Engine,
    /// Engine as it was last reported.
    reported: Option<EngineInfo>,
    tell: Tell,
}

impl Workloads {
    /// Begins with the workloads that the core plans with, of which some run already.
    pub(super) fn new(
        agent: Agent,
        runtimes: Runtimes,
        artifacts: Artifacts,
        (images, volumes, engine): (Images, Volumes, Engine),
        tell: Tell,
    ) -> Self {
        let restarts = Restarts::default();
        Self { agent, runtimes, artifacts, images, volumes, restarts, engine, reported: None, tell }
    }

    /// Admits the known workloads to the local bus and the data socket.
    pub(super) fn admit(&self, inlets: &mut Inlets) {
        for (name, saved) in self.agent.saved() {
            if let Some(current) = &saved.current {
                let nonce = saved.instance.as_ref().map(|instance| instance.nonce);
                inlets.admit(name, &current.spec.bus, nonce);
            }
        }
        inlets.look();
    }

    /// Sets the limits of adopted workloads again: the service manager may have taken the
    /// controllers back while the agent was not running.
    pub(super) fn renew_limits(&self) {
        let running = collect::map(self.agent.instances());
        for (name, saved) in self.agent.saved() {
            if let (Some(instance), Some(current)) = (running.get(name), &saved.current) {
                self.runtimes.renew_limits(name, instance, &current.spec);
            }
        }
    }

    /// Names of all workloads.
    pub(super) fn names(&self) -> Vec<Name> {
        self.agent.saved().map(|(name, _)| name.clone()).collect()
    }

    /// Snapshot of all workloads, with what their runtimes know of them.
    pub(super) fn view(&self) -> View {
        self.agent.view().detailed(|instance| self.runtimes.detail(instance))
    }

    /// Takes in an observation, and some of those that wait behind it.
    pub(super) fn take_in(&mut self, first: Observed, more: &mut mpsc::Receiver<Observed>) {
        let now = uptime_ms();
        self.images.observed(&first);
        self.agent.observe(first, now);
        for _ in 0..AT_ONCE {
            let Ok(observed) = more.try_recv() else { return };
            self.images.observed(&observed);
            self.agent.observe(observed, now);
        }
    }

    /// Carries out everything that the core wants now, and answers the restarts that are done.
    pub(super) fn advance(
        &mut self,
        folder: &mut DataFolder,
        inlets: &mut Inlets,
        logs: &mut Logs,
    ) {
        let time = folder.time();
        self.agent.tell_time(time.is_relied_on().then(|| time.now()), uptime_ms());
        // Each round reacts to the one before. A few rounds are usual; the bound keeps a fault in
        // the core from blocking the loop.
        for _ in 0..32 {
            let effects = self.agent.advance(uptime_ms());
            if effects.is_empty() {
                break;
            }
            let states = self.carry_out(effects, inlets, logs);
            if !states.is_empty() {
                self.save(states, folder);
            }
        }
        self.restarts.answer(&self.agent);
    }

    /// Carries out effects. Returns the states that are to be saved.
    fn carry_out(
        &mut self,
        effects: Vec<Effect>,
        inlets: &mut Inlets,
        logs: &mut Logs,
    ) -> Vec<(Name, Option<SavedWorkload>)> {
        let (mut states, mut sweeps) = (Vec::new(), Vec::new());
        for effect in effects {
            match effect {
                Effect::Save { name, saved } => states.push((name, Some(*saved))),
                Effect::Fetch(need) => self.fetch(need),
                Effect::Pause(digest) => {
                    self.artifacts.pause(digest);
                    for file in self.images.pause(digest) {
                        self.artifacts.pause(file);
                    }
                }
                Effect::Collect { keep } => {
                    self.artifacts.collect(&keep);
                    self.images.collect(&keep);
                }
                Effect::Prepare { name, revision, nonce, stale_config } => {
                    tracing::info!(workload = %name, revision = revision.number, "starting");
                    inlets.admit(&name, &revision.spec.bus, Some(nonce));
                    self.runtimes.prepare(Prepare { name, revision, nonce, stale_config });
                }
                Effect::Start { name, instance } => {
                    logs.begin(&name, &self.runtimes.log(&name));
                    self.runtimes.start(name, instance);
                }
                Effect::Watch { name, instance } => {
                    tracing::info!(workload = %name, instance = %instance.id, "watching");
                    inlets.adopted(&name, instance.nonce);
                    self.runtimes.watch(name, instance);
                }
                Effect::Stop { name, instance, how } => {
                    tracing::info!(workload = %name, instance = %instance.id, ?how, "stopping");
                    self.runtimes.stop(name, instance, how);
                }
                Effect::Sweep { name, runtimes, last, spare, kill } => {
                    sweeps.push(Sweep { name, runtimes, last, spare, kill });
                }
                Effect::Refresh { name, instance, revision, signal } => {
                    tracing::info!(workload = %name, signal, "its secrets have changed");
                    self.runtimes.refresh(name, instance, revision, signal);
                }
                Effect::Probe { name, instance, probe, spec, secrets, timeout_ms } => {
                    let ask = Probing { name, instance, probe, spec, secrets, timeout_ms };
                    self.runtimes.probe(ask);
                }
                Effect::Remove { name } => {
                    tracing::info!(workload = %name, "removing its folder");
                    inlets.dismiss(&name);
                    self.remove(name);
                }
                Effect::Census => self.take_census(),
            }
        }
        if !sweeps.is_empty() {
            self.runtimes.sweep(sweeps);
        }
        states
    }

    /// Fetches what a workload needs.
    fn fetch(&mut self, need: Need) {
        match need {
            Need::File(artifact) => self.artifacts.fetch(artifact),
            Need::Image(image) => self.images.fetch(image),
        }
    }

    /// Downloads the files of an image.
    pub(super) fn fetch_files(&mut self, files: Vec<Artifact>) {
        for file in files {
            self.artifacts.fetch(file);
        }
    }

    /// Engine of this device, as it is reported.
    pub(super) fn engine(&self) -> EngineInfo {
        self.engine.info()
    }

    /// True if the engine is another one than at the last call, or is in another state.
    pub(super) fn engine_changed(&mut self) -> bool {
        let now = Some(self.engine.info());
        let changed = self.reported != now;
        self.reported = now;
        changed
    }

    /// Text about an engine that workloads want and that does not answer.
    fn engine_problem(&self) -> Option<String> {
        let wants = |run: &Run| matches!(run, Run::Container(_) | Run::Group(_));
        let mut wanted = self.agent.wanted().filter(|(_, revision)| wants(&revision.spec.run));
        let (name, _) = wanted.next()?;
        let more = wanted.count();
        let others = if more == 0 { String::new() } else { format!(" and {more} more") };
        let why = self.engine.now().err()?;
        Some(format!("{name}{others}: {why}; what ran is presumed to run"))
    }

    fn save(&mut self, states: Vec<(Name, Option<SavedWorkload>)>, folder: &mut DataFolder) {
        let ok = folder.save(&states);
        crash::point("workload-saved");
        for (name, _) in states {
            self.agent.observe(Observed::Saved(name, ok), uptime_ms());
        }
    }

    fn remove(&self, name: Name) {
        let (runtimes, tell) = (self.runtimes.clone(), self.tell.clone());
        // A folder may hold millions of files: not removed in the loop's own thread.
        tokio::task::spawn_blocking(move || {
            let removed = runtimes.remove(&name).map_err(|error| Reason::of(&error));
            crash::point("folder-removed");
            let _agent_ends = tell.blocking_send(TaskResult::FolderRemoved(name, removed));
        });
    }

    /// Takes in the result of a removal: the saved state goes after the folder.
    pub(super) fn removed(
        &mut self,
        name: Name,
        result: Result<(), Reason>,
        folder: &mut DataFolder,
    ) {
        if result.is_ok() {
            folder.save(&[(name.clone(), None)]);
            crash::point("workload-removed");
        }
        self.agent.observe(Observed::Removed(name, result), uptime_ms());
    }

    fn take_census(&self) {
        let (runtimes, tell) = (self.runtimes.clone(), self.tell.clone());
        let known = self.agent.known();
        tokio::spawn(async move {
            let seen = on_own_thread(move || runtimes.census(&known)).await;
            let _agent_ends = tell.send(TaskResult::Census(seen)).await;
        });
    }

    /// Takes in the result of a census.
    pub(super) fn counted(&mut self, seen: std::io::Result<Vec<Found>>) {
        let seen = match seen {
            Ok(found) => Observed::Census(found),
            Err(error) => {
                tracing::warn!(%error, "the processes cannot be looked at now");
                Observed::Blind
            }
        };
        self.agent.observe(seen, uptime_ms());
    }

    /// Begins a restart that an operator asked for; `tell` is told what becomes of it.
    pub(super) fn restart(&mut self, workload: Name, tell: Done) {
        self.restarts.begin(&mut self.agent, workload, tell);
    }

    /// Does what an operator asks for with volumes.
    pub(super) fn volume(&self, order: VolumeOrder, tell: Done) {
        tracing::info!(?order, "volumes: the control plane asks");
        let volumes = self.volumes.clone();
        tokio::spawn(async move {
            let done = volumes.run(order).await;
            // The caller may be gone.
            drop(tell.send(done));
        });
    }

    /// Forgets who asked for restarts, because the link is down.
    pub(super) fn forget_calls(&mut self) {
        self.restarts.forget_calls();
    }

    /// Adds the problems of limits that are asked for and not enforced as they should be, and of
    /// secrets that cannot be opened.
    pub(super) fn problems(&self, list: &mut Problems) {
        let unopened = self.agent.unopened().map(|(name, why)| format!("{name}: {why}"));
        let unopened: Vec<_> = unopened.take(MAX_UNOPENED).collect();
        list.say(
            ProblemCode::SecretsNotOpened,
            (!unopened.is_empty()).then(|| unopened.join("; ")),
        );
        list.say(ProblemCode::EngineAway, self.engine_problem());
        let wanted = self.agent.saved().filter_map(|(name, saved)| {
            let current = saved.current.as_ref()?;
            Some((name, &*current.spec))
        });
        let wanted: Vec<_> = wanted.collect();
        list.say(ProblemCode::LimitsNotEnforced, self.runtimes.limits_problem(&wanted));
    }
}
