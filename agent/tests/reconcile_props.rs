//! Invariants of the core. On a simulated machine that reports truthfully it never runs a workload
//! twice, comes to rest, and adopts what runs; and no sequence of observations, true or false,
//! breaks it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails loudly where it stands"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_agent::core::agent::{Agent, Start};
use holdfast_agent::core::effect::{Effect, Observed};
use holdfast_agent::core::need::Need;
use holdfast_agent::core::runtime::{Found, Halt, Handle, NotPrepared, Reason, Role, RuntimeKind};
use holdfast_agent::core::saved::{Exit, Revision, SavedWorkload};
use holdfast_agent::core::secrets::{Opener, Secrets};
use holdfast_base::WIRE_VERSION;
use holdfast_base::ids::{Digest, Name};
use holdfast_protocol::message::{DesiredState, DesiredWorkload, Phase};
use holdfast_protocol::sealing::{OnChange, Sealed, SealedContent};
use holdfast_protocol::workload::{
    Artifact, EVERY_DAY, Executable, Health, Probe, Process, Resources, Restart, RestartPolicy,
    Run, Stop, Window, Windows, WorkloadSpec,
};
use proptest::prelude::*;

fn name(which: u8) -> Name {
    ["a", "b", "c"][usize::from(which % 3)].parse().unwrap()
}

fn spec(word: u8) -> WorkloadSpec {
    let executable = if word & 1 == 0 {
        Executable::Path(format!("/bin/p{word}"))
    } else {
        Executable::Artifact(Artifact { digest: Digest([word; 32]), size: 1 })
    };
    let process =
        Process { executable, args: vec![], env: BTreeMap::new(), user: None, workdir: None };
    let policy = [RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never];
    WorkloadSpec {
        run: Run::Process(process),
        config: BTreeMap::new(),
        resources: Resources::default(),
        restart: Restart {
            policy: policy[usize::from(word / 2 % 3)],
            backoff_initial_ms: 100,
            backoff_max_ms: 1_000,
        },
        health: (word & 8 != 0).then_some(Health {
            probe: Probe::Tcp { host: None, port: 1 },
            start_period_ms: 500,
            interval_ms: 300,
            timeout_ms: 100,
            failures: 2,
        }),
        stop: Stop { signal: 15, grace_ms: 400 },
        bus: Default::default(),
        windows: Default::default(),
    }
}

/// Windows of every workload of a machine that has any: downloads for 20 minutes from midnight and
/// from noon, other revisions for 10 minutes from six in the morning.
fn windows() -> Windows {
    let window = |from, length| Window { from, to: from + length, days: EVERY_DAY };
    Windows { download: vec![window(0, 20), window(720, 20)], switch: vec![window(360, 10)] }
}

/// Midnight at which the clock of a machine begins, in seconds since 1970.
const MIDNIGHT: u64 = 20_834 * 86_400;

/// Content that cannot be opened.
const CLOSED: u8 = 7;

/// Opener of contents that are one byte: the lowest bit is an environment value, the others a file.
#[derive(Debug)]
struct Bytes;

impl Opener for Bytes {
    fn open(&self, _workload: &Name, secrets: &Secrets) -> Result<SealedContent, Reason> {
        let content = secrets.sealed.bytes[0];
        if content == CLOSED {
            return Err("sealed to another key".into());
        }
        Ok(SealedContent {
            env: [("A".to_owned(), (content & 1).to_string())].into(),
            files: [("f".to_owned(), vec![content >> 1].into())].into(),
        })
    }
}

/// Secrets of workloads: version and content.
type Rotated = BTreeMap<u8, (u64, u8)>;

fn desired(generation: u64, wanted: &BTreeMap<u8, u8>) -> DesiredState {
    desired_so(generation, wanted, &BTreeSet::new(), &Rotated::new())
}

fn desired_so(
    generation: u64,
    wanted: &BTreeMap<u8, u8>,
    paused: &BTreeSet<u8>,
    secrets: &Rotated,
) -> DesiredState {
    let workload = |(which, word): (&u8, &u8)| {
        // One revision number per spec, as the control plane gives them.
        let (revision, paused) = (u64::from(*word) + 1, paused.contains(which));
        let sealed = secrets.get(which).map(|(version, content)| {
            let on_change = if version % 2 == 0 { OnChange::Restart } else { OnChange::Signal(1) };
            // Sealed anew each time.
            let bytes = vec![*content, u8::try_from(generation % 256).unwrap()];
            Box::new(Sealed { version: *version, on_change, bytes })
        });
        (name(*which), DesiredWorkload { revision, paused, spec: spec(*word), sealed })
    };
    DesiredState {
        v: WIRE_VERSION,
        device: "default_d-1".parse().unwrap(),
        epoch: 1,
        generation,
        workloads: wanted.iter().map(workload).collect(),
        data: None,
        audit: None,
    }
}

