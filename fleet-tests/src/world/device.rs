//! Device of the world: the real agent core on a simulated disk, process table and clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_agent::core::acceptance::{Acceptance, FILE_STEPS, FileStep, Offered, begin};
use holdfast_agent::core::agent::{Agent, Start};
use holdfast_agent::core::effect::{Effect, Observed};
use holdfast_agent::core::process::ProcessId;
use holdfast_agent::core::report::Reporter;
use holdfast_agent::core::runtime::{Found, Halt, Handle, NotPrepared, Reason, Role};
use holdfast_agent::core::saved::{Exit, SavedWorkload};
use holdfast_base::codec;
use holdfast_base::ids::{DeviceId, Digest, Name, StateVersion};
use holdfast_protocol::message::{AgentInfo, DesiredState};
use holdfast_protocol::signing;
use holdfast_protocol::workload::{RestartPolicy, WorkloadSpec};

use super::{Behaviour, Dice};

/// State that survives the death of the agent and of the machine.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    pub(super) desired: Option<Vec<u8>>,
    /// True: `desired` cannot be read any more.
    pub(super) damaged: bool,
    /// Copy of the desired state before the last one.
    spare: Option<Vec<u8>>,
    /// Decoded content of `desired`.
    pub(super) state: Option<DesiredState>,
    pub(super) saved: BTreeMap<Name, SavedWorkload>,
    pub(super) folders: BTreeSet<Name>,
    pub(super) artifacts: BTreeSet<Digest>,
    pub(super) full: bool,
}

/// Process of the machine.
#[derive(Debug, Clone)]
pub(super) struct Proc {
    pub(super) name: Name,
    pub(super) revision: u64,
    pub(super) spec: Arc<WorkloadSpec>,
    pub(super) instance: Handle,
    /// True: it executes; false: it waits at the gate.
    pub(super) open: bool,
    /// Life of the agent that would reap the process.
    parent: u64,
    /// True: the process was told to end.
    told: bool,
}

/// Event of a device, with its time.
#[derive(Debug, Clone)]
pub(super) enum Happening {
    /// Work of the agent in this life is done.
    Done(u64, Work),
    /// A process ends.
    Ends(u32, u64, Exit),
    /// Timer of the agent, set for this time; a later one has replaced it if they differ.
    Timer(u64, u64),
}

/// Work under way.
#[derive(Debug, Clone)]
pub(super) enum Work {
    /// Download and its ticket: a download that was given up has no effect.
    Fetch(Digest, u64),
    Prepare(Effect),
    Start(Name, Handle),
    Probe(Name, Handle, Arc<WorkloadSpec>),
    Tell(Observed),
    Remove(Name),
}

/// Process id of an instance.
pub(super) fn pid(instance: &Handle) -> u32 {
    ProcessId::of(instance).expect("the device runs processes alone").pid
}

/// Device of the world.
pub(super) struct Device {
    pub(super) id: DeviceId,
    key: Vec<u8>,
    pub(super) disk: Disk,
    pub(super) procs: BTreeMap<u32, Proc>,
    pub(super) agent: Option<Agent>,
    reporter: Reporter,
    /// True: the runtime is one that keeps what it prepared without the agent, as a container engine
    /// does. False: it is as processes at their gates.
    is_prepared_for_good: bool,
    life: u64,
    boot: u64,
    booted_at: u64,
    next_pid: u32,
    /// Downloads under way, by ticket.
    fetching: BTreeMap<Digest, u64>,
    tickets: u64,
    /// Artifacts that were removed behind the agent's back.
    lost: BTreeSet<Digest>,
    /// Workloads that an operator asked to restart: they may be ended once although they work.
    restarting: BTreeSet<Name>,
    /// Jobs that ran, were saved, and must not run again.
    ran: BTreeMap<Name, Arc<WorkloadSpec>>,
    pub(super) connected: bool,
    /// True: faults may happen, the agent is killed between steps.
    pub(super) brittle: bool,
    acceptance: Acceptance<()>,
    pub(super) refused: u64,
    /// Time at which the agent wants to be woken.
    timer: u64,
    /// Events to schedule, with their times.
    pub(super) schedule: Vec<(u64, Happening)>,
    /// Reports to send.
    pub(super) outbox: Vec<(u32, Vec<u8>)>,
}

impl Device {
    pub(super) fn new(number: usize, key: Vec<u8>) -> Self {
        Self {
            id: format!("acme_d-{number}").parse().unwrap(),
            key,
            disk: Disk::default(),
            procs: BTreeMap::new(),
            agent: None,
            reporter: Reporter::default(),
            is_prepared_for_good: number % 2 == 1,
            life: 0,
            boot: 1,
            booted_at: 0,
            next_pid: 100,
            fetching: BTreeMap::new(),
            tickets: 0,
            lost: BTreeSet::new(),
            restarting: BTreeSet::new(),
            ran: BTreeMap::new(),
            connected: false,
            brittle: false,
            acceptance: Acceptance::new(StateVersion::default()),
            refused: 0,
            timer: u64::MAX,
            schedule: Vec::new(),
            outbox: Vec::new(),
        }
    }

    fn uptime(&self, now: u64) -> u64 {
        now - self.booted_at
    }

    /// Starts the agent, if it does not run.
    pub(super) fn start(&mut self, now: u64, dice: &mut Dice) {
        if self.agent.is_some() {
            return;
        }
        self.life += 1;
        self.timer = u64::MAX;
        let read = |bytes: &Option<Vec<u8>>| {
            let verify = |bytes| signing::verify::<DesiredState>(bytes, &self.key, &self.id);
            bytes.as_ref().map(|bytes| verify(bytes).expect("it was checked"))
        };
        let damaged = Err("it cannot be read".to_owned());
        let present = if self.disk.damaged { damaged } else { Ok(read(&self.disk.desired)) };
        let spare = || read(&self.disk.spare);
        let begun = begin(present, spare, !self.disk.saved.is_empty());
        self.acceptance = Acceptance::new(begun.least);
        let start = Start {
            desired: begun.desired,
            former: begun.former,
            saved: self.disk.saved.clone(),
            found: self.census(),
            folders: self.disk.folders.clone(),
            artifacts: self.disk.artifacts.clone(),
            entropy: dice.below(u64::MAX),
            opener: None,
            zone: Default::default(),
        };
        self.agent = Some(Agent::new(start, self.uptime(now)));
        self.reporter = Reporter::new(dice.below(1 << 16) as u16);
        self.turn(now, dice);
    }

    fn census(&self) -> Vec<Found> {
        let found = |proc: &Proc| Found {
            workload: proc.name.clone(),
            revision: proc.revision,
            instance: proc.instance.clone(),
            role: if proc.open { Role::Main } else { Role::Prepared },
            order: (u64::from(pid(&proc.instance)), 0),
        };
        self.procs.values().map(found).collect()
    }

    /// Kills the agent, empties its store, and makes its desired state unreadable.
    pub(super) fn forget(&mut self) {
        self.kill_agent();
        self.disk.saved.clear();
        self.disk.damaged = true;
        self.ran.clear();
    }

    /// Kills the agent with SIGKILL. Launchers at their gates end by their pipes; containers that
    /// were created and not started stay.
    pub(super) fn kill_agent(&mut self) {
        self.agent = None;
        self.restarting.clear();
        self.acceptance = Acceptance::new(StateVersion::default());
        self.fetching.clear();
        // A restarted agent sees which artifacts exist.
        self.lost.clear();
        self.connected = false;
        self.reporter = Reporter::default();
        self.outbox.clear();
        let stays = self.is_prepared_for_good;
        self.procs.retain(|_, proc| proc.open || stays);
    }

    /// Switches power off and on: nothing runs, and the boot id is another.
    pub(super) fn reboot(&mut self, now: u64) {
        self.kill_agent();
        self.procs.retain(|_, proc| !proc.open);
        self.boot += 1;
        self.booted_at = now;
        // Events of the former boot have no effect any more.
        self.life += 1;
    }

    /// Kills the agent at random; called between any two steps.
    fn crash_point(&mut self, dice: &mut Dice) -> bool {
        let dies = self.brittle && self.agent.is_some() && dice.permille(12);
        if dies {
            self.kill_agent();
        }
        dies
    }

    pub(super) fn connect(&mut self, now: u64, dice: &mut Dice) {
        if self.agent.is_some() && !self.connected {
            self.connected = true;
            self.reporter.connected();
            self.turn(now, dice);
        }
    }