/// Step of a test. Numbers select the workload, the effect or the outcome.
#[derive(Debug, Clone)]
enum Turn {
    Want(u8, Option<u8>),
    /// Wants a spec, then the former one, then this spec again.
    Waver(u8, u8),
    /// Pauses a workload, or resumes it.
    Pause(u8),
    /// Restarts a workload, if that is possible now.
    Restart(u8),
    /// Gives a workload other secrets: the content, or none.
    Rotate(u8, Option<u8>),
    /// Carries out an effect that waits; the second number decides about its success.
    Carry(u8, u8),
    Wait(u16),
    Dies(u8, u8),
    AgentDies,
    PowerCut,
    /// Lets so many minutes pass.
    Later(u16),
    /// Makes the clock one that cannot be relied on, or right again.
    Clock,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = prop_oneof![
        2 => (0_u8..3, proptest::option::weighted(0.8, 0_u8..16)).prop_map(|(a, b)| Turn::Want(a, b)),
        2 => (0_u8..3, 0_u8..16).prop_map(|(a, b)| Turn::Waver(a, b)),
        2 => (0_u8..3).prop_map(Turn::Pause),
        2 => (0_u8..3).prop_map(Turn::Restart),
        2 => (0_u8..3, proptest::option::weighted(0.9, 0_u8..8)).prop_map(|(a, b)| Turn::Rotate(a, b)),
        14 => (any::<u8>(), any::<u8>()).prop_map(|(a, b)| Turn::Carry(a, b)),
        4 => (0_u16..1_500).prop_map(Turn::Wait),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(a, b)| Turn::Dies(a, b)),
        1 => Just(Turn::AgentDies),
        1 => Just(Turn::PowerCut),
    ];
    proptest::collection::vec(turn, 1..160)
}

/// Turns with windows and a clock that is not always right.
fn windowed_turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = prop_oneof![
        3 => (0_u8..3, proptest::option::weighted(0.9, 0_u8..16)).prop_map(|(a, b)| Turn::Want(a, b)),
        1 => (0_u8..3).prop_map(Turn::Pause),
        1 => (0_u8..3).prop_map(Turn::Restart),
        14 => (any::<u8>(), any::<u8>()).prop_map(|(a, b)| Turn::Carry(a, b)),
        3 => (0_u16..1_500).prop_map(Turn::Wait),
        3 => (0_u16..700).prop_map(Turn::Later),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(a, b)| Turn::Dies(a, b)),
        1 => Just(Turn::AgentDies),
        1 => Just(Turn::PowerCut),
        1 => Just(Turn::Clock),
    ];
    proptest::collection::vec(turn, 1..160)
}

#[derive(Debug, Clone)]
struct Proc {
    name: Name,
    revision: u64,
    instance: Handle,
    /// True once the program executes; before that the launcher waits at the gate.
    open: bool,
}

/// Simulated machine whose observations are true, if late.
struct Machine {
    agent: Agent,
    now: u64,
    generation: u64,
    wanted: BTreeMap<u8, u8>,
    /// Workloads that ever wanted each artifact.
    asked: BTreeMap<Digest, BTreeSet<u8>>,
    paused: BTreeSet<u8>,
    secrets: Rotated,
    todo: Vec<Effect>,
    saved: BTreeMap<Name, SavedWorkload>,
    folders: BTreeSet<Name>,
    artifacts: BTreeSet<Digest>,
    procs: Vec<Proc>,
    next_pid: u32,
    boot: u32,
    /// True while no artifact can be fetched.
    cut_off: bool,
    windows: Windows,
    /// True while the clock cannot be relied on.
    unsure: bool,
}

impl Machine {
    fn new() -> Self {
        Self {
            agent: Agent::new(Start { opener: Some(Arc::new(Bytes)), ..Start::default() }, 0),
            now: 0,
            generation: 0,
            wanted: BTreeMap::new(),
            asked: BTreeMap::new(),
            paused: BTreeSet::new(),
            secrets: Rotated::new(),
            todo: Vec::new(),
            saved: BTreeMap::new(),
            folders: BTreeSet::new(),
            artifacts: BTreeSet::new(),
            procs: Vec::new(),
            next_pid: 100,
            boot: 0,
            cut_off: false,
            windows: Windows::default(),
            unsure: false,
        }
    }