    pub(super) fn disconnect(&mut self) {
        self.connected = false;
        self.reporter.disconnected();
        self.outbox.clear();
    }

    /// Notes that the broker has taken a report.
    pub(super) fn taken(&mut self, id: u32, now: u64, dice: &mut Dice) {
        if self.connected {
            let uptime = self.uptime(now);
            self.reporter.taken(id, uptime);
            self.turn(now, dice);
        }
    }

    /// Notes that the control plane has stored a report.
    pub(super) fn acknowledged(&mut self, id: u32, now: u64, dice: &mut Dice) {
        if self.connected {
            self.reporter.acknowledged(id);
            self.turn(now, dice);
        }
    }

    /// Handles a desired state that arrives, as the driver does.
    pub(super) fn offered(&mut self, bytes: Vec<u8>, now: u64, dice: &mut Dice) {
        let Some(agent) = &self.agent else { return };
        let Ok(state) = signing::verify::<DesiredState>(&bytes, &self.key, &self.id) else {
            self.refused += 1;
            return;
        };
        match self.acceptance.offer(agent.version(), &bytes, state, ()) {
            Offered::Store { .. } => self.store_desired(dice),
            Offered::Known(_) => {}
            Offered::Stale { .. } => self.refused += 1,
        }
        self.turn(now, dice);
    }

    /// Stores the desired state that waits, in the order of the shipped steps; the process may end
    /// between any two.
    fn store_desired(&mut self, dice: &mut Dice) {
        let Some(waiting) = self.acceptance.waiting() else { return };
        let (bytes, state) = (waiting.bytes.clone(), waiting.state.clone());
        for step in FILE_STEPS {
            if self.crash_point(dice) {
                return;
            }
            let disk = &mut self.disk;
            match step {
                FileStep::DropSpare => disk.spare = None,
                FileStep::KeepSpare => disk.spare = disk.desired.clone().filter(|_| !disk.damaged),
                FileStep::Replace if disk.full => {
                    if let Some(agent) = &mut self.agent {
                        agent.end_unwanted(&state);
                    }
                    return;
                }
                FileStep::Replace => {
                    disk.desired = Some(bytes.clone());
                    disk.damaged = false;
                    disk.state = Some(state.clone());
                }
            }
        }
        self.acceptance.stored();
        if self.crash_point(dice) {
            return;
        }
        // A job that returns after another revision, or none, was desired runs anew.
        self.ran.retain(|name, spec| {
            state.workloads.get(name).is_some_and(|wanted| wanted.spec == **spec)
        });
        if let Some(agent) = &mut self.agent {
            agent.follow(&state);
        }
    }

    /// Restarts a workload for an operator, on a connected device only.
    pub(super) fn restart(&mut self, name: &Name, now: u64, dice: &mut Dice) {
        let Some(agent) = self.agent.as_mut().filter(|_| self.connected) else { return };
        if agent.restart(name).is_ok() {
            // A job runs again, and a working process is ended for it.
            self.ran.remove(name);
            self.restarting.insert(name.clone());
            self.turn(now, dice);
        }
    }

    /// Does the driver's work between events.
    pub(super) fn turn(&mut self, now: u64, dice: &mut Dice) {
        self.store_desired(dice);
        for _ in 0..64 {
            let uptime = self.uptime(now);
            let Some(agent) = &mut self.agent else { return };
            let effects = agent.advance(uptime);
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                // The agent may have died at the effect before.
                if self.agent.is_none() || self.crash_point(dice) {
                    return;
                }
                self.carry_out(effect, now, dice);
            }
        }
        let uptime = self.uptime(now);
        let Some(agent) = &self.agent else { return };
        let info = || AgentInfo {
            version: "1".into(),
            arch: "world".into(),
            kernel: String::new(),
            certificate_not_after: None,
            refused: self.refused,
            witness: false,
            engine: None,
            neighbours: Vec::new(),
        };
        if let Some(report) = self.reporter.next(&agent.view(), &[], None, info, uptime) {
            self.outbox.push((report.id.unwrap(), codec::encode(&report).unwrap()));
        }
        let wakes = [agent.next_wake(), self.reporter.next_wake()];
        let wake = wakes.into_iter().flatten().min();
        let wake = wake.map(|wake| self.booted_at + wake.max(uptime + 1));
        let retry = self.acceptance.waiting().is_some().then_some(now + 5_000);
        if let Some(at) = wake.into_iter().chain(retry).min()
            && (at < self.timer || self.timer <= now)
        {
            self.timer = at;
            self.schedule.push((at, Happening::Timer(self.life, at)));
        }
    }

    fn later(&mut self, now: u64, dice: &mut Dice, most: u64, work: Work) {
        self.schedule.push((now + dice.between(1, most), Happening::Done(self.life, work)));
    }

    fn observe(&mut self, observed: Observed, now: u64) {
        let uptime = self.uptime(now);
        if let Some(agent) = &mut self.agent {
            agent.observe(observed, uptime);
        }
    }

    fn carry_out(&mut self, effect: Effect, now: u64, dice: &mut Dice) {
        match effect {
            Effect::Fetch(need) => self.fetch(need.digest(), now, dice),
            Effect::Pause(digest) => {
                self.fetching.remove(&digest);
            }
            prepare @ Effect::Prepare { .. } => self.later(now, dice, 50, Work::Prepare(prepare)),
            Effect::Save { name, saved } => {
                let stored = !self.disk.full;
                if stored {
                    // Another revision came in between.
                    let current = saved.current.as_ref().map(|current| &current.spec);
                    self.ran.retain(|it, spec| *it != name || current == Some(spec));
                    self.disk.saved.insert(name.clone(), *saved);
                }
                if !self.crash_point(dice) {
                    self.observe(Observed::Saved(name, stored), now);
                }
            }
            Effect::Start { name, instance } => {
                self.later(now, dice, 20, Work::Start(name, instance));
            }
            Effect::Watch { name, instance } => {
                let lives =
                    self.procs.get(&pid(&instance)).is_some_and(|it| it.instance == instance);
                if !lives {
                    let exited = Observed::Exited(name, instance, Exit::Unseen);
                    self.later(now, dice, 5, Work::Tell(exited));
                }
            }
            Effect::Refresh { name, instance, .. } => {
                let refreshed = Observed::Refreshed(name, instance, Ok(()));
                self.later(now, dice, 30, Work::Tell(refreshed));
            }
            Effect::Probe { name, instance, spec, .. } => {
                self.later(now, dice, 100, Work::Probe(name, instance, spec));
            }
            Effect::Stop { name, instance, how } => {
                // The job was cut short for another desired state: if it is desired again, it runs
                // again.
                self.ran.remove(&name);
                self.stop(&instance, how, now, dice);
            }
            Effect::Sweep { name, spare, kill, .. } => {
                let left: Vec<u32> = self
                    .procs
                    .values()
                    .filter(|it| it.name == name && Some(&it.instance) != spare.as_ref())
                    .map(|it| pid(&it.instance))
                    .collect();
                if kill {
                    for pid in &left {
                        self.must_not_be_well(*pid, "swept away");
                        self.end(*pid, Exit::Signal(9), now, dice);
                    }
                }
                self.later(now, dice, 5, Work::Tell(Observed::Swept(name, left.len())));
            }
            Effect::Remove { name } => self.later(now, dice, 50, Work::Remove(name)),
            Effect::Census => self.observe(Observed::Census(self.census()), now),
            Effect::Collect { keep } => {
                self.disk.artifacts.retain(|it| keep.contains(it));
                self.fetching.retain(|it, _| keep.contains(it));
            }
        }
    }

    /// Starts a download, one at a time for each artifact: a second request changes nothing.
    fn fetch(&mut self, digest: Digest, now: u64, dice: &mut Dice) {
        if !self.fetching.contains_key(&digest) {
            self.tickets += 1;
            self.fetching.insert(digest, self.tickets);
            self.later(now, dice, 3_000, Work::Fetch(digest, self.tickets));
        }
    }

    fn stop(&mut self, instance: &Handle, how: Halt, now: u64, dice: &mut Dice) {
        let signal = match how {
            Halt::Ask(stop) => stop.signal,
            Halt::Kill => 9,
        };
        let Some(proc) = self.procs.get_mut(&pid(instance)) else { return };
        if proc.instance != *instance {
            return;
        }
        let stubborn = Behaviour::of(&proc.spec) == Behaviour::Stubborn && signal != 9;
        // A process that was told to end does end, even if it is desired again by then.
        let told = std::mem::replace(&mut proc.told, true);
        let name = proc.name.clone();
        if !told {
            self.must_not_be_well(pid(instance), "stopped");
            self.restarting.remove(&name);
        }
        if !stubborn {
            let at = now + dice.between(1, 300);
            let exit = Exit::Signal(i32::from(signal));
            self.schedule.push((at, Happening::Ends(pid(instance), instance.nonce, exit)));
        }
    }

    /// Asserts invariants 4 and 5: a process that works and is exactly as desired is not ended.
    fn must_not_be_well(&self, pid: u32, what: &str) {
        let Some(proc) = self.procs.get(&pid).filter(|proc| proc.open) else { return };
        let Some(state) = &self.disk.state else { return };
        let wanted = state.workloads.get(&proc.name).filter(|wanted| !wanted.paused);
        // A newer state that the disk cannot take ends what it does not contain.
        let newer = self.acceptance.waiting();
        let wanted = wanted
            .filter(|_| newer.is_none_or(|newer| newer.state.workloads.contains_key(&proc.name)));
        let well = Behaviour::of(&proc.spec).works() && !self.restarting.contains(&proc.name);
        assert!(
            !(well && wanted.is_some_and(|wanted| wanted.spec == *proc.spec)),
            "{}: {} (pid {pid}) is well and wanted, and was {what}: on disk {:?}, the agent has {:?}",
            self.id,
            proc.name,
            self.disk.saved.get(&proc.name),
            self.agent.as_ref().map(Agent::view),
        );
    }

    /// Removes a process and tells the agent.
    fn end(&mut self, pid: u32, exit: Exit, now: u64, dice: &mut Dice) {
        let Some(proc) = self.procs.remove(&pid) else { return };
        let exit = if proc.parent == self.life { exit } else { Exit::Unseen };
        let exited = Observed::Exited(proc.name, proc.instance, exit);
        self.later(now, dice, 5, Work::Tell(exited));
    }

    /// Handles an event. `reachable`: the control plane can be asked for artifacts.
    pub(super) fn happen(
        &mut self,
        happening: Happening,
        reachable: bool,
        now: u64,
        dice: &mut Dice,
    ) {
        match happening {
            Happening::Timer(life, at) if life == self.life && at == self.timer => {}
            Happening::Done(life, work) if life == self.life && self.agent.is_some() => {
                if self.crash_point(dice) {
                    return;
                }
                self.work_done(work, reachable, now, dice);
            }
            Happening::Ends(pid, nonce, exit) => {
                if self.procs.get(&pid).is_some_and(|proc| proc.instance.nonce == nonce) {
                    self.end(pid, exit, now, dice);
                }
            }
            Happening::Timer(..) | Happening::Done(..) => return,
        }
        self.turn(now, dice);
    }

    fn work_done(&mut self, work: Work, reachable: bool, now: u64, dice: &mut Dice) {
        match work {
            Work::Tell(observed) => self.observe(observed, now),
            Work::Fetch(digest, ticket) => {
                if self.fetching.get(&digest) != Some(&ticket) {
                    return;
                }
                if !reachable || self.disk.full || dice.permille(600) {
                    self.observe(Observed::FetchTrouble(digest, "no way".into()), now);
                    return self.later(now, dice, 10_000, Work::Fetch(digest, ticket));
                }
                self.fetching.remove(&digest);
                self.lost.remove(&digest);
                self.disk.artifacts.insert(digest);
                if !self.crash_point(dice) {
                    self.observe(Observed::Fetched(digest), now);
                }
            }
            Work::Prepare(effect) => self.prepare(effect, now, dice),
            Work::Start(name, instance) => self.start_instance(name, instance, now, dice),
            Work::Probe(name, instance, spec) => {
                let lives =
                    self.procs.get(&pid(&instance)).is_some_and(|it| it.instance == instance);
                let sick = Behaviour::of(&spec) == Behaviour::Sick;
                let result = if lives && !sick { Ok(()) } else { Err(Reason::from("sick")) };
                self.observe(Observed::Probed(name, instance, result), now);
            }
            Work::Remove(name) => {
                self.disk.folders.remove(&name);
                self.ran.remove(&name);
                if self.crash_point(dice) {
                    return;
                }
                self.disk.saved.remove(&name);
                if !self.crash_point(dice) {
                    self.observe(Observed::Removed(name, Ok(())), now);
                }
            }
        }
    }

    fn prepare(&mut self, effect: Effect, now: u64, dice: &mut Dice) {
        let Effect::Prepare { name, revision, nonce, .. } = effect else { return };
        if self.disk.full && !self.disk.folders.contains(&name) {
            let why = Err(NotPrepared::Machine("no space left".into()));
            return self.observe(Observed::Prepared(name, why), now);
        }
        for artifact in revision.spec.run.artifacts() {
            let (there, digest) = (&self.disk.artifacts, artifact.digest);
            if self.lost.contains(&digest) {
                return self
                    .observe(Observed::Prepared(name, Err(NotPrepared::Artifact(digest))), now);
            }
            assert!(there.contains(&digest), "started without its artifact");
        }
        self.disk.folders.insert(name.clone());
        if self.crash_point(dice) {
            return;
        }
        self.next_pid += 1;
        let boot = format!("boot-{}", self.boot);
        let instance = ProcessId { pid: self.next_pid, start: now, boot }.handle(nonce);
        let proc = Proc {
            name: name.clone(),
            revision: revision.number,
            spec: revision.spec,
            instance: instance.clone(),
            open: false,
            parent: self.life,
            told: false,
        };
        self.procs.insert(pid(&instance), proc);
        if !self.crash_point(dice) {
            self.observe(Observed::Prepared(name, Ok(instance)), now);
        }
    }

    fn start_instance(&mut self, name: Name, instance: Handle, now: u64, dice: &mut Dice) {
        let Some(proc) = self.procs.get_mut(&pid(&instance)).filter(|it| it.instance == instance)
        else {
            let why = Err(Reason::from("its launcher is gone"));
            return self.observe(Observed::Started(name, instance, why), now);
        };
        let behaviour = Behaviour::of(&proc.spec);
        if behaviour == Behaviour::Missing {
            let why = Err(Reason::from("no such file"));
            self.observe(Observed::Started(name, instance.clone(), why), now);
            return self.end(pid(&instance), Exit::Code(126), now, dice);
        }
        proc.open = true;
        let spec = Arc::clone(&proc.spec);
        self.run_once(&name, spec, &instance);
        let ends = match behaviour {
            Behaviour::Crashing => Some((dice.between(50, 4_000), Exit::Code(1))),
            Behaviour::Job => Some((dice.between(50, 4_000), Exit::Code(0))),
            _ => None,
        };
        if let Some((after, exit)) = ends {
            let event = Happening::Ends(pid(&instance), instance.nonce, exit);
            self.schedule.push((now + after, event));
        }
        if !self.crash_point(dice) {
            self.observe(Observed::Started(name, instance, Ok(())), now);
        }
    }

    /// Removes artifacts behind the agent's back.
    pub(super) fn lose_artifacts(&mut self) {
        self.lost.append(&mut self.disk.artifacts);
    }

    /// Asserts that a workload with `never` runs at most once, as far as the disk could record it.
    fn run_once(&mut self, name: &Name, spec: Arc<WorkloadSpec>, instance: &Handle) {
        let before = self.ran.remove(name);
        if spec.restart.policy != RestartPolicy::Never {
            return;
        }
        assert_ne!(before.as_ref(), Some(&spec), "{}: {name} is a job and runs again", self.id);
        let saved = self.disk.saved.get(name);
        if saved.is_some_and(|saved| saved.instance.as_ref() == Some(instance)) {
            self.ran.insert(name.clone(), spec);
        }
    }

    /// Ends a random working process.
    pub(super) fn misfortune(&mut self, now: u64, dice: &mut Dice) {
        let running: Vec<u32> = self
            .procs
            .values()
            .filter(|it| it.open && !it.told)
            .map(|it| pid(&it.instance))
            .collect();
        if running.is_empty() {
            return;
        }
        let pid = running[dice.below(running.len() as u64) as usize];
        self.end(pid, Exit::Signal(11), now, dice);
        self.turn(now, dice);
    }
}