    /// Time of the day in minutes.
    fn minute(&self) -> u64 {
        self.now / 60_000 % 1_440
    }

    /// Advances the core until it asks for nothing more, and carries out at once what the driver
    /// does at once.
    fn advance(&mut self) {
        loop {
            let seconds = (!self.unsure).then_some(MIDNIGHT + self.now / 1_000);
            self.agent.tell_time(seconds, self.now);
            let effects = self.agent.advance(self.now);
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Save { name, saved } => {
                        self.saved.insert(name.clone(), *saved);
                        self.tell(Observed::Saved(name, true));
                    }
                    Effect::Collect { keep } => self.collect(&keep),
                    Effect::Pause(digest) => self
                        .todo
                        .retain(|it| !matches!(it, Effect::Fetch(need) if need.digest() == digest)),
                    later => {
                        self.may_prepare(&later);
                        self.todo.push(later);
                    }
                }
            }
        }
    }

    /// Removes the artifacts that are not kept, and gives their downloads up.
    fn collect(&mut self, keep: &BTreeSet<Digest>) {
        self.artifacts.retain(|it| keep.contains(it));
        self.todo.retain(|effect| match effect {
            Effect::Fetch(need) => keep.contains(&need.digest()),
            _ => true,
        });
    }

    fn one_at_most(&self) {
        for which in 0..3 {
            let mine: Vec<&Proc> =
                self.procs.iter().filter(|it| it.open && it.name == name(which)).collect();
            assert!(mine.len() <= 1, "two run at once: {mine:?}");
        }
    }

    fn tell(&mut self, observed: Observed) {
        self.agent.observe(observed, self.now);
    }

    fn ends(&mut self, instance: &Handle, exit: Exit) {
        if let Some(at) = self.procs.iter().position(|it| it.instance == *instance) {
            let proc = self.procs.remove(at);
            self.tell(Observed::Exited(proc.name, proc.instance, exit));
        }
    }

    fn carry_out(&mut self, effect: Effect, luck: u8) {
        match effect {
            Effect::Fetch(need) => self.fetch(need, luck),
            Effect::Prepare { name, .. } if luck < 30 => {
                self.tell(Observed::Prepared(name, Err(NotPrepared::Machine("no room".into()))));
            }
            Effect::Prepare { name, .. } if luck < 50 => {
                self.tell(Observed::Prepared(
                    name,
                    Err(NotPrepared::Revision("no such user".into())),
                ));
            }
            prepare @ Effect::Prepare { .. } => self.prepare(prepare),
            Effect::Start { name, instance } => {
                let found = self.procs.iter_mut().find(|it| it.instance == instance);
                let result = match found {
                    Some(_) if luck < 20 => Err(Reason::from("no such file")),
                    Some(proc) => {
                        proc.open = true;
                        Ok(())
                    }
                    None => Err(Reason::from("its launcher is gone")),
                };
                let failed = result.is_err();
                self.tell(Observed::Started(name, instance.clone(), result));
                if failed {
                    self.ends(&instance, Exit::Code(126));
                }
            }
            Effect::Watch { name, instance } => {
                if !self.procs.iter().any(|it| it.instance == instance) {
                    self.tell(Observed::Exited(name, instance, Exit::Unseen));
                }
            }
            Effect::Stop { instance, how, .. } => match how {
                Halt::Ask(stop) if luck >= 80 => {
                    self.ends(&instance, Exit::Signal(i32::from(stop.signal)));
                }
                Halt::Ask(_) => {}
                Halt::Kill => self.ends(&instance, Exit::Signal(9)),
            },
            Effect::Sweep { name, spare, kill, .. } => self.sweep(name, spare.as_ref(), kill),
            Effect::Refresh { name, instance, .. } => {
                let result = if luck < 30 { Err("no room".into()) } else { Ok(()) };
                self.tell(Observed::Refreshed(name, instance, result));
            }
            Effect::Probe { name, instance, .. } => {
                let well = luck >= 60 && self.procs.iter().any(|it| it.instance == instance);
                let result = if well { Ok(()) } else { Err("refused".into()) };
                self.tell(Observed::Probed(name, instance, result));
            }
            Effect::Remove { name } if luck < 40 => {
                self.tell(Observed::Removed(name, Err("busy".into())));
            }
            Effect::Remove { name } => {
                assert!(self.procs.iter().all(|it| it.name != name), "removed under its feet");
                self.folders.remove(&name);
                self.saved.remove(&name);
                self.tell(Observed::Removed(name, Ok(())));
            }
            Effect::Census | Effect::Collect { .. } | Effect::Pause(_) | Effect::Save { .. } => {
                panic!("carried out at once")
            }
        }
    }

    fn fetch(&mut self, need: Need, luck: u8) {
        let digest = need.digest();
        if self.cut_off || luck < 60 {
            self.tell(Observed::FetchTrouble(digest, "torn".into()));
            // Where no link is, nothing more comes of it.
            if !self.cut_off {
                self.todo.push(Effect::Fetch(need));
            }
            return;
        }
        self.artifacts.insert(digest);
        self.tell(Observed::Fetched(digest));
    }

    fn prepare(&mut self, effect: Effect) {
        let Effect::Prepare { name, revision, nonce, .. } = effect else { return };
        for artifact in revision.spec.run.artifacts() {
            assert!(self.artifacts.contains(&artifact.digest), "its artifact is missing");
        }
        self.next_pid += 1;
        let id = format!("{} {}", self.next_pid, self.boot);
        let instance = Handle { runtime: RuntimeKind::new("props"), id, nonce };
        self.folders.insert(name.clone());
        let revision = revision.number;
        let proc = Proc { name: name.clone(), revision, instance, open: false };
        self.procs.push(proc.clone());
        self.tell(Observed::Prepared(name, Ok(proc.instance)));
    }

    fn sweep(&mut self, name: Name, spare: Option<&Handle>, kill: bool) {
        let mine: Vec<Handle> = self
            .procs
            .iter()
            .filter(|it| it.name == name && Some(&it.instance) != spare)
            .map(|it| it.instance.clone())
            .collect();
        // A launcher at its gate ends when its pipe closes.
        for instance in &mine {
            if kill || self.procs.iter().any(|it| it.instance == *instance && !it.open) {
                self.ends(instance, Exit::Signal(9));
            }
        }
        self.tell(Observed::Swept(name, mine.len()));
    }

    /// Restarts the agent with what is on disk and on the machine.
    fn agent_starts(&mut self) {
        // Launchers at their gates end with their agent.
        self.procs.retain(|it| it.open);
        self.todo.clear();
        let found = self.procs.iter().map(|it| Found {
            workload: it.name.clone(),
            revision: it.revision,
            instance: it.instance.clone(),
            role: Role::Main,
            order: (0, 0),
        });
        self.agent = Agent::new(
            Start {
                desired: Some(self.desired()),
                saved: self.saved.clone(),
                found: found.collect(),
                folders: self.folders.clone(),
                artifacts: self.artifacts.clone(),
                entropy: self.now,
                opener: Some(Arc::new(Bytes)),
                ..Start::default()
            },
            self.now,
        );
    }

    fn want(&mut self, which: u8, word: Option<u8>) {
        match word {
            Some(word) => {
                for artifact in spec(word).run.artifacts() {
                    self.asked.entry(artifact.digest).or_default().insert(which);
                }
                self.wanted.insert(which, word)
            }
            None => self.wanted.remove(&which),
        };
        self.follow();
    }

    fn follow(&mut self) {
        self.generation += 1;
        self.agent.follow(&self.desired());
    }

    fn desired(&self) -> DesiredState {
        let mut desired = desired_so(self.generation, &self.wanted, &self.paused, &self.secrets);
        for workload in desired.workloads.values_mut() {
            workload.spec.windows = self.windows.clone();
        }
        desired
    }

    fn rotate(&mut self, which: u8, content: Option<u8>) {
        match content {
            Some(content) => self.secrets.insert(which, (self.generation, content)),
            None => self.secrets.remove(&which),
        };
        self.follow();
    }

    /// Seals everything that cannot be opened to the right key.
    fn unlock(&mut self) {
        for which in 0..3 {
            if self.secrets.get(&which).is_some_and(|(_, content)| *content == CLOSED) {
                self.rotate(which, Some(0));
            }
        }
    }

    /// True if what cannot be opened is wanted of a workload.
    fn is_closed(&self, wanted: &Name) -> bool {
        self.secrets.iter().any(|(which, (_, it))| *it == CLOSED && name(*which) == *wanted)
    }

    fn turn(&mut self, turn: &Turn) {
        match *turn {
            Turn::Want(which, word) => self.want(which, word),
            Turn::Waver(which, word) => {
                let former = self.wanted.get(&which).copied();
                for word in [Some(word), former, Some(word)] {
                    self.want(which, word);
                    self.advance();
                }
            }
            Turn::Pause(which) => {
                if !self.paused.remove(&which) {
                    self.paused.insert(which);
                }
                self.follow();
            }
            Turn::Restart(which) => {
                let _refused_or_not = self.agent.restart(&name(which));
            }
            Turn::Rotate(which, content) => self.rotate(which, content),
            Turn::Carry(which, luck) => {
                if !self.todo.is_empty() {
                    let effect = self.todo.remove(usize::from(which) % self.todo.len());
                    self.carry_out(effect, luck);
                }
            }
            Turn::Wait(time) => self.now += u64::from(time),
            Turn::Dies(which, how) => {
                let open: Vec<Handle> =
                    self.procs.iter().filter(|it| it.open).map(|it| it.instance.clone()).collect();
                if let Some(instance) = open.get(usize::from(which) % open.len().max(1)) {
                    self.ends(instance, Exit::Code(i32::from(how % 3)));
                }
            }
            Turn::AgentDies => self.agent_starts(),
            Turn::Later(minutes) => self.now += u64::from(minutes) * 60_000,
            Turn::Clock => self.unsure = !self.unsure,
            Turn::PowerCut => {
                self.procs.clear();
                self.boot += 1;
                self.agent_starts();
            }
        }
        self.advance();
        self.one_at_most();
        self.keeps_its_windows();
    }

    /// Checks what was asked for at this moment against the windows.
    fn keeps_its_windows(&self) {
        if self.unsure || self.windows == Windows::default() {
            return;
        }
        let (minute, saved) = (self.minute(), &self.saved);
        let may_fetch = minute % 720 < 20;
        let is_repair = |digest: Digest| {
            let kept = saved.values().flat_map(|it| [&it.current, &it.previous]).flatten();
            kept.flat_map(|it| it.spec.run.artifacts()).any(|it| it.digest == digest)
        };
        for effect in &self.todo {
            if let Effect::Fetch(need) = effect {
                // What nobody wants any more is given up once nothing else is left to do.
                let specs = self.wanted.values().map(|word| spec(*word));
                let is_wanted = specs
                    .flat_map(|spec| spec.run.artifacts().copied().collect::<Vec<_>>())
                    .any(|it| it.digest == need.digest());
                // What two workloads have asked for is asked for twice, and given up once the last of
                // them gives it up: it may go on after the window of one of them.
                let is_here = self.artifacts.contains(&need.digest());
                let is_shared = self.asked.get(&need.digest()).is_some_and(|by| by.len() > 1);
                let may = may_fetch || !is_wanted || is_shared || is_here;
                let may = may || is_repair(need.digest());
                assert!(may, "{minute}: {effect:?}");
            }
        }
    }

    /// Checks that a revision which is about to be prepared is no other than may be now.
    fn may_prepare(&self, effect: &Effect) {
        let Effect::Prepare { name, revision, .. } = effect else { return };
        let saved = self.saved.get(name);
        let Some(current) = saved.and_then(|saved| saved.current.as_ref()) else { return };
        let shut = !self.unsure && !(360..370).contains(&self.minute());
        if !shut || self.windows == Windows::default() || current.spec == revision.spec {
            return;
        }
        // Nothing else can be started in its place, or it is the way back.
        let previous = saved.and_then(|saved| saved.previous.as_ref());
        let rejected = saved.and_then(|saved| saved.rejected.as_ref());
        let can_start = |it: &Revision| {
            it.spec.restart.policy != RestartPolicy::Never
                && rejected.is_none_or(|rejected| rejected.revision.spec != it.spec)
                && it.spec.run.artifacts().all(|it| self.artifacts.contains(&it.digest))
        };
        let nothing_else = !can_start(current) && !previous.is_some_and(can_start);
        let back = previous.is_some_and(|it| it.spec == revision.spec);
        assert!(nothing_else || back, "{}: {effect:?} over {saved:?}", self.minute());
    }

    /// Carries everything out successfully for a minute, whatever is still waited for then.
    fn settles(&mut self) {
        let end = self.now + 60_000;
        for _ in 0..4_000 {
            self.advance();
            self.one_at_most();
            if !self.todo.is_empty() {
                let effect = self.todo.remove(0);
                self.carry_out(effect, 255);
                continue;
            }
            self.now = self.agent.next_wake().unwrap_or(end).max(self.now + 1);
            if self.now >= end {
                return;
            }
        }
        panic!("it never settles: {:?}", self.agent.view());
    }

    /// Carries everything out successfully until nothing is left to do.
    fn comes_to_rest(&mut self) {
        for _ in 0..4_000 {
            self.advance();
            self.one_at_most();
            if !self.todo.is_empty() {
                let effect = self.todo.remove(0);
                self.carry_out(effect, 255);
                continue;
            }
            // Probes go on for ever: a healthy and proven workload is at rest.
            let view = self.agent.view();
            let calm = view.workloads.iter().all(|(name, it)| match it.phase {
                // A replacement of secrets that failed is tried again.
                _ if it.reason.contains("waits for its") => false,
                Phase::Running => !it.reason.contains("cannot be replaced"),
                Phase::Stopped | Phase::Paused => true,
                // A job that failed for good; another workload would be tried again, as would
                // another revision in its place.
                Phase::Failed => self.saved.get(name).is_some_and(|saved| {
                    let current = saved.current.as_ref().map(|current| current.number);
                    saved.ending.is_some() && current == Some(it.revision)
                }),
                _ => false,
            });
            if view.settled && view.applied == view.desired && calm {
                return;
            }
            let waits = view.workloads.values().any(|it| it.reason.contains("waits for its"));
            if view.settled && waits {
                // Half of the shortest window, and not each probe of the hours until then.
                self.now += 5 * 60_000;
                continue;
            }
            self.now = self.agent.next_wake().unwrap_or(self.now + 1).max(self.now + 1);
        }
        panic!("it never comes to rest: {:?}", self.agent.view());
    }
}

/// Configuration of proptest: failures are shrunk and printed, and nothing is written beside the
/// sources.
fn config() -> ProptestConfig {
    ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() }
}

/// Does the turns, and checks what holds once everything has come to rest.
fn holds<'a>(turns: impl Iterator<Item = &'a Turn>) -> Result<(), TestCaseError> {
    let mut machine = Machine::new();
    turns.for_each(|turn| machine.turn(turn));
    machine.unlock();
    machine.comes_to_rest();
    prop_assert_eq!(machine.agent.advance(machine.now), vec![], "nothing is left to do");
    let view = machine.agent.view();
    let named: BTreeSet<Name> = machine.wanted.keys().map(|which| name(*which)).collect();
    prop_assert_eq!(view.workloads.keys().cloned().collect::<BTreeSet<_>>(), named.clone());
    prop_assert!(machine.folders.is_subset(&named), "nobody else's folder is left");
    // A workload that was paused before its first start has no folder yet.
    let paused: BTreeSet<Name> = machine.paused.iter().map(|which| name(*which)).collect();
    prop_assert!(named.difference(&machine.folders).all(|name| paused.contains(name)));
    for proc in &machine.procs {
        let it = &view.workloads[&proc.name];
        prop_assert_eq!((it.run, it.revision), (Some(proc.instance.run()), proc.revision));
    }
    for (which, word) in &machine.wanted {
        // A revision that was given up is left for the one before.
        let (name, wanted) = (name(*which), u64::from(*word) + 1);
        let given_up = machine.saved[&name].rejected.is_some();
        let current = machine.saved[&name].current.as_ref();
        let has = current.and_then(|it| it.secrets.as_ref()).map(|it| it.sealed.bytes[0]);
        let should = machine.secrets.get(which).map(|(_, content)| *content);
        let starts_later = current.is_none() || machine.paused.contains(which);
        prop_assert!(given_up || starts_later || has == should, "{name} {has:?} {should:?}");
        prop_assert!(given_up || view.workloads[&name].revision == wanted, "{name} {view:?}");
    }
    for (name, it) in &view.workloads {
        let there = machine.procs.iter().any(|proc| proc.name == *name);
        prop_assert_eq!(there, it.phase == Phase::Running, "{} {:?}", name, it);
        let restarted = machine.agent.restarted(name);
        prop_assert!(restarted.is_some(), "{} waits for its restart for ever: {:?}", name, it);
        let paused = machine.paused.iter().any(|which| self::name(*which) == *name);
        let over = machine.saved[name].ending.is_some();
        prop_assert_eq!(it.phase == Phase::Paused, paused && !over, "{} {:?}", name, it);
    }
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn it_never_runs_two_and_comes_to_rest_with_nothing_left_to_do(turns in turns()) {
        // Other secrets have their own property below.
        holds(turns.iter().filter(|turn| !matches!(turn, Turn::Rotate(..))))?;
    }

    #[test]
    fn it_comes_to_rest_with_other_secrets_too(turns in turns()) {
        holds(turns.iter())?;
    }

    #[test]
    fn windows_are_kept_and_nothing_waits_for_ever(
        turns in windowed_turns(),
        unsure: bool,
    ) {
        let mut machine = Machine::new();
        machine.windows = windows();
        turns.iter().for_each(|turn| machine.turn(turn));
        machine.unsure = unsure;
        let begun = machine.now;
        machine.comes_to_rest();
        let days = (machine.now - begun).div_ceil(86_400_000);
        prop_assert!(days <= 3, "{days} days");
        for (name, it) in &machine.agent.view().workloads {
            let wanted = machine.wanted.iter().find(|(which, _)| self::name(**which) == *name);
            let given_up = machine.saved.get(name).is_some_and(|it| it.rejected.is_some());
            let revision = u64::from(*wanted.unwrap().1) + 1;
            prop_assert!(given_up || it.revision == revision, "{name} {it:?}");
        }
    }

    #[test]
    fn other_windows_restart_nothing(turns in turns()) {
        let mut machine = Machine::new();
        turns.iter().for_each(|turn| machine.turn(turn));
        machine.unlock();
        machine.comes_to_rest();
        let before: Vec<Handle> = machine.procs.iter().map(|it| it.instance.clone()).collect();
        machine.windows = windows();
        machine.follow();
        machine.comes_to_rest();
        let after: Vec<Handle> = machine.procs.iter().map(|it| it.instance.clone()).collect();
        prop_assert_eq!(before, after);
    }

    #[test]
    fn secrets_that_cannot_be_opened_stop_nothing(turns in turns()) {
        let mut machine = Machine::new();
        turns.iter().for_each(|turn| machine.turn(turn));
        machine.paused.clear();
        machine.unlock();
        machine.comes_to_rest();
        let before: Vec<Handle> = machine.procs.iter().map(|it| it.instance.clone()).collect();
        for which in 0..3 {
            machine.rotate(which, Some(CLOSED));
        }
        machine.comes_to_rest();
        machine.agent_starts();
        machine.comes_to_rest();
        let after: Vec<Handle> = machine.procs.iter().map(|it| it.instance.clone()).collect();
        prop_assert!(before.iter().all(|it| after.contains(it)), "{:?} became {:?}", before, after);
        // A power cut ends all, and everything that ran runs again as it was.
        let ran: BTreeSet<Name> = machine.procs.iter().map(|it| it.name.clone()).collect();
        machine.turn(&Turn::PowerCut);
        machine.comes_to_rest();
        for name in ran {
            let over = machine.saved[&name].ending.is_some();
            let again = machine.procs.iter().any(|it| it.name == name);
            prop_assert!(over || again || !machine.is_closed(&name), "{name} is down");
        }
    }

    #[test]
    fn a_revision_that_cannot_be_fetched_stops_nothing(
        turns in turns(),
        later in proptest::collection::vec(0_u8..4, 3),
    ) {
        let mut machine = Machine::new();
        turns.iter().for_each(|turn| machine.turn(turn));
        machine.paused.clear();
        machine.follow();
        machine.unlock();
        machine.comes_to_rest();
        let before: Vec<Handle> = machine.procs.iter().map(|it| it.instance.clone()).collect();
        // Artifacts that were never on the device.
        machine.cut_off = true;
        let wanted: Vec<u8> = machine.wanted.keys().copied().collect();
        for which in wanted {
            machine.want(which, Some(101 + 6 * later[usize::from(which)]));
        }
        machine.settles();
        let after: Vec<Handle> = machine.procs.iter().map(|it| it.instance.clone()).collect();
        prop_assert_eq!(&before, &after);
        // A power cut ends all, and everything that ran runs again, as it was, but for the jobs.
        let ran: BTreeMap<Name, u64> =
            machine.procs.iter().map(|it| (it.name.clone(), it.revision)).collect();
        let is_job = |revision: u64| (revision - 1) / 2 % 3 == 2;
        machine.turn(&Turn::PowerCut);
        machine.settles();
        let runs: BTreeMap<Name, u64> =
            machine.procs.iter().map(|it| (it.name.clone(), it.revision)).collect();
        let expected = ran.into_iter().filter(|(_, revision)| !is_job(*revision)).collect();
        prop_assert_eq!(runs, expected);
        // And what is wanted runs as soon as it can.
        machine.cut_off = false;
        machine.agent_starts();
        machine.comes_to_rest();
        for (name, it) in &machine.agent.view().workloads {
            let given_up = machine.saved[name].rejected.is_some();
            prop_assert!(given_up || it.revision > 100, "{name} {it:?}");
        }
    }

    #[test]
    fn an_agent_that_starts_anew_keeps_everything_that_runs_as_it_should(
        turns in turns(),
        lost in any::<bool>(),
    ) {
        let mut machine = Machine::new();
        turns.iter().for_each(|turn| machine.turn(turn));
        machine.unlock();
        machine.comes_to_rest();
        // A revision that was given up for an older one is in the saved states alone.
        let given_up = machine.saved.values().any(|it| it.rejected.is_some());
        if lost && !given_up {
            machine.saved.clear();
        }
        let before: Vec<Handle> = machine.procs.iter().map(|it| it.instance.clone()).collect();
        machine.agent_starts();
        let first = machine.agent.advance(machine.now);
        for effect in &first {
            let name = match effect {
                Effect::Prepare { name, .. } | Effect::Stop { name, .. } => name,
                Effect::Sweep { name, spare: None, .. } => name,
                _ => continue,
            };
            prop_assert!(machine.procs.iter().all(|it| it.name != *name), "{:?}", effect);
        }
        machine.agent_starts();
        machine.comes_to_rest();
        let after: Vec<Handle> = machine.procs.iter().map(|it| it.instance.clone()).collect();
        prop_assert!(before.iter().all(|it| after.contains(it)), "{:?} became {:?}", before, after);
    }
}

/// Generates observations, true or false.
fn lies() -> impl Strategy<Value = Vec<(u8, u8, u8, u16)>> {
    proptest::collection::vec((0_u8..14, 0_u8..3, any::<u8>(), 0_u16..2_000), 1..200)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_sequence_of_observations_breaks_it_or_makes_it_start_before_an_answer(lies in lies()) {
        let mut agent = Agent::new(Start::default(), 0);
        let mut now = 0;
        let mut under_way: BTreeSet<Name> = BTreeSet::new();
        let mut wanted = BTreeMap::new();
        for (generation, (what, which, die, time)) in (1_u64..).zip(lies) {
            now += u64::from(time);
            let (runtime, id) = (RuntimeKind::new("props"), (die % 4).to_string());
            let instance = Handle { runtime, id, nonce: 1 };
            let bad = || Err(Reason::from("a lie"));
            let who = name(which);
            let observed = match what {
                0 => {
                    wanted.insert(which, die % 16);
                    agent.follow(&desired(generation, &wanted));
                    None
                }
                1 => {
                    wanted.remove(&which);
                    agent.follow(&desired(generation, &wanted));
                    None
                }
                2 => Some(Observed::Fetched(Digest([die % 16; 32]))),
                3 => Some(Observed::FetchTrouble(Digest([die % 16; 32]), "a lie".into())),
                4 => Some(Observed::Prepared(who.clone(), Ok(instance))),
                5 => Some(Observed::Prepared(who.clone(), Err(NotPrepared::Machine("a lie".into())))),
                6 => {
                    let why = Reason("é".repeat(usize::from(die) * 9));
                    Some(Observed::Prepared(who.clone(), Err(NotPrepared::Revision(why))))
                },
                7 => Some(Observed::Saved(who.clone(), die % 2 == 0)),
                8 => Some(Observed::Started(who.clone(), instance, Ok(()))),
                9 => Some(Observed::Started(who.clone(), instance, bad())),
                10 => Some(Observed::Exited(who.clone(), instance, Exit::Code(i32::from(die)))),
                11 => Some(Observed::Probed(who.clone(), instance, if die > 99 { Ok(()) } else { bad() })),
                12 => Some(Observed::Swept(who.clone(), usize::from(die % 2))),
                _ => Some(Observed::Removed(who.clone(), if die > 99 { Ok(()) } else { bad() })),
            };
            if let Some(observed) = observed {
                if matches!(observed, Observed::Prepared(..)) {
                    under_way.remove(&who);
                }
                agent.observe(observed, now);
            }
            for effect in agent.advance(now) {
                if let Effect::Prepare { name, .. } = effect {
                    prop_assert!(under_way.insert(name), "started twice before an answer");
                }
            }
            let _always_told = (agent.view(), agent.next_wake());
        }
    }
}
